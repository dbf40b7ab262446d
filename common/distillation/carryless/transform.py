"""The additive Fourier transform: a polynomial at the 2^16 first points of Cantor's basis, and back.

Coefficients and values are elements of the field of 2^64 elements (`field`). Two steps lead from coefficients
to values, each a list of operations that are undone in the opposite order:

1. `_convert`: from powers of x to products of the s[i]. Since s[2^k] = x^(2^(2^k)) + x, a polynomial is
   expanded in powers of x^256 + x, those in powers of x^16 + x and so on: additions alone.
2. `_evaluate`: a polynomial f + s[i] g of 2^(i+1) coefficients, at a point p of the lower half of a block and
   at its partner in the upper half, where s[i] is 1 more: f + s[i](p) g, and that plus g. One multiplication
   by a constant, sixteen times over.

The values stand in an order of our own (the smallest squares are transposed), which products do not mind.
Products of values are values of the product modulo s[16] = x^65536 + x.

Sources: Gao and Mateer, "Additive fast Fourier transforms over finite fields", IEEE Trans. Inf. Theory 56
(2010) 6265; Lin, Al-Naffouri, Han, Chung, "Novel polynomial basis with fast Fourier transform", IEEE Trans.
Inf. Theory 62 (2016) 6284; Chen, Cheng, Kuo, Li, Yang, "Faster multiplication for long binary polynomials",
arXiv:1708.09746; the multiplication by constants after Shoup (in NTL).
"""

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from llvmlite import ir
from numba.core import cgutils

from common.distillation.carryless.emission import Words, at, emitted
from common.distillation.carryless.field import even_points
from common.distillation.carryless.instructions import Lanes, Vectors
from common.kernels import kernel

POINTS_LOG2 = 16
POINTS = 1 << POINTS_LOG2
_BLOCKS = POINTS // 2  # at the lowest level; so many constants there are


