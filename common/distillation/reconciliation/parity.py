"""Questions about parities, and the parities themselves."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qkdlink.common.distillation.reconciliation.schedule import (
    LARGEST_FRAME_WORDS,
    MAX_INDICES,
    PASSES,
    Schedule,
)
from qkdlink.common.distillation.reconciliation.shuffle import Positions
from qkdlink.common.distillation.reconciliation.words import Words
from qkdlink.common.kernels.compiled import kernel

_FAULTS = (
    "",
    f"a question names a pass or check beyond the last, {MAX_INDICES - 1}",
    "a question's range is empty or ends before it starts",
    "a question's range ends beyond the key",
    "a question is about no lane, or about lanes that the words do not have",
    "a check's question spans more than one frame",
)


@dataclass(frozen=True, slots=True, eq=False)
class Questions:
    """Bob asks for parities of ranges of words: in a pass one per lane of the mask, in a check one in all."""

    indices: NDArray[np.uint8]
    """`uint8[m]`: the pass, from 0, or the check, from `PASSES`."""
    starts: Positions
    """`uint32[m]`: first position of each range in the laid-out key, as permuted for the pass."""
    ends: Positions
    """`uint32[m]`, exclusive."""
    masks: Words
    """`uint64[m]`: the lanes asked about."""

    def __len__(self) -> int:
        return len(self.starts)

    def parities(self, plan: Schedule) -> int:
        """Return how many parities the answers disclose.

        Raises ValueError for questions that make no sense for a key of this layout.
        """
        if self.starts.ndim != 1 or not (
            self.indices.shape == self.starts.shape == self.ends.shape == self.masks.shape
        ):
            raise ValueError("parity questions need one index, start, end and mask each")
        if not len(self):
            raise ValueError("parity questions ask for no parity at all")
        full = np.uint64(2**plan.lanes - 1)
        count, fault = _count(self.indices, self.starts, self.ends, self.masks, plan.words, full)
        if fault:
            raise ValueError(_FAULTS[fault])
        return int(count)


@kernel
def lanes_in(mask: np.uint64) -> int:
    """Count the bits that are set (Warren, Hacker's Delight, 2nd ed., section 5-1)."""
    pairs = mask - ((mask >> np.uint64(1)) & np.uint64(0x5555555555555555))
    fours = (pairs & np.uint64(0x3333333333333333)) + (
        (pairs >> np.uint64(2)) & np.uint64(0x3333333333333333)
    )
    bytes_ = (fours + (fours >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return int(np.int64((bytes_ * np.uint64(0x0101010101010101)) >> np.uint64(56)))


@kernel
def _count(
    indices: NDArray[np.uint8],
    starts: Positions,
    ends: Positions,
    masks: Words,
    words: int,
    full: np.uint64,
) -> tuple[int, int]:
    count = 0
    for each in range(starts.size):
        if indices[each] >= MAX_INDICES:
            return 0, 1
        if starts[each] >= ends[each]:
            return 0, 2
        if ends[each] > words:
            return 0, 3
        if masks[each] == np.uint64(0) or masks[each] & ~full:
            return 0, 4
        if indices[each] < PASSES:
            count += lanes_in(masks[each])
        else:
            if ends[each] - starts[each] > LARGEST_FRAME_WORDS:
                return 0, 5
            count += 1
    return count, 0
