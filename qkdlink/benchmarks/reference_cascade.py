"""Cascade once more, slowly and obviously: what `cascade` has to agree with, question for question.

Bits in lists, one range after the other, sums over bits, both parties in one place: nothing is clever here.
The layout, the permutations and the weights of the checks are computed again from their specification, too.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from qkdlink.common.bits import Bits
from qkdlink.common.distillation.reconciliation.schedule import (
    CLEAN_CHECKS,
    FIRST_CHECKS,
    MAX_CHECKS,
    PASSES,
    Schedule,
    replanned,
)
from qkdlink.common.randomness import ChoiceStream

type Range = tuple[int, int, frozenset[int]]
"""Start, end, and lanes."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What one frame asks for in one exchange: ranges of words, each in some lanes."""

    index: int
    """The pass, or the first of the checks."""
    ranges: frozenset[Range]


@dataclass(frozen=True, slots=True)
class Reconciled:
    """Bob's key after reconciliation, and all that was asked on the way, frame by frame."""

    bits: list[int]
    frames: list[list[Asked]]
    disclosed_bits: int


def reconcile(alice_bits: Bits, bob_bits: Bits, plan: Schedule, shuffle_seed: bytes) -> Reconciled:
    """Run Cascade over two keys, `uint8[n]` each, that lie side by side."""
    alice, bob = alice_bits.tolist(), bob_bits.tolist()
    runs, first_word = [], 0
    for frame in range(plan.frames):
        run = _Run(alice, bob, plan, shuffle_seed, frame, first_word)
        run.run()
        runs.append(run)
        first_word += len(run.words)
    return Reconciled(bob, [run.asked for run in runs], sum(run.disclosed_bits for run in runs))


@dataclass(slots=True)
class _Leaf:
    """One lane of the positions [start, end) of a pass."""

    lane: int
    start: int
    end: int
    alice_parity: int


