"""The long run over Cascade: the same in chunks as in one piece, and honest about failures."""

from typing import Any

import numpy as np
import pytest

from maintenance.evidence import cascade as evidence_cascade
from maintenance.evidence.cascade import SERIES, conclude, failure_rate_at_most, merged, run, run_part
from qkdlink.common.bits import Bits

RATES = [0.01, 0.05]


def test_a_run_in_chunks_is_the_run_in_one_piece() -> None:
    whole = run(7, RATES, seed=1, key_length=2000)
    chunks = [run(3, RATES, seed=1, key_length=2000), run(4, RATES, seed=1, key_length=2000, first_frame=3)]
    together = merged(chunks)
    for one, other in zip(whole.rates, together.rates, strict=True):
        assert one.model_dump() == pytest.approx(other.model_dump())
    assert [rate.frames for rate in together.rates] == [7, 7]


def test_a_frame_that_still_differs_is_counted_as_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    class Careless(evidence_cascade.Corrector):
        @property
        def bits(self) -> Bits:
            return super().bits ^ (np.arange(self._plan.key_length) == 0).astype(np.uint8)

    assert run(5, [0.02], seed=2, key_length=1000).rates[0].failures == 0
    monkeypatch.setattr(evidence_cascade, "Corrector", Careless)
    assert run(5, [0.02], seed=2, key_length=1000).rates[0].failures == 5


def test_a_frame_beyond_its_budget_is_counted_as_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence_cascade, "parity_budget", lambda _length, _qber: 100)
    report = run(5, [0.02], seed=2, key_length=1000).rates[0]
    assert report.failures == 5
    assert report.max_budget_share <= 1.0


def test_progress_is_told_frame_by_frame() -> None:
    told: list[tuple[float, int]] = []
    run(2, RATES, seed=3, key_length=100, progress=lambda qber, done: told.append((qber, done)))
    assert told == [(0.01, 1), (0.01, 2), (0.05, 1), (0.05, 2)]


def test_chunks_that_do_not_follow_each_other_are_refused() -> None:
    first = run(2, RATES, seed=1, key_length=100)
    for other in (
        run(2, RATES, seed=1, key_length=100, first_frame=3),
        run(2, [0.01, 0.04], seed=1, key_length=100, first_frame=2),
        run(2, RATES, seed=2, key_length=100, first_frame=2),
    ):
        with pytest.raises(ValueError, match="chunks"):
            merged([first, other])


def test_no_failure_in_3000_frames_bounds_the_rate_at_a_tenth_of_a_percent() -> None:
    assert failure_rate_at_most(0, 3000) == pytest.approx(1 - 0.05 ** (1 / 3000))
    assert failure_rate_at_most(5, 5) == 1.0


def findings(frames: int, **changed: float) -> list[dict[str, Any]]:
    """Two parts as `run_part` makes them, of keys of 2000 bits; what is changed is so in the last series' last rate."""
    parts = []
    for first in (0, frames):
        part = {}
        for series in SERIES:
            rates = list(series.most_efficiency)
            report = run(frames, rates, seed=1, key_length=2000, first_frame=first, pace=series.pace)
            part[series.name] = report.model_dump(mode="json")
            for rate in part[series.name]["rates"]:
                rate["mean_efficiency"] = series.most_efficiency[rate["qber"]]
        part[SERIES[-1].name]["rates"][-1] |= changed
        parts.append(part)
    return parts


def test_the_evidence_passes_at_its_limits_and_not_beyond_nor_with_a_failure() -> None:
    report = conclude(findings(2))
    assert report["passed"]
    assert [len(series["rates"]) for series in report["series"].values()] == [5, 5, 3, 5]
    assert {rate["frames"] for series in report["series"].values() for rate in series["rates"]} == {4}
    assert not conclude(findings(2, mean_efficiency=1.0901))["passed"]
    assert not conclude(findings(2, failures=1))["passed"]


@pytest.mark.evidence
def test_a_part_of_the_evidence_passes_by_itself() -> None:
    assert conclude([run_part(4, 0)])["passed"]
