"""What Eve knows of the light that she lets go on to Bob, and for which bit it makes his gate click more easily.

That a gate has clicked tells her something of the bit only where Alice's own light came early or late, to detectors of
unequal efficiency there. How much depends on how many photons still flew and with what loss; so the notes say, pulse
by pulse, what became of the light, and a `Flight` follows it through the chain.

Kerckhoffs: Bob's detectors are no secret. The account is made with what they are, not with what somebody believes.

Sources: Makarov, Anisimov, Skaar, Phys. Rev. A 74, 022313 (2006); Qi, Fung, Lo, Ma, Quantum Inf. Comput. 7, 73 (2007).
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qkdlink.common.optics.adversary import Mask
from qkdlink.common.optics.detector import DetectorSettings
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.side_light import Arrival
from qkdlink.common.optics.source import PhotonStatistics, Source
from qkdlink.common.optics.states import Basis

type Codes = NDArray[np.uint8]
"""`uint8[n]`, 0..15 each."""

UNTOUCHED: Final = 0
"""Went on as it was."""
GONE: Final = 1
"""None of Alice's light went on: it was measured or blocked, or there was none."""
TAPPED: Final = 2
"""Passed a beam splitter."""
COUNTED: Final = 2
"""So many more than this: 3 is one photon of Alice's, 4 two."""
_UNCOUNTED = 0


@dataclass(frozen=True, slots=True, eq=False)
class Marks:
    """A code, 0..15, for each pulse of a frame, two in a byte."""

    _packed: NDArray[np.uint8] = field(repr=False)

    @classmethod
    def of(cls, codes: Codes | Mask) -> "Marks":
        """Pack them."""
        even = np.zeros(len(codes) + len(codes) % 2, np.uint8)
        even[: len(codes)] = codes
        return cls(even[::2] | even[1::2] << np.uint8(4))

    def at(self, places: NDArray[np.uint32]) -> Codes:
        """Unpack those at `places` of the frame."""
        shifts = (places & np.uint32(1)).astype(np.uint8) << np.uint8(2)
        codes: Codes = self._packed[places >> np.uint32(1)] >> shifts & np.uint8(15)
        return codes


@dataclass(frozen=True, slots=True, eq=False)
class Flight:
    """Some pulses on their way through the chain of attacks; the pages of the notes move it on, in place."""

    of_alice: Mask
    """Where the light is still hers."""
    arrivals: Codes
    """When in the gate it will arrive, of `Arrival`."""
    photons: Codes
    """How many of them there were when Eve last counted; 0 where she has not."""
    flying: NDArray[np.float64]
    """Probability, of each photon since then, that it flies on and nothing was seen of it."""
    lost: NDArray[np.float64]
    """Probability that it was lost and nothing was seen of it."""

    @classmethod
    def begun(cls, count: int) -> "Flight":
        """As it comes from Alice."""
        none = np.zeros(count, np.uint8)
        return cls(np.ones(count, np.bool_), none, none.copy(), np.ones(count), np.zeros(count))

    def __getitem__(self, part: slice) -> "Flight":
        """Look at some of the pulses: what happens to the part happens to the whole."""
        return Flight(
            self.of_alice[part], self.arrivals[part], self.photons[part], self.flying[part], self.lost[part]
        )

    def goes_on(self, codes: Codes, tapped_share: float = 1.0) -> None:
        """Go on as `codes` say; of a tapped pulse each photon has passed with `tapped_share`, and none was kept."""
        self.of_alice[codes == GONE] = False
        self.flying[codes == TAPPED] *= tapped_share
        counted = codes > COUNTED
        self.photons[counted] = codes[counted] - np.uint8(COUNTED)
        self.flying[counted], self.lost[counted] = 1.0, 0.0

    def fades(self, where: Mask, share: float) -> None:
        """Lose each photon, unseen, but for this share."""
        self.lost[where] += self.flying[where] * (1 - share)
        self.flying[where] *= share

    def shifts(self, arrivals: Codes) -> None:
        """Arrive early or late where `arrivals` say so; 0 leaves it."""
        np.copyto(self.arrivals, arrivals, where=arrivals > 0)


