"""The block sizes of Cascade's passes, from two numbers that both parties know.

The first pass has 0.8 expected errors per block, the second blocks five times as long; the third gathers
what has survived both, which is a few errors in 1e4 bits whatever the rate. After this head comes a tail of
passes with four blocks each. Bob stops when twelve tail passes in a row have found nothing: two errors that
were still there fall into one block of a random permutation with probability at most 1/4, so that such a
pair escapes with probability at most 4^-12 = 6e-8, however wrong the expected error rate was. (An error in
every single bit escapes wherever block sizes are even: what remains is for the verification to find.)

The factors were chosen by measuring leakage and exchanges from 1 to 5 % (`lab.evidence_cascade` repeats
it). A larger second pass leaks up to one percent less and takes two to three times the exchanges.
"""

from dataclasses import dataclass
from math import ceil

FIRST_BLOCK_ERRORS = 0.8
"""Expected errors in a block of the first pass."""
SECOND_PASS_FACTOR = 5
"""Length of a block of the second pass, in blocks of the first."""
THIRD_BLOCK_BITS = 4096
TAIL_BLOCKS = 4
"""Blocks of each tail pass."""
CLEAN_TAIL_PASSES = 12
"""So many tail passes in a row without an odd block end the reconciliation."""
MAX_PASSES = 64
"""No pass index reaches this; an honest run needs about 15."""

_LOWEST_QBER = 1e-3  # 800-bit blocks cost 0.15 % of the key, and survive an expectation of no errors at all
_HIGHEST_QBER = 0.5


@dataclass(frozen=True, slots=True)
class Schedule:
    """The block sizes of all passes over a key."""

    key_length: int
    """Bits."""
    expected_qber: float
    """The error rate it was made for, 0.001..0.5."""
    head: tuple[int, ...]
    """Block sizes of the first passes, in bits, ascending; the others have `tail_block_bits`."""
    tail_block_bits: int

    def block_bits(self, pass_index: int) -> int:
        """Bits per block in pass `pass_index` (from 0); the last block of a pass may be shorter."""
        return self.head[pass_index] if pass_index < len(self.head) else self.tail_block_bits

    def in_tail(self, pass_index: int) -> bool:
        """Whether a pass counts towards the clean passes that end the reconciliation."""
        return pass_index >= len(self.head)


def schedule(key_length: int, expected_qber: float) -> Schedule:
    """Return the block sizes for a key of `key_length` bits (from 1) and an expected error rate (0..1).

    Raises ValueError outside these ranges. Rates below 0.001 and above 0.5 are taken as those.
    """
    if key_length < 1:
        raise ValueError(f"a key to reconcile has at least one bit, not {key_length}")
    if not 0.0 <= expected_qber <= 1.0:
        raise ValueError(f"an error rate lies between 0 and 1, not at {expected_qber}")
    qber = min(max(expected_qber, _LOWEST_QBER), _HIGHEST_QBER)
    tail = ceil(key_length / TAIL_BLOCKS)
    first = round(FIRST_BLOCK_ERRORS / qber)
    head = (first, SECOND_PASS_FACTOR * first, THIRD_BLOCK_BITS)
    return Schedule(key_length, qber, tuple(size for size in head if size < tail), tail)


def replanned(plan: Schedule, odd_blocks: int, blocks: int) -> Schedule:
    """Return the plan for the passes after the first, by the error rate that the first one has shown.

    A block of K bits is odd with probability (1 - (1 - 2q)^K) / 2, which is solved for q. Only a rate above
    the expected one changes the plan, and by a factor of four at most, because near one half the share of
    odd blocks says nothing: blocks that are too short cost a little leakage, blocks that are too long a
    thousand exchanges.
    """
    first = plan.block_bits(0)
    highest = min(4 * plan.expected_qber, _HIGHEST_QBER)
    even_excess = 1 - 2 * odd_blocks / blocks
    if even_excess <= (1 - 2 * highest) ** first:
        return schedule(plan.key_length, highest)
    shown = (1 - even_excess ** (1 / first)) / 2
    return schedule(plan.key_length, max(shown, plan.expected_qber))
