"""Bob's course through one frame: what he asks next, told from the first block to the last check."""

from collections.abc import Generator

import numpy as np

from qkdlink.common.distillation.reconciliation.leaves import (
    ask,
    enter_blocks,
    flip,
    leaves,
    open_pass,
    search,
)
from qkdlink.common.distillation.reconciliation.parity import Questions, lanes_in
from qkdlink.common.distillation.reconciliation.schedule import (
    CLEAN_CHECKS,
    FIRST_CHECKS,
    MAX_CHECKS,
    PASSES,
    Schedule,
    replanned,
)
from qkdlink.common.distillation.reconciliation.shuffle import (
    check_keys,
    shuffled,
    stream,
    turned,
    weighed,
    weight,
)
from qkdlink.common.distillation.reconciliation.words import Words
from qkdlink.common.errors import RemoteProtocolError

type Course[Result] = Generator[Questions, Words, Result]
"""Yields questions about the frame, is sent Alice's answers, and ends with a result."""


class Frame:
    """A frame of Bob's key while it is corrected, in place."""

    def __init__(self, words: Words, first_word: int, plan: Schedule, shuffle_seed: bytes) -> None:
        self._words = words
        self._first_word = first_word
        self._plan = plan
        self._shuffle_seed = shuffle_seed
        self._leaves = leaves(words, plan.lanes)
        self._full = np.uint64(2**plan.lanes - 1)

    def course(self) -> Course[None]:
        """Correct the frame. Raises RemoteProtocolError if Alice's answers contradict each other."""
        for index in range(PASSES):
            blocks = self._open(index)
            answers = yield self._questions(index, blocks)
            possible, odd = enter_blocks(self._leaves, index + 1, blocks, answers)
            _believe(possible)
            if index == 0:
                self._plan = replanned(self._plan, len(self._words), odd)
            yield from self._search(index + 1)
        yield from self._check()

    def _open(self, index: int) -> int:
        drawn = stream(self._shuffle_seed, index, self._first_word, len(self._words))
        order = shuffled(drawn)
        seen = turned(self._words, order, drawn, self._plan.lanes)
        block_words = self._plan.block_words(index, len(self._words))
        return open_pass(self._leaves, index, block_words, order, drawn, seen)

    def _search(self, opened: int) -> Course[None]:
        """Halve odd leaves until none is left."""
        index, asked = ask(self._leaves, opened)
        while asked:
            answers = yield self._questions(index, asked)
            possible, index, asked = search(self._leaves, opened, index, asked, answers)
            _believe(possible)

    def _questions(self, index: int, asked: int) -> Questions:
        known, first = self._leaves, np.uint32(self._first_word)
        return Questions(
            np.full(asked, index, np.uint8),
            known.starts[:asked] + first,
            known.ends[:asked] + first,
            known.masks[:asked].copy(),
        )

    def _check(self) -> Course[None]:
        """Ask for parities of random halves of the frame until enough in a row show no difference."""
        keys = check_keys(self._shuffle_seed)
        asked = clean = 0
        while clean < CLEAN_CHECKS and asked < MAX_CHECKS:
            count = min(CLEAN_CHECKS - clean if clean else FIRST_CHECKS, MAX_CHECKS - asked)
            checks = range(asked, asked + count)
            asked += count
            answers = yield self._whole(checks)
            clean = (
                clean + count
                if (yield from self._settle(checks, keys[checks.start : checks.stop], answers))
                else 0
            )

    def _settle(self, checks: range, keys: Words, answers: Words) -> Course[bool]:
        """Correct an error in each check that shows a difference; return whether there was none."""
        clean = True
        for check, key, answer in zip(checks, keys, answers, strict=True):
            while self._parity(key, 0, len(self._words), self._full) != answer:
                clean = False
                yield from self._locate(check, key)
                yield from self._search(PASSES)
        return clean

    def _locate(self, check: int, key: np.uint64) -> Course[None]:
        """Halve the frame, then the lanes of one word, down to an error, and correct it."""
        start, end = 0, len(self._words)
        while end - start > 1:
            middle = start + (end - start) // 2
            answers = yield self._part(check, start, middle, self._full)
            if self._parity(key, start, middle, self._full) != answers[0]:
                end = middle
            else:
                start = middle
        counted = int(weight(key, self._first_word + start))
        lanes = [lane for lane in range(self._plan.lanes) if counted >> lane & 1]
        while len(lanes) > 1:
            half = lanes[: len(lanes) // 2]
            mask = np.uint64(sum(1 << lane for lane in half))
            answers = yield self._part(check, start, end, mask)
            differs = self._parity(key, start, end, mask) != answers[0]
            lanes = half if differs else lanes[len(half) :]
        _believe(bool(lanes))
        self._correct(start, np.uint64(1 << lanes[0]))

    def _correct(self, word: int, errors: np.uint64) -> None:
        self._words[word] ^= errors
        self._leaves.found[0], self._leaves.errors[0] = word, errors
        for index in range(PASSES):
            _believe(not flip(self._leaves, index, 1))

    def _parity(self, key: np.uint64, start: int, end: int, mask: np.uint64) -> int:
        return lanes_in(weighed(self._words, self._first_word, start, end, key) & mask) & 1

    def _whole(self, checks: range) -> Questions:
        count = len(checks)
        return Questions(
            (np.arange(checks.start, checks.stop) + PASSES).astype(np.uint8),
            np.full(count, self._first_word, np.uint32),
            np.full(count, self._first_word + len(self._words), np.uint32),
            np.full(count, self._full),
        )

    def _part(self, check: int, start: int, end: int, mask: np.uint64) -> Questions:
        return Questions(
            np.array([PASSES + check], np.uint8),
            np.array([self._first_word + start], np.uint32),
            np.array([self._first_word + end], np.uint32),
            np.array([mask], np.uint64),
        )


def _believe(possible: bool) -> None:  # noqa: FBT001 - the one thing there is to say
    if not possible:
        raise RemoteProtocolError("Alice's parities contradict each other.")
