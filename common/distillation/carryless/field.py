"""The field of 2^64 elements, Cantor's basis in it, and the points at which polynomials are evaluated.

Elements are polynomials in z modulo z^64 + z^4 + z^3 + z + 1, the coefficient of z^i in bit i. Cantor's basis
has b[0] = 1 and b[i]^2 + b[i] = b[i - 1]; point t is the sum of those b[i] whose bit i is set in t. In it the
polynomial that vanishes on the first 2^i points, s[i], is the i-fold composition of x^2 + x with itself, its
coefficients are 0 and 1, and s[i](point t) = point (t >> i).

Source: Cantor, "On arithmetical algorithms over finite fields", J. Comb. Theory A 50 (1989) 285.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

DEGREE = 64
_MODULUS = 1 << DEGREE | 0b11011


def product(first: int, second: int) -> int:
    """Multiply two polynomials over GF(2); not reduced."""
    total = 0
    while second:
        total ^= first * (second & -second)
        second &= second - 1
    return total


def divided(dividend: int, divisor: int = _MODULUS) -> tuple[int, int]:
    """Return quotient and remainder of two polynomials over GF(2)."""
    quotient = 0
    while (excess := dividend.bit_length() - divisor.bit_length()) >= 0:
        quotient |= 1 << excess
        dividend ^= divisor << excess
    return quotient, dividend


def multiplied(first: int, second: int) -> int:
    """Multiply two elements of the field."""
    return divided(product(first, second))[1]


@cache
def cantor_basis(size: int) -> tuple[int, ...]:
    """Return the first elements of Cantor's basis, at most 64."""
    basis = [1]
    while len(basis) < size:
        basis.append(_solution(basis[-1]))
    return tuple(basis)


def _solution(target: int) -> int:
    """Solve y^2 + y = target, which is linear in the bits of y, by elimination; of two solutions the even one."""
    solution = 0
    for image, preimage in _eliminated():
        if target >> (image.bit_length() - 1) & 1:
            target ^= image
            solution ^= preimage
    return solution


@cache
def _eliminated() -> tuple[tuple[int, int], ...]:
    """Pairs (y^2 + y, y) whose images have different degrees, highest first."""
    pairs: dict[int, tuple[int, int]] = {}
    for preimage in (1 << power for power in range(1, DEGREE)):
        image = multiplied(preimage, preimage) ^ preimage
        while image and (known := pairs.get(image.bit_length())):
            image, preimage = image ^ known[0], preimage ^ known[1]  # noqa: PLW2901 - reduced in place, as on paper
        if image:
            pairs[image.bit_length()] = image, preimage
    return tuple(pairs[degree] for degree in sorted(pairs, reverse=True))


@cache
def even_points(count_log2: int) -> NDArray[np.uint64]:
    """Return points 0, 2, 4, ... and then the floors of each times z^64 over the modulus: `uint64[2, 2^count_log2]`.

    A constant c with that floor multiplies faster: v c modulo m is v c + q m, where q = (v floor) / z^64.
    """
    points = np.zeros((2, 1 << count_log2), np.uint64)
    for power, element in enumerate(cantor_basis(count_log2 + 1)[1:]):
        pair = np.array([[element], [divided(element << DEGREE)[0]]], np.uint64)
        points[:, 1 << power : 2 << power] = points[:, : 1 << power] ^ pair
    return points
