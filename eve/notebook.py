"""Eve's notebook: what her instruments told her of each pulse, and what follows for each bit of the sifted key.

A page is what one attack wrote about one frame. It answers with likelihoods: how probable is what she saw if Alice's
bit is 0, and if it is 1. Before the announcements she does not know the basis and her stored light is unmeasured
(`suspected`); afterwards she knows the sifted gates and their basis, and measures what she has stored (`known`).
Given the bit, what several attacks see of one pulse is independent, up to the one that sends on other light than
Alice's: of that light a later attack learns nothing. What came back from Alice's modulators flies beside and tells
its bit whatever becomes of her pulse. That Bob's gate clicked is evidence too, and the last (`qkdlink.eve.flight`).

A page takes about a byte and a half per pulse and attack; `qkdlink.eve.kept_blocks` bounds the number of blocks.
"""

from bisect import bisect
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from qkdlink.common.bits import Bits
from qkdlink.common.optics.adversary import Counted, Mask, analyser_overlap
from qkdlink.common.optics.photon_memory import NO_OUTCOME, QuantumMemory
from qkdlink.common.optics.records import Gates
from qkdlink.common.optics.states import Basis
from qkdlink.common.wire.pulse_frames import FrameFault, FrameHeader, FrameRefused
from qkdlink.eve.click_memory import Joint, Published, joint
from qkdlink.eve.flight import Codes, Flight, GateModel, Marks

type Likelihoods = NDArray[np.float64]
"""`float64[2, n]`: probability of what was seen if the bit is 0, and if it is 1, up to a common factor."""

type Bases = NDArray[np.uint8]
"""`uint8[n]` of `Basis`."""

_MOST_COUNTED = 7
_SURE = 1 - 1e-12


class Page(Protocol):
    """What one attack knows of the pulses `first_pulse` to `end_pulse` of a block."""

    @property
    def first_pulse(self) -> int:
        """The first pulse."""
        ...

    @property
    def end_pulse(self) -> int:
        """One past the last pulse."""
        ...

    def likelihoods(self, gates: Gates, bases: Bases) -> Likelihoods:
        """Answer for gates of this page (ascending), prepared in these bases; may measure what is stored."""
        ...

    def suspicions(self, gates: Gates, basis: Basis) -> Likelihoods:
        """Answer for gates of this page, supposing a basis; measures nothing."""
        ...

    @property
    def beside(self) -> bool:
        """Whether it speaks of light that comes from Alice whatever becomes of her pulses."""
        ...

    def moves(self, gates: Gates, flight: Flight) -> None:
        """Say what became of the light in these gates of this page, a pulse of `flight` each."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Knowledge:
    """What Eve knows of some bits."""

    guesses: Bits = field(repr=False)
    """Her best guess of each bit; 0 where she knows nothing."""
    probabilities: NDArray[np.float64] = field(repr=False)
    """Probability, 1/2..1, that each guess is right."""
    joint: Joint | None = None
    """What she lacks of the bits together, where they depend on each other for her."""

    def __len__(self) -> int:
        return len(self.guesses)

    @property
    def certain(self) -> Mask:
        """Where she knows the bit for sure: `bool[n]`."""
        return np.asarray(self.probabilities >= _SURE)

    @property
    def unknown(self) -> Mask:
        """Where she knows nothing at all: `bool[n]`."""
        return np.asarray(self.probabilities == 0.5)

    @property
    def known_fraction(self) -> float:
        """Share of the bits that she knows for sure, 0..1; 0 of nothing."""
        return float(self.certain.mean()) if len(self) else 0.0

    @property
    def guess_probability(self) -> float:
        """Mean probability of a right guess, 1/2..1; 1/2 of nothing."""
        return float(self.probabilities.mean()) if len(self) else 0.5

    @property
    def information(self) -> float:
        """Mean Shannon information per bit, 0..1: 1 - h(p), or what the bits together leave to her."""
        if self.joint is not None and len(self):
            return 1 - self.joint.entropy_bits / len(self)
        either = np.stack((self.probabilities, 1 - self.probabilities))
        logarithms = np.log2(either, out=np.zeros_like(either), where=either > 0)
        return float(1 + (either * logarithms).sum() / len(self)) if len(self) else 0.0

    @property
    def min_entropy_bits(self) -> float:
        """Min-entropy that the whole string has for her: the sum of -log2 p, in bits, if the bits are independent."""
        if self.joint is not None:
            return self.joint.min_entropy_bits
        return float(-np.log2(self.probabilities).sum())


@dataclass(frozen=True, slots=True, eq=False)
class FlightPage:
    """What became of pulses of which nothing was seen: jammed, faded or shifted."""

    first_pulse: int
    end_pulse: int
    onward: Marks | None = None
    """How each went on; None: as it was."""
    arrivals: Marks | None = None
    """When in its gate each arrives, of `Arrival`, where that was changed."""
    faded: Marks | None = None
    """1 where the light lost photons unseen."""
    faded_share: float = 1.0
    """Which share of them was left, 0..1."""

    @property
    def beside(self) -> bool:
        """No."""
        return False

    def likelihoods(self, gates: Gates, bases: Bases) -> Likelihoods:  # noqa: ARG002 - nothing was learnt
        """Tell nothing."""
        return np.ones((2, len(gates)))

    def suspicions(self, gates: Gates, basis: Basis) -> Likelihoods:  # noqa: ARG002 - nothing was learnt
        """Tell nothing."""
        return np.ones((2, len(gates)))

    def moves(self, gates: Gates, flight: Flight) -> None:
        """Let them go, fade and shift."""
        places = gates - np.uint32(self.first_pulse)
        if self.onward is not None:
            flight.goes_on(self.onward.at(places))
        if self.faded is not None:
            flight.fades(self.faded.at(places) > 0, self.faded_share)
        if self.arrivals is not None:
            flight.shifts(self.arrivals.at(places))


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredPage:
    """Pulses measured behind analysers: six bits per pulse for what was counted, two for the analyser."""

    first_pulse: int
    seen: NDArray[np.uint8] = field(repr=False)
    replaces: bool = True
    """Whether all of a pulse was measured where anything was counted, so that what went on is not Alice's light."""
    onward: Marks | None = None
    """How each pulse went on, where more is known of that."""

    @classmethod
    def write(
        cls,
        first_pulse: int,
        analysers: NDArray[np.uint8],
        counted: Counted,
        *,
        replaces: bool = True,
        onward: Codes | None = None,
    ) -> "MeasuredPage":
        """Note what was counted behind analysers 0..3; more than seven photons are noted as seven."""
        zeros, ones = (np.minimum(numbers, _MOST_COUNTED) for numbers in (counted.zeros, counted.ones))
        seen = analysers | zeros << np.uint8(2) | ones << np.uint8(5)
        return cls(first_pulse, seen, replaces, None if onward is None else Marks.of(onward))

    @property
    def end_pulse(self) -> int:
        """One past the last pulse."""
        return self.first_pulse + len(self.seen)

    @property
    def beside(self) -> bool:
        """No."""
        return False

    def likelihoods(self, gates: Gates, bases: Bases) -> Likelihoods:
        """Photon by photon: (1 + cos 2D)/2 for the detector that the bit points to."""
        seen = self.seen[gates - np.uint32(self.first_pulse)]
        return _COUNT_LIKELIHOODS[:, bases, seen]

    def suspicions(self, gates: Gates, basis: Basis) -> Likelihoods:
        """Say what was measured; it does not depend on what is announced."""
        return self.likelihoods(gates, np.full(len(gates), basis, np.uint8))

    def moves(self, gates: Gates, flight: Flight) -> None:
        """End it where anything was counted, if all was measured."""
        places = gates - np.uint32(self.first_pulse)
        if self.onward is not None:
            flight.goes_on(self.onward.at(places))
        if self.replaces:
            flight.of_alice[self.seen[places] >> np.uint8(2) > 0] = False


