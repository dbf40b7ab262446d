"""Toeplitz hashing over GF(2), exact, for keys of any length.

The matrix T has l rows and n columns with T[i, j] = seed[i - j + n - 1], so that a seed of n + l - 1 uniform
bits draws it: column 0 is seed[n-1:], row 0 is seed[:n] backwards. The family is 2-universal: for x != y the
hash values agree with probability 2^-l exactly (Krawczyk 1994; Mansour, Nisan, Tiwari 1993).

T x is a piece of the linear convolution of seed and x, which is the product of two polynomials over GF(2).
Where the processor multiplies without carries, `carryless` computes it; elsewhere `fourier` does, in floating
point with a checked rounding. Which of them it is makes no difference to any bit.

Source: Krawczyk, "LFSR-based hashing and authentication", CRYPTO 1994.
"""

from functools import cache

import numpy as np

from qkdlink.common.bits import Bits, pack, unpack
from qkdlink.common.distillation.carryless.blocks import (
    PackedBits,
    hashed_by_karatsuba,
    hashed_by_transforms,
    transforms_are_cheaper,
)
from qkdlink.common.distillation.fourier import hashed_by_fourier
from qkdlink.common.kernels.instructions import InstructionSet, available_instruction_sets


def toeplitz_seed_bits(key_length: int, length: int) -> int:
    """Bits that draw a Toeplitz matrix of n = `key_length` columns and l = `length` rows: n + l - 1, or 0."""
    return key_length + length - 1 if length else 0


def toeplitz(bits: Bits, seed: Bits, length: int) -> Bits:
    """Multiply the Toeplitz matrix of `seed` with `bits`: `uint8[n]`, `uint8[n + l - 1]` -> `uint8[l]`.

    Raises ValueError unless 0 <= l <= n and the seed has its length, ArithmeticError if Fourier transforms
    are needed and not as precise as they have to be.
    """
    if 0 <= length <= len(bits) and len(seed) != toeplitz_seed_bits(len(bits), length):
        raise ValueError(f"the seed has {len(seed)} bits, not {toeplitz_seed_bits(len(bits), length)}")
    return unpack(packed_toeplitz(bits, np.packbits(seed), length, fastest_instructions()), length)


def packed_toeplitz(bits: Bits, seed: PackedBits, length: int, instructions: InstructionSet | None) -> bytes:
    """Multiply as `toeplitz` does, with a packed seed and a packed result, by the `instructions` named.

    None stands for Fourier transforms. Bits of the seed beyond n + l - 1 play no part; the filling of the
    result is zero. Raises ValueError unless 0 <= l <= n and the seed has its bytes.
    """
    if not 0 <= length <= len(bits):
        raise ValueError(f"{len(bits)} bits cannot be hashed to {length}")
    count = toeplitz_seed_bits(len(bits), length)
    if len(seed) != (count + 7) // 8:
        raise ValueError(f"the seed has {len(seed)} bytes, not {(count + 7) // 8}")
    if not length:
        return b""
    if instructions is None:
        return pack(hashed_by_fourier(bits, np.unpackbits(seed)[:count], length))
    hashed = hashed_by_transforms if transforms_are_cheaper(len(bits), length) else hashed_by_karatsuba
    return hashed(np.packbits(bits), len(bits), seed, length, instructions)


@cache
def fastest_instructions() -> InstructionSet | None:
    """Return the widest carry-less multiplication of this processor; None if it has none."""
    return next(iter(available_instruction_sets()), None)
