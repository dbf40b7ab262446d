"""Alice's source: phase-randomised weak coherent pulses in several intensities, or exactly one photon each.

Her choices are secret and exact: 16 bits of a `ChoiceStream` for each pulse decide bit (1 bit), basis and intensity
class (15 bits: 2^7 times 2^8 equal parts). That is why probabilities lie on a grid. Eight of the sixteen nearly always
suffice, and the others are read only where they do not: one byte per pulse at the pulse's own position, and for every
pulse left open the next byte of those from 2^33 on. How many photons a pulse then holds is nature's business.

Source: Bennett and Brassard 1984 (states); Hwang 2003, Lo, Ma and Chen 2005 (phase randomisation and decoys).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from qkdlink.common.errors import ConfigurationError, LocalProtocolError
from qkdlink.common.kernels.compaction import SPARE_PLACES
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.loops import PIECE, Thresholds, choose, lane_keys, settle, shine, thresholds
from qkdlink.common.optics.pulses import PulseTrain
from qkdlink.common.optics.records import MOST_PULSES, Prepared
from qkdlink.common.optics.states import PHOTON_NUMBERS
from qkdlink.common.randomness import ChoiceStream

BASIS_CHOICES = 128
CLASS_CHOICES = 256
_MOST_CLASSES = 64  # a prepared byte has six bits for the class
_LOW_CHOICES = 2**33
"""Position in the stream of choices of the bytes that settle what the first one leaves open."""
_LANES = 2  # a chance: its first byte, and the rest of it


class PhotonStatistics(StrEnum):
    """How many photons a pulse holds."""

    POISSON = "poisson"
    SINGLE_PHOTON = "single-photon"


@dataclass(frozen=True, slots=True)
class Source:
    """The settings of a source; class 0 is the strongest intensity."""

    intensities: tuple[float, ...]
    """Mean photon number of each class, descending, at most 1; the last may be 0 (vacuum)."""
    probabilities: tuple[float, ...]
    """Probability of each class: multiples of 1/256 that sum to 1 (`choosable_probabilities`)."""
    key_basis_probability: float
    """Multiple of 1/128, between 0 and 1 (`choosable_basis_probability`)."""
    statistics: PhotonStatistics = PhotonStatistics.POISSON

    def __post_init__(self) -> None:
        _check_intensities(self.intensities)
        _check_probabilities(self.probabilities, len(self.intensities))
        check_basis_probability(self.key_basis_probability)
        if self.statistics is PhotonStatistics.SINGLE_PHOTON and self.intensities != (1.0,):
            raise ConfigurationError("a single-photon source has one class, of intensity 1")

    @classmethod
    def single_photon(cls, key_basis_probability: float) -> "Source":
        """Return an ideal source: one class, exactly one photon in each pulse."""
        return cls((1.0,), (1.0,), key_basis_probability, PhotonStatistics.SINGLE_PHOTON)

    @property
    def class_count(self) -> int:
        """Number of intensity classes."""
        return len(self.intensities)


class PulseSource:
    """A source while it emits one block: each pulse once, in order."""

    def __init__(self, source: Source, choices: ChoiceStream, nature: np.random.Generator) -> None:
        self._choices = choices
        self._bounds = cell_bounds(source)
        self._photon_tails = np.stack([_photon_tails(source, mean) for mean in source.intensities])
        self._lanes = lane_keys(nature, _LANES)
        self._next_pulse = 0
        self._settled = 0
        self._places = np.empty(0, np.int32)

    def __repr__(self) -> str:
        return f"PulseSource(next pulse {self._next_pulse}, redacted)"

    def emit(
        self, first_pulse: int, count: int, fibre: Fibre, room: Prepared | None = None
    ) -> tuple[Prepared, PulseTrain]:
        """Prepare the next `count` pulses and launch them into `fibre`.

        Returns what Alice knows (`uint8[count]`, see `Prepared`; in `room` if that is given) and the light itself.
        Raises LocalProtocolError unless `first_pulse` is the next one of the block: a pulse is emitted once, and
        none is left out.
        """
        if first_pulse != self._next_pulse:
            raise LocalProtocolError(f"pulse {self._next_pulse} is next to be emitted, not {first_pulse}")
        if count < 1 or first_pulse + count > MOST_PULSES:
            raise LocalProtocolError(f"a frame of {count} pulses cannot be emitted from pulse {first_pulse}")
        prepared = np.empty(count, np.uint8) if room is None else room
        states = np.empty(count, np.uint8)
        for begin in range(0, count, PIECE):
            piece = prepared[begin : begin + PIECE]
            self._choose(first_pulse + begin, piece)
            lit = states[begin : begin + PIECE]
            shine(piece, first_pulse + begin, self._photon_tails, self._lanes, lit)
        self._next_pulse += count
        return prepared, PulseTrain(states, fibre, first_pulse)

    def _choose(self, first_pulse: int, prepared: Prepared) -> None:
        """Choose bit, basis and class of as many pulses as `prepared` has room for."""
        count = len(prepared)
        if len(self._places) < count + SPARE_PLACES:
            self._places = np.empty(count + SPARE_PLACES, np.int32)
        choices = self._choices.read(first_pulse, count)
        unsettled = self._places[: choose(choices, self._bounds, prepared, self._places)]
        low_choices = self._choices.read(_LOW_CHOICES + self._settled, len(unsettled))
        settle(unsettled, choices, low_choices, self._bounds, prepared)
        self._settled += len(unsettled)


def cell_bounds(source: Source) -> NDArray[np.uint16]:
    """Where the cells of the 2^15 equal parts end that choose class and basis: `uint16[2 * classes - 1]`.

    Cell 2 * class + basis has the share that the probabilities of both give it.
    """
    key_basis = round(source.key_basis_probability * BASIS_CHOICES)
    shares = [
        round(probability * CLASS_CHOICES) * choices
        for probability in source.probabilities
        for choices in (key_basis, BASIS_CHOICES - key_basis)
    ]
    return np.cumsum(shares[:-1]).astype(np.uint16)


def choosable_basis_probability(probability: float) -> float:
    """Return the nearest key-basis probability that can be chosen exactly: 1/128 to 127/128."""
    return min(max(round(probability * BASIS_CHOICES), 1), BASIS_CHOICES - 1) / BASIS_CHOICES


def choosable_probabilities(probabilities: Sequence[float]) -> tuple[float, ...]:
    """Return class probabilities near these that can be chosen exactly: multiples of 1/256 that sum to 1.

    Every class keeps at least 1/256; what rounding leaves over goes to the largest remainders. Raises
    ConfigurationError unless they are 1 to 64 positive numbers; they are normalised first.
    """
    total = math.fsum(probabilities)
    if not 0 < len(probabilities) <= _MOST_CLASSES or not all(0 < p < math.inf for p in probabilities):
        raise ConfigurationError(f"class probabilities are 1 to {_MOST_CLASSES} positive numbers")
    wanted = [p / total * CLASS_CHOICES for p in probabilities]
    shares = [max(1, math.floor(share)) for share in wanted]
    while (missing := CLASS_CHOICES - sum(shares)) != 0:
        step = 1 if missing > 0 else -1
        movable = [i for i in range(len(shares)) if shares[i] + step >= 1]
        furthest = max(movable, key=lambda i: step * (wanted[i] - shares[i]))
        shares[furthest] += step
    return tuple(share / CLASS_CHOICES for share in shares)


def check_basis_probability(probability: float) -> None:
    """Raise ConfigurationError unless a basis can be chosen with exactly this probability."""
    if not 0 < probability < 1 or not (probability * BASIS_CHOICES).is_integer():
        raise ConfigurationError(
            f"a key-basis probability of {probability} cannot be chosen exactly:"
            f" it is a multiple of 1/{BASIS_CHOICES} between 0 and 1"
        )


def _check_intensities(intensities: tuple[float, ...]) -> None:
    if not 0 < len(intensities) <= _MOST_CLASSES:
        raise ConfigurationError(f"a source has 1 to {_MOST_CLASSES} intensities, not {len(intensities)}")
    if not all(0 <= mean <= 1 for mean in intensities):
        raise ConfigurationError(
            f"intensities {intensities} are impossible here: mean photon numbers are 0 to 1"
        )
    if any(later >= earlier for earlier, later in pairwise(intensities)):
        raise ConfigurationError(f"intensities {intensities} are not in descending order")


def _check_probabilities(probabilities: tuple[float, ...], classes: int) -> None:
    if len(probabilities) != classes:
        raise ConfigurationError(
            f"{classes} intensities need as many probabilities, not {len(probabilities)}"
        )
    on_grid = all(0 < p <= 1 and (p * CLASS_CHOICES).is_integer() for p in probabilities)
    if not on_grid or sum(probabilities) != 1:
        raise ConfigurationError(
            f"class probabilities {probabilities} cannot be chosen exactly: they are multiples of"
            f" 1/{CLASS_CHOICES} that sum to 1"
        )


def _photon_tails(source: Source, mean: float) -> Thresholds:
    """Thresholds of more than n photons, n = 0..31; the last is 0, so that 31 is the most there can be."""
    if source.statistics is PhotonStatistics.SINGLE_PHOTON:
        return np.array([2**64 - 1] + [0] * (PHOTON_NUMBERS - 1), np.uint64)
    terms = [math.exp(-mean) * mean**n / math.factorial(n) for n in range(1, 2 * PHOTON_NUMBERS)]
    tails = [math.fsum(reversed(terms[n:])) for n in range(PHOTON_NUMBERS - 1)]
    return thresholds([*tails, 0.0])