def additions(size_log2: int) -> Iterator[tuple[int, int]]:
    """List (target, source) of the additions that convert 2^size_log2 coefficients; size_log2 = 1, 2, 4, 8, ..."""
    if size_log2 == 1:
        return
    half = size_log2 // 2
    size, q = 1 << size_log2, 1 << half
    while size >= 2 * q:
        distance = size // 2 - size // (2 * q)
        for start in range(0, 1 << size_log2, size):
            for source in range(start + size - 1, start + size // 2 - 1, -1):
                yield source - distance, source
        size //= 2
    for target, source in additions(half):
        yield from ((target * q + j, source * q + j) for j in range(q))
    for j in range(q):
        yield from ((j * q + target, j * q + source) for target, source in additions(half))


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
    lower = at(vectors, words, place)
    upper = at(vectors, lower, half)
    with cgutils.for_range_slice(builder, step.type(0), half, step, step.type) as (i, _):
        ends = at(vectors, lower, i), at(vectors, upper, i)
        turned = (_back if back else _forth)(vectors, *map(vectors.load, ends), constant, floor)
        for vector, end in zip(turned, ends, strict=True):
            vectors.store(vector, end)


@emitted
def _block(vectors: Vectors, arguments: Sequence[ir.Value]) -> None:
    _emit_block(vectors, arguments, back=False)


@emitted
def _block_back(vectors: Vectors, arguments: Sequence[ir.Value]) -> None:
    _emit_block(vectors, arguments, back=True)


def _transposed(vectors: Vectors, rows: list[ir.Value]) -> list[ir.Value]:
    """Exchange rows and columns of a square, half of the distance at a time."""
    lanes = range(vectors.width)
    step = vectors.width // 2
    while step:
        for row in (row for row in lanes if not row & step):
            first, second = rows[row], rows[row + step]
            rows[row] = vectors.shuffle(
                first, second, [lane + (vectors.width - step if lane & step else 0) for lane in lanes]
            )
            rows[row + step] = vectors.shuffle(
                first, second, [lane + (vectors.width if lane & step else step) for lane in lanes]
            )
        step //= 2
    return rows


def _emit_square(vectors: Vectors, arguments: Sequence[ir.Value], *, back: bool) -> None:
    """words, place, constants, square: the last levels of `width`^2 values, which are left transposed."""
    words, place, points, square = arguments
    builder, width = vectors.builder, vectors.width
    places = [at(vectors, at(vectors, words, place), row * width) for row in range(width)]
    columns = [vectors.load(address) for address in places]
    if not back:
        columns = _transposed(vectors, columns)
    levels = range(width.bit_length() - 1)
    for level in levels if back else reversed(levels):
        block = builder.mul(square, ir.IntType(64)(width * width >> level + 1))
        point = at(vectors, points, block)
        bases = [vectors.repeat(builder.load(at(vectors, point, shift))) for shift in (0, _BLOCKS)]
        for column in (column for column in range(width) if not column >> level & 1):
            vector = (width >> level + 1) - 1 + (column >> level + 1)
            within = [2 * _BLOCKS + (vector + shift) * width for shift in (0, width - 1)]
            pair = [
                vectors.sum(base, vectors.load(at(vectors, points, start)))
                for base, start in zip(bases, within, strict=True)
            ]
            ends = column, column + (1 << level)
            turned = (_back if back else _forth)(vectors, *(columns[end] for end in ends), *pair)
            columns[ends[0]], columns[ends[1]] = turned
    if back:
        columns = _transposed(vectors, columns)
    for vector, address in zip(columns, places, strict=True):
        vectors.store(vector, address)


@emitted
def _square(vectors: Vectors, arguments: Sequence[ir.Value]) -> None:
    _emit_square(vectors, arguments, back=False)


@emitted
def _square_back(vectors: Vectors, arguments: Sequence[ir.Value]) -> None:
    _emit_square(vectors, arguments, back=True)


@emitted
def _fold(vectors: Vectors, arguments: Sequence[ir.Value]) -> None:
    """words, source, distance, count: words[source + i - distance] += words[source + i], from the last i down."""
    words, source, distance, count = arguments
    builder, step = vectors.builder, ir.IntType(64)(vectors.width)
    last = at(vectors, at(vectors, words, source), builder.sub(count, step))
    with cgutils.for_range_slice(builder, step.type(0), count, step, step.type) as (i, _):
        address = at(vectors, last, builder.neg(i))
        target = at(vectors, address, builder.neg(distance))
        vectors.store(vectors.sum(vectors.load(target), vectors.load(address)), target)


@emitted
def _fold_back(vectors: Vectors, arguments: Sequence[ir.Value]) -> None:
    """`_fold` from the first i up."""
    words, source, distance, count = arguments
    builder, step = vectors.builder, ir.IntType(64)(vectors.width)
    first = at(vectors, words, source)
    with cgutils.for_range_slice(builder, step.type(0), count, step, step.type) as (i, _):
        address = at(vectors, first, i)
        target = at(vectors, address, builder.neg(distance))
        vectors.store(vectors.sum(vectors.load(target), vectors.load(address)), target)


def _emit_sixteen(
    vectors: Vectors, words: ir.Value, place: ir.Value, stride: ir.Value | int, *, back: bool
) -> None:
    first = at(vectors, words, place)
    if isinstance(stride, int):
        addresses = [at(vectors, first, stride * i) for i in range(16)]
    else:
        addresses = [at(vectors, first, vectors.builder.mul(stride, ir.IntType(64)(i))) for i in range(16)]
    rows = [vectors.load(address) for address in addresses]
    _add_up(vectors, rows, back=back)
    for row, address in zip(rows, addresses, strict=True):
        vectors.store(row, address)


def _add_up(vectors: Vectors, rows: list[ir.Value], *, back: bool) -> None:
    steps = list(additions(4))
    for target, source in reversed(steps) if back else steps:
        rows[target] = vectors.sum(rows[target], rows[source])


@emitted
def _sixteen(vectors: Vectors, arguments: Sequence[ir.Value]) -> None:
    """words, place, stride: convert 16 coefficients that stand `stride` apart, `width` times side by side."""
    _emit_sixteen(vectors, *arguments, back=False)


@emitted
def _sixteen_back(vectors: Vectors, arguments: Sequence[ir.Value]) -> None:
    _emit_sixteen(vectors, *arguments, back=True)


def _emit_sixteen_in_a_row(vectors: Vectors, arguments: Sequence[ir.Value], *, back: bool) -> None:
    """words, place: convert 16 coefficients that stand in a row, and the `width` - 1 sixteens after them."""
    words, place = arguments
    width = vectors.width
    first = at(vectors, words, place)
    rows: list[ir.Value] = []
    for start in range(0, 16, width):
        group = [vectors.load(at(vectors, first, 16 * i + start)) for i in range(width)]
        rows += _transposed(vectors, group)
    _add_up(vectors, rows, back=back)
    for start in range(0, 16, width):
        for i, vector in enumerate(_transposed(vectors, rows[start : start + width])):
            vectors.store(vector, at(vectors, first, 16 * i + start))


@emitted
def _sixteen_in_a_row(vectors: Vectors, arguments: Sequence[ir.Value]) -> None:
    _emit_sixteen_in_a_row(vectors, arguments, back=False)


@emitted
def _sixteen_in_a_row_back(vectors: Vectors, arguments: Sequence[ir.Value]) -> None:
    _emit_sixteen_in_a_row(vectors, arguments, back=True)


@kernel
def transform(lanes: Lanes, words: Words, place: int, points: Words) -> None:
    """Replace the 2^16 coefficients at `place` by their values, in the order described above.

    `points` are the `constants` for the width of `lanes`.
    """
    width = len(lanes)
    size = POINTS
    while size >= 512:  # powers of x^256 + x
        for start in range(place, place + POINTS, size):
            _fold(lanes, (words, start + size // 2, size // 2 - size // 512, size // 2))
        size //= 2
    size = POINTS
    while size >= 32 * 256:  # in each 256th coefficient, powers of x^16 + x
        for start in range(place, place + POINTS, size):
            _fold(lanes, (words, start + size // 2, size // 2 - size // 32, size // 2))
        size //= 2
    for column in range(place, place + 4096, width):
        _sixteen(lanes, (words, column, 4096))
    for start in range(place, place + POINTS, 4096):
        for column in range(start, start + 256, width):
            _sixteen(lanes, (words, column, 256))
        for block in range(start, start + 4096, 256):
            size = 256
            while size >= 32:
                for part in range(block, block + 256, size):
                    _fold(lanes, (words, part + size // 2, size // 2 - size // 32, size // 2))
                size //= 2
            for column in range(block, block + 16, width):
                _sixteen(lanes, (words, column, 16))
            for row in range(block, block + 256, 16 * width):
                _sixteen_in_a_row(lanes, (words, row))
    _evaluate(lanes, words, place, points)


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
def transform_back(lanes: Lanes, words: Words, place: int, points: Words) -> None:
    """Replace the 2^16 values at `place` by coefficients: undo `transform`."""
    _interpolate(lanes, words, place, points)
    width = len(lanes)
    for start in range(place, place + POINTS, 4096):
        for block in range(start, start + 4096, 256):
            for row in range(block, block + 256, 16 * width):
                _sixteen_in_a_row_back(lanes, (words, row))
            for column in range(block, block + 16, width):
                _sixteen_back(lanes, (words, column, 16))
            size = 32
            while size <= 256:
                for part in range(block, block + 256, size):
                    _fold_back(lanes, (words, part + size // 2, size // 2 - size // 32, size // 2))
                size *= 2
        for column in range(start, start + 256, width):
            _sixteen_back(lanes, (words, column, 256))
    for column in range(place, place + 4096, width):
        _sixteen_back(lanes, (words, column, 4096))
    size = 32 * 256
    while size <= POINTS:
        for start in range(place, place + POINTS, size):
            _fold_back(lanes, (words, start + size // 2, size // 2 - size // 32, size // 2))
        size *= 2
    size = 512
    while size <= POINTS:
        for start in range(place, place + POINTS, size):
            _fold_back(lanes, (words, start + size // 2, size // 2 - size // 512, size // 2))
        size *= 2


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
    sums = [cgutils.alloca_once_value(builder, ir.Constant(vectors.type, None)) for _ in range(2)]
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
