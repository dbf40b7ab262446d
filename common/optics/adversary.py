"""What an adversary's optics may do to light: switch, split, count, extract, measure, discriminate, store, prepare.

Her instruments are perfect: no loss, no dark counts, photons counted without being destroyed, light kept for as long as
she likes. What she cannot do is what optics forbid: look at a pulse without measuring it, measure it twice, or learn
more than an instrument tells. Every instrument takes trains, which are dark afterwards, and returns trains. Whoever
writes an attack needs these instruments and nothing else of `qkdlink.common.optics`; that boundary is this interface,
not Python.

A bench stands for one frame of light: the draws of each instrument are taken from nature in the order of use, at the
positions of the pulses, so that the size of frames changes nothing.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qkdlink.common.errors import LocalProtocolError
from qkdlink.common.optics.detector import COSINES
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.loops import lane_keys, thresholds
from qkdlink.common.optics.photon_memory import QuantumMemory
from qkdlink.common.optics.pulses import PulseTrain
from qkdlink.common.optics.records import Gates
from qkdlink.common.optics.side_light import BRIGHT, REFLECTED_SHIFT, Arrival, Manners, SideLight
from qkdlink.common.optics.side_loops import analyse, draws, thin
from qkdlink.common.optics.states import (
    PHOTON_NUMBERS,
    POLARISATIONS,
    Basis,
    States,
    bb84_polarisation,
    photon_numbers,
)

NO_CONCLUSION = np.uint8(255)
"""What discrimination tells where it tells nothing."""

type Mask = NDArray[np.bool_]
type Numbers = NDArray[np.uint8]

_POLARISATION = np.uint8(POLARISATIONS - 1)
_TO_DETECTOR_1 = thresholds([(1 - cosine) / 2 for cosine in COSINES])


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """Photons behind an analyser: how many took the way of bit 0, how many that of bit 1; `uint8[n]` each."""

    zeros: Numbers
    ones: Numbers


def analyser_overlap(basis: Basis, bit: int, analyser: int) -> float:
    """Probability 0..1 that a photon of this BB84 state is counted as a 1 behind an analyser (0..7)."""
    return (1 - COSINES[(bb84_polarisation(basis, bit) - analyser) % POLARISATIONS]) / 2


def conclusive_probability(photons: int) -> float:
    """Probability that `photons` copies of a BB84 state tell which of the four it is, without any error.

    0, 0, 1/2, 1/2, 3/4, 3/4, 7/8, 7/8 for 1 to 8 photons: 1 - 2^-k with k = floor((n - 1) / 2).
    Source: Dusek, Jahma, Luetkenhaus, Phys. Rev. A 62, 022306 (2000), Eqs. for P_D of even and odd n.
    """
    return 1 - 2.0 ** -((photons - 1) // 2) if photons else 0.0


def answer_probabilities(polarisation: int, photons: int) -> NDArray[np.float64]:
    """Probability of each answer of that measurement, a BB84 state each (polarisation 0, 2, 4, 6), to any pulse.

    `float64[4]`; the rest is no answer. The four states of n photons are symmetric: seen in the circular basis, a turn
    by 45 degrees multiplies the amplitudes of the numbers m = r mod 4 of right-handed photons by i^r. With c_r their
    length, the answer k belongs to the vector that is orthogonal to the three other states, sum over r of
    (c_min / c_r) i^(kr) |r> / 2. To one of the four it is therefore right or silent; to light in between it is wrong as
    often as these vectors overlap with it. Source: Chefles, Barnett, Phys. Lett. A 250, 223 (1998).
    """
    numbers = np.arange(photons + 1)
    amplitudes = np.sqrt([math.comb(photons, m) / 2.0**photons for m in numbers])
    turned = amplitudes * np.exp(1j * np.pi / 4 * polarisation * numbers)
    classes = numbers % 4 == np.arange(4)[:, None]
    lengths = np.sqrt((classes * amplitudes**2).sum(axis=1))
    if lengths.min() == 0:
        return np.zeros(4)  # one and two photons: the four states are not independent
    inside = (classes * amplitudes * turned).sum(axis=1) / lengths
    overlaps = np.exp(-1j * np.pi / 2 * np.outer(np.arange(4), np.arange(4))) @ (
        inside * lengths.min() / lengths
    )
    return np.asarray(np.abs(overlaps) ** 2 / 4)


def _answers() -> NDArray[np.uint64]:
    """Thresholds of the four answers, cumulated, for each state: `uint64[256, 4]`."""
    table = np.empty((PHOTON_NUMBERS, POLARISATIONS, 4), np.uint64)
    for photons in range(PHOTON_NUMBERS):
        for polarisation in range(POLARISATIONS):
            of_four = answer_probabilities(polarisation, photons)
            if polarisation % 2 == 0:  # exact, so that an answer about one of the four is never wrong
                of_four = np.zeros(4)
                of_four[polarisation // 2] = conclusive_probability(photons)
            table[photons, polarisation] = thresholds(np.cumsum(of_four))
    return table.reshape(-1, 4)


_ANSWERS = _answers()


class Bench:
    """An optical bench for one frame."""

    def __init__(self, nature: np.random.Generator) -> None:
        self._nature = nature

    def switch(self, train: PulseTrain, chosen: Mask) -> tuple[PulseTrain, PulseTrain]:
        """Send the pulses that are `chosen` (`bool[n]`) one way and the others another; vacuum takes their places."""
        medium, first, (states, manners) = train.medium, train.first_pulse, _absorbed(train)
        return (
            _train(np.where(chosen, states, 0), medium, first, _where(chosen, manners)),
            _train(np.where(chosen, 0, states), medium, first, _where(~chosen, manners)),
        )

    def join(self, one: PulseTrain, other: PulseTrain) -> PulseTrain:
        """Put two trains of the same pulses into one, in the medium of the first.

        Raises LocalProtocolError where both have photons in one pulse: two states in one slot are not one pulse.
        """
        medium, first = one.medium, one.first_pulse
        if other.first_pulse != first or len(other) != len(one):
            raise LocalProtocolError("trains of different pulses cannot be joined")
        (states, manners), (others, other_manners) = _absorbed(one), _absorbed(other)
        taken = photon_numbers(states) > 0
        if np.any(taken & (photon_numbers(others) > 0)):
            raise LocalProtocolError("two pulses cannot be put into one slot")
        joined = np.where(taken, states, others)
        if manners is None or other_manners is None:
            return _train(joined, medium, first, other_manners if manners is None else manners)
        return _train(joined, medium, first, manners | other_manners)

    def launch(self, train: PulseTrain, fibre: Fibre) -> PulseTrain:
        """Put light into another fibre than the one that it was meant for."""
        first, side = train.first_pulse, train.side
        return PulseTrain(train.absorb(), fibre, first, side)

    def split(self, train: PulseTrain, transmittance: float) -> tuple[PulseTrain, PulseTrain]:
        """Part a train at a beam splitter: each photon passes with probability `transmittance`, or is kept.

        Side light passes. Returns what passed and what was kept.
        """
        medium, first, (states, manners) = train.medium, train.first_pulse, _absorbed(train)
        passed, kept = np.empty_like(states), np.empty_like(states)
        thin(states, first, self._lane(), thresholds([transmittance])[0], passed, kept)
        return _train(passed, medium, first, manners), _train(kept, medium, first, None)

    def count(self, train: PulseTrain) -> tuple[Numbers, PulseTrain]:
        """Count the photons of each pulse without destroying them: `uint8[n]`, 0..31, and the light."""
        medium, first, side = train.medium, train.first_pulse, train.side
        states = train.absorb()
        return photon_numbers(states), PulseTrain(states, medium, first, side)

    def extract(self, train: PulseTrain, chosen: Mask) -> tuple[PulseTrain, PulseTrain]:
        """Take one photon out of each pulse that is `chosen` and has any; return those photons and the rest."""
        medium, first, (states, manners) = train.medium, train.first_pulse, _absorbed(train)
        taken = (chosen & (photon_numbers(states) > 0)).astype(np.uint8) << np.uint8(3)
        single = np.where(taken, states & _POLARISATION | taken, 0)
        return _train(single, medium, first, None), _train(states - taken, medium, first, manners)

    def measure(self, train: PulseTrain, analysers: Numbers) -> Counted:
        """Count photons behind analysers (`uint8[n]`, polarisation index 0..7 of bit 0); the light is gone."""
        first, states = train.first_pulse, train.absorb()
        zeros, ones = np.empty_like(states), np.empty_like(states)
        analyse(states, analysers, first, self._lane(), _TO_DETECTOR_1, zeros, ones)
        return Counted(zeros, ones)

    def discriminate(self, train: PulseTrain) -> Numbers:
        """Ask each pulse which of the four BB84 states it is; the light is gone.

        Returns a polarisation index or `NO_CONCLUSION`, `uint8[n]`; never a wrong one (`conclusive_probability`).
        Light in between gives an answer too, which means nothing (`answer_probabilities`).
        """
        first, states = train.first_pulse, train.absorb()
        drawn = draws(self._lane(), _numbered(first, len(states)))
        places = (drawn[:, None] >= _ANSWERS[states]).sum(axis=1, dtype=np.uint8)
        return np.where(places < 4, places << np.uint8(1), NO_CONCLUSION)

    def prepare(self, states: tuple[Numbers, Numbers], fibre: Fibre, first_pulse: int) -> PulseTrain:
        """Make new light: (polarisation indices 0..7, photon numbers 0..31), `uint8[n]` each, into `fibre`."""
        polarisation, photons = states
        return _train(polarisation & _POLARISATION | photons << np.uint8(3), fibre, first_pulse, None)

    def prepare_noise(self, photons: int, fibre: Fibre, first_pulse: int, count: int) -> PulseTrain:
        """Make unpolarised light: `photons` photons per pulse, each pulse in a BB84 state drawn by nature."""
        drawn = (draws(self._lane(), _numbered(first_pulse, count)) & np.uint64(3)).astype(np.uint8)
        return _train(drawn << np.uint8(1) | np.uint8(photons << 3), fibre, first_pulse, None)

    def prepare_bright(
        self, polarisation: Numbers, power_steps: Numbers, flooded: Mask, fibre: Fibre, first_pulse: int
    ) -> PulseTrain:
        """Flood the gates of `flooded` with bright light and add a trigger pulse where its power is not 0.

        `polarisation` is `uint8[n]`, 0..7, `power_steps` 0..31 in eighths of what a blinded detector needs to click.
        """
        states = polarisation & _POLARISATION | power_steps << np.uint8(3)
        return _train(
            np.where(flooded, states, 0), fibre, first_pulse, flooded.astype(np.uint8) * np.uint8(BRIGHT)
        )

    def delay(self, train: PulseTrain, arrivals: Numbers) -> PulseTrain:
        """Let each pulse arrive when `arrivals` says (`uint8[n]` of `Arrival`)."""
        medium, first, (states, manners) = train.medium, train.first_pulse, _absorbed(train)
        if arrivals.max(initial=0) > max(Arrival):
            raise LocalProtocolError("a pulse arrives on time, early or late within its gate")
        rest = np.uint8(0) if manners is None else manners & ~np.uint8(BRIGHT - 1)
        return _train(states, medium, first, rest | arrivals)

    def reflections(self, train: PulseTrain) -> tuple[PulseTrain, PulseTrain]:
        """Part the photons of a probe that came back from Alice's modulators from her own; return hers first."""
        medium, first, (states, manners) = train.medium, train.first_pulse, _absorbed(train)
        if manners is None:
            return _train(states, medium, first, None), _train(np.zeros_like(states), medium, first, None)
        reflected = manners >> np.uint8(REFLECTED_SHIFT) << np.uint8(3)
        received = manners & np.uint8((1 << REFLECTED_SHIFT) - 1)
        hers = _train(states, medium, first, received if received.any() else None)
        return hers, _train(states & _POLARISATION | reflected, medium, first, None)

    def store(self, train: PulseTrain) -> QuantumMemory:
        """Keep light until it is known how to measure it."""
        first, states = train.first_pulse, train.absorb()
        filled = np.flatnonzero(photon_numbers(states))
        return QuantumMemory((filled + first).astype(np.uint32), states[filled], self._lane())

    def _lane(self) -> np.uint64:
        lane: np.uint64 = lane_keys(self._nature, 1)[0]
        return lane


def _numbered(first_pulse: int, count: int) -> Gates:
    return np.arange(first_pulse, first_pulse + count, dtype=np.uint32)


def _absorbed(train: PulseTrain) -> tuple[States, Manners | None]:
    return train.absorb(), None if train.side is None else train.side.absorb()


def _where(chosen: Mask, manners: Manners | None) -> Manners | None:
    return None if manners is None else np.where(chosen, manners, 0)


def _train(states: States, medium: Fibre, first_pulse: int, manners: Manners | None) -> PulseTrain:
    side = None if manners is None else SideLight(np.asarray(manners, np.uint8))
    return PulseTrain(np.asarray(states, np.uint8), medium, first_pulse, side)
