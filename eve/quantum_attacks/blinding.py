"""Detector blinding with faked states: bright light makes Bob's detectors click when Eve wants, in her basis only.

Flooded detectors count no photons; they click where a trigger pulse has enough power. Eve measures Alice's pulse in a
random basis and sends a trigger in the state that she found, with power enough for one detector and too little for
half of it in each: in her basis Bob gets her bit, in the other he gets nothing. So where both bases are
announced to agree, hers agreed, too: she knows the key, without an error and without a double or dark count. Half of
her triggers are lost on Bob's basis; she answers a pulse of n photons twice as often as the line would, as long as
that is possible, and every gain of every intensity is what Bob expects, the vacuum's excepted.

Sources: Makarov, New J. Phys. 11, 065003 (2009); Lydersen et al., Nat. Photonics 4, 686 (2010); Gerhardt et al., Nat.
Commun. 2, 349 (2011).
"""

from typing import ClassVar

import numpy as np

from qkdlink.common.optics.adversary import Mask
from qkdlink.common.optics.pulses import PulseTrain
from qkdlink.common.optics.side_light import POWER_STEPS
from qkdlink.common.optics.states import PHOTON_NUMBERS, Basis, bb84_polarisation
from qkdlink.eve.flight import GONE
from qkdlink.eve.notebook import BlockNotes, MeasuredPage
from qkdlink.eve.quantum_attacks.base import Attack, EveTools, PublicLink
from qkdlink.eve.quantum_attacks.gain import detected

_CHOICES, _ANSWERS = 1, 2
_BASIS, _COIN = np.uint8(1), np.uint8(2)
_TEST = np.uint8(bb84_polarisation(Basis.TEST, 0))
_ONE = np.uint8(4)
_TRIGGER_STEPS = np.uint8(POWER_STEPS * 3 // 2)
"""One and a half times what clicks: half of it, in the wrong basis, does not."""


class Blinding(Attack):
    """Floods the gates that it touches and triggers clicks."""

    name: ClassVar[str] = "blinding"

    def act(self, train: PulseTrain, chosen: Mask, tools: EveTools, notes: BlockNotes) -> PulseTrain:
        """Count, choose which to answer, measure, note, flood and trigger."""
        first = train.first_pulse
        drawn = tools.draw_bytes(train, _CHOICES)
        analysers = (drawn & _BASIS) * _TEST
        numbers, train = tools.bench.count(train)
        answered = tools.decide(train, self.answers(tools.link)[numbers], _ANSWERS)
        counted = tools.bench.measure(train, analysers)
        notes.add(MeasuredPage.write(first, analysers, counted, onward=chosen * np.uint8(GONE)))
        ones = (counted.ones > counted.zeros) | ((counted.ones == counted.zeros) & (drawn & _COIN > 0))
        return tools.bench.prepare_bright(
            analysers + ones * _ONE, answered * _TRIGGER_STEPS, chosen, tools.link.lossless_fibre, first
        )

    def answers(self, link: PublicLink) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Probability of answering a pulse of 0..31 photons: `float64[32]`."""
        eta = link.fibre.transmittance * link.detector.efficiency
        return np.array([min(1.0, 2 * detected(photons, eta)) for photons in range(PHOTON_NUMBERS)])
