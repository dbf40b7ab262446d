"""An attack may be anybody's program: whatever goes wrong in it becomes one sentence that names it.

Nothing of it passes for physics: light that an attack has spoilt does not go on, and Eve lets go of the link.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from qkdlink.common.errors import QkdlinkError
from qkdlink.common.optics.pulses import PulseTrain
from qkdlink.eve.notebook import BlockNotes
from qkdlink.eve.quantum_attacks.base import EveTools, QuantumAttack

_LONGEST_REASON = 200


class AttackError(QkdlinkError):
    """An attack on light went wrong, and Eve with it."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """An attack that raises AttackError and nothing else, and gives back light that can go on (`QuantumAttack`)."""

    name: ClassVar[str] = "guarded"
    attack: QuantumAttack
    begins: Callable[[QuantumAttack], None] = lambda _: None
    """Told whenever it gets a frame."""

    def touch(self, train: PulseTrain, tools: EveTools, notes: BlockNotes) -> PulseTrain:
        """Touch a frame; AttackError if the attack raises anything, SystemExit included, or spoils the frame."""
        pulses, first = len(train), train.first_pulse
        self.begins(self.attack)
        try:
            touched: object = self.attack.touch(train, tools, notes)
        except BaseException as error:
            raise AttackError(f"{place_of(self.attack)} went wrong: {_said(error)}") from error
        return self._whole(touched, pulses, first)

    def _whole(self, touched: object, pulses: int, first: int) -> PulseTrain:
        if not isinstance(touched, PulseTrain):
            wrong = f"what is no light but of type {type(touched).__name__}"
        elif len(touched) != pulses or touched.first_pulse != first:
            got = f"{len(touched)} pulses from {touched.first_pulse}"
            wrong = f"{got} for a frame of {pulses} from {first}"
        elif touched.is_dark:
            wrong = "light that it has measured or passed on already: light exists once"
        else:
            return touched
        raise AttackError(f"{place_of(self.attack)} gives back {wrong}")


def place_of(attack: QuantumAttack) -> str:
    """Say which attack it is, by its class and its file."""
    of_class = type(attack)
    file = getattr(sys.modules.get(of_class.__module__), "__file__", None) or "no file"
    return f"the attack {of_class.__name__} in {file}"


def _said(error: BaseException) -> str:
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - an exception of somebody's own need not even have a text
        text = ""
    name = type(error).__name__
    return f"{name}: {text[:_LONGEST_REASON]}" if text else name
