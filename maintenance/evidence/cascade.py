"""How often Cascade fails and what it costs, over thousands of frames; every bit is compared here.

Frame i at a rate is a function of (seed, rate, i) alone, so that a run can be cut into chunks, stopped and
resumed: `run` takes the first frame, `merged` puts the chunks together. `SERIES` is what `python -m
maintenance.evidence` runs. By hand, for keys of any length:

    python -m maintenance.evidence.cascade --bits 1048576 --frames 3000 --rates 0.01 0.05
"""

import hashlib
import json
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy.stats import beta

from qkdlink.common.distillation.reconciliation.cascade import (
    Answerer,
    BudgetExhausted,
    Corrector,
    Pace,
    parity_budget,
    schedule,
)
from qkdlink.common.distillation.reconciliation.efficiency import efficiency
from qkdlink.views.console import console

type Progress = Callable[[float, int], None]
"""Told after each frame: the error rate, and how many frames at it are done."""

_CONFIDENCE = 0.95
_PRINTED_FRAMES = 100


class _Report(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RateReport(_Report):
    """What was seen at one error rate."""

    qber: float
    """The rate at which errors were drawn, and which both parties expected, 0..1."""
    frames: int
    failures: int
    """Frames in which any bit of Bob's key still differed from Alice's, or the budget ran out."""
    failure_rate_at_most: float
    """Upper 95 % confidence bound (Clopper and Pearson, one-sided)."""
    mean_efficiency: float
    """Disclosed parities over n h(q), q being the errors actually drawn."""
    max_efficiency: float
    mean_exchanges: float
    max_exchanges: int
    max_budget_share: float
    """Disclosed parities over what Alice's budget allows."""


class CascadeReport(_Report):
    """What was seen at all error rates."""

    key_length: int
    """Bits per frame."""
    pace: Pace
    seed: int
    first_frame: int
    rates: tuple[RateReport, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """Keys of one length at one pace, at several error rates."""

    name: str
    key_length: int
    pace: Pace
    most_efficiency: dict[float, float]
    """Error rate -> what the mean efficiency must not exceed."""


_MOST_EFFICIENCY = {0.01: 1.06, 0.02: 1.06, 0.03: 1.06, 0.05: 1.06, 0.08: 1.09}
SERIES = (
    Series("keys of 2^20 bits", 2**20, Pace.EXCHANGES, _MOST_EFFICIENCY),
    Series("keys of 2^16 bits", 2**16, Pace.EXCHANGES, dict.fromkeys(_MOST_EFFICIENCY, 1.10)),
    Series(
        "keys of 2^20 bits, sparing parities", 2**20, Pace.PARITIES, dict.fromkeys((0.01, 0.02, 0.03), 1.045)
    ),
    Series("keys of 2^20 bits, over a distance", 2**20, Pace.DISTANCE, dict.fromkeys(_MOST_EFFICIENCY, 1.09)),
)
PARTS, _FRAMES_PER_PART = 60, 50


@dataclass(frozen=True, slots=True)
class _Frame:
    failed: bool
    efficiency: float
    exchanges: int
    budget_share: float


def run(
    frames: int,
    rates: Sequence[float],
    *,
    seed: int,
    key_length: int = 100_000,
    first_frame: int = 0,
    pace: Pace = Pace.EXCHANGES,
    progress: Progress = lambda _qber, _done: None,
) -> CascadeReport:
    """Reconcile `frames` frames from `first_frame` on at each rate, and compare the keys bit by bit."""
    reports = []
    for qber in rates:
        played = []
        for index in range(first_frame, first_frame + frames):
            played.append(_play(key_length, qber, seed, index, pace))
            progress(qber, len(played))
        reports.append(_summary(qber, played))
    return CascadeReport(
        key_length=key_length, pace=pace, seed=seed, first_frame=first_frame, rates=tuple(reports)
    )


def merged(chunks: Sequence[CascadeReport]) -> CascadeReport:
    """Put consecutive chunks of one run together; ValueError if they do not follow each other."""
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole = _joined(whole, chunk)
    return whole


def run_part(seed: int, part: int) -> dict[str, Any]:
    """Run the next 50 frames of every series, at each of its rates: about 10 s of one core."""
    return {
        series.name: run(
            _FRAMES_PER_PART,
            list(series.most_efficiency),
            seed=seed,
            key_length=series.key_length,
            first_frame=part * _FRAMES_PER_PART,
            pace=series.pace,
        ).model_dump(mode="json")
        for series in SERIES
    }


def conclude(findings: list[dict[str, Any]]) -> dict[str, Any]:
    """Pass if no frame failed and no mean efficiency is above its limit."""
    report: dict[str, Any] = {"passed": True, "series": {}}
    for series in SERIES:
        chunks = [CascadeReport.model_validate_json(json.dumps(part[series.name])) for part in findings]
        whole = merged(chunks)
        report["series"][series.name] = whole.model_dump(mode="json", exclude={"seed"})
        report["passed"] &= all(
            rate.failures == 0 and rate.mean_efficiency <= series.most_efficiency[rate.qber]
            for rate in whole.rates
        )
    return report


def failure_rate_at_most(failures: int, frames: int) -> float:
    """Return the upper 95 % confidence bound on a failure rate (Clopper and Pearson 1934, one-sided)."""
    return 1.0 if failures == frames else float(beta.ppf(_CONFIDENCE, failures + 1, frames - failures))


def _play(key_length: int, qber: float, seed: int, index: int, pace: Pace) -> _Frame:
    drawn = hashlib.sha256(f"cascade evidence|{seed}|{qber!r}|{index}".encode()).digest()
    rng = np.random.Generator(np.random.PCG64DXSM(int.from_bytes(drawn)))
    alice = rng.integers(0, 2, key_length, dtype=np.uint8)
    errors = (rng.random(key_length) < qber).astype(np.uint8)
    plan, budget_bits, shuffle_seed = (
        schedule(key_length, qber, pace),
        parity_budget(key_length, qber),
        rng.bytes(32),
    )
    answerer = Answerer(alice, plan, shuffle_seed, budget_bits)
    corrector = Corrector(alice ^ errors, plan, shuffle_seed)
    exchanges = _exchange(answerer, corrector)
    return _Frame(
        failed=corrector.questions() is not None or not np.array_equal(corrector.bits, alice),
        efficiency=efficiency(answerer.disclosed_bits, key_length, float(errors.mean())) or 0.0,
        exchanges=exchanges,
        budget_share=answerer.disclosed_bits / budget_bits,
    )


def _exchange(answerer: Answerer, corrector: Corrector) -> int:
    exchanges = 0
    with suppress(BudgetExhausted):
        while (questions := corrector.questions()) is not None:
            corrector.receive(answerer.answer(questions))
            exchanges += 1
    return exchanges


def _summary(qber: float, played: Sequence[_Frame]) -> RateReport:
    failures = sum(frame.failed for frame in played)
    return RateReport(
        qber=qber,
        frames=len(played),
        failures=failures,
        failure_rate_at_most=failure_rate_at_most(failures, len(played)),
        mean_efficiency=sum(frame.efficiency for frame in played) / len(played),
        max_efficiency=max(frame.efficiency for frame in played),
        mean_exchanges=sum(frame.exchanges for frame in played) / len(played),
        max_exchanges=max(frame.exchanges for frame in played),
        max_budget_share=max(frame.budget_share for frame in played),
    )


def _joined(first: CascadeReport, second: CascadeReport) -> CascadeReport:
    if (first.key_length, first.pace, first.seed) != (second.key_length, second.pace, second.seed):
        raise ValueError("chunks of different runs cannot be put together")
    return first.model_copy(
        update={
            "rates": tuple(
                _joined_rate(*pair, gap=second.first_frame - first.first_frame)
                for pair in zip(first.rates, second.rates, strict=True)
            )
        }
    )


def _joined_rate(first: RateReport, second: RateReport, gap: int) -> RateReport:
    if first.qber != second.qber or first.frames != gap:
        raise ValueError("chunks of a run are put together rate by rate, in order and without a gap")
    frames, failures = first.frames + second.frames, first.failures + second.failures
    share = second.frames / frames
    return RateReport(
        qber=first.qber,
        frames=frames,
        failures=failures,
        failure_rate_at_most=failure_rate_at_most(failures, frames),
        mean_efficiency=first.mean_efficiency + share * (second.mean_efficiency - first.mean_efficiency),
        max_efficiency=max(first.max_efficiency, second.max_efficiency),
        mean_exchanges=first.mean_exchanges + share * (second.mean_exchanges - first.mean_exchanges),
        max_exchanges=max(first.max_exchanges, second.max_exchanges),
        max_budget_share=max(first.max_budget_share, second.max_budget_share),
    )


def main() -> None:
    """Run at the rates asked for, and print what was seen after every hundred frames and at the end of each rate."""
    parser = ArgumentParser(
        prog="python -m maintenance.evidence.cascade", description="Count Cascade's failures."
    )
    parser.add_argument("--bits", type=int, default=100_000, help="bits per key (100000)")
    parser.add_argument("--frames", type=int, default=100, help="keys per error rate (100)")
    parser.add_argument(
        "--rates", type=float, nargs="+", default=[0.01, 0.02, 0.03, 0.05], help="error rates"
    )
    parser.add_argument(
        "--pace", type=Pace, choices=list(Pace), default=Pace.EXCHANGES, help="what Bob spares"
    )
    parser.add_argument("--seed", type=int, default=1, help="of keys, errors and permutations (1)")
    options = parser.parse_args()
    shown = console()
    for qber in options.rates:
        seen: CascadeReport | None = None
        for first in range(0, options.frames, _PRINTED_FRAMES):
            chunk = run(
                min(_PRINTED_FRAMES, options.frames - first),
                [qber],
                seed=options.seed,
                key_length=options.bits,
                first_frame=first,
                pace=options.pace,
            )
            seen = chunk if seen is None else merged([seen, chunk])
            shown.print(seen.rates[0].model_dump_json(), soft_wrap=True)


if __name__ == "__main__":
    main()
