"""The shape of a reconciliation: how a key is laid out in words, and the block sizes of its passes.

A key is cut into words of up to 64 bits: bit k of every word is in *lane* k. A block is one lane of some consecutive
words, so that one instruction works on the blocks of 64 lanes. A word of a short key has fewer bits, because
each pass over whole lanes costs one parity per lane. A long key is laid out in *frames* of about 2^14 words that
are reconciled side by side and share messages; neighbouring words go to different frames, so that all
frames have the same share of a burst.

Block sizes are powers of two, so that both halves of a range are equally long. The first pass has 0.6 to 1.2 expected
errors per block, the second 2 to 8 (fewer where the first has more), the third one block per lane: after two passes
a few errors in 2^20 bits are left. What might still be there is for random parities to
find (`shuffle.weighed`): each misses it with probability 1/2, whatever it is, and Bob stops when 24 in a
row have found nothing. A key that differs passes them with probability at most 2^-24 = 6e-8.

The factors were chosen by measuring leakage and exchanges from 1 to 8 % (`maintenance.evidence.cascade` repeats it).
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from math import ceil, floor, log2

PASSES = 3
"""Passes over blocks; higher indices are checks by random parities."""
FIRST_CHECKS = 6
"""So many checks are asked together at first, when something may well be left."""
CLEAN_CHECKS = 24
"""So many checks in a row without a difference end the reconciliation."""
MAX_CHECKS = 240
"""A frame asks no more of them; an honest run needs 24 to 60."""
MAX_INDICES = PASSES + MAX_CHECKS

MAX_LANES = 64
FRAME_WORDS = 2**14
"""Of 64 bits: what Bob keeps of a frame then fits a second-level cache."""
LARGEST_FRAME_WORDS = FRAME_WORDS * 3 // 2 + 1
_BITS_PER_LANE = 4096
_LOWEST_QBER = 1e-3  # 800-bit blocks cost 0.15 % of the key, and survive an expectation of no errors at all
_HIGHEST_QBER = 0.5


class Pace(StrEnum):
    """What Bob spares; Alice need not know."""

    EXCHANGES = "exchanges"
    """Short blocks in the second pass: a few hundred exchanges."""
    PARITIES = "parities"
    """Blocks twice as long: up to one percent less is disclosed, in two to three times the exchanges."""
    DISTANCE = "distance"
    """Blocks half as long: a third to a half of the exchanges, for up to two percent more: for long round trips,
    and where processors are the limit."""


_FIRST_BLOCK_ERRORS = 1.24
"""Expected errors in a block of the first pass at most; at least half as many."""
_BOTH_BLOCKS_ERRORS = {Pace.EXCHANGES: 4.8, Pace.PARITIES: 9.6, Pace.DISTANCE: 2.4}
"""The same of the first pass, times those of the second. The number of exchanges is 50 to 90 times this product."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The layout of a key, and the error rate that decides the block sizes of all passes over it."""

    key_length: int
    """Bits."""
    expected_qber: float
    """The error rate it was made for, 0.001..0.5."""
    lanes: int
    """Bits per word, a power of two up to 64; the last word is filled with zeros."""
    pace: Pace = Pace.EXCHANGES
    frame_words: int = FRAME_WORDS
    """A frame has about so many words, and at most half as many again."""

    @property
    def words(self) -> int:
        """Words of the key."""
        return -(-self.key_length // self.lanes)

    @property
    def frames(self) -> int:
        """Frames of the key; word w belongs to frame w mod `frames`."""
        return max(1, (2 * self.words + self.frame_words) // (2 * self.frame_words))

    def frame_bounds(self) -> list[int]:
        """Where each frame begins, in words, when one frame stands after the other; and where the last ends."""
        words, frames = self.words, self.frames
        bounds = [0]
        for frame in range(frames):
            bounds.append(bounds[-1] + (words - frame + frames - 1) // frames)
        return bounds

    def block_words(self, pass_index: int, frame_words: int) -> int:
        """Length of the blocks of a pass over a frame, a power of two; the last one may be shorter."""
        if pass_index >= 2:
            return int(2 ** ceil(log2(frame_words)))
        first = 2 ** floor(log2(_FIRST_BLOCK_ERRORS / self.expected_qber))
        if pass_index == 0:
            return int(first)
        errors = _BOTH_BLOCKS_ERRORS[self.pace] / (first * self.expected_qber)
        return int(2 ** floor(log2(errors / self.expected_qber)))


def schedule(key_length: int, expected_qber: float, pace: Pace = Pace.EXCHANGES) -> Schedule:
    """Return the schedule for a key of `key_length` bits (from 1) and an expected error rate (0..1).

    Raises ValueError outside these ranges. Rates below 0.001 and above 0.5 are taken as those.
    """
    if key_length < 1:
        raise ValueError(f"a key to reconcile has at least one bit, not {key_length}")
    if not 0.0 <= expected_qber <= 1.0:
        raise ValueError(f"an error rate lies between 0 and 1, not at {expected_qber}")
    lanes = 1
    while lanes < MAX_LANES and 2 * lanes * _BITS_PER_LANE <= key_length:
        lanes *= 2
    qber = min(max(expected_qber, _LOWEST_QBER), _HIGHEST_QBER)
    return Schedule(key_length, qber, lanes, pace)


def replanned(plan: Schedule, frame_words: int, odd_blocks: int) -> Schedule:
    """Return the plan for the passes after the first over a frame, by the error rate that the first has shown.

    A block of K bits is odd with probability (1 - (1 - 2q)^K) / 2, which is solved for q. Only a rate above
    the expected one changes the plan, and by a factor of four at most, because near one half the share of
    odd blocks says nothing: blocks that are too short cost a little leakage, blocks that are too long a
    thousand exchanges.
    """
    block_bits = plan.block_words(0, frame_words)
    highest = min(4 * plan.expected_qber, _HIGHEST_QBER)
    even_excess = 1 - 2 * odd_blocks * block_bits / (plan.lanes * frame_words)
    if even_excess <= (1 - 2 * highest) ** block_bits:
        return replace(plan, expected_qber=highest)
    shown = (1 - even_excess ** (1 / block_bits)) / 2
    return replace(plan, expected_qber=max(shown, plan.expected_qber))
