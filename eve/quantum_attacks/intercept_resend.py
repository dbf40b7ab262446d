"""Intercept and resend: measure each pulse in a basis of one's own, note the bit, send a new pulse like it.

In the right basis she knows the bit and changes nothing; in the wrong one she knows nothing and Bob's bit is random.
With random bases a touched single photon is wrong with probability 1/4 and known with probability 1/2. In one basis
only, the errors are all in the other: she has the whole key basis, and only an error rate per basis tells.

Source: Bennett, Bessette, Brassard, Salvail, Smolin, J. Cryptology 5, 3 (1992), section 5.
"""

from enum import StrEnum
from typing import ClassVar

import numpy as np

from qkdlink.common.optics.adversary import Mask
from qkdlink.common.optics.pulses import PulseTrain
from qkdlink.common.optics.states import Basis, bb84_polarisation
from qkdlink.eve.flight import GONE
from qkdlink.eve.notebook import BlockNotes, MeasuredPage
from qkdlink.eve.quantum_attacks.base import Attack, EveTools

_CHOICES = 1
_BASIS = np.uint8(1)
_COIN = np.uint8(2)


class Bases(StrEnum):
    """In which basis she measures."""

    RANDOM = "random"
    """A fair coin for each pulse."""
    KEY = "key"
    TEST = "test"


class InterceptResend(Attack):
    """Measures and prepares anew, into the fibre that the light was meant for."""

    name: ClassVar[str] = "intercept-resend"
    bases: Bases = Bases.RANDOM
    gain_matching: bool = True
    """Resend as many photons as were found, which keeps every gain; otherwise one photon."""

    def act(self, train: PulseTrain, chosen: Mask, tools: EveTools, notes: BlockNotes) -> PulseTrain:
        """Measure, note, resend."""
        drawn = tools.draw_bytes(train, _CHOICES)
        bases = {
            Bases.RANDOM: drawn & _BASIS,
            Bases.KEY: np.full(len(train), Basis.KEY, np.uint8),
            Bases.TEST: np.full(len(train), Basis.TEST, np.uint8),
        }[self.bases]
        analysers = bases * np.uint8(bb84_polarisation(Basis.TEST, 0))
        return resent(
            train, chosen, analysers, drawn & _COIN > 0, tools, notes, gain_matching=self.gain_matching
        )


def resent(
    train: PulseTrain,
    chosen: Mask,
    analysers: np.ndarray[tuple[int], np.dtype[np.uint8]],
    coins: Mask,
    tools: EveTools,
    notes: BlockNotes,
    *,
    gain_matching: bool,
) -> PulseTrain:
    """Measure the `chosen` behind `analysers` (`uint8[n]`, 0..3) and send what was found; a coin decides a tie."""
    medium, first = train.medium, train.first_pulse
    counted = tools.bench.measure(train, analysers)
    notes.add(MeasuredPage.write(first, analysers, counted, onward=chosen * np.uint8(GONE)))
    ones = (counted.ones > counted.zeros) | ((counted.ones == counted.zeros) & coins)
    photons = counted.zeros + counted.ones
    if not gain_matching:
        photons = np.minimum(photons, np.uint8(1))
    return tools.bench.prepare((analysers + ones * np.uint8(4), photons), medium, first)
