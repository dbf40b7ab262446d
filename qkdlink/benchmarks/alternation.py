"""Alternating runs: ours, the baseline, ours, the baseline, so that a machine that drifts drifts for both."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Contender[Run]:
    """Something to be timed: each call of `run` does `amount` units of work."""

    name: str
    amount: int
    run: Run


type Timed = Contender[Callable[[], object]]
type TimedAsync = Contender[Callable[[], Awaitable[object]]]


@dataclass(frozen=True, slots=True)
class Stage:
    """A row of the table."""

    name: str
    unit: str
    value: float
    """Median rate of ours, in `unit`."""
    baseline: str
    """What ours was compared with."""
    ratio: float
    """Median rate of ours over the median rate of the baseline."""
    spread: float
    """Fastest minus slowest run of ours, over the median."""


def alternate(name: str, unit: str, ours: Timed, baseline: Timed, pairs: int) -> Stage:
    """Time `pairs` runs of each in turns, after one of each that does not count: compilation, caches, pages."""
    seconds: list[tuple[float, float]] = []
    for _ in range(1 + pairs):
        started = time.perf_counter()
        ours.run()
        between = time.perf_counter()
        baseline.run()
        seconds.append((between - started, time.perf_counter() - between))
    return _stage(name, unit, ours, baseline, seconds[1:])


async def alternate_async(name: str, unit: str, ours: TimedAsync, baseline: TimedAsync, pairs: int) -> Stage:
    """`alternate` for contenders that wait for a broker."""
    seconds: list[tuple[float, float]] = []
    for _ in range(1 + pairs):
        started = time.perf_counter()
        await ours.run()
        between = time.perf_counter()
        await baseline.run()
        seconds.append((between - started, time.perf_counter() - between))
    return _stage(name, unit, ours, baseline, seconds[1:])


def _stage[Run](
    name: str,
    unit: str,
    ours: Contender[Run],
    baseline: Contender[Run],
    seconds: list[tuple[float, float]],
) -> Stage:
    rates = [ours.amount / ours_s for ours_s, _ in seconds]
    value = median(rates)
    baseline_value = median(baseline.amount / baseline_s for _, baseline_s in seconds)
    spread = (max(rates) - min(rates)) / value
    return Stage(name, unit, value, baseline.name, value / baseline_value, spread)
