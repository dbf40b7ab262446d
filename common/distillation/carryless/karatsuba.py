"""Karatsuba's method for the middle product: Toeplitz blocks that fit into the nearest cache.

The middle product of polynomials w of 2m words and x of m words is the words m..2m-1 of w x: a square
Toeplitz matrix times a vector. With w = (A, B, C, D) and x = (x0, x1) cut into pieces of h = m / 2 words,

    low half  = (B, C) x0 + (A, B) x1 = (B, C)(x0 + x1) + (A + B, B + C) x1
    high half = (C, D) x0 + (B, C) x1 = (B, C)(x0 + x1) + (B + C, C + D) x0

where each product on the right is a middle product again: three of half the size in place of four. From
16 words on, all products of words are taken.

Sources: Karatsuba and Ofman 1962; Hanrot, Quercia, Zimmermann, "The middle product algorithm", AAECC 14
(2004) 415.
"""

from collections.abc import Sequence

from llvmlite import ir

from qkdlink.common.kernels.compiled import kernel
from qkdlink.common.kernels.emission import Words, add, at, emitted
from qkdlink.common.kernels.instructions import Lanes, Vectors

LEAF_WORDS = 16
"""Words of the smallest block."""


def emit_leaf(vectors: Vectors, w: ir.Value, x: ir.Value, product: ir.Value) -> None:
    """Write the middle product of 32 words at `w` and 16 at `x` to 16 words at `product`.

    Word c is the low half of S[c] plus the high half of S[c - 1], where S[c] is the sum of the products
    w[16 + c - q] x[q] over q, 128 bits wide.
    """
    width = vectors.width
    repeated = [vectors.repeat(vectors.builder.load(at(vectors, x, q))) for q in range(LEAF_WORDS)]
    before = _high_halves_below(vectors, w, x)
    for first in range(0, LEAF_WORDS, width):
        sums = [ir.Constant(vectors.type, None)] * 2
        for q, factor in enumerate(repeated):
            products = vectors.products(vectors.load(at(vectors, w, LEAF_WORDS + first - q)), factor)
            sums = [vectors.sum(*pair) for pair in zip(sums, products, strict=True)]
        high = vectors.high_halves(*sums)
        moved_up = vectors.shuffle(before, high, list(range(width - 1, 2 * width - 1)))
        vectors.store(vectors.sum(vectors.low_halves(*sums), moved_up), at(vectors, product, first))
        before = high


def _high_halves_below(vectors: Vectors, w: ir.Value, x: ir.Value) -> ir.Value:
    """Make a vector whose last element is the high half of S[-1], the sum of the products w[15 - q] x[q]."""
    width = vectors.width
    total = ir.Constant(vectors.type, None)
    for q in range(0, LEAF_WORDS, width):
        window = vectors.load(at(vectors, w, LEAF_WORDS - width - q))
        backwards = vectors.shuffle(window, window, list(range(width - 1, -1, -1)))
        factor = vectors.load(at(vectors, x, q))
        total = vectors.sum(total, *vectors.products(backwards, factor))
    step = 2
    while step < width:
        total = vectors.sum(total, vectors.shuffle(total, total, [(i + step) % width for i in range(width)]))
        step *= 2
    return total


@emitted
def _leaf(vectors: Vectors, arguments: Sequence[ir.Value]) -> None:
    words, w, x, product = arguments
    emit_leaf(vectors, at(vectors, words, w), at(vectors, words, x), at(vectors, words, product))


@kernel
def middle_product(lanes: Lanes, words: Words, m: int, w: int, x: int, product: int, scratch: int) -> None:
    """Of the words from w (2m) and from x (m) on, write the middle product to the m words from `product` on.

    All numbers but m, 16 times a power of two, are places in `words`; from `scratch` on 5 m words are free.
    """
    if m == LEAF_WORDS:
        _leaf(lanes, (words, w, x, product))
        return
    h = m // 2
    sums, folded, common, rest = scratch, scratch + 3 * h, scratch + 4 * h, scratch + 5 * h
    add(lanes, (words, w, w + h, sums, 3 * h))
    add(lanes, (words, x, x + h, folded, h))
    middle_product(lanes, words, h, w + h, folded, common, rest)
    middle_product(lanes, words, h, sums, x + h, product, rest)
    middle_product(lanes, words, h, sums + h, x, product + h, rest)
    add(lanes, (words, product, common, product, h))
    add(lanes, (words, product + h, common, product + h, h))