@dataclass(frozen=True, slots=True)
class GateModel:
    """Bob's gates at the end of a fibre: how easily they click. Exact but for taking no notice of the intensities."""

    source: Source
    fibre: Fibre
    """What the light is launched into at last."""
    detector: DetectorSettings
    timing_mismatch: float
    """Efficiency of the worse detector over that of the better one, off the middle of the gate, 0..1."""
    key_basis_probability: float
    """Bob's."""

    def rate(self, sifted: int, bases: Collection[int], pulses: int) -> float:
        """How often a live gate clicks, 0..1, where so many of so many pulses were sifted in `bases`."""
        alice, bob = self.source.key_basis_probability, self.key_basis_probability
        shares = {Basis.KEY: alice * bob, Basis.TEST: (1 - alice) * (1 - bob)}
        share = sum(shares[Basis(basis)] for basis in bases)
        gain = min(1.0, sifted / (pulses * share)) if sifted else 0.0
        return gain / max(gain, 1 - gain * self.detector.dead_gates) if gain else 0.0

    def clicks(self, flight: Flight, rate: float) -> NDArray[np.float64]:
        """Probability of a click in Alice's basis if the bit is 0 and if it is 1, up to a factor: `float64[2, n]`.

        `rate` is how often live gates click, and are followed by afterpulses: they tell nothing of the bit.
        """
        told = np.ones((2, len(flight.arrivals)))
        quiet = (1 - self.detector.dark_count_probability) ** 2 * (
            1 - rate * self.detector.afterpulse_probability
        )
        shifted = np.flatnonzero(flight.of_alice & (flight.arrivals > 0))
        late = flight.arrivals[shifted] == Arrival.LATE
        for bit in (0, 1):
            seen = np.where(
                late == bool(bit), self._seen(1, self.timing_mismatch), self._seen(self.timing_mismatch, 1)
            )
            told[bit, shifted] = 1 - quiet * self._unseen(flight, shifted, seen)
        return told

    def outcomes(self, flight: Flight, classes: NDArray[np.int64], matched: Mask) -> NDArray[np.float64]:
        """What light and dark counts make of gates if Alice's bit is 0 and if it is 1: `float64[n, 2, 4]`.

        The four are: no click, only detector 0, only detector 1, both. `classes` are the intensity classes, -1 for one
        that is not known. Where the bases do not match, or the light is not Alice's, each detector gets half of it.
        """
        told = np.empty((len(classes), 2, 4))
        here, half = np.arange(len(classes)), self._reaches / 2
        sees = [
            np.where(flight.arrivals == arrival, self.timing_mismatch, 1.0)
            for arrival in (Arrival.LATE, Arrival.EARLY)
        ]
        of_alice = flight.of_alice & matched
        for bit in (0, 1):
            towards = [(1 - self.fibre.misalignment), self.fibre.misalignment]
            seen = [
                np.where(of_alice, self._reaches * towards[bit ^ each], half) * sees[each] for each in (0, 1)
            ]
            live = 1 - self.detector.dark_count_probability
            quiet_0, quiet_1 = (live * self._unseen(flight, here, each, classes) for each in seen)
            none = live**2 * self._unseen(flight, here, seen[0] + seen[1], classes)
            told[:, bit] = np.stack(
                [none, quiet_1 - none, quiet_0 - none, 1 + none - quiet_0 - quiet_1], axis=1
            )
        return np.maximum(told, 0.0)

    @property
    def _reaches(self) -> float:
        """Probability that a launched photon would be detected by a detector that gets all of them."""
        return self.fibre.transmittance * self.detector.efficiency

    def _seen(self, right: float, wrong: float) -> float:
        """Probability that a launched photon is detected, with the detectors' relative efficiencies."""
        astray = self.fibre.misalignment
        return self._reaches * ((1 - astray) * right + astray * wrong)

    def _unseen(
        self,
        flight: Flight,
        at: NDArray[np.intp],
        seen: NDArray[np.float64],
        classes: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float64]:
        """Probability that no photon is detected, where each that flies is with probability `seen`."""
        flying, lost, photons = flight.flying[at], flight.lost[at], flight.photons[at]
        possible, consistent = lost + flying * (1 - seen), lost + flying
        counted = (possible / consistent) ** photons
        uncounted = self._mean_power(possible, classes) / self._mean_power(consistent, classes)
        return np.where(photons == _UNCOUNTED, uncounted, counted)

    def _mean_power(
        self, base: NDArray[np.float64], classes: NDArray[np.int64] | None = None
    ) -> NDArray[np.float64]:
        """Mean of base^n over the photon numbers n that Alice sends: the generating function of her source."""
        if self.source.statistics is PhotonStatistics.SINGLE_PHOTON:
            return base
        powers = np.zeros_like(base)
        for mean, probability in zip(self.source.intensities, self.source.probabilities, strict=True):
            powers += probability * np.exp(mean * (base - 1))
        for known, mean in enumerate(self.source.intensities if classes is not None else ()):
            np.copyto(powers, np.exp(mean * (base - 1)), where=classes == known)
        return powers
