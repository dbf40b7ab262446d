"""Large Toeplitz matrices by additive Fourier transforms: each block of the seed and of the key is transformed once.

Blocks have 2^20 bits, cut into chunks of 32, the coefficients of polynomials. Products of two chunks are short
enough for the field, so that a product of polynomials has the sums of such products as its coefficients, of
which each reaches into the next chunk. A window has 2^16 chunks and a key block half as many: their product is
longer than the 2^16 points can tell apart, and what is found is the product modulo x^65536 + x. Its coefficient
2^16 + t is added to coefficient t + 1, with t at most 2^15 - 2: of the upper half, which is the middle product,
only the carry into the lowest chunk is touched, by the product of the two uppermost chunks, and is put right.
"""

import numpy as np
from numpy.typing import NDArray

from common.distillation.carryless.conversion import POINTS
from common.distillation.carryless.emission import Words
from common.distillation.carryless.instructions import Lanes
from common.distillation.carryless.transform import add_products, constants, transform, transform_back
from common.kernels import kernel

type Chunks = NDArray[np.uint32]
"""Coefficient 32 i + j of a polynomial over GF(2) is bit j of chunk i."""

BLOCK_BITS = 16 * POINTS
_CHUNKS = POINTS // 2
_GROUP = 16  # columns whose products are summed before they are reduced and stored
_TILE = 1024  # points whose values in all spectra of a group stay in the second cache


def middle_products(lanes: Lanes, windows: Words, keys: Words, rows: int, columns: int) -> Words:
    """Multiply `rows` by `columns` blocks, as `blocks` lays them out: `uint64[rows * 2^14]`.

    Memory is 2^19 bytes for each of 2 rows + 31 blocks, or less if there are fewer than 16 columns.
    """
    group = min(columns, _GROUP)
    words = np.empty((group + (rows + group - 1) + rows) * POINTS, np.uint64)
    hashes = np.empty(rows * _CHUNKS, np.uint32)
    chunks = windows.view(np.uint32), keys.view(np.uint32)
    _multiply(lanes, words, *chunks, hashes, rows, columns, group, constants(len(lanes)))
    return hashes.view(np.uint64)


@kernel
def _multiply(
    lanes: Lanes,
    words: Words,
    windows: Chunks,
    keys: Chunks,
    hashes: Chunks,
    rows: int,
    columns: int,
    group: int,
    points: Words,
) -> None:
    """Transform a group of columns at a time, and those windows that the group before had no need of."""
    ring = rows + group - 1
    totals = (group + ring) * POINTS
    words[totals:] = 0
    places = np.empty(rows * group, np.int64)
    for first in range(0, columns, group):
        count = min(group, columns - first)
        for j in range(count):
            chunks = keys[(first + j) * _CHUNKS : (first + j + 1) * _CHUNKS]
            _transform_chunks(lanes, words, j * POINTS, chunks, points)
        after = columns - first if first else columns + rows - 1
        for diagonal in range(columns - first - count, after):
            chunks = windows[diagonal * _CHUNKS : (diagonal + 2) * _CHUNKS]
            _transform_chunks(lanes, words, (group + diagonal % ring) * POINTS, chunks, points)
        for i in range(rows):
            for j in range(count):
                places[i * group + j] = (group + (i + columns - 1 - first - j) % ring) * POINTS
        for tile in range(0, POINTS, _TILE):
            for i in range(rows):
                total = totals + i * POINTS
                for shift in range(tile, tile + _TILE, len(lanes)):
                    add_products(lanes, (words, shift, total, 0, POINTS, places, i * group, count))
    for i in range(rows):
        transform_back(lanes, words, totals + i * POINTS, points)
        wrapped = _uppermost_products(windows, keys, i, columns)
        coefficients = words[totals + i * POINTS : totals + (i + 1) * POINTS]
        _carry(coefficients, wrapped, hashes[i * _CHUNKS : (i + 1) * _CHUNKS])


@kernel
def _transform_chunks(lanes: Lanes, words: Words, place: int, chunks: Chunks, points: Words) -> None:
    coefficients = words[place : place + POINTS]
    for i in range(len(chunks)):
        coefficients[i] = chunks[i]
    coefficients[len(chunks) :] = 0
    transform(lanes, words, place, points)


@kernel
def _uppermost_products(windows: Chunks, keys: Chunks, i: int, columns: int) -> np.uint64:
    """Sum the products of the uppermost chunks of windows and key blocks in row `i` of the blocks."""
    total = np.uint64(0)
    for j in range(columns):
        window = np.uint64(windows[(i + columns - 1 - j + 2) * _CHUNKS - 1])
        key = np.uint64(keys[(j + 1) * _CHUNKS - 1])
        for power in range(32):
            if key >> np.uint64(power) & np.uint64(1):
                total ^= window << np.uint64(power)
    return total


@kernel
def _carry(coefficients: Words, wrapped: np.uint64, hashes: Chunks) -> None:
    """Add to the low half of each upper coefficient the high half of the one before it."""
    before = coefficients[_CHUNKS - 1 : POINTS - 1]
    upper = coefficients[_CHUNKS:]
    for i in range(_CHUNKS):
        hashes[i] = np.uint32(upper[i] & np.uint64(0xFFFFFFFF)) ^ np.uint32(before[i] >> np.uint64(32))
    hashes[0] ^= np.uint32(wrapped >> np.uint64(32))
