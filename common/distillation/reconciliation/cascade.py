"""Cascade: Bob asks for parities and corrects, Alice answers and counts.

Brassard and Salvail 1994, with every disclosed sub-parity reused (Martinez-Mateo et al. 2015): when a
correction makes a range odd, it is the smallest known range around it that is searched, not the whole
block. Batched: an exchange asks for the left halves of all odd ranges of one pass, that of the smallest
one; right halves, and the last block of every pass but the first, follow from what is known. No parity is
asked for twice.

Alice answers any ranges, within her budget; where the search goes is for Bob alone to decide. Each
correction is an error found, because a range of one bit has Alice's value: with honest answers no wrong one
is made.

Passes 0 to 3 and the current one are kept for reuse; a later one is forgotten once it is clean, so that
memory is about 55 bytes per key bit at Bob and 6 at Alice.

Sources: Brassard, Salvail, "Secret-key reconciliation by public discussion", EUROCRYPT 1993;
Martinez-Mateo, Pacher, Peev, Ciurana, Martin, "Demystifying the information reconciliation protocol
Cascade", arXiv:1407.3257.
"""

import numpy as np

from common.bits import Bits
from common.distillation.reconciliation.efficiency import parity_budget
from common.distillation.reconciliation.leaves import Leaves, left_halves
from common.distillation.reconciliation.parity import Questions, running_parities
from common.distillation.reconciliation.schedule import (
    CLEAN_TAIL_PASSES,
    MAX_PASSES,
    Schedule,
    replanned,
    schedule,
)
from common.distillation.reconciliation.shuffle import Permutation, permutation

__all__ = ["Answerer", "BudgetExhausted", "Corrector", "Questions", "Schedule", "parity_budget", "schedule"]

KEPT_PASSES = 4
"""So many first passes stay available for reuse of their sub-parities."""


class BudgetExhausted(Exception):  # noqa: N818 - nobody's error: nature made more errors than can be paid for
    """Reconciling this block would disclose more parities than its budget allows."""


class Answerer:
    """Alice: answers parities of her key within a budget and counts each, whoever asked and how often."""

    def __init__(self, bits: Bits, plan: Schedule, shuffle_seed: bytes, budget_bits: int) -> None:
        _check_length(bits, plan)
        self._bits = bits
        self._shuffle_seed = shuffle_seed
        self._budget_bits = budget_bits
        self._running: dict[int, Bits] = {}
        self.disclosed_bits = 0
        """Parities answered so far."""

    def answer(self, questions: Questions) -> Bits:
        """Return the parity of each range, `uint8[m]`.

        Raises ValueError for questions that make no sense and BudgetExhausted if the answer would exceed
        the budget; then nothing is disclosed and nothing has changed.
        """
        questions.check(len(self._bits))
        if self.disclosed_bits + len(questions) > self._budget_bits:
            raise BudgetExhausted(
                f"{self.disclosed_bits + len(questions)} parities of {len(self._bits)} bits were asked for,"
                f" the budget of the block is {self._budget_bits}"
            )
        running = self._running_parities(questions.pass_index)
        self.disclosed_bits += len(questions)
        return running[questions.starts] ^ running[questions.ends]

    def _running_parities(self, pass_index: int) -> Bits:
        if pass_index not in self._running:
            order = permutation(self._shuffle_seed, pass_index, len(self._bits))
            self._running = {kept: self._running[kept] for kept in self._running if kept < KEPT_PASSES}
            self._running[pass_index] = running_parities(self._bits[order])
        return self._running[pass_index]


class Corrector:
    """Bob: asks until nothing is odd any more and twelve passes in a row have found nothing."""

    def __init__(self, bits: Bits, plan: Schedule, shuffle_seed: bytes) -> None:
        _check_length(bits, plan)
        self._received = bits
        self._bits = bits.copy()
        self._plan = plan
        self._shuffle_seed = shuffle_seed
        self._passes: list[Leaves] = []
        self._clean_passes = 0
        self._next_index = 0
        self._opening = False
        self._asked: Questions | None = None
        self.disclosed_bits = 0
        """Parities received so far."""

    @property
    def bits(self) -> Bits:
        """The key as corrected so far, `uint8[n]`; a copy."""
        return self._bits.copy()

    @property
    def corrected(self) -> Permutation:
        """Indices of the bits that differ from what was received, `uint32`, ascending."""
        return np.flatnonzero(self._bits != self._received).astype(np.uint32)

    def questions(self) -> Questions | None:
        """Return what to ask next, the same until it is answered; None when the key is reconciled.

        Raises RemoteProtocolError if Alice's answers contradict each other.
        """
        while self._asked is None:
            self._asked = self._smallest_odd_ranges()
            if self._asked is None:
                if self._finished:
                    break
                self._open_pass()
        return self._asked

    def receive(self, answers: Bits) -> None:
        """Take Alice's parities, `uint8[m]` in the order of the questions, and correct what they point at.

        Raises ValueError, with nothing changed, if nothing was asked or the answers are not as many zeros
        and ones.
        """
        if self._asked is None:
            raise ValueError("parities were answered that nobody asked for")
        if answers.shape != self._asked.starts.shape or np.any(answers > 1):
            raise ValueError(f"{len(self._asked)} questions need as many zeros and ones as answers")
        asked, self._asked = self._asked, None
        self.disclosed_bits += len(asked)
        leaves = next(kept for kept in self._passes if kept.pass_index == asked.pass_index)
        odd = leaves.differences(asked, answers)
        if self._opening:
            self._enter_pass(leaves, odd)
        else:
            self._correct(leaves.halve(asked, odd))

    @property
    def _finished(self) -> bool:
        return self._clean_passes >= CLEAN_TAIL_PASSES or self._next_index >= MAX_PASSES

    def _smallest_odd_ranges(self) -> Questions | None:
        best: Questions | None = None
        smallest = len(self._bits) + 1
        for leaves in self._passes:
            starts, ends = leaves.odd_leaves()
            if len(starts) and (shortest := int(np.min(ends - starts))) < smallest:
                smallest = shortest
                best = Questions(leaves.pass_index, *left_halves(starts, ends))
        return best

    def _open_pass(self) -> None:
        index = self._next_index
        self._next_index += 1
        leaves = Leaves(self._bits, self._shuffle_seed, index, self._plan.block_bits(index))
        self._passes = [*self._passes[:KEPT_PASSES], leaves]
        starts, ends = leaves.blocks()
        count = len(starts) - (index > 0)  # the last block follows from the whole key, known since pass 0
        if count:
            self._opening = True
            self._asked = Questions(index, starts[:count], ends[:count])
        else:
            self._clean_passes += 1

    def _enter_pass(self, leaves: Leaves, odd: Bits) -> None:
        self._opening = False
        if leaves.pass_index == 0:
            self._plan = replanned(self._plan, int(odd.sum()), len(odd))
        else:
            odd = np.append(odd, np.bitwise_xor.reduce(odd))
        clean = self._plan.in_tail(leaves.pass_index) and not odd.any()
        self._clean_passes = self._clean_passes + 1 if clean else 0
        self._correct(leaves.enter_blocks(odd))

    def _correct(self, errors: Permutation) -> None:
        if len(errors):
            self._bits[errors] ^= 1
            for leaves in self._passes:
                leaves.correct(errors)


def _check_length(bits: Bits, plan: Schedule) -> None:
    if bits.shape != (plan.key_length,):
        raise ValueError(f"the schedule is for {plan.key_length} bits, the key has {len(bits)}")
