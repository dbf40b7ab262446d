"""Cascade once more, slowly and obviously: what `cascade` has to agree with, question for question.

Lists of ranges, sums over bits, both parties in one place: nothing is clever here. The permutations are
computed again from their specification, too.
"""

from dataclasses import dataclass

from common.bits import Bits
from common.distillation.reconciliation.cascade import KEPT_PASSES
from common.distillation.reconciliation.schedule import CLEAN_TAIL_PASSES, MAX_PASSES, Schedule, replanned
from common.randomness import ChoiceStream


@dataclass(frozen=True, slots=True)
class Asked:
    """The ranges of one pass whose parities were asked for in one exchange."""

    pass_index: int
    ranges: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Reconciled:
    """Bob's key after reconciliation, and all that was asked on the way."""

    bits: list[int]
    exchanges: list[Asked]

    @property
    def disclosed_bits(self) -> int:
        """How many parities were disclosed."""
        return sum(len(asked.ranges) for asked in self.exchanges)


@dataclass(slots=True)
class _Leaf:
    start: int
    end: int
    alice_parity: int


@dataclass(slots=True)
class _Pass:
    index: int
    order: list[int]
    leaves: list[_Leaf]


def reconcile(alice_bits: Bits, bob_bits: Bits, plan: Schedule, shuffle_seed: bytes) -> Reconciled:
    """Run Cascade over two keys, `uint8[n]` each, that lie side by side."""
    return _Run(alice_bits.tolist(), bob_bits.tolist(), plan, shuffle_seed).run()


class _Run:
    def __init__(self, alice: list[int], bob: list[int], plan: Schedule, shuffle_seed: bytes) -> None:
        self.alice, self.bob = alice, bob
        self.plan, self.shuffle_seed = plan, shuffle_seed
        self.passes: list[_Pass] = []
        self.exchanges: list[Asked] = []

    def run(self) -> Reconciled:
        clean_passes = 0
        for index in range(MAX_PASSES):
            odd_blocks = self.open_pass(index)
            while odd := self.smallest_odd():
                self.search(*odd)
            clean_passes = 0 if odd_blocks or not self.plan.in_tail(index) else clean_passes + 1
            if clean_passes == CLEAN_TAIL_PASSES:
                break
        return Reconciled(self.bob, self.exchanges)

    def open_pass(self, index: int) -> int:
        order, size = shuffled(self.shuffle_seed, index, len(self.alice)), self.plan.block_bits(index)
        starts = range(0, len(order), size)
        blocks = [(start, min(start + size, len(order))) for start in starts]
        self.ask(index, blocks if index == 0 else blocks[:-1])
        leaves = [_Leaf(start, end, parity(self.alice, order[start:end])) for start, end in blocks]
        opened = _Pass(index, order, leaves)
        self.passes = [*self.passes[:KEPT_PASSES], opened]
        odd_blocks = len(self.odd_leaves(opened))
        if index == 0:
            self.plan = replanned(self.plan, odd_blocks, len(blocks))
        self.correct_single_bits()
        return odd_blocks

    def odd_leaves(self, searched: _Pass) -> list[_Leaf]:
        return [
            leaf
            for leaf in searched.leaves
            if leaf.alice_parity != parity(self.bob, searched.order[leaf.start : leaf.end])
        ]

    def smallest_odd(self) -> tuple[_Pass, list[_Leaf]] | None:
        found = [(kept, odd) for kept in self.passes if (odd := self.odd_leaves(kept))]
        return min(found, key=lambda each: min(leaf.end - leaf.start for leaf in each[1]), default=None)

    def search(self, searched: _Pass, odd: list[_Leaf]) -> None:
        halves = [(leaf.start, leaf.start + (leaf.end - leaf.start) // 2) for leaf in odd]
        self.ask(searched.index, halves)
        for leaf, (start, middle) in zip(odd, halves, strict=True):
            left = parity(self.alice, searched.order[start:middle])
            right = leaf.alice_parity ^ left
            searched.leaves.remove(leaf)
            searched.leaves += [_Leaf(start, middle, left), _Leaf(middle, leaf.end, right)]
        searched.leaves.sort(key=lambda leaf: leaf.start)
        self.correct_single_bits()

    def correct_single_bits(self) -> None:
        for known in self.passes:
            for leaf in self.odd_leaves(known):
                if leaf.end - leaf.start == 1:
                    self.bob[known.order[leaf.start]] ^= 1

    def ask(self, pass_index: int, ranges: list[tuple[int, int]]) -> None:
        if ranges:
            self.exchanges.append(Asked(pass_index, ranges))


def shuffled(shuffle_seed: bytes, pass_index: int, key_length: int) -> list[int]:
    """Return the permutation that `shuffle` specifies."""
    stream = ChoiceStream(shuffle_seed).read(16 * 2**64 * pass_index, 4 * key_length).tobytes()
    order = list(range(key_length))
    for last in range(key_length - 1, 0, -1):
        word = int.from_bytes(stream[4 * last : 4 * last + 4], "little")
        chosen = word * (last + 1) >> 32
        order[last], order[chosen] = order[chosen], order[last]
    return order


def parity(bits: list[int], indices: list[int]) -> int:
    """Parity of some bits of a key."""
    return sum(bits[index] for index in indices) % 2
