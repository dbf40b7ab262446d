"""The compiled loops over pulses, and the draws of nature that they share with those over gates.

Nature's draw for a pulse is a function of (lane key, index in the block), never of what was drawn before, so
that the size of frames changes nothing. It is SplitMix64 read at a position (Steele, Lea and Flood 2014,
with the mixer that Stafford calls variant 13): good statistics, 64 bits, no secrecy. Lanes are independent
because their keys are 64 bits of the block's generator; two lanes of 2^32 draws overlap with probability
2^-31.

The draw that decides about each pulse is read in two parts. Its first byte nearly always settles the matter, and one
word of the first lane has the first bytes of eight pulses (`glances`); the other 56 bits are a word of the next lane,
read only where they matter (`chance`). So what is done for every pulse are comparisons of bytes in arrays, which
compilers turn into vector instructions, and whole words are for pulses of which there are few.
"""

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from qkdlink.common.kernels.compaction import SPARE_PLACES, list_marked
from qkdlink.common.kernels.compiled import kernel

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_SHIFT_1, _SHIFT_2, _SHIFT_3 = np.uint64(30), np.uint64(27), np.uint64(31)
_BYTE, TOP_BYTE = np.uint64(8), np.uint64(56)
PIECE = 2**18
"""Pulses that pass one loop before the next begins: what one leaves, the other finds in the second cache."""
STRETCH = 4096
"""Pulses that are worked on at a time: what is known of them in between stays in the first cache."""

_COUNTERS = 256
"""Bytes that count beside each other: as many as the longest vectors hold, four times."""

type Thresholds = NDArray[np.uint64]
"""Probabilities times 2^64: an event happens where a draw lies below its threshold."""


def lane_keys(nature: np.random.Generator, lanes: int) -> NDArray[np.uint64]:
    """Take the keys of independent lanes of draws from nature's generator for this block: `uint64[lanes]`."""
    keys: NDArray[np.uint64] = nature.integers(0, 2**64, lanes, np.uint64)
    return keys


def thresholds(probabilities: Iterable[float]) -> Thresholds:
    """Turn probabilities 0..1 into `uint64` thresholds; each is exact to the last bit of its double.

    Certainty becomes 1 - 2^-64.
    """
    return np.array([min(int(math.ldexp(p, 64)), 2**64 - 1) for p in probabilities], np.uint64)


@kernel
def draw(lane: np.uint64, index: np.uint64) -> np.uint64:
    """Nature's 64 random bits for one index of one lane."""
    z = lane + (index + np.uint64(1)) * _GOLDEN
    z = (z ^ (z >> _SHIFT_1)) * _MIX_1
    z = (z ^ (z >> _SHIFT_2)) * _MIX_2
    return z ^ (z >> _SHIFT_3)


@kernel
def chance(lanes: NDArray[np.uint64], index: np.uint64) -> np.uint64:
    """Nature's 64 random bits about one pulse: a byte of the first of two lanes, then 56 bits of the second."""
    word = draw(lanes[0], index >> np.uint64(3))
    return completed(word >> (_BYTE * (index & np.uint64(7))), lanes[1], index)


@kernel
def completed(first_byte: np.uint64, lane: np.uint64, index: np.uint64) -> np.uint64:
    """Complete the first byte of a chance (what stands above it is cut off)."""
    return (np.uint64(first_byte) << TOP_BYTE) | (draw(lane, index) >> _BYTE)


