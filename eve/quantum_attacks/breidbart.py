"""Breidbart: intercept and resend halfway between the two bases, where every bit is guessed equally well.

At 22.5 degrees a guess is right with probability cos^2(22.5 degrees) = 0.854 in both bases, before any announcement,
and Bob errs in 2 * 0.854 * 0.146 = 1/4 of the touched single photons.

Source: Bennett, Bessette, Brassard, Salvail, Smolin, J. Cryptology 5, 3 (1992), section 5.
"""

from typing import ClassVar

import numpy as np

from qkdlink.common.optics.adversary import Mask
from qkdlink.common.optics.pulses import PulseTrain
from qkdlink.eve.notebook import BlockNotes
from qkdlink.eve.quantum_attacks.base import Attack, EveTools
from qkdlink.eve.quantum_attacks.intercept_resend import resent

_CHOICES = 1
_HALFWAY = 1
"""Polarisation index of 22.5 degrees."""


class Breidbart(Attack):
    """Measures at 22.5 degrees and prepares anew, into the fibre that the light was meant for."""

    name: ClassVar[str] = "breidbart"
    gain_matching: bool = True
    """Resend as many photons as were found, which keeps every gain; otherwise one photon."""

    def act(self, train: PulseTrain, chosen: Mask, tools: EveTools, notes: BlockNotes) -> PulseTrain:
        """Measure, note, resend."""
        coins = tools.draw_bytes(train, _CHOICES) & np.uint8(1) > 0
        analysers = np.full(len(train), _HALFWAY, np.uint8)
        return resent(train, chosen, analysers, coins, tools, notes, gain_matching=self.gain_matching)
