"""A key as words of lanes, frame after frame: lane k of word w is bit `k * words + w` of the key.

So neighbouring bits of the key are in different words, and a burst of errors is scattered as soon as words are shuffled
and turned. The words of a frame stand together: word w is word w // frames of frame w mod frames.
"""

import numpy as np
from numpy.typing import NDArray

from qkdlink.common.bits import Bits
from qkdlink.common.distillation.reconciliation.schedule import Schedule
from qkdlink.common.kernels.compiled import kernel

type Words = NDArray[np.uint64]
"""`uint64[w]`: up to 64 lanes in the lowest bits, the others zero."""


def to_words(bits: Bits, plan: Schedule) -> Words:
    """Lay out a key, `uint8[n]` -> `uint64[plan.words]`.

    Raises ValueError if the schedule is for another length.
    """
    if bits.shape != (plan.key_length,):
        raise ValueError(f"the schedule is for {plan.key_length} bits, the key has {len(bits)}")
    words = _gathered(np.ascontiguousarray(bits), plan.words)
    if plan.frames == 1:
        return words
    return np.concatenate([words[frame :: plan.frames] for frame in range(plan.frames)])


def to_bits(words: Words, plan: Schedule) -> Bits:
    """Read a key of `plan.key_length` bits, the inverse of `to_words`."""
    ordered = np.empty_like(words)
    bounds = plan.frame_bounds()
    for frame in range(plan.frames):
        ordered[frame :: plan.frames] = words[bounds[frame] : bounds[frame + 1]]
    return _scattered(ordered, plan.key_length)


@kernel
def _gathered(bits: Bits, count: int) -> Words:
    words = np.zeros(count, np.uint64)
    for lane in range((bits.size + count - 1) // count):
        row = bits[lane * count : (lane + 1) * count]
        for word in range(row.size):
            words[word] |= np.uint64(row[word]) << np.uint64(lane)
    return words


@kernel
def _scattered(words: Words, length: int) -> Bits:
    bits = np.empty(length, np.uint8)
    for lane in range((length + words.size - 1) // words.size):
        row = bits[lane * words.size : (lane + 1) * words.size]
        for word in range(row.size):
            row[word] = (words[word] >> np.uint64(lane)) & np.uint64(1)
    return bits
