"""Large Toeplitz matrices by additive Fourier transforms: each block of the seed and of the key is transformed once.

Blocks have 2^20 bits, cut into chunks of 32, the coefficients of polynomials. Products of two chunks are short
enough for the field, so that a product of polynomials has the sums of such products as its coefficients, of
which each reaches into the next chunk. A window has 2^16 chunks and a key block half as many: their product is
longer than the 2^16 points can tell apart, and what is found is the product modulo x^65536 + x. Its coefficient
2^16 + t is added to coefficient t + 1, with t at most 2^15 - 2: of the upper half, which is the middle product,
only the carry into the lowest chunk is touched, by the product of the two uppermost chunks, and is put right.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from qkdlink.common.distillation.carryless.conversion import POINTS
from qkdlink.common.distillation.carryless.transform import add_products, constants, transform, transform_back
from qkdlink.common.kernels.compiled import kernel
from qkdlink.common.kernels.emission import Words
from qkdlink.common.kernels.instructions import Lanes

type Chunks = NDArray[np.uint32]
"""Coefficient 32 i + j of a polynomial over GF(2) is bit j of chunk i."""

type Reader = Callable[[int], Chunks]
"""Reads a window or a key block by its number."""

BLOCK_BITS = 16 * POINTS
_CHUNKS = POINTS // 2
_GROUP = 8  # columns whose products are summed before they are reduced and stored
_TILE = 1024  # points whose values in all spectra of a group stay in the second cache


def middle_products(lanes: Lanes, window: Reader, key_block: Reader, rows: int, columns: int) -> Words:
    """Multiply `rows` by `columns` blocks, as `blocks` lays them out: `uint64[rows * 2^14]`.

    Window d = 0 .. rows + columns - 2 has 2^16 chunks, key block j half as many; each is asked for once. Memory
    is 2^19 bytes for each of 2 rows + 15 blocks, or less if there are fewer than 8 columns.
    """
    # The steps are kernels of their own and the loops over them are not: one around them would compile them again.
    group = min(columns, _GROUP)
    ring = rows + group - 1
    words = np.empty((group + ring + rows) * POINTS, np.uint64)
    totals = (group + ring) * POINTS
    words[totals:] = 0
    points = constants(len(lanes))
    uppermost = np.empty(rows + columns - 1, np.uint32), np.empty(columns, np.uint32)
    for first in range(0, columns, group):
        count = min(group, columns - first)
        for j in range(first, first + count):
            uppermost[1][j] = _transform_chunks(lanes, words, (j - first) * POINTS, key_block(j), points)
        after = columns - first if first else columns + rows - 1  # later ones the group before has left
        for d in range(columns - first - count, after):
            place = (group + d % ring) * POINTS
            uppermost[0][d] = _transform_chunks(lanes, words, place, window(d), points)
        diagonals = np.add.outer(np.arange(rows), columns - 1 - first - np.arange(count))
        _sum_products(lanes, words, totals, (group + diagonals % ring) * POINTS)
    hashes = np.empty(rows * _CHUNKS, np.uint32)
    for i in range(rows):
        place = totals + i * POINTS
        transform_back(lanes, words, place, points)
        wrapped = _sum_of_products(uppermost[0][i : i + columns][::-1], uppermost[1])
        _carry(words[place : place + POINTS], wrapped, hashes[i * _CHUNKS : (i + 1) * _CHUNKS])
    return hashes.view(np.uint64)


def _transform_chunks(lanes: Lanes, words: Words, place: int, chunks: Chunks, points: Words) -> np.uint32:
    """Put the values of a polynomial at `place`, and return its uppermost chunk."""
    words[place : place + len(chunks)] = chunks
    words[place + len(chunks) : place + POINTS] = 0
    transform(lanes, words, place, points)
    return np.uint32(chunks[-1])


@kernel
def _sum_products(lanes: Lanes, words: Words, totals: int, windows: NDArray[np.int64]) -> None:
    """Add to each row's spectrum those of the key blocks, from place 0 on, times those of the `windows` named."""
    rows, count = windows.shape
    places = windows.ravel()
    for tile in range(0, POINTS, _TILE):
        for i in range(rows):
            total = totals + i * POINTS
            for shift in range(tile, tile + _TILE, len(lanes)):
                add_products(lanes, (words, shift, total, 0, POINTS, places, i * count, count))


@kernel
def _sum_of_products(first: Chunks, second: Chunks) -> np.uint64:
    """Sum the products of chunks at equal places, in a time that does not depend on them."""
    total = np.uint64(0)
    for one, other in zip(first, second):  # noqa: B905 - compiled code knows no `strict`
        for power in range(32):
            total ^= (np.uint64(one) << np.uint64(power)) * np.uint64(
                other >> np.uint32(power) & np.uint32(1)
            )
    return total


@kernel
def _carry(coefficients: Words, wrapped: np.uint64, hashes: Chunks) -> None:
    """Add to the low half of each upper coefficient the high half of the one before it."""
    before = coefficients[_CHUNKS - 1 : POINTS - 1]
    upper = coefficients[_CHUNKS:]
    for i in range(_CHUNKS):
        hashes[i] = np.uint32(upper[i] & np.uint64(0xFFFFFFFF)) ^ np.uint32(before[i] >> np.uint64(32))
    hashes[0] ^= np.uint32(wrapped >> np.uint64(32))
