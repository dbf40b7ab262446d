"""Privacy amplification: a Toeplitz matrix shortens the whole block to what the finite-key bound allows.

Never in chunks: the leftover hash lemma is applied once, to the block that the bound was computed for. The
seed is public, drawn only after the key is reconciled and verified, and fresh for each block.

Source: Bennett, Brassard, Crepeau, Maurer, "Generalized privacy amplification", 1995; the matrix family is
2-universal (`universal_hash`).
"""

import numpy as np

from qkdlink.common.distillation.stages import SecretKey, VerifiedKey
from qkdlink.common.distillation.universal_hash import (
    fastest_instructions,
    packed_toeplitz,
    toeplitz_seed_bits,
)


def amplification_seed_bits(key_length: int, secret_bits: int) -> int:
    """Uniform bits that draw the matrix for n verified and l secret bits: n + l - 1."""
    return toeplitz_seed_bits(key_length, secret_bits)


def amplify(verified: VerifiedKey, seed: bytes, secret_bits: int) -> SecretKey:
    """Hash a verified key to `secret_bits` bits, at most as many as it has.

    `seed` is packed, the first bit highest, in ceil((n + l - 1) / 8) bytes; the bits that fill its last
    byte play no part. Raises ValueError for a seed of another length or too many secret bits.
    """
    count = amplification_seed_bits(len(verified.bits), secret_bits)
    if len(seed) != (count + 7) // 8:
        raise ValueError(f"the amplification seed has {len(seed)} bytes, not {(count + 7) // 8}")
    drawn = np.frombuffer(seed, np.uint8)
    material = packed_toeplitz(verified.bits, drawn, secret_bits, fastest_instructions())
    return SecretKey(material, secret_bits)
