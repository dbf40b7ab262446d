"""Transparent: Eve is in the line and does nothing, the reference for every attack."""

from typing import ClassVar

from qkdlink.common.optics.adversary import Mask
from qkdlink.common.optics.pulses import PulseTrain
from qkdlink.eve.notebook import BlockNotes
from qkdlink.eve.quantum_attacks.base import Attack, EveTools


class Transparent(Attack):
    """Passes all light on as it came."""

    name: ClassVar[str] = "transparent"

    def act(self, train: PulseTrain, chosen: Mask, tools: EveTools, notes: BlockNotes) -> PulseTrain:  # noqa: ARG002 - it does nothing
        """Do nothing."""
        return train
