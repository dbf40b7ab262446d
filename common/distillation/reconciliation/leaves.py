"""The ranges of one pass whose parities are known: blocks halved again and again, of which the leaves matter.

Each block of a pass is the root of a binary tree: a node [start, end) is split in the middle, at start +
(end - start) // 2, when the parity of its left half has been disclosed; the right half's follows. So the
parity of every leaf is known, a node with an odd number of errors has a leaf with an odd number, and the
smallest range that a later correction makes odd is always a leaf. Keeping the leaves is keeping every
sub-parity ever disclosed.

A position is the midpoint of one node only, so that one mark per position says which nodes are split; a
leaf is named by its start, which its left half inherits.
"""

import numpy as np
from numpy.typing import NDArray

from common.bits import Bits
from common.distillation.reconciliation.parity import Positions, Questions, range_parities
from common.distillation.reconciliation.shuffle import Permutation, inverse, permutation
from common.errors import RemoteProtocolError
from common.kernels import kernel

type Marks = NDArray[np.uint8]
"""One mark, 0 or 1, per position."""


class Leaves:
    """Bob's side of one pass: his permuted bits, the known ranges, and which of them differ from Alice's."""

    def __init__(self, bits: Bits, shuffle_seed: bytes, pass_index: int, block_bits: int) -> None:
        self.pass_index = pass_index
        self._block_bits = block_bits
        self._order = permutation(shuffle_seed, pass_index, len(bits))
        self._positions = inverse(self._order)
        self._bits = bits[self._order]
        self._split: Marks = np.zeros(len(bits), np.uint8)
        self._odd: Marks = np.zeros(len(bits), np.uint8)
        self._suspects: Positions = np.empty(0, np.uint32)
        """Starts of every leaf that is odd and of some that were."""

    def blocks(self) -> tuple[Positions, Positions]:
        """Starts and ends of the undivided blocks, `uint32` each."""
        starts = np.arange(0, len(self._bits), self._block_bits).astype(np.uint32)
        return starts, np.append(starts[1:], np.uint32(len(self._bits)))

    def odd_leaves(self) -> tuple[Positions, Positions]:
        """Starts and ends of the leaves that hold an odd number of errors, ascending, `uint32` each.

        Raises RemoteProtocolError if a single bit is among them: it was made equal to Alice's when she told
        it.
        """
        self._suspects = np.unique(self._suspects[self._odd[self._suspects] == 1])
        ends = _leaf_ends(self._suspects, self._split, self._block_bits)
        if np.any(ends - self._suspects == 1):
            raise RemoteProtocolError("Alice's parities contradict each other.")
        return self._suspects, ends

    def differences(self, questions: Questions, answers: Bits) -> Bits:
        """Where Alice's parities differ from Bob's present ones, `uint8[m]`."""
        return range_parities(self._bits, questions.starts, questions.ends) ^ answers

    def enter_blocks(self, odd: Bits) -> Permutation:
        """Note which blocks are odd; return the key indices of errors found by it (blocks of one bit)."""
        starts, ends = self.blocks()
        self._odd[starts] = odd
        self._suspects = starts[odd == 1]
        return self._single_bits(self._suspects, ends[odd == 1])

    def halve(self, questions: Questions, left_odd: Bits) -> Permutation:
        """Split the odd leaves whose left halves were asked for; return key indices of errors found by it."""
        starts, middles = questions.starts, questions.ends
        ends = _leaf_ends(starts, self._split, self._block_bits)
        self._split[middles] = 1
        self._odd[starts] = left_odd
        self._odd[middles] = 1 - left_odd
        self._suspects = np.append(self._suspects, middles)
        return self._single_bits(np.where(left_odd, starts, middles), np.where(left_odd, middles, ends))

    def correct(self, key_indices: Permutation) -> None:
        """Flip these bits of the key: each changes the parity of the one leaf that holds it."""
        positions = self._positions[key_indices]
        changed = _flip(positions, self._bits, self._split, self._odd, self._block_bits)
        self._suspects = np.append(self._suspects, changed)

    def _single_bits(self, starts: Positions, ends: Positions) -> Permutation:
        found: Permutation = self._order[starts[ends - starts == 1]]
        return found


def left_halves(starts: Positions, ends: Positions) -> tuple[Positions, Positions]:
    """Return the ranges [start, start + (end - start) // 2), for ranges of two bits or more."""
    middles: Positions = starts + (ends - starts) // np.uint32(2)
    return starts, middles


@kernel
def _leaf(position: np.int64, split: Marks, block_bits: int) -> tuple[np.int64, np.int64]:
    start = position // block_bits * block_bits
    end = min(start + block_bits, np.int64(split.size))
    while end - start > 1:
        middle = start + (end - start) // 2
        if not split[middle]:
            break
        if position < middle:
            end = middle
        else:
            start = middle
    return start, end


@kernel
def _leaf_ends(starts: Positions, split: Marks, block_bits: int) -> Positions:
    ends = np.empty_like(starts)
    for index in range(starts.size):
        ends[index] = _leaf(np.int64(starts[index]), split, block_bits)[1]
    return ends


@kernel
def _flip(positions: Positions, bits: Bits, split: Marks, odd: Marks, block_bits: int) -> Positions:
    changed = np.empty_like(positions)
    for index in range(positions.size):
        position = np.int64(positions[index])
        start = _leaf(position, split, block_bits)[0]
        bits[position] ^= 1
        odd[start] ^= 1
        changed[index] = start
    return changed
