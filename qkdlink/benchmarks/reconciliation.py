"""`reconcile`: Cascade from two keys with errors to one, both parties in one thread, no line between them.

The reference is `qkdlink.benchmarks.reference_cascade`: the same Cascade bit by bit, with the same questions.
`reconciliation_growth` has more lengths and error rates.
"""

import secrets
from dataclasses import dataclass

import numpy as np

from qkdlink.benchmarks import reference_cascade as reference
from qkdlink.benchmarks.alternation import Contender, Stage, alternate
from qkdlink.common.bits import Bits
from qkdlink.common.distillation.reconciliation.cascade import Answerer, Corrector, parity_budget, schedule
from qkdlink.common.distillation.reconciliation.schedule import Schedule
from qkdlink.common.distillation.reconciliation.shuffle import SHUFFLE_SEED_BYTES

QBER = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """Alice's bits, Bob's with independent errors in them, and what both know beforehand."""

    alice_bits: Bits
    bob_bits: Bits
    plan: Schedule

    @classmethod
    def drawn(cls, length: int, qber: float = QBER) -> "Frame":
        """Draw a frame of `length` bits at `qber`, which both parties expect."""
        rng = np.random.default_rng()
        alice_bits = rng.integers(0, 2, length, np.uint8)
        errors = (rng.random(length, np.float32) < qber).astype(np.uint8)
        return cls(alice_bits, alice_bits ^ errors, schedule(length, qber))


def reconcile(frame: Frame) -> Bits:
    """Let Bob ask and Alice answer until he is done; return his key."""
    seed, plan = secrets.token_bytes(SHUFFLE_SEED_BYTES), frame.plan
    answerer = Answerer(frame.alice_bits, plan, seed, parity_budget(plan.key_length, QBER))
    corrector = Corrector(frame.bob_bits, plan, seed)
    while (questions := corrector.questions()) is not None:
        corrector.receive(answerer.answer(questions))
    return corrector.bits


def reconcile_slowly(frame: Frame) -> list[int]:
    """Run the plain reference over a frame; return Bob's key."""
    seed = secrets.token_bytes(SHUFFLE_SEED_BYTES)
    return reference.reconcile(frame.alice_bits, frame.bob_bits, frame.plan, seed).bits


def measure(length: int, reference_length: int, pairs: int) -> Stage:
    """Time frames of `length` bits against the reference on frames of `reference_length`."""
    frame, short = Frame.drawn(length), Frame.drawn(reference_length)
    return alternate(
        "reconcile",
        "bit/s",
        Contender("qkdlink.common.distillation", length, lambda: reconcile(frame)),
        Contender(f"reference, {reference_length} bits", reference_length, lambda: reconcile_slowly(short)),
        pairs,
    )
