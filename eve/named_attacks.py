"""Attacks as a command line names them, sorted by the channel on which they act."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qkdlink.common.errors import ConfigurationError
from qkdlink.eve.classical_attacks.catalogue import TREATMENTS, treatment_from
from qkdlink.eve.control import MOST_ATTACKS
from qkdlink.eve.quantum_attacks.catalogue import ATTACKS, attack_from


@dataclass(frozen=True, slots=True)
class NamedAttacks:
    """What Eve begins with, as texts that name attacks with their settings."""

    quantum: tuple[str, ...] = ()
    """On the quantum channel, nearest to Alice first."""
    classical: tuple[str, ...] = ()
    """On the classical channel, likewise."""

    def __bool__(self) -> bool:
        return bool(self.quantum or self.classical)

    def settings(self) -> dict[str, Any]:
        """Return them as settings of Eve's (`qkdlink.eve.settings`)."""
        return {"attacks": list(self.quantum), "treatments": list(self.classical)}


def named_attacks(texts: Sequence[str]) -> NamedAttacks:
    """Sort attacks by channel, with absolute paths for files; ConfigurationError unless each of them can be made."""
    classical = tuple(text for text in texts if _name(text) in TREATMENTS)
    quantum = tuple(_absolute(text) for text in texts if _name(text) not in TREATMENTS)
    for chosen, channel in ((quantum, "quantum"), (classical, "classical")):
        if len(chosen) > MOST_ATTACKS:
            raise ConfigurationError(
                f"Eve makes at most {MOST_ATTACKS} attacks at a time on the {channel} channel, not {len(chosen)}."
            )
    for text in quantum:
        _check_known(text)
        attack_from(text)
    for text in classical:
        treatment_from(text)
    return NamedAttacks(quantum, classical)


def _check_known(text: str) -> None:
    name = _name(text)
    if name not in ATTACKS and not name.endswith(".py"):
        raise ConfigurationError(
            f"No attack is called {name!r}; there are {', '.join(ATTACKS)} on the quantum channel"
            f" and {', '.join(TREATMENTS)} on the classical channel."
        )


def _name(text: str) -> str:
    return text.partition(":")[0]


def _absolute(text: str) -> str:
    file, separator, rest = text.partition(":")
    return f"{Path(file).resolve()}{separator}{rest}" if file.endswith(".py") else text
