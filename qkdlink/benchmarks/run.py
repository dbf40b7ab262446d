"""A whole run: every stage, what limits it, and the link at several efficiencies; small, usual or long."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from qkdlink.benchmarks import limits, starts
from qkdlink.benchmarks.alternation import Stage
from qkdlink.benchmarks.limits import Limit
from qkdlink.benchmarks.link_benchmark import Course, LinkSpeed, measure
from qkdlink.benchmarks.table import Sizes, Skipped, measured
from qkdlink.deployment.brokers.broker import find_mosquitto

ETAS = (0.1, 0.5)
DEAD_TIME_NS = 30.0
"""What the link is measured with too, beside none."""


class Length(StrEnum):
    """How long a run takes, on two idle cores."""

    QUICK = "quick"
    """Some seconds: whether everything works. Its figures mean little."""
    USUAL = "usual"
    """Up to five minutes."""
    LONG = "long"
    """Blocks of 1, 2 and 4 * 10^8 pulses, and a minute or more for every link."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The sizes of a run."""

    stages: Sizes
    limit_bytes: int
    block_pulses: tuple[int, ...]
    blocks: int
    seconds: float
    """Of each link, at least, after its first block."""
    with_dead_time: bool
    """With blocks of the first size."""
    etas: tuple[float, ...] = ETAS
    starts: int = 5
    """How often each kind of start is timed."""


@dataclass(frozen=True, slots=True)
class LinkPair:
    """A link without dead time, and the same one with it."""

    speed: LinkSpeed
    with_dead_time: LinkSpeed | None


type Row = Stage | Limit | LinkPair | Skipped

PLANS = {
    Length.QUICK: Plan(
        Sizes(
            pairs=1,
            pulses=2**20,
            naive_pulses=2**18,
            frames=8,
            sifted_pulses=2**20,
            reconciled_bits=2**16,
            reference_bits=2**11,
            amplified_bits=2**16,
            transcript_bytes=2**16,
            transcripts=4,
        ),
        limit_bytes=2**20,
        block_pulses=(5_000_000,),
        blocks=2,
        seconds=0.0,
        with_dead_time=False,
        starts=1,
    ),
    Length.USUAL: Plan(
        Sizes(),
        limit_bytes=2**25,
        block_pulses=(30_000_000,),
        blocks=4,
        seconds=10.0,
        with_dead_time=True,
    ),
    Length.LONG: Plan(
        Sizes(),
        limit_bytes=2**25,
        block_pulses=(100_000_000, 200_000_000, 400_000_000),
        blocks=6,
        seconds=60.0,
        with_dead_time=True,
    ),
}


def rows(plan: Plan) -> Iterator[Row]:
    """Measure everything, one after the other; LinkError if a process of a link fails."""
    yield from limits.measured(plan.limit_bytes)
    yield from measured(plan.stages)
    yield from starts.measured(plan.starts)
    if find_mosquitto() is None:
        yield Skipped(
            "link", "Mosquitto is not installed, and the embedded broker would be what is measured."
        )
        return
    for eta in plan.etas:
        for place, pulses in enumerate(plan.block_pulses):
            yield _pair(plan, eta, pulses, with_dead_time=plan.with_dead_time and place == 0)


def _pair(plan: Plan, eta: float, pulses: int, *, with_dead_time: bool) -> LinkPair:
    course = Course(eta, pulses, plan.blocks, plan.seconds)
    delayed = replace(course, dead_time_ns=DEAD_TIME_NS)
    return LinkPair(measure(course), measure(delayed) if with_dead_time else None)
