"""The compiled loops over gates: which detectors click, by nature's draws (`qkdlink.common.optics.loops`)."""

import numpy as np
from numpy.typing import NDArray

from qkdlink.common.kernels.compaction import SPARE_PLACES, list_marked
from qkdlink.common.kernels.compiled import kernel
from qkdlink.common.optics.loops import STRETCH, TOP_BYTE, Thresholds, completed, draw, glance_at

UNSURE = np.uint8(255)
"""The verdict of a first byte with which the other 56 bits decide."""


@kernel
def fired_by_light(drawn: np.uint64, cumulated: Thresholds) -> int:
    """Which detectors click for light and dark counts, as a mask; without a branch, since nobody can foresee it."""
    return 2 * int(drawn < cumulated[2]) - int(drawn < cumulated[1]) + 2 * int(drawn < cumulated[0])


def verdicts(click_thresholds: Thresholds) -> NDArray[np.uint8]:
    """Say for each basis, state and first byte of a chance what fires, as a mask, or `UNSURE`: `uint8[2, 256, 256]`."""
    lowest = np.arange(256, dtype=np.uint64) << TOP_BYTE
    highest = lowest | np.uint64(2**56 - 1)
    both, only_0, only_1 = (click_thresholds[:, :, outcome, np.newaxis] for outcome in range(3))
    fired = 2 * (lowest < only_1).astype(np.uint8) - (lowest < only_0) + 2 * (lowest < both)
    for threshold in (both, only_0, only_1):
        fired = np.where((lowest < threshold) != (highest < threshold), UNSURE, fired)
    return fired.astype(np.uint8)


@kernel
def afterpulses(armed: int, lanes: NDArray[np.uint64], index: np.uint64, threshold: np.uint64) -> int:
    """Which of the `armed` detectors click again, as a mask; their lanes are the third and the fourth."""
    return armed & (int(draw(lanes[2], index) < threshold) | int(draw(lanes[3], index) < threshold) << 1)


@kernel
def _register(
    fired: int | np.integer,
    gate: int | np.integer,
    basis: np.integer,
    choice: np.uint8,
    place: int | np.integer,
    record: tuple[NDArray[np.uint32], NDArray[np.uint8], NDArray[np.uint8]],
) -> None:
    """Write a click to `place` of gates, bases and bits."""
    gates, bases, bits = record
    here = np.uint64(place)
    gates[here] = gate
    bases[here] = basis
    bits[here] = choice & 1 if fired == 3 else fired >> 1


@kernel
def _measure_forgetfully(
    places: NDArray[np.int32],
    start: int,
    first_gate: int,
    glances: NDArray[np.uint8],
    states: NDArray[np.uint8],
    choices: NDArray[np.uint8],
    key_basis_choices: int,
    click_thresholds: Thresholds,
    settled: NDArray[np.uint8],
    lane: np.uint64,
    clicks: int,
    record: tuple[NDArray[np.uint32], NDArray[np.uint8], NDArray[np.uint8]],
) -> tuple[int, int]:
    """Look at possible clicks of a stretch in detectors without dead time and afterpulses, as `measure` does.

    All indices are unsigned: a third of the time went into asking whether one is negative.
    """
    first, begin = np.uint64(first_gate), np.uint64(start)
    least, found, doubles = np.uint8(key_basis_choices), np.uint64(clicks), np.uint64(0)
    for k in range(len(places)):
        gate = np.uint64(places[k])
        choice, state, glance = choices[gate], states[gate - begin], glances[gate - begin]
        basis = np.uint8((choice >> 1) >= least)
        fired = settled[np.uint64(basis), np.uint64(state), np.uint64(glance)]
        if fired == UNSURE:
            drawn = completed(np.uint64(glance), lane, first + gate)
            fired = np.uint8(fired_by_light(drawn, click_thresholds[basis, state]))
        _register(fired, first + gate, basis, choice, found, record)
        found += np.uint64(fired > 0)
        doubles += np.uint64(fired == 3)
    return int(found) - clicks, int(doubles)