@dataclass(frozen=True, slots=True, eq=False)
class StoredPage:
    """Pulses of which she keeps a photon: nothing before the bases are announced, everything afterwards."""

    first_pulse: int
    end_pulse: int
    memory: QuantumMemory
    onward: Marks | None = None
    """How each pulse went on of which she keeps none; None: as it was."""
    tapped_share: float = 1.0
    """With which probability a photon of a tapped pulse went on, 0..1."""
    beside: bool = False
    """Whether it came back from Alice's modulators instead of flying on to Bob."""

    def likelihoods(self, gates: Gates, bases: Bases) -> Likelihoods:
        """Measure what is stored, in the right basis."""
        bits = self.memory.measure(gates, bases)
        return np.stack([bits != 1, (bits == 1) | (bits == NO_OUTCOME)]).astype(np.float64)

    def suspicions(self, gates: Gates, basis: Basis) -> Likelihoods:  # noqa: ARG002 - nothing is measured yet
        """Light that is not measured tells nothing."""
        return np.ones((2, len(gates)))

    def moves(self, gates: Gates, flight: Flight) -> None:
        """Go on as noted; where a photon is kept the bit is hers, and how the rest flies tells no more."""
        if self.onward is not None:
            flight.goes_on(self.onward.at(gates - np.uint32(self.first_pulse)), self.tapped_share)