class _Run:
    """Both parties' work on one frame; a bit is named by its number in the key."""

    def __init__(
        self,
        alice: list[int],
        bob: list[int],
        plan: Schedule,
        shuffle_seed: bytes,
        frame: int,
        first_word: int,
    ) -> None:
        self.alice, self.bob, self.plan = alice, bob, plan
        self.shuffle_seed, self.first_word = shuffle_seed, first_word
        self.words = list(range(frame, plan.words, plan.frames))
        self.orders: list[list[tuple[int, int]]] = []
        self.passes: list[list[_Leaf]] = []
        self.asked: list[Asked] = []
        self.disclosed_bits = 0

    def run(self) -> None:
        for index in range(PASSES):
            self.open_pass(index)
            self.search()
        self.check()

    def open_pass(self, index: int) -> None:
        count, size = len(self.words), self.plan.block_words(index, len(self.words))
        self.orders.append(shuffled(self.shuffle_seed, index, self.first_word, count))
        self.passes.append([])
        blocks = [(start, min(start + size, count)) for start in range(0, count, size)]
        self.ask(index, [(start, end, lane) for start, end in blocks for lane in range(self.plan.lanes)])
        for start, end in blocks:
            for lane in range(self.plan.lanes):
                parity = self.parity(self.alice, self.bits_of(index, start, end, lane))
                self.passes[index].append(_Leaf(lane, start, end, parity))
        if index == 0:
            self.plan = replanned(self.plan, count, len(self.odd_leaves(0)))
        self.correct_single_bits(index)

    def search(self) -> None:
        while (index := self.pass_of_the_shortest_odd_leaf()) is not None:
            odd = self.odd_leaves(index)
            middles = [leaf.start + (leaf.end - leaf.start) // 2 for leaf in odd]
            self.ask(
                index, [(leaf.start, middle, leaf.lane) for leaf, middle in zip(odd, middles, strict=True)]
            )
            for leaf, middle in zip(odd, middles, strict=True):
                left = self.parity(self.alice, self.bits_of(index, leaf.start, middle, leaf.lane))
                self.passes[index].remove(leaf)
                self.passes[index].append(_Leaf(leaf.lane, leaf.start, middle, left))
                self.passes[index].append(_Leaf(leaf.lane, middle, leaf.end, leaf.alice_parity ^ left))
            self.correct_single_bits(index)

    def pass_of_the_shortest_odd_leaf(self) -> int | None:
        lengths = {
            index: min(leaf.end - leaf.start for leaf in odd)
            for index in range(len(self.passes))
            if (odd := self.odd_leaves(index))
        }
        return min(lengths, key=lambda index: lengths[index], default=None)

    def odd_leaves(self, index: int) -> list[_Leaf]:
        return [
            leaf
            for leaf in self.passes[index]
            if leaf.alice_parity
            != self.parity(self.bob, self.bits_of(index, leaf.start, leaf.end, leaf.lane))
        ]

    def correct_single_bits(self, index: int) -> None:
        for leaf in self.odd_leaves(index):
            if leaf.end - leaf.start == 1:
                [bit] = self.bits_of(index, leaf.start, leaf.end, leaf.lane)
                self.bob[bit] ^= 1

    def check(self) -> None:
        asked = clean = 0
        while clean < CLEAN_CHECKS and asked < MAX_CHECKS:
            count = min(CLEAN_CHECKS - clean if clean else FIRST_CHECKS, MAX_CHECKS - asked)
            weights = {check: self.weights(check) for check in range(asked, asked + count)}
            self.say(asked, (0, len(self.words), frozenset(range(self.plan.lanes))), count)
            asked += count
            differences = 0
            for check, counted in weights.items():
                while self.differs(counted):
                    differences += 1
                    self.locate(check, counted)
                    self.search()
            clean = 0 if differences else clean + count

    def locate(self, check: int, weights: list[list[int]]) -> None:
        start, end, lanes = 0, len(self.words), list(range(self.plan.lanes))
        while end - start > 1:
            middle = start + (end - start) // 2
            self.say(check, (start, middle, frozenset(lanes)), 1)
            start, end = (start, middle) if self.differs(weights[start:middle]) else (middle, end)
        word = self.words[start]
        weight = self.weight(self.check_key(check), start)
        lanes = [lane for lane in lanes if weight >> lane & 1]
        while len(lanes) > 1:
            half = lanes[: len(lanes) // 2]
            self.say(check, (start, end, frozenset(half)), 1)
            bits = self.bits_of_word(word, half)
            lanes = half if self.differs([bits]) else lanes[len(half) :]
        [bit] = self.bits_of_word(word, lanes)
        self.bob[bit] ^= 1

    def weights(self, check: int) -> list[list[int]]:
        """The bits of each word that a check counts."""
        found = []
        key = self.check_key(check)
        for position, word in enumerate(self.words):
            weight = self.weight(key, position)
            lanes = [lane for lane in range(self.plan.lanes) if weight >> lane & 1]
            found.append(self.bits_of_word(word, lanes))
        return found

    def check_key(self, check: int) -> int:
        return next(stream(self.shuffle_seed, PASSES, check))

    def weight(self, key: int, position: int) -> int:
        return mixed(key + (self.first_word + position + 1) * 0x9E3779B97F4A7C15)

    def differs(self, words: list[list[int]]) -> bool:
        bits = [bit for word in words for bit in word]
        return self.parity(self.alice, bits) != self.parity(self.bob, bits)

    def bits_of(self, index: int, start: int, end: int, lane: int) -> list[int]:
        found = []
        for word, turn in self.orders[index][start:end]:
            found += self.bits_of_word(self.words[word], [(lane - turn) % self.plan.lanes])
        return found

    def bits_of_word(self, word: int, lanes: list[int]) -> list[int]:
        """Some lanes of a word, without the filling beyond the key."""
        bits = [lane * self.plan.words + word for lane in lanes]
        return [bit for bit in bits if bit < len(self.bob)]

    def parity(self, key: list[int], bits: list[int]) -> int:
        return sum(key[bit] for bit in bits) % 2

    def ask(self, index: int, ranges: list[tuple[int, int, int]]) -> None:
        lanes: dict[tuple[int, int], set[int]] = {}
        for start, end, lane in ranges:
            lanes.setdefault((start, end), set()).add(lane)
        asked = frozenset((start, end, frozenset(some)) for (start, end), some in lanes.items())
        self.asked.append(Asked(index, asked))
        self.disclosed_bits += len(ranges)

    def say(self, check: int, asked: Range, checks: int) -> None:
        self.asked.append(Asked(PASSES + check, frozenset([asked])))
        self.disclosed_bits += checks


def stream(shuffle_seed: bytes, index: int, first_word: int) -> Iterator[int]:
    """Yield words of the key stream of a pass, or the keys of the checks."""
    while True:
        word = ChoiceStream(shuffle_seed).read(16 * 2**64 * index + 8 * first_word, 8)
        yield int.from_bytes(word.tobytes(), "little")
        first_word += 1


def shuffled(shuffle_seed: bytes, index: int, first_word: int, count: int) -> list[tuple[int, int]]:
    """Return the permutation of a frame that `shuffle` specifies: word and turn at each position."""
    drawn = [word for word, _ in zip(stream(shuffle_seed, index, first_word), range(count), strict=False)]
    order = list(range(count))
    for last in range(count - 1, 0, -1):
        chosen = (drawn[last] >> 32) * (last + 1) >> 32
        order[last], order[chosen] = order[chosen], order[last]
    return list(zip(order, drawn, strict=True))


def mixed(value: int) -> int:
    """Return what the finaliser of SplitMix64 makes of a number."""
    value %= 2**64
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ value >> 27) * 0x94D049BB133111EB % 2**64
    return value ^ value >> 31
