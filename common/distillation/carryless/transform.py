"""The additive Fourier transform: a polynomial at the 2^16 first points of Cantor's basis, and back.

Coefficients and values are elements of the field of 2^64 elements (`field`). After `conversion` a polynomial
of 2^(i+1) coefficients is f + s[i] g with halves f and g. At a point p of the lower half of a block and at
its partner in the upper half, where s[i] is 1 more, it is f + s[i](p) g, and that plus g: one multiplication
by a constant for two values, sixteen times over. The way back is the same in the opposite order.

The values stand in an order of our own (the smallest squares are transposed), which products do not mind.
Products of values are values of the product modulo s[16] = x^65536 + x.

Sources: Gao and Mateer, "Additive fast Fourier transforms over finite fields", IEEE Trans. Inf. Theory 56
(2010) 6265; Lin, Al-Naffouri, Han, Chung, "Novel polynomial basis with fast Fourier transform", IEEE Trans.
Inf. Theory 62 (2016) 6284; Chen, Cheng, Kuo, Li, Yang, "Faster multiplication for long binary polynomials",
arXiv:1708.09746; the multiplication by constants after Shoup (in NTL).
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
from llvmlite import ir
from numba.core import cgutils

from qkdlink.common.distillation.carryless.conversion import POINTS, POINTS_LOG2, convert, convert_back
from qkdlink.common.distillation.carryless.field import even_points
from qkdlink.common.kernels.compiled import kernel
from qkdlink.common.kernels.emission import Words, at, emitted
from qkdlink.common.kernels.instructions import Lanes, Vectors

_BLOCKS = POINTS // 2  # at the lowest level; so many constants there are


@cache
def constants(width: int) -> Words:
    """Return the constants of all levels: `even_points`, then those of places within a square of `width`^2 values.

    The second part is, for level d from the highest in the square down and each block of columns, one vector
    over the rows: the even point of row and column, and in its second half the floors.
    """
    points = even_points(POINTS_LOG2 - 1)
    squares = [
        points[:, (np.arange(width) * width >> level + 1)] ^ points[:, block, np.newaxis]
        for level in reversed(range(width.bit_length() - 1))
        for block in range(width >> level + 1)
    ]
    flat: Words = np.concatenate([points.ravel(), np.stack(squares, axis=1).ravel()])
    flat.flags.writeable = False
    return flat


def _scaled(vectors: Vectors, vector: ir.Value, constant: ir.Value, floor: ir.Value) -> ir.Value:
    """Multiply by constants of the field."""
    quotient = vectors.high_halves(*vectors.products(vector, floor))
    return vectors.sum(
        vectors.low_halves(*vectors.products(vector, constant)), _times_modulus(vectors, quotient)
    )


def _times_modulus(vectors: Vectors, vector: ir.Value) -> ir.Value:
    """Multiply by z^4 + z^3 + z + 1 and forget what passes z^63."""
    return vectors.sum(vector, *(vectors.shifted_left(vector, power) for power in (1, 3, 4)))


def _reduced(vectors: Vectors, even: ir.Value, odd: ir.Value) -> ir.Value:
    """Take products modulo the field's polynomial; what passes z^63 a second time is folded in beforehand."""
    high = vectors.high_halves(even, odd)
    folded = vectors.sum(high, *(vectors.shifted_right(high, 64 - power) for power in (1, 3, 4)))
    return vectors.sum(vectors.low_halves(even, odd), _times_modulus(vectors, folded))


def _forth(vectors: Vectors, f: ir.Value, g: ir.Value, constant: ir.Value, floor: ir.Value) -> list[ir.Value]:
    first = vectors.sum(f, _scaled(vectors, g, constant, floor))
    return [first, vectors.sum(first, g)]


def _back(vectors: Vectors, f: ir.Value, g: ir.Value, constant: ir.Value, floor: ir.Value) -> list[ir.Value]:
    second = vectors.sum(f, g)
    return [vectors.sum(f, _scaled(vectors, second, constant, floor)), second]


def _emit_block(vectors: Vectors, arguments: Sequence[ir.Value], *, back: bool) -> None:
    """words, place, half, constants, block: one block of 2 `half` values at `place`."""
    words, place, half, points, block = arguments
    builder, step = vectors.builder, ir.IntType(64)(vectors.width)
    point = at(vectors, points, block)
    constant, floor = (vectors.repeat(builder.load(at(vectors, point, shift))) for shift in (0, _BLOCKS))
    turn = _back if back else _forth
    lower = at(vectors, words, place)
    upper = at(vectors, lower, half)
    with cgutils.for_range_slice(builder, step.type(0), half, step, step.type) as (i, _):
        first, second = at(vectors, lower, i), at(vectors, upper, i)
        turned = turn(vectors, vectors.load(first), vectors.load(second), constant, floor)
        vectors.store(turned[0], first)
        vectors.store(turned[1], second)


@emitted
def _block(vectors: Vectors, arguments: Sequence[ir.Value]) -> None:
    _emit_block(vectors, arguments, back=False)