@kernel
def glance_at(lane: np.uint64, first: int, words: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """First bytes of the chances of pulse `first` and those behind it; `words` is overwritten and has room for them."""
    for i in range(len(words)):
        words[i] = draw(lane, np.uint64((first >> 3) + i))
    return words.view(np.uint8)[first & 7 :]  # little-endian, as every machine that numba compiles for here


@kernel
def choose(
    choices: NDArray[np.uint8],
    bounds: NDArray[np.uint16],
    prepared: NDArray[np.uint8],
    unsettled: NDArray[np.int32],
) -> int:
    """Choose bit and cell of each pulse from one byte; list the cells that are `unsettled`, and return their number.

    The low bit is the bit. The others are the high seven of fifteen that choose the cell: the number of `bounds` that
    do not exceed them. Where the high seven are those of a bound, the low eight decide (`settle`). `prepared` gets the
    bit, and the cell above it.
    """
    found = 0
    in_halves = np.any(bounds & 255)
    flags = np.zeros(STRETCH, np.uint8)
    for start in range(0, len(choices), STRETCH):
        some, cells = choices[start : start + STRETCH], prepared[start : start + STRETCH]
        for i in range(len(some)):
            cells[i] = 0
            flags[i] = 0
        for bound in bounds:
            least = np.uint8((bound + 255) >> 8)
            for i in range(len(some)):
                cells[i] += np.uint8((some[i] >> 1) >= least)
        for bound in bounds:
            if bound & 255:
                high = np.uint8(bound >> 8)
                for i in range(len(some)):
                    flags[i] |= np.uint8((some[i] >> 1) == high)
        for i in range(len(some)):
            cells[i] = (cells[i] << 1) | (some[i] & 1)
        if in_halves:
            flags[len(some) :] = 0
            found += list_marked(flags, start, unsettled[found:])
    return found


@kernel
def settle(
    unsettled: NDArray[np.int32],
    choices: NDArray[np.uint8],
    low_choices: NDArray[np.uint8],
    bounds: NDArray[np.uint16],
    prepared: NDArray[np.uint8],
) -> None:
    """Choose the cells that `choose` left open, from one more byte for each."""
    for k in range(len(unsettled)):
        place = unsettled[k]
        chosen = int(choices[place] >> 1) << 8 | int(low_choices[k])
        cell = 0
        for bound in bounds:
            cell += bound <= chosen
        prepared[place] = cell << 1 | (choices[place] & 1)


@kernel
def shine(
    prepared: NDArray[np.uint8],
    first_pulse: int,
    photon_tails: Thresholds,
    lanes: NDArray[np.uint64],
    states: NDArray[np.uint8],
) -> None:
    """Give each prepared pulse its polarisation and its photons; the first has index `first_pulse` in the block.

    `photon_tails[c, n]` is the threshold of having more than n photons in class c; from n = 4 on it is below 1/256.
    """
    words = np.empty(STRETCH // 8 + 1, np.uint64)
    flags = np.zeros(STRETCH, np.uint8)
    places = np.empty(STRETCH + SPARE_PLACES, np.int32)
    for start in range(0, len(prepared), STRETCH):
        settings, lit = prepared[start : start + STRETCH], states[start : start + STRETCH]
        glances = glance_at(lanes[0], first_pulse + start, words)
        for intensity_class in range(len(photon_tails)):
            _count_photons(glances, settings, intensity_class, photon_tails[intensity_class], lit, flags)
        flags[len(settings) :] = 0
        for k in range(list_marked(flags, 0, places)):
            i = places[k]
            intensity_class, photons = settings[i] >> 2, lit[i]
            drawn = completed(np.uint64(glances[i]), lanes[1], np.uint64(first_pulse + start + i))
            photons += np.uint8(drawn < photon_tails[intensity_class, photons])
            while drawn < photon_tails[intensity_class, photons]:
                photons += np.uint8(1)
            lit[i] = photons
        for i in range(len(settings)):
            lit[i] = (lit[i] << 3) | (settings[i] & 2) | ((settings[i] & 1) << 2)


@kernel
def _count_photons(
    glances: NDArray[np.uint8],
    prepared: NDArray[np.uint8],
    intensity_class: int,
    tails: Thresholds,
    photons: NDArray[np.uint8],
    flags: NDArray[np.uint8],
) -> None:
    """Count the photons of one class and those above it by first bytes; flag the pulses where these do not suffice."""
    least = np.uint8(intensity_class << 2)
    more_0, more_1 = np.uint8(tails[0] >> TOP_BYTE), np.uint8(tails[1] >> TOP_BYTE)
    more_2, more_3 = np.uint8(tails[2] >> TOP_BYTE), np.uint8(tails[3] >> TOP_BYTE)
    for i in range(len(prepared)):
        seen = glances[i]
        surely = (
            np.uint8(seen < more_0)
            + np.uint8(seen < more_1)
            + np.uint8(seen < more_2)
            + np.uint8(seen < more_3)
        )
        unsure = (seen == more_0) | (seen == more_1) | (seen == more_2) | (seen == more_3) | (seen == 0)
        photons[i] = np.uint8(surely) if prepared[i] >= least else photons[i]
        flags[i] = np.uint8(unsure) if prepared[i] >= least else flags[i]


@kernel
def look_up(
    prepared: NDArray[np.uint8],
    gates: NDArray[np.uint32],
    found: NDArray[np.uint8],
) -> None:
    """Read what was prepared for the pulses at `gates`, which lie within `prepared`."""
    for i in range(len(gates)):
        found[i] = prepared[gates[i]]


@kernel
def count_from(values: NDArray[np.uint8], least: np.uint8) -> int:
    """Count the values that are `least` or more: in bytes, as many beside each other as vectors are long at most."""
    counters = np.empty(_COUNTERS, np.uint8)
    rows = len(values) // _COUNTERS
    found = 0
    for first in range(0, rows, 255):
        counters[:] = 0
        for row in range(first, min(first + 255, rows)):
            some = values[row * _COUNTERS : (row + 1) * _COUNTERS]
            for i in range(_COUNTERS):
                counters[i] += np.uint8(some[i] >= least)
        found += int(counters.astype(np.int64).sum())
    for value in values[rows * _COUNTERS :]:
        found += int(value >= least)
    return found