class BlockNotes:
    """The pages of one block."""

    def __init__(self) -> None:
        self._pages: list[Page] = []
        self._ends: list[tuple[int, int, GateModel]] = []
        self._taken: list[tuple[int, int]] = []

    def __repr__(self) -> str:
        return f"BlockNotes({len(self._pages)} pages, redacted)"

    def begin(self, header: FrameHeader, block_pulses: int) -> None:
        """Begin a frame. Raises FrameRefused unless it has a place in the block, and no pulse was here before.

        Two pages about one gate would count what was seen there twice, and forged frames would fill the memory.
        """
        header.check_place(block_pulses)
        first_pulse, end_pulse = header.first_pulse, header.end_pulse
        place = bisect(self._taken, (first_pulse, end_pulse))
        neighbours = self._taken[max(place - 1, 0) : place + 1]
        if any(first < end_pulse and first_pulse < end for first, end in neighbours):
            raise FrameRefused(
                FrameFault.REPEATED, f"pulses {first_pulse} to {end_pulse - 1} were here before"
            )
        self._taken.insert(place, (first_pulse, end_pulse))

    def add(self, page: Page) -> None:
        """Keep a page."""
        self._pages.append(page)

    def end(self, first_pulse: int, end_pulse: int, gate: GateModel) -> None:
        """Keep where the light of a frame ends, after the whole chain."""
        self._ends.append((first_pulse, end_pulse, gate))

    def known(self, gates: Gates, bases: Bases) -> Knowledge:
        """Return what she knows of the bits at `gates` (`uint32[n]`, ascending), announced to be in these bases.

        They are sifted: Bob's basis was the same. Measures what is stored for these gates; asked again, it tells the
        same.
        """
        announced = np.unique(bases).tolist()
        return _knowledge(
            self._weights(gates, announced, lambda page, part: page.likelihoods(gates[part], bases[part]))
        )

    def known_of_key(self, published: Published, honest: GateModel) -> Knowledge:
        """Return what she knows of the sifted key, in the key basis, once its errors have been located.

        `honest` is Bob's gate where she has noted nothing. With detectors that have no afterpulses the errors tell her
        nothing that is accounted for here.
        """
        in_key = published.in_key
        gates = published.gates[in_key]
        bases = np.full(len(gates), Basis.KEY, np.uint8)
        detector = honest.detector
        if not detector.afterpulse_probability or not len(gates):
            return self.known(gates, bases)
        weights, flight = self._seen(gates, lambda page, part: page.likelihoods(gates[part], bases[part]))
        classes = published.all_classes
        light = honest.outcomes(Flight.begun(len(classes)), classes, published.matched)
        places = np.flatnonzero(in_key)
        for first, end, gate in self._ends:
            part = _part(gates, first, end)
            some = places[part]
            light[some] = gate.outcomes(flight[part], classes[some], published.matched[some])
        ones, together = joint(
            published, light, weights, detector.afterpulse_probability, detector.dead_gates
        )
        guesses = (ones > 0.5).astype(np.uint8)
        return Knowledge(guesses, np.maximum(ones, 1 - ones), together)

    def suspected(self, gates: Gates, key_basis_probability: float) -> Knowledge:
        """Return what she knew of the bits at the sifted `gates` (`uint32[n]`, ascending) before Alice said a basis."""

        def supposing(basis: Basis) -> Likelihoods:
            return self._weights(gates, Basis, lambda page, part: page.suspicions(gates[part], basis))

        key, test = supposing(Basis.KEY), supposing(Basis.TEST)
        return _knowledge(key_basis_probability * key + (1 - key_basis_probability) * test)

    def _weights(
        self, gates: Gates, bases: Collection[int], told: Callable[[Page, slice], Likelihoods]
    ) -> Likelihoods:
        """Multiply what the pages tell, as long as the light was Alice's, and what the click tells at the end."""
        weights, flight = self._seen(gates, told)
        parts = [_part(gates, first, end) for first, end, _ in self._ends]
        sifted = sum(part.stop - part.start for part in parts)
        pulses = sum(end - first for first, end, _ in self._ends)
        for part, (_, _, gate) in zip(parts, self._ends, strict=True):
            weights[:, part] *= gate.clicks(flight[part], gate.rate(sifted, bases, pulses))
        return weights

    def _seen(self, gates: Gates, told: Callable[[Page, slice], Likelihoods]) -> tuple[Likelihoods, Flight]:
        """Multiply what the pages tell, as long as the light was Alice's, and follow the light."""
        weights, flight = np.ones((2, len(gates))), Flight.begun(len(gates))
        for page in self._pages:
            part = _part(gates, page.first_pulse, page.end_pulse)
            heard = flight.of_alice[part] | page.beside
            weights[:, part] *= np.where(heard, told(page, part), 1.0)
            page.moves(gates[part], flight[part])
        return weights, flight


def _part(gates: Gates, first_pulse: int, end_pulse: int) -> slice:
    first, end = np.searchsorted(gates, [first_pulse, end_pulse])
    return slice(int(first), int(end))


def _knowledge(weights: Likelihoods) -> Knowledge:
    total = weights.sum(axis=0)  # 0 only if nature contradicted a certainty: she knows nothing then
    probabilities = np.divide(weights.max(axis=0), total, out=np.full(len(total), 0.5), where=total > 0)
    return Knowledge((weights[1] > weights[0]).astype(np.uint8), probabilities)


def _count_likelihoods() -> Likelihoods:
    """For every bit, basis and byte of a `MeasuredPage`: `float64[2, 2, 256]`."""
    table = np.empty((2, len(Basis), 256))
    for seen in range(256):
        analyser, zeros, ones = seen & 3, seen >> 2 & 7, seen >> 5
        for basis in Basis:
            for bit in (0, 1):
                to_1 = analyser_overlap(basis, bit, analyser)
                table[bit, basis, seen] = to_1**ones * (1 - to_1) ** zeros
    table[:, table.sum(axis=0) == 0] = 1.0  # counts that this basis cannot make
    return table


_COUNT_LIKELIHOODS = _count_likelihoods()