@emitted
def _block_back(vectors: Vectors, arguments: Sequence[ir.Value]) -> None:
    _emit_block(vectors, arguments, back=True)


def _emit_square(vectors: Vectors, arguments: Sequence[ir.Value], *, back: bool) -> None:
    """words, place, constants, square: the last levels of `width`^2 values, which are left transposed."""
    words, place, points, square = arguments
    builder, width = vectors.builder, vectors.width
    places = [at(vectors, at(vectors, words, place), row * width) for row in range(width)]
    columns = [vectors.load(address) for address in places]
    if not back:
        columns = vectors.transposed(columns)
    turn = _back if back else _forth
    levels = range(width.bit_length() - 1)
    for level in levels if back else reversed(levels):
        block = builder.mul(square, ir.IntType(64)(width * width >> level + 1))
        point = at(vectors, points, block)
        bases = [vectors.repeat(builder.load(at(vectors, point, shift))) for shift in (0, _BLOCKS)]
        for column in (column for column in range(width) if not column >> level & 1):
            vector = (width >> level + 1) - 1 + (column >> level + 1)
            within = [2 * _BLOCKS + (vector + shift) * width for shift in (0, width - 1)]
            constant, floor = (
                vectors.sum(base, vectors.load(at(vectors, points, start)))
                for base, start in zip(bases, within, strict=True)
            )
            other = column + (1 << level)
            columns[column], columns[other] = turn(vectors, columns[column], columns[other], constant, floor)
    if back:
        columns = vectors.transposed(columns)
    for vector, address in zip(columns, places, strict=True):
        vectors.store(vector, address)


@emitted
def _square(vectors: Vectors, arguments: Sequence[ir.Value]) -> None:
    _emit_square(vectors, arguments, back=False)


@emitted
def _square_back(vectors: Vectors, arguments: Sequence[ir.Value]) -> None:
    _emit_square(vectors, arguments, back=True)


def transform(lanes: Lanes, words: Words, place: int, points: Words) -> None:
    """Replace the 2^16 coefficients at `place` by their values, in the order described above.

    `points` are the `constants` for the width of `lanes`.
    """
    convert(lanes, words, place)
    _evaluate(lanes, words, place, points)


def transform_back(lanes: Lanes, words: Words, place: int, points: Words) -> None:
    """Replace the 2^16 values at `place` by coefficients: undo `transform`."""
    _interpolate(lanes, words, place, points)
    convert_back(lanes, words, place)


@kernel
def _evaluate(lanes: Lanes, words: Words, place: int, points: Words) -> None:
    square = len(lanes) * len(lanes)
    half = POINTS // 2
    while half >= 4096:
        for block in range(POINTS // (2 * half)):
            _block(lanes, (words, place + 2 * half * block, half, points, block))
        half //= 2
    for near in range(16):
        half = 2048
        while half >= len(lanes):
            count = 2048 // half
            for block in range(near * count, (near + 1) * count):
                _block(lanes, (words, place + 2 * half * block, half, points, block))
            half //= 2
        for i in range(near * (4096 // square), (near + 1) * (4096 // square)):
            _square(lanes, (words, place + square * i, points, i))


@kernel
def _interpolate(lanes: Lanes, words: Words, place: int, points: Words) -> None:
    square = len(lanes) * len(lanes)
    for near in range(16):
        for i in range(near * (4096 // square), (near + 1) * (4096 // square)):
            _square_back(lanes, (words, place + square * i, points, i))
        half = len(lanes)
        while half <= 2048:
            count = 2048 // half
            for block in range(near * count, (near + 1) * count):
                _block_back(lanes, (words, place + 2 * half * block, half, points, block))
            half *= 2
    half = 4096
    while half < POINTS:
        for block in range(POINTS // (2 * half)):
            _block_back(lanes, (words, place + 2 * half * block, half, points, block))
        half *= 2


@emitted
def add_products(vectors: Vectors, arguments: Sequence[ir.Value]) -> None:
    """words, shift, total, first, stride, places, index, count: `width` elements of the field, `shift` further on.

    words[total] += the sum over j < count of words[first + j stride] words[places[index + j]], reduced once.
    """
    words, shift, total, first, stride, places, index, count = arguments
    builder = vectors.builder
    with builder.goto_entry_block():
        sums = [builder.alloca(vectors.type) for _ in range(2)]
    for pointer in sums:
        builder.store(ir.Constant(vectors.type, None), pointer)
    words = at(vectors, words, shift)
    start, where = at(vectors, words, first), at(vectors, places, index)
    with cgutils.for_range(builder, count, intp=ir.IntType(64)) as loop:
        one = vectors.load(at(vectors, start, builder.mul(loop.index, stride)))
        other = vectors.load(at(vectors, words, builder.load(at(vectors, where, loop.index))))
        for pointer, product in zip(sums, vectors.products(one, other), strict=True):
            builder.store(vectors.sum(builder.load(pointer), product), pointer)
    target = at(vectors, words, total)
    reduced = _reduced(vectors, *(builder.load(pointer) for pointer in sums))
    vectors.store(vectors.sum(vectors.load(target), reduced), target)
