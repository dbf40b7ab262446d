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
from numpy.typing import NDArray

from qkdlink.common.bits import Bits, pack
from qkdlink.common.distillation.stages import ReconciledKey, VerifiedKey
from qkdlink.common.kernels.compiled import kernel

_FIELD_BITS = 127
_PRIME = 2**_FIELD_BITS - 1
_PIECE_BYTES = 15
_POINT_BYTES = 16
_LIMBS = 4
_LIMB_BITS = 32
"""Numbers below 2^127 are four limbs in the kernel: their products fit into 64 bits, with two carries."""


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
    tag_bits = verification_tag_bits(len(reconciled.bits), eps_cor)
    leaked_bits = reconciled.leaked_bits + surplus_leak_bits(tag_bits, eps_cor)
    return VerifiedKey(reconciled.bits, reconciled.key_errors, leaked_bits, tag_bits)


def _evaluate(data: bytes, point: int) -> int:
    """Evaluate the polynomial whose coefficients are the pieces of `data`, highest first, at `point` modulo p."""
    value = np.zeros(_LIMBS, np.uint64)
    _horner(np.frombuffer(data, np.uint8), _limbs(point), value)
    limbs: list[int] = value.tolist()
    result: int = sum(limb << _LIMB_BITS * place for place, limb in enumerate(limbs)) % _PRIME
    return result


def _limbs(number: int) -> NDArray[np.uint64]:
    """Cut a 127-bit number into limbs of 32 bits, lowest first."""
    return np.array([number >> _LIMB_BITS * place & 0xFFFFFFFF for place in range(_LIMBS)], np.uint64)


@kernel
def _horner(data: NDArray[np.uint8], point: NDArray[np.uint64], value: NDArray[np.uint64]) -> None:
    """Do value = value * point + piece for every piece; what is left in `value` is below 2^127, perhaps p itself.

    A product has 254 bits, and 2^127 = 1 modulo p: its upper half is added to its lower. No sum exceeds 64 bits, as
    (2^32 - 1)^2 + 2 (2^32 - 1) = 2^64 - 1.
    """
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    product = np.zeros(2 * _LIMBS, np.uint64)
    for start in range(0, len(data), _PIECE_BYTES):
        end = min(start + _PIECE_BYTES, len(data))
        product[:] = 0
        for place in range(end - start):
            byte = np.uint64(data[end - 1 - place])
            product[place // 4] |= byte << np.uint64(8 * (place % 4))
        for row in range(_LIMBS):
            carry = np.uint64(0)
            for column in range(_LIMBS):
                term = value[row] * point[column] + product[row + column] + carry
                product[row + column] = term & low
                carry = term >> half
            product[row + _LIMBS] = carry
        carry = np.uint64(0)
        for limb in range(_LIMBS):
            kept = product[limb] if limb < _LIMBS - 1 else product[limb] & np.uint64(0x7FFFFFFF)
            upper = product[limb + _LIMBS - 1] >> np.uint64(31) | product[limb + _LIMBS] << np.uint64(1) & low
            term = kept + upper + carry
            value[limb] = term & low
            carry = term >> half
        _fold(value)


@kernel
def _fold(value: NDArray[np.uint64]) -> None:
    """Bring a 128-bit value below 2^127 without changing it modulo p: bit 127 is worth 1."""
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    carry = value[_LIMBS - 1] >> np.uint64(31)
    value[_LIMBS - 1] &= np.uint64(0x7FFFFFFF)
    for limb in range(_LIMBS):
        term = value[limb] + carry
        value[limb] = term & low
        carry = term >> half
