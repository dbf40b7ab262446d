"""The public permutation of each pass, specified so that a second implementation finds the same.

Let r_0, r_1, ... be the words (four bytes, little-endian) of the AES-256-CTR key stream under the 32-byte
shuffle seed, beginning at counter block `pass_index * 2^64` (the counter is a 128-bit big-endian integer).
Start from p = (0, 1, ..., n-1); for i = n-1 down to 1 let j = floor(r_i (i + 1) / 2^32) and exchange p_i
and p_j. Position k of the permuted key is bit p_k of the key. (Fisher and Yates; the bias of j, below
n / 2^32, touches efficiency only: permutations are public.)

Every pass is shuffled, the first one too: errors that come in bursts, as after dead time, then look
independent.
"""

import numpy as np
from numpy.typing import NDArray

from common.kernels import kernel
from common.randomness import ChoiceStream

type Permutation = NDArray[np.uint32]
"""`uint32[n]`: entry k is the index in the key of the bit at position k."""

SHUFFLE_SEED_BYTES = 32
_PASS_STRIDE_BYTES = 2**64 * 16
_WORD_BYTES = 4


def permutation(shuffle_seed: bytes, pass_index: int, key_length: int) -> Permutation:
    """Return the permutation of one pass as `uint32[key_length]`, for 1 to 2^32 - 1 bits.

    Raises ValueError unless the seed has 32 bytes.
    """
    stream = ChoiceStream(shuffle_seed).read(pass_index * _PASS_STRIDE_BYTES, key_length * _WORD_BYTES)
    return _fisher_yates(stream.view("<u4").astype(np.uint32, copy=False))


@kernel
def inverse(order: Permutation) -> Permutation:
    """Return the position of each key bit: `inverse(p)[p[k]] == k`."""
    positions = np.empty_like(order)
    for position in range(order.size):
        positions[order[position]] = position
    return positions


@kernel
def _fisher_yates(words: NDArray[np.uint32]) -> Permutation:
    order = np.arange(words.size).astype(np.uint32)
    for last in range(words.size - 1, 0, -1):
        chosen = (np.uint64(words[last]) * np.uint64(last + 1)) >> np.uint64(32)
        order[last], order[chosen] = order[chosen], order[last]
    return order
