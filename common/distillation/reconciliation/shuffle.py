"""The public permutation of each pass and the weights of each check, specified so that a second implementation
finds the same.

Let e_0, e_1, ... be the words (eight bytes, little-endian) of the AES-256-CTR key stream under the 32-byte
shuffle seed, beginning at counter block `index * 2^64` (the counter is a 128-bit big-endian integer), where
`index` is that of the pass, or the number of passes for all checks together.

A pass shuffles the words of each frame and turns each word. For a frame of m words whose first word is word o
of the laid-out key, let r_i = e_(o+i). Start from p = (o, o+1, ..., o+m-1); for i = m-1 down to 1 let
j = floor(floor(r_i / 2^32) (i + 1) / 2^32) and exchange p_i and p_j (Fisher and Yates; the bias of j, below m / 2^32,
touches efficiency only: permutations are public). Position o + k of the pass is word p_k, whose lanes are
turned up by r_k modulo the number of lanes: what was in lane l is in lane l + r_k.

Every pass is shuffled and turned, the first one too. Errors that come in bursts, as after dead time, then look
independent: two bits of different words meet in a block as if words and lanes were drawn at random, and two
bits of one word never do.

Check c weighs word w of the laid-out key with R_w = mix(e_c + (w + 1) * 0x9e3779b97f4a7c15), all modulo 2^64, where
mix is the finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014, doi:10.1145/2660193.2660195).
"""

import numpy as np
from numpy.typing import NDArray

from qkdlink.common.distillation.reconciliation.schedule import MAX_CHECKS, PASSES
from qkdlink.common.distillation.reconciliation.words import Words
from qkdlink.common.kernels.compiled import kernel
from qkdlink.common.randomness import ChoiceStream

type Positions = NDArray[np.uint32]
"""`uint32` positions of words."""

SHUFFLE_SEED_BYTES = 32
_INDEX_STRIDE_BYTES = 2**64 * 16
_WORD_BYTES = 8


def stream(shuffle_seed: bytes, index: int, first_word: int, words: int) -> Words:
    """Return words `first_word` to `first_word + words` of the stream of one pass or check, `uint64[words]`.

    Raises ValueError unless the seed has 32 bytes.
    """
    start = index * _INDEX_STRIDE_BYTES + first_word * _WORD_BYTES
    found = ChoiceStream(shuffle_seed).read(start, words * _WORD_BYTES)
    return found.view("<u8").astype(np.uint64, copy=False)


@kernel
def shuffled(drawn: Words) -> Positions:
    """Return the permutation of 0..m-1 that the words drawn for a frame decide, `uint64[m]` -> `uint32[m]`."""
    order = np.arange(drawn.size).astype(np.uint32)
    for last in range(drawn.size - 1, 0, -1):
        chosen = np.int64(((drawn[last] >> np.uint64(32)) * np.uint64(last + 1)) >> np.uint64(32))
        order[last], order[chosen] = order[chosen], order[last]
    return order


@kernel
def turned(words: Words, order: Positions, drawn: Words, lanes: int) -> Words:
    """Return the words of a frame as a pass sees them: shuffled by `order`, and turned."""
    seen = np.empty_like(words)
    full = np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(64 - lanes)
    within = np.uint64(lanes - 1)
    for position in range(words.size):
        word, turn = words[order[position]], drawn[position] & within
        back = (np.uint64(lanes) - turn) & within
        seen[position] = ((word << turn) | (word >> back)) & full
    return seen


def check_keys(shuffle_seed: bytes) -> Words:
    """Return the keys of all checks, `uint64[MAX_CHECKS]`; ValueError unless the seed has 32 bytes."""
    return stream(shuffle_seed, PASSES, 0, MAX_CHECKS)


@kernel
def weight(key: np.uint64, word: int) -> np.uint64:
    """Return which lanes of a word of the laid-out key count in the check that has this key."""
    mixed = key + np.uint64(word + 1) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


@kernel
def weighed(words: Words, first_word: int, start: int, end: int, key: np.uint64) -> np.uint64:
    """XOR of the weighed words [start, end) of a stretch of the key that begins at word `first_word`."""
    total = np.uint64(0)
    for index in range(start, end):
        total ^= words[index] & weight(key, first_word + index)
    return total
