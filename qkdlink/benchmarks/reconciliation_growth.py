"""How Cascade's cost grows with the key and the error rate: `python -m qkdlink.benchmarks.reconciliation_growth`.

Both parties' work in one thread; processor time, not the clock, so that a busy machine spoils less; the median of
some runs after one that does not count.
"""

import time
from dataclasses import dataclass
from statistics import fmean, median

import numpy as np

from qkdlink.benchmarks.reconciliation import Frame
from qkdlink.common.distillation.reconciliation.cascade import (
    Answerer,
    Corrector,
    Pace,
    parity_budget,
    schedule,
)
from qkdlink.common.distillation.reconciliation.efficiency import efficiency
from qkdlink.common.distillation.reconciliation.shuffle import SHUFFLE_SEED_BYTES
from qkdlink.common.wire.parities import encode_questions
from qkdlink.views.console import console, table

_RUNS = 5
_LENGTHS = (10_000, 2**16, 100_000, 2**20, 10_000_000)
_RATES = (0.01, 0.02, 0.03, 0.05, 0.08)


@dataclass(frozen=True, slots=True)
class Run:
    """What one reconciliation took."""

    bits_per_second: float
    alice_share: float
    """Alice's part of the processor time."""
    efficiency: float
    exchanges: int
    question_bits: float
    """Size of Bob's messages on the wire, over the length of the key."""


def play(frame: Frame, qber: float, pace: Pace) -> Run:
    """Reconcile once; raise AssertionError if the keys differ in the end."""
    plan, seed = (
        schedule(len(frame.alice_bits), qber, pace),
        np.random.default_rng().bytes(SHUFFLE_SEED_BYTES),
    )
    exchanges = 0
    started = time.process_time()
    corrector = Corrector(frame.bob_bits, plan, seed)
    alice_started = time.process_time()
    answerer = Answerer(frame.alice_bits, plan, seed, parity_budget(plan.key_length, qber))
    alice_s = time.process_time() - alice_started
    asked = []
    while (questions := corrector.questions()) is not None:
        alice_started = time.process_time()
        answers = answerer.answer(questions)
        alice_s += time.process_time() - alice_started
        corrector.receive(answers)
        exchanges += 1
        asked.append(questions)
    key = corrector.bits
    seconds = time.process_time() - started
    question_bytes = sum(len(encode_questions(questions)) for questions in asked)
    assert np.array_equal(key, frame.alice_bits)
    errors = float(np.mean(frame.alice_bits != frame.bob_bits))
    return Run(
        plan.key_length / seconds,
        alice_s / seconds,
        efficiency(answerer.disclosed_bits, plan.key_length, errors) or 0.0,
        exchanges,
        8 * question_bytes / plan.key_length,
    )


def main() -> None:
    """Print one row per length, error rate and pace."""
    headings = (
        "key bits",
        "errors",
        "pace",
        "Mbit/s",
        "Alice",
        "f",
        "exchanges",
        "question bits per key bit",
    )
    made = table(*headings, right=headings)
    for length in _LENGTHS:
        for qber in _RATES:
            for pace in Pace:
                runs = [play(Frame.drawn(length, qber), qber, pace) for _ in range(1 + _RUNS)][1:]
                made.add_row(
                    f"{length:,}",
                    f"{qber:.0%}",
                    pace,
                    f"{median(run.bits_per_second for run in runs) / 1e6:.1f}",
                    f"{median(run.alice_share for run in runs):.0%}",
                    f"{fmean(run.efficiency for run in runs):.4f}",
                    f"{median(run.exchanges for run in runs):.0f}",
                    f"{fmean(run.question_bits for run in runs):.1f}",
                )
    console().print(made)


if __name__ == "__main__":
    main()
