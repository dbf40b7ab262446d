"""What an experiment comes to: a verdict, from a short list of words, and the evidence that it was computed from."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

type Evidence = dict[str, Any]
"""What was observed, ready to be printed as JSON; never key material."""

_REFUSED = "refused-by-"


class Verdict(StrEnum):
    """What can come of an experiment; a refused block names what refused it (`refused_by`)."""

    KEYS_AGREE = "keys-agree"
    """Both ends hold the same keys, made and authenticated as they should be."""
    NO_KEY = "no-key"
    """Nothing was made, and nothing of what had been made was lost."""
    KEY_IS_UNDETERMINED = "key-is-undetermined-for-eve"
    """There is a key, and it was checked that every key is as likely to her as any other."""
    EVE_KNOWS_OF_THE_KEY = "eve-knows-of-the-key"
    """There is a key, and it is not secret: she knows a parity of it, or her uncertainty does not pay for it."""
    EVE_HAS_THE_KEY = "eve-has-the-key"
    """There is a key, and she knows all of it."""
    EVE_IS_STOPPED = "eve-is-stopped"
    """She stood in the middle, and nobody made a key that she knows."""
    OPENED = "opened"
    """She reads what was sent."""
    NOT_OPENED = "not-opened"
    """She does not."""
    SAFE_WHILE_ONE_HOLDS = "safe-while-one-holds"
    """It takes all of what was combined to be broken."""
    ERASED_KEYS_STAY_SHUT = "erased-keys-stay-shut"
    """A stolen store holds what had not been used, none of what had, and nothing of what came later."""
    SMALL_PORTION = "small-portion"
    """The price is below the limit that was set."""
    LARGE_PORTION = "large-portion"
    """It is not."""
    UNCLEAR = "unclear"
    """The evidence does not hang together: something else went wrong."""


def refused_by(reasons: Iterable[str]) -> str:
    """Return the verdict on blocks that were all refused: by what, each reason once."""
    return _REFUSED + "-and-".join(sorted(set(reasons)))


def refused_in_order(reasons: Iterable[str]) -> str:
    """Return the verdict on one block that several guards have refused: all of them, as they were asked."""
    return _REFUSED + "-then-".join(reasons)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A scenario that was run; `as_json` is the contract of `qkdlink lab run --json`."""

    scenario: str
    claim: str
    verdict: str
    expected: str
    evidence: Evidence
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether it came as expected."""
        return self.verdict == self.expected

    def as_json(self) -> dict[str, Any]:
        """Return the object that is printed."""
        return {
            "scenario": self.scenario,
            "claim": self.claim,
            "verdict": self.verdict,
            "expected": self.expected,
            "passed": self.passed,
            "evidence": self.evidence,
            "seconds": round(self.seconds, 2),
        }
