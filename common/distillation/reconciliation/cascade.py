"""Cascade: Bob asks for parities and corrects, Alice answers and counts.

Brassard and Salvail 1994, with every disclosed sub-parity reused (Martinez-Mateo et al. 2015): when a
correction makes a range odd, it is the smallest known range around it that is searched, not the whole
block. Batched: an exchange asks for the left halves of all odd ranges of one pass, that of the smallest
one; right halves follow. Bit-sliced: the ranges of 64 lanes are handled together (`words`, `leaves`;
`docs/performance/reconciliation.md` has the picture). Frames of a long key go their own ways in the same messages.

Alice answers any ranges, within her budget; where the search goes is for Bob alone to decide. Each
correction is an error found, because a range of one bit has Alice's value: with honest answers no wrong one
is made.

Memory is about 2.5 bytes per key bit at Bob and half a byte at Alice for keys of 2^18 bits or more; a shorter key
has words of fewer bits.

Sources: Brassard, Salvail, "Secret-key reconciliation by public discussion", EUROCRYPT 1993;
Martinez-Mateo, Pacher, Peev, Ciurana, Martin, "Demystifying the information reconciliation protocol
Cascade", arXiv:1407.3257.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from qkdlink.common.bits import Bits
from qkdlink.common.distillation.reconciliation.efficiency import parity_budget
from qkdlink.common.distillation.reconciliation.frame import Course, Frame
from qkdlink.common.distillation.reconciliation.parity import Questions, lanes_in
from qkdlink.common.distillation.reconciliation.schedule import PASSES, Pace, Schedule, schedule
from qkdlink.common.distillation.reconciliation.shuffle import (
    Positions,
    check_keys,
    shuffled,
    stream,
    turned,
    weighed,
)
from qkdlink.common.distillation.reconciliation.words import Words, to_bits, to_words
from qkdlink.common.kernels.compiled import kernel

__all__ = [
    "Answerer",
    "BudgetExhausted",
    "Corrector",
    "Pace",
    "Questions",
    "Schedule",
    "parity_budget",
    "schedule",
]


class BudgetExhausted(Exception):  # noqa: N818 - nobody's error: nature made more errors than can be paid for
    """Reconciling this block would disclose more parities than its budget allows."""


class Answerer:
    """Alice: answers parities of her key within a budget and counts each, whoever asked and how often."""

    def __init__(self, bits: Bits, plan: Schedule, shuffle_seed: bytes, budget_bits: int) -> None:
        self._words = to_words(bits, plan)
        self._plan = plan
        self._shuffle_seed = shuffle_seed
        self._budget_bits = budget_bits
        self._running = np.empty((PASSES, plan.words + 1), np.uint64)
        self._check_keys = check_keys(shuffle_seed)
        for index in range(PASSES):  # now, so that no answer takes longer than its questions are long
            self._prepare(index)
        self.disclosed_bits = 0
        """Parities answered so far."""

    def answer(self, questions: Questions) -> Words:
        """Return the parities asked for, `uint64[m]`: in the lanes of the mask, or of a check in the lowest.

        Raises ValueError for questions that make no sense and BudgetExhausted if the answer would exceed
        the budget; then nothing is disclosed and nothing has changed.
        """
        count = questions.parities(self._plan)
        if self.disclosed_bits + count > self._budget_bits:
            raise BudgetExhausted(
                f"{self.disclosed_bits + count} parities of {self._plan.key_length} bits were asked for,"
                f" the budget of the block is {self._budget_bits}"
            )
        self.disclosed_bits += count
        return _answers(
            self._running,
            self._words,
            self._check_keys,
            questions.indices,
            questions.starts,
            questions.ends,
            questions.masks,
        )

    def _prepare(self, index: int) -> None:
        bounds = self._plan.frame_bounds()
        seen = np.empty_like(self._words)
        for start, end in pairwise(bounds):
            drawn = stream(self._shuffle_seed, index, start, end - start)
            seen[start:end] = turned(self._words[start:end], shuffled(drawn), drawn, self._plan.lanes)
        self._running[index, 0] = 0
        np.bitwise_xor.accumulate(seen, out=self._running[index, 1:])


class Corrector:
    """Bob: asks until nothing is odd any more and enough checks in a row have found nothing."""

    def __init__(self, bits: Bits, plan: Schedule, shuffle_seed: bytes) -> None:
        self._received = bits
        self._plan = plan
        self._words = to_words(bits, plan)
        bounds = plan.frame_bounds()
        self._courses: list[Course[None]] = []
        self._waiting: list[Questions] = []
        for start, end in pairwise(bounds):
            course = Frame(self._words[start:end], start, plan, shuffle_seed).course()
            self._courses.append(course)
            self._waiting.append(next(course))
        self.disclosed_bits = 0
        """Parities received so far."""
        self.asked_bits = 0
        """Parities that the present questions ask for."""
        self._asked: Questions | None = None
        self._ask()

    @property
    def bits(self) -> Bits:
        """The key as corrected so far, `uint8[n]`; a copy."""
        return to_bits(self._words, self._plan)

    @property
    def corrected(self) -> NDArray[np.uint32]:
        """Indices of the bits that differ from what was received, `uint32`, ascending."""
        return np.flatnonzero(self.bits != self._received).astype(np.uint32)

    def questions(self) -> Questions | None:
        """Return what to ask next, the same until it is answered; None when the key is reconciled."""
        return self._asked

    def receive(self, answers: Words) -> None:
        """Take Alice's parities, `uint64[m]` as `Answerer.answer` gives them, and correct what they point at.

        Raises ValueError, with nothing changed, if nothing was asked or the answers are not as many.
        RemoteProtocolError if Alice's answers contradict each other.
        """
        if self._asked is None:
            raise ValueError("parities were answered that nobody asked for")
        if answers.shape != self._asked.starts.shape or answers.dtype != np.uint64:
            raise ValueError(f"{len(self._asked)} parity questions need as many words of answers")
        self.disclosed_bits += self.asked_bits
        courses, waiting = [], []
        used = 0
        for course, asked in zip(self._courses, self._waiting, strict=True):
            answer = answers[used : used + len(asked)]
            used += len(asked)
            try:
                waiting.append(course.send(answer))
            except StopIteration:
                continue
            courses.append(course)
        self._courses, self._waiting = courses, waiting
        self._ask()

    def _ask(self) -> None:
        self._asked = _together(self._waiting)
        self.asked_bits = 0 if self._asked is None else self._asked.parities(self._plan)


def _together(waiting: list[Questions]) -> Questions | None:
    if len(waiting) < 2:
        return waiting[0] if waiting else None
    return Questions(
        np.concatenate([one.indices for one in waiting]),
        np.concatenate([one.starts for one in waiting]),
        np.concatenate([one.ends for one in waiting]),
        np.concatenate([one.masks for one in waiting]),
    )


@kernel
def _answers(
    running: Words,
    words: Words,
    check_keys: Words,
    indices: NDArray[np.uint8],
    starts: Positions,
    ends: Positions,
    masks: Words,
) -> Words:
    answers = np.empty(starts.size, np.uint64)
    for each in range(starts.size):
        index = int(np.int64(indices[each]))
        start, end = int(np.int64(starts[each])), int(np.int64(ends[each]))
        if index < PASSES:
            answers[each] = (running[index, start] ^ running[index, end]) & masks[each]
        else:
            total = weighed(words, 0, start, end, check_keys[index - PASSES]) & masks[each]
            answers[each] = lanes_in(total) & 1
    return answers
