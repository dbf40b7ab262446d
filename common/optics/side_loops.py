"""The compiled loops over light that an adversary has handled, beside those over honest light (`loops`).

Nature's draws are those of `loops.draw`, at a position given by the pulse's index and, where photons are followed one
by one, the photon's number. `draw` is pinned to a published generator, so that the cache of these kernels cannot
become stale by a change of it.
"""

import numpy as np
from numpy.typing import NDArray

from qkdlink.common.kernels.compiled import kernel
from qkdlink.common.optics.gate_loops import afterpulses, fired_by_light
from qkdlink.common.optics.loops import Thresholds, chance, draw

SWITCHED_OFF = 8
"""Row of a table of side thresholds from which on the efficiency of the detectors is 0."""


@kernel
def draws(lane: np.uint64, pulses: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """Nature's 64 bits for each of these pulses, in one lane: `uint64[n]`."""
    drawn = np.empty(len(pulses), np.uint64)
    for i in range(len(pulses)):
        drawn[i] = draw(lane, np.uint64(pulses[i]))
    return drawn


@kernel
def thin(
    states: NDArray[np.uint8],
    first_pulse: int,
    lane: np.uint64,
    threshold: np.uint64,
    passed: NDArray[np.uint8],
    kept: NDArray[np.uint8],
) -> None:
    """Send each photon to `passed` where its draw lies below `threshold`, else to `kept`; both get the polarisation."""
    for i in range(len(states)):
        state = states[i]
        through = 0
        for photon in range(state >> 3):
            if draw(lane, np.uint64((first_pulse + i) * 32 + photon)) < threshold:
                through += 1
        passed[i] = (state & 7) | through << 3
        kept[i] = state - (through << 3)


@kernel
def analyse(
    states: NDArray[np.uint8],
    analysers: NDArray[np.uint8],
    first_pulse: int,
    lane: np.uint64,
    to_detector_1: Thresholds,
    counts_0: NDArray[np.uint8],
    counts_1: NDArray[np.uint8],
) -> None:
    """Count each pulse's photons behind its analyser (0..7); `to_detector_1[angle]` has eight steps of 22.5 degrees."""
    for i in range(len(states)):
        threshold = to_detector_1[(states[i] - analysers[i]) & 7]
        counts_0[i], counts_1[i] = 0, 0
        for photon in range(states[i] >> 3):
            if draw(lane, np.uint64((first_pulse + i) * 32 + photon)) < threshold:
                counts_1[i] += 1
            else:
                counts_0[i] += 1


@kernel
def measure_watchfully(
    states: NDArray[np.uint8],
    manners: NDArray[np.uint8],
    off_choices: NDArray[np.uint8],
    off_below: int,
    choices: NDArray[np.uint8],
    first_gate: int,
    key_basis_choices: int,
    tables: Thresholds,
    afterpulse_threshold: np.uint64,
    dead_gates: int,
    lanes: NDArray[np.uint64],
    memory: NDArray[np.int64],
    tally: NDArray[np.int64],
    gates: NDArray[np.uint32],
    bases: NDArray[np.uint8],
    bits: NDArray[np.uint8],
) -> tuple[int, int]:
    """Measure one frame as `loops.measure` does, with monitors; return the numbers of clicks and of double clicks.

    `manners` and `off_choices` are as long as `states` or empty: honest light, no gate switched off. A gate is off
    where its byte of `off_choices` lies below `off_below`. `tables[row, basis, state]` are cumulated thresholds as in
    `loops.measure`; the row is the pulse's manner, plus `SWITCHED_OFF` in a gate that is off. `tally` gains the clicks
    in gates that were off, and the early and late clicks with bit 0 and with bit 1.
    """
    clicks, doubles = 0, 0
    gate, armed = memory[0], memory[1]
    while gate < len(states):
        choice = choices[gate]
        basis = np.uint8((choice >> 1) >= key_basis_choices)
        manner = manners[gate] & 7 if len(manners) else 0
        off = len(off_choices) > 0 and off_choices[gate] < off_below
        row = manner + SWITCHED_OFF * off
        index = np.uint64(first_gate + gate)
        fired = fired_by_light(chance(lanes, index), tables[row, basis, states[gate]])
        if armed:
            if manner < 4:  # a blinded detector makes no avalanche, hence no afterpulse
                fired |= afterpulses(armed, lanes, index, afterpulse_threshold)
            armed = 0
        if fired:
            bit = choice & 1 if fired == 3 else fired >> 1
            if off:
                tally[0] += 1
            else:
                gates[clicks] = first_gate + gate
                bases[clicks] = basis
                bits[clicks] = bit
                clicks += 1
                doubles += fired == 3
                arrival = manner & 3
                if 0 < arrival < 3:  # 3 is no arrival: as good as on time, and no place in the tally
                    tally[2 * arrival - 1 + bit] += 1
            armed = fired
            gate += dead_gates
        gate += 1
    memory[0], memory[1] = gate - len(states), armed
    return clicks, doubles
