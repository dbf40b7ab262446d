"""Disclosed parities as rows over GF(2): which bits of the key each of them is the sum of.

That is what a listener has heard, whatever she makes of it: a pass turns and shuffles, a check weighs, and both are
public (`shuffle`), so each parity is the sum of bits of the key that anybody can name.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from qkdlink.common.distillation.reconciliation.parity import Questions
from qkdlink.common.distillation.reconciliation.schedule import MAX_LANES, PASSES, Schedule
from qkdlink.common.distillation.reconciliation.shuffle import check_keys, shuffled, stream, weight
from qkdlink.common.distillation.reconciliation.words import Words
from qkdlink.common.kernels.compiled import kernel

type Columns = NDArray[np.int64]
"""Positions in the reconciled key, `int64[m]`, ascending."""

type Rows = NDArray[np.uint64]
"""Rows over GF(2), 64 columns per word: `uint64[rows, words]`."""

_AT_ONCE = 256
"""So many rows are looked at together, a byte for each of their columns."""


def parity_rows(
    columns: Columns, plan: Schedule, shuffle_seed: bytes, questions: Sequence[Questions]
) -> Rows:
    """Return the rows of the parities that these questions ask for, over some columns of the key.

    They are in the order of the questions and of their lanes, as the parities are on the wire, and packed as by
    `packed`. Each of the questions must make sense for a key of this layout (`Questions.parities`). Raises ValueError
    unless the seed has 32 bytes.
    """
    parities = taken_apart(questions)
    rows = np.empty((len(parities), -(-len(columns) // 64)), np.uint64)
    for index in np.unique(parities.indices):
        positions, bits = _seen(columns, int(index), plan, shuffle_seed)
        named = np.flatnonzero(parities.indices == index)
        for first in range(0, len(named), _AT_ONCE):
            some = named[first : first + _AT_ONCE, None]
            inside = (parities.starts[some] <= positions) & (positions < parities.ends[some])
            rows[some[:, 0]] = packed(inside & ((parities.masks[some] & bits) > 0))
    return rows


def packed(bits: NDArray[np.bool_]) -> Rows:
    """Pack rows of bits, `bool[rows, columns]`, into words: eight columns per byte, the first lowest."""
    width = -(-bits.shape[1] // 64)
    filled = np.zeros((len(bits), width * 8), np.uint8)
    small = np.packbits(bits, axis=1, bitorder="little")
    filled[:, : small.shape[1]] = small
    return filled.view(np.uint64)


def taken_apart(questions: Sequence[Questions]) -> Questions:
    """Take the questions apart, one parity each: in a pass each lane of a mask has a parity of its own."""
    indices, starts, ends, masks = (
        np.concatenate([np.empty(0, kind), *(getattr(asked, name) for asked in questions)])
        for name, kind in (
            ("indices", np.uint8),
            ("starts", np.uint32),
            ("ends", np.uint32),
            ("masks", np.uint64),
        )
    )
    lanes_asked = masks.astype("<u8").view(np.uint8).reshape(-1, MAX_LANES // 8)
    asked = np.unpackbits(lanes_asked, axis=1, bitorder="little")
    checks = indices >= PASSES
    asked[checks] = np.arange(MAX_LANES) == 0
    each, lane = np.nonzero(asked)
    own_masks = np.where(checks[each], masks[each], np.uint64(1) << lane.astype(np.uint64))
    return Questions(indices[each], starts[each], ends[each], own_masks)


def bits_at(index: int, plan: Schedule, shuffle_seed: bytes) -> NDArray[np.int64]:
    """Return which bit of the key is in each lane of each position of a pass, `int64[words, lanes]`; -1 for none."""
    columns = np.arange(plan.key_length)
    positions, masks = _seen(columns, index, plan, shuffle_seed)
    places = np.full((plan.words, plan.lanes), -1, np.int64)
    places[positions, np.log2(masks.astype(np.float64)).astype(np.int64)] = columns
    return places


def _seen(
    columns: Columns, index: int, plan: Schedule, shuffle_seed: bytes
) -> tuple[NDArray[np.int64], Words]:
    """Where a pass or check sees bits of the key: the position of the word, and the bit in it, as a mask.

    The mask is zero where a check leaves the bit out.
    """
    lanes, words = np.divmod(columns, plan.words)
    bounds = plan.frame_bounds()
    positions = np.array(bounds)[words % plan.frames] + words // plan.frames
    if index >= PASSES:
        weights = _weights(check_keys(shuffle_seed)[index - PASSES], positions)
        return positions, weights & (np.uint64(1) << lanes.astype(np.uint64))
    places, turns = np.empty((2, plan.words), np.int64)
    for start, end in pairwise(bounds):
        drawn = stream(shuffle_seed, index, start, end - start)
        order = shuffled(drawn)
        places[start + order] = np.arange(start, end)
        turns[start:end] = drawn & np.uint64(plan.lanes - 1)
    positions = places[positions]
    return positions, np.uint64(1) << ((lanes + turns[positions]) % plan.lanes).astype(np.uint64)


@kernel
def _weights(key: np.uint64, positions: NDArray[np.int64]) -> Words:
    """Weights of some words of the laid-out key in a check, `uint64[m]`."""
    weights = np.empty(positions.size, np.uint64)
    for place in range(positions.size):
        weights[place] = weight(key, positions[place])
    return weights
