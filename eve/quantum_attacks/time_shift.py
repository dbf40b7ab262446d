"""Time shift: let each pulse arrive early or late in the gate, where one of the detectors sees worse than the other.

A click then points to the detector that sees better: with the efficiencies in a ratio r it is the favoured one with
probability 1 / (1 + r), in both bases and without an error: a little less where photons go astray, where several are
sent, and where a click is a dark count (`qkdlink.eve.flight`). Shifting either way at random keeps zeros and ones
balanced, and a fibre of less loss makes up for what the worse detector misses. She measures nothing and disturbs
nothing; the times of arrival tell.

Sources: Qi, Fung, Lo, Ma, Quantum Inf. Comput. 7, 73 (2007); Zhao, Fung, Qi, Chen, Lo, Phys. Rev. A 78, 042333 (2008).
"""

from typing import ClassVar

import numpy as np

from qkdlink.common.optics.adversary import Mask
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.pulses import PulseTrain
from qkdlink.common.optics.side_light import Arrival
from qkdlink.eve.flight import Marks
from qkdlink.eve.notebook import BlockNotes, FlightPage
from qkdlink.eve.quantum_attacks.base import Attack, EveTools, PublicLink
from qkdlink.eve.quantum_attacks.gain import expected_light_clicks

_SHIFTS = 1
_BISECTIONS = 60


class TimeShift(Attack):
    """Shifts arrival times at random."""

    name: ClassVar[str] = "time-shift"
    gain_matching: bool = True
    """Make up for the loss with a better fibre."""

    def act(self, train: PulseTrain, chosen: Mask, tools: EveTools, notes: BlockNotes) -> PulseTrain:
        """Shift, note which way, send on."""
        late = tools.decide(train, 0.5, _SHIFTS)
        arrivals = np.where(late, Arrival.LATE, Arrival.EARLY).astype(np.uint8) * chosen
        first, end = train.first_pulse, train.first_pulse + len(train)
        notes.add(FlightPage(first, end, arrivals=Marks.of(arrivals)))
        shifted = tools.bench.delay(train, arrivals)
        return tools.bench.launch(shifted, self.fibre(tools.link)) if self.gain_matching else shifted

    def obstacle(self, link: PublicLink) -> str | None:
        """Say that equal detectors tell nothing by when they click."""
        if link.flaws.timing_mismatch == 1:
            return (
                f"{self.name} learns nothing: Bob's detectors are equally efficient at every time of a gate."
            )
        return super().obstacle(link)

    def fibre(self, link: PublicLink) -> Fibre:
        """The fibre that makes Bob's signal click as often as it should, or the best there is."""
        at_bob, t, mismatch = link.detector.efficiency, link.fibre.transmittance, link.flaws.timing_mismatch
        wanted = expected_light_clicks(link.source, t * at_bob)
        q = link.key_basis_probability
        same = q * link.source.key_basis_probability + (1 - q) * (1 - link.source.key_basis_probability)

        def clicks(transmittance: float) -> float:
            """With right and wrong bases; in the wrong one each detector gets half of the light."""
            better, worse = (
                expected_light_clicks(link.source, transmittance * at_bob * r) for r in (1, mismatch)
            )
            halves = expected_light_clicks(link.source, transmittance * at_bob * (1 + mismatch) / 2)
            return same * (better + worse) / 2 + (1 - same) * halves

        low, high = t, 1.0
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            low, high = (middle, high) if clicks(middle) < wanted else (low, middle)
        return Fibre(-10 * float(np.log10(high)), 1.0, link.fibre.misalignment)
