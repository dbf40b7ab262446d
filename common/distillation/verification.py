"""Error verification: a short tag that differs, but for a probability eps_cor, if the reconciled keys do.

Two universal hashes in a row. The first evaluates a polynomial over the prime field of p = 2^127 - 1: the
key is cut into L pieces of 120 bits, the coefficients, and r is uniform over 127-bit numbers, taken modulo
p. The polynomials of two different keys differ by one of degree below L, which has fewer than L roots; no
value of r is likelier than 2^-127 but 0, which has twice that; so the 127-bit results agree with
probability at most L / 2^127. The second multiplies the result with a Toeplitz matrix (columns reversed) of
t rows over GF(2): different inputs agree with probability 2^-t. Together they agree with probability at
most L / 2^127 + 2^-t, and t is the smallest number of bits that keeps this at or below eps_cor. (One
Toeplitz matrix alone would do as well, with a seed as long as the key.)

The seed is 16 bytes for r (big-endian, the highest bit ignored), then the 126 + t bits of the Toeplitz
matrix: as a big-endian number m, row i of the matrix is (m >> i) modulo 2^127. The tag holds bit i =
parity(row i AND result) for i = 0..t-1, packed, the first bit highest. Both parties know the length of the
key before.

Sources: Carter, Wegman, "Universal classes of hash functions", 1979; Bierbrauer et al., "On families of
hash functions via geometric codes and concatenation", CRYPTO 1993 (polynomials); Stinson, "Universal
hashing and authentication codes", 1991 (composition: the probabilities add).
"""

from fractions import Fraction
from math import ceil, log2

import numpy as np

from common.bits import Bits, pack
from common.distillation.stages import ReconciledKey, VerifiedKey

_FIELD_BITS = 127
_PRIME = 2**_FIELD_BITS - 1
_PIECE_BYTES = 15
_POINT_BYTES = 16


def verification_tag_bits(key_length: int, eps_cor: float) -> int:
    """Bits t of the tag for a key of `key_length` bits: the smallest t with L / 2^127 + 2^-t <= eps_cor.

    Raises ValueError unless 0 < eps_cor < 1 and the key is short enough for the field (1e12 bits at 1e-28).
    """
    if not 0.0 < eps_cor < 1.0:
        raise ValueError(f"eps_cor is a probability between 0 and 1, not {eps_cor}")
    pieces = ceil(Fraction(key_length, 8 * _PIECE_BYTES))
    left = Fraction(eps_cor) - Fraction(pieces, 2**_FIELD_BITS)
    for tag_bits in range(1, _FIELD_BITS):
        if Fraction(1, 2**tag_bits) <= left:
            return tag_bits
    raise ValueError(f"no tag can verify {key_length} bits with eps_cor = {eps_cor}")


def verification_seed_bytes(key_length: int, eps_cor: float) -> int:
    """Return how many uniform bytes draw the hash functions of one block; they must be fresh for each."""
    return _POINT_BYTES + ceil((_FIELD_BITS - 1 + verification_tag_bits(key_length, eps_cor)) / 8)


def verification_tag(bits: Bits, seed: bytes, eps_cor: float) -> bytes:
    """Hash a key, `uint8[n]`, to its tag of ceil(t / 8) bytes; ValueError if the seed has another length."""
    if len(seed) != verification_seed_bytes(len(bits), eps_cor):
        raise ValueError(
            f"the verification seed has {len(seed)} bytes,"
            f" {len(bits)} bits need {verification_seed_bytes(len(bits), eps_cor)}"
        )
    point = int.from_bytes(seed[:_POINT_BYTES]) & _PRIME
    matrix = int.from_bytes(seed[_POINT_BYTES:])
    digest = _evaluate(pack(bits), point % _PRIME)
    tag_bits = verification_tag_bits(len(bits), eps_cor)
    return pack(np.array([(matrix >> row & digest).bit_count() & 1 for row in range(tag_bits)], np.uint8))


def surplus_leak_bits(tag_bits: int, eps_cor: float) -> int:
    """What a tag discloses beyond the log2(2 / eps_cor) bits that every key length already pays for it."""
    return max(0, ceil(tag_bits - log2(2 / eps_cor)))


def verified_key(reconciled: ReconciledKey, eps_cor: float) -> VerifiedKey:
    """Return the key that a tag has found equal; what the tag costs is added to what the parities have leaked."""
    surplus = surplus_leak_bits(verification_tag_bits(len(reconciled.bits), eps_cor), eps_cor)
    return VerifiedKey(reconciled.bits, reconciled.key_errors, reconciled.leaked_bits + surplus)


def _evaluate(data: bytes, point: int) -> int:
    value = 0
    for start in range(0, len(data), _PIECE_BYTES):
        value = (value * point + int.from_bytes(data[start : start + _PIECE_BYTES])) % _PRIME
    return value
