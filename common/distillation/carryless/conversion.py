"""From powers of x to products of vanishing polynomials, by additions alone, and back.

s[i] is the polynomial that vanishes on the first 2^i points (`field`). Coefficient e of the converted polynomial
belongs to the product of those s[i] whose bit i is set in e. Since s[8] = x^256 + x and s[16 - 8] of that is
s[16], a polynomial of 2^16 coefficients is expanded in powers of x^256 + x; then in the same way each of the
256 coefficients of a power, and the 256 powers, in x^16 + x; and sixteens at last as `additions` lists it.

An expansion in y = x^q + x halves polynomials: with N coefficients, f + x^(N/2) g is f + x^(N/2q) g + y^(N/2q) g,
because q and N are powers of two. The lower half gets the upper one, moved by N / 2q: from the last coefficient
down, for some of them are moved into the upper half and from there once more.

Sources: Gao and Mateer, "Additive fast Fourier transforms over finite fields", IEEE Trans. Inf. Theory 56
(2010) 6265 (expansion); Chen, Cheng, Kuo, Li, Yang, "Faster multiplication for long binary polynomials",
arXiv:1708.09746 (conversion).
"""

from collections.abc import Iterator, Sequence

from llvmlite import ir
from numba.core import cgutils

from qkdlink.common.kernels.compiled import kernel
from qkdlink.common.kernels.emission import Words, at, emitted
from qkdlink.common.kernels.instructions import Lanes, Vectors

POINTS_LOG2 = 16
POINTS = 1 << POINTS_LOG2
"""Coefficients and values of a polynomial."""


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
        rows += vectors.transposed(group)
    _add_up(vectors, rows, back=back)
    for start in range(0, 16, width):
        for i, vector in enumerate(vectors.transposed(rows[start : start + width])):
            vectors.store(vector, at(vectors, first, 16 * i + start))


@emitted
def _sixteen_in_a_row(vectors: Vectors, arguments: Sequence[ir.Value]) -> None:
    _emit_sixteen_in_a_row(vectors, arguments, back=False)


@emitted
def _sixteen_in_a_row_back(vectors: Vectors, arguments: Sequence[ir.Value]) -> None:
    _emit_sixteen_in_a_row(vectors, arguments, back=True)


@kernel
def _expand(lanes: Lanes, words: Words, place: int, count: int, q: int, apart: int) -> None:
    """Expand polynomials in powers of x^q + x: `count` words, coefficients `apart` of each other."""
    size = count
    while size >= 2 * q * apart:
        for start in range(place, place + count, size):
            _fold(lanes, (words, start + size // 2, size // 2 - size // (2 * q), size // 2))
        size //= 2


@kernel
def _expand_back(lanes: Lanes, words: Words, place: int, count: int, q: int, apart: int) -> None:
    size = 2 * q * apart
    while size <= count:
        for start in range(place, place + count, size):
            _fold_back(lanes, (words, start + size // 2, size // 2 - size // (2 * q), size // 2))
        size *= 2


@kernel
def convert(lanes: Lanes, words: Words, place: int) -> None:
    """Replace the 2^16 coefficients of powers of x at `place` by those of products of the s[i]."""
    width = len(lanes)
    _expand(lanes, words, place, POINTS, 256, 1)
    _expand(lanes, words, place, POINTS, 16, 256)
    for column in range(place, place + 4096, width):
        _sixteen(lanes, (words, column, 4096))
    for start in range(place, place + POINTS, 4096):
        for column in range(start, start + 256, width):
            _sixteen(lanes, (words, column, 256))
    for block in range(place, place + POINTS, 256):
        _expand(lanes, words, block, 256, 16, 1)
        for column in range(block, block + 16, width):
            _sixteen(lanes, (words, column, 16))
        for row in range(block, block + 256, 16 * width):
            _sixteen_in_a_row(lanes, (words, row))


@kernel
def convert_back(lanes: Lanes, words: Words, place: int) -> None:
    """Undo `convert`."""
    width = len(lanes)
    for block in range(place, place + POINTS, 256):
        for row in range(block, block + 256, 16 * width):
            _sixteen_in_a_row_back(lanes, (words, row))
        for column in range(block, block + 16, width):
            _sixteen_back(lanes, (words, column, 16))
        _expand_back(lanes, words, block, 256, 16, 1)
    for start in range(place, place + POINTS, 4096):
        for column in range(start, start + 256, width):
            _sixteen_back(lanes, (words, column, 256))
    for column in range(place, place + 4096, width):
        _sixteen_back(lanes, (words, column, 4096))
    _expand_back(lanes, words, place, POINTS, 16, 256)
    _expand_back(lanes, words, place, POINTS, 256, 1)
