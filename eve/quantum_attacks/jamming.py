"""Jamming: no light at all, or noise in its place. Nothing is learnt; no key is made.

Noise has no polarisation of Alice's: where it replaces her light the error rate is one half.
"""

from enum import StrEnum
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from qkdlink.common.optics.adversary import Mask
from qkdlink.common.optics.pulses import PulseTrain
from qkdlink.eve.flight import GONE, Marks
from qkdlink.eve.notebook import BlockNotes, FlightPage
from qkdlink.eve.quantum_attacks.base import Attack, EveTools


class Jam(StrEnum):
    """What arrives in place of light."""

    DARKNESS = "darkness"
    NOISE = "noise"


class Jamming(Attack):
    """Denies service."""

    name: ClassVar[str] = "jamming"
    kind: Jam = Jam.NOISE
    photons: Annotated[int, Field(ge=1, le=31)] = 1
    """Photons in each pulse of noise."""

    def act(self, train: PulseTrain, chosen: Mask, tools: EveTools, notes: BlockNotes) -> PulseTrain:
        """Throw Alice's light away and send something else, or nothing."""
        first, end = train.first_pulse, train.first_pulse + len(train)
        notes.add(FlightPage(first, end, onward=Marks.of(chosen * np.uint8(GONE))))
        _, nothing = tools.bench.switch(train, np.ones(len(train), np.bool_))
        if self.kind is Jam.DARKNESS:
            return nothing
        medium, first, count = nothing.medium, nothing.first_pulse, len(nothing)
        noise, _ = tools.bench.switch(tools.bench.prepare_noise(self.photons, medium, first, count), chosen)
        return noise