@kernel
def measure(
    states: NDArray[np.uint8],
    choices: NDArray[np.uint8],
    first_gate: int,
    key_basis_choices: int,
    click_thresholds: Thresholds,
    settled: NDArray[np.uint8],
    afterpulse_threshold: np.uint64,
    dead_gates: int,
    lanes: NDArray[np.uint64],
    memory: NDArray[np.int64],
    gates: NDArray[np.uint32],
    bases: NDArray[np.uint8],
    bits: NDArray[np.uint8],
) -> tuple[int, int]:
    """Measure one frame; return the number of clicks (gates with any) and of double clicks.

    One byte of `choices` per gate: seven bits for the basis (key basis below `key_basis_choices`), one for
    the coin that decides a double click. `click_thresholds[basis, state]` are the cumulated thresholds of:
    both detectors, only detector 0 besides, only detector 1 besides; `settled` are their `verdicts`. `memory` is
    (gates still dead, detectors that may afterpulse as a mask) and outlives the frame.

    Gates are looked at one by one only where the first byte of their chance does not rule a click out, and in the
    first live gate after a click.
    """
    clicks, doubles = 0, 0
    live, armed = memory[0], memory[1]
    remembered = 3 if afterpulse_threshold else 0
    forgetful = not (live or armed or remembered or dead_gates)
    record = (gates, bases, bits)
    limits = _click_limits(click_thresholds)
    words = np.empty(STRETCH // 8 + 1, np.uint64)
    flags = np.zeros(STRETCH, np.uint8)
    places = np.empty(STRETCH + SPARE_PLACES, np.int32)
    for start in range(0, len(states), STRETCH):
        light = states[start : start + STRETCH]
        glances = glance_at(lanes[0], first_gate + start, words)
        _mark_possible_clicks(glances, light, limits, flags)
        flags[len(light) :] = 0
        found = list_marked(flags, start, places)
        end = start + len(light)
        if forgetful:
            more, more_doubles = _measure_forgetfully(
                places[:found],
                start,
                first_gate,
                glances,
                light,
                choices,
                key_basis_choices,
                click_thresholds,
                settled,
                lanes[1],
                clicks,
                record,
            )
            clicks += more
            doubles += more_doubles
            continue
        for k in range(found + 1):
            gate = places[k] if k < found else end
            while armed and live < gate:
                armed = afterpulses(armed, lanes, np.uint64(first_gate + live), afterpulse_threshold)
                if armed:
                    basis = np.uint64((choices[live] >> 1) >= key_basis_choices)
                    _register(armed, first_gate + live, basis, choices[live], clicks, record)
                    clicks += 1
                    doubles += armed == 3
                    live += 1 + dead_gates
            if gate < live or gate == end:
                continue
            here, index = np.uint64(gate), np.uint64(first_gate + gate)
            choice, state, glance = choices[here], states[here], glances[here - np.uint64(start)]
            basis = np.uint64((choice >> 1) >= key_basis_choices)
            fired = int(settled[basis, np.uint64(state), np.uint64(glance)])
            if fired == UNSURE:
                drawn = completed(np.uint64(glance), lanes[1], index)
                fired = fired_by_light(drawn, click_thresholds[basis, np.uint64(state)])
            if armed:
                fired |= afterpulses(armed, lanes, index, afterpulse_threshold)
            _register(fired, first_gate + gate, basis, choice, clicks, record)
            clicks += fired > 0  # else the next click overwrites it
            doubles += fired == 3
            armed = fired & remembered
            live = gate + 1 + dead_gates if fired else live
    memory[0], memory[1] = max(live - len(states), 0), armed
    return clicks, doubles


@kernel
def _click_limits(click_thresholds: Thresholds) -> NDArray[np.uint8]:
    """Greatest first byte of a chance with which 0, 1, 2 and 3 photons can click, whatever basis and polarisation."""
    limits = np.zeros(4, np.uint8)
    for photons in range(4):
        for state in range(8 * photons, 8 * photons + 8):
            for basis in range(2):
                highest = np.uint8(click_thresholds[basis, state, 2] >> TOP_BYTE)
                limits[photons] = max(limits[photons], highest)
    return limits


@kernel
def _mark_possible_clicks(
    glances: NDArray[np.uint8],
    states: NDArray[np.uint8],
    limits: NDArray[np.uint8],
    flags: NDArray[np.uint8],
) -> None:
    """Flag the gates in which a detector may click; with more than three photons it always may."""
    none, one, two, three = limits[0], limits[1], limits[2], limits[3]
    many = np.uint8(255)
    for i in range(len(states)):
        state = states[i]
        limit = none
        limit = one if state >= 8 else limit
        limit = two if state >= 16 else limit
        limit = three if state >= 24 else limit
        limit = many if state >= 32 else limit
        flags[i] = glances[i] <= limit
