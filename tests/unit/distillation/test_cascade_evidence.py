"""The long run over Cascade: the same in chunks as in one piece, and honest about failures."""

import numpy as np
import pytest

from common.bits import Bits
from lab import evidence_cascade
from lab.evidence_cascade import failure_rate_at_most, merged, run

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


@pytest.mark.evidence
def test_cascade_at_five_rates_without_a_failure() -> None:
    report = run(60, [0.01, 0.02, 0.03, 0.04, 0.05], seed=4)
    assert sum(rate.failures for rate in report.rates) == 0
    assert max(rate.mean_efficiency for rate in report.rates) < 1.07
