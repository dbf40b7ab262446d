"""Checks in order, what each has found, and which obstacle is the first."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from qkdlink.common.errors import QkdlinkError
from qkdlink.common.printable import printable
from qkdlink.deployment.diagnosis.causes import Obstacle, obstacle_of


class Outcome(StrEnum):
    """What became of a check."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"
    """It could not be asked without harm, or does not matter now; the sentence says which."""
    NOT_REACHED = "not-reached"
    """An obstacle before it has to be removed first."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has found, in one sentence; an obstacle only if it failed."""

    outcome: Outcome
    sentence: str
    obstacle: Obstacle | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "sentence", printable(self.sentence))  # parts may be a peer's or a broker's

    @classmethod
    def ok(cls, sentence: str) -> Self:
        """Nothing stands in the way here."""
        return cls(Outcome.OK, sentence)

    @classmethod
    def skipped(cls, sentence: str) -> Self:
        """It was not asked; the sentence says why."""
        return cls(Outcome.SKIPPED, sentence)

    @classmethod
    def failed(cls, obstacle: Obstacle, sentence: str) -> Self:
        """Something stands in the way; the sentence says what, and what to do."""
        return cls(Outcome.FAILED, sentence, obstacle)


@dataclass(frozen=True, slots=True)
class Check:
    """One question."""

    name: str
    look: Callable[[], Awaitable[Finding]]
    """Answers it; a QkdlinkError that it raises is an answer, too."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All findings, by the names of their checks and in their order."""

    findings: tuple[tuple[str, Finding], ...]

    @property
    def in_the_way(self) -> Finding | None:
        """The first failure; None if nothing stands in the way."""
        return next((finding for _, finding in self.findings if finding.outcome is Outcome.FAILED), None)


async def examine(checks: Sequence[Check]) -> Diagnosis:
    """Make the checks one after the other; those after the first failure are not reached."""
    findings: list[tuple[str, Finding]] = []
    for number, check in enumerate(checks):
        finding = await _answer(check)
        findings.append((check.name, finding))
        if finding.outcome is Outcome.FAILED:
            unreached = Finding(Outcome.NOT_REACHED, f"comes after {check.name}")
            findings.extend((later.name, unreached) for later in checks[number + 1 :])
            break
    return Diagnosis(tuple(findings))


async def _answer(check: Check) -> Finding:
    try:
        return await check.look()
    except QkdlinkError as error:
        return Finding.failed(obstacle_of(error), str(error))
