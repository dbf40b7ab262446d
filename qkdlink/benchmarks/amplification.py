"""`amplify`: Toeplitz hashing of a whole block to half its length, once at each party."""

import secrets

import numpy as np
from scipy.signal import fftconvolve

from qkdlink.benchmarks.alternation import Contender, Stage, alternate
from qkdlink.common.bits import pack, unpack
from qkdlink.common.distillation.amplification import amplification_seed_bits, amplify
from qkdlink.common.distillation.stages import VerifiedKey

_PARTIES = 2


def amplify_with_scipy(verified: VerifiedKey, seed: bytes, secret_bits: int) -> bytes:
    """Convolve seed and key in float64 over their whole length and keep the l sums that all n bits enter."""
    drawn = unpack(seed, amplification_seed_bits(len(verified.bits), secret_bits))
    sums = fftconvolve(drawn.astype(np.float64), verified.bits.astype(np.float64), mode="valid")
    return pack((np.rint(sums).astype(np.int64) & 1).astype(np.uint8))


def drawn_key(length: int) -> VerifiedKey:
    """Draw a verified key of `length` bits."""
    return VerifiedKey(np.random.default_rng().integers(0, 2, length, np.uint8), (0,), 0)


def drawn_seed(length: int, secret_bits: int) -> bytes:
    """Draw a seed for a key of `length` bits; its filling is zero."""
    count = amplification_seed_bits(length, secret_bits)
    return pack(unpack(secrets.token_bytes((count + 7) // 8), 8 * ((count + 7) // 8))[:count])


def measure(length: int, pairs: int) -> Stage:
    """Time the hashing of `length` bits to half as many, by both parties."""
    verified, secret_bits = drawn_key(length), length // 2
    seed = drawn_seed(length, secret_bits)

    def ours() -> None:
        for _ in range(_PARTIES):
            amplify(verified, seed, secret_bits)

    def scipy() -> None:
        for _ in range(_PARTIES):
            amplify_with_scipy(verified, seed, secret_bits)

    return alternate(
        "amplify",
        "bit/s",
        Contender("qkdlink.common.distillation", length, ours),
        Contender("scipy fftconvolve", length, scipy),
        pairs,
    )
