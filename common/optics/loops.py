"""The compiled loops over pulses and gates, and the draws of nature they share.

Nature's draw for a pulse is a function of (lane key, index in the block), never of what was drawn before, so
that the size of frames changes nothing. It is SplitMix64 read at a position (Steele, Lea and Flood 2014,
with the mixer that Stafford calls variant 13): good statistics, 64 bits, no secrecy. Lanes are independent
because their keys are 64 bits of the block's generator; two lanes of 2^32 draws overlap with probability
2^-31.

All these loops stand in one file because numba's cache of a kernel does not notice changes in other files.
"""

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from common.kernels import kernel

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_SHIFT_1, _SHIFT_2, _SHIFT_3 = np.uint64(30), np.uint64(27), np.uint64(31)

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
def prepare(
    choices: NDArray[np.uint8],
    first_pulse: int,
    key_basis_choices: int,
    class_of_choice: NDArray[np.uint8],
    photon_tails: Thresholds,
    lane: np.uint64,
    prepared: NDArray[np.uint8],
    states: NDArray[np.uint8],
) -> None:
    """Prepare one pulse per entry of `prepared` and `states`; the first has index `first_pulse` in the block.

    Two bytes of `choices` per pulse: one bit for the bit, seven for the basis (key basis below
    `key_basis_choices`), eight for the class. `photon_tails[c, n]` is the threshold of having more than n
    photons in class c.
    """
    for i in range(len(prepared)):
        first, second = choices[2 * i], choices[2 * i + 1]
        bit = first & 1
        basis = np.uint8((first >> 1) >= key_basis_choices)
        intensity_class = class_of_choice[second]
        chance = draw(lane, np.uint64(first_pulse + i))
        photons = 0
        while chance < photon_tails[intensity_class, photons]:
            photons += 1
        prepared[i] = bit | basis << 1 | intensity_class << 2
        states[i] = basis << 1 | bit << 2 | photons << 3


@kernel
def measure(
    states: NDArray[np.uint8],
    choices: NDArray[np.uint8],
    first_gate: int,
    key_basis_choices: int,
    click_thresholds: Thresholds,
    afterpulse_threshold: np.uint64,
    dead_gates: int,
    lanes: NDArray[np.uint64],
    memory: NDArray[np.int64],
    gates: NDArray[np.uint32],
    bases: NDArray[np.uint8],
    bits: NDArray[np.uint8],
) -> tuple[int, int]:
    """Measure one frame gate by gate; return the number of clicks (gates with any) and of double clicks.

    One byte of `choices` per gate: seven bits for the basis (key basis below `key_basis_choices`), one for
    the coin that decides a double click. `click_thresholds[basis, state]` are the cumulated thresholds of:
    both detectors, only detector 0 besides, only detector 1 besides. `memory` is (gates still dead,
    detectors that may afterpulse as a mask) and outlives the frame.
    """
    clicks, doubles = 0, 0
    gate, armed = memory[0], memory[1]
    while gate < len(states):
        choice = choices[gate]
        basis = np.uint8((choice >> 1) >= key_basis_choices)
        state = states[gate]
        index = np.uint64(first_gate + gate)
        chance = draw(lanes[0], index)
        fired = 0
        if chance < click_thresholds[basis, state, 2]:
            fired = 2
            if chance < click_thresholds[basis, state, 1]:
                fired = 3 if chance < click_thresholds[basis, state, 0] else 1
        if armed:
            if armed & 1 and draw(lanes[1], index) < afterpulse_threshold:
                fired |= 1
            if armed & 2 and draw(lanes[2], index) < afterpulse_threshold:
                fired |= 2
            armed = 0
        if fired:
            gates[clicks] = first_gate + gate
            bases[clicks] = basis
            bits[clicks] = choice & 1 if fired == 3 else fired >> 1
            clicks += 1
            doubles += fired == 3
            armed = fired
            gate += dead_gates
        gate += 1
    memory[0], memory[1] = gate - len(states), armed
    return clicks, doubles


@kernel
def count_prepared(prepared: NDArray[np.uint8], counts: NDArray[np.int64]) -> None:
    """Add the number of pulses of each intensity class to `counts`."""
    for i in range(len(prepared)):
        counts[prepared[i] >> 2] += 1
