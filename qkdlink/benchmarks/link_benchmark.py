"""How fast a whole link is: broker, Alice and Bob as processes, timed from one finished block to a later one.

The link is a usual one: Mosquitto, TLS from PSKs, the default scheme, one decoy, intensities and bias planned for the
block. Reconciliation goes at the pace with the fewest exchanges: here an exchange costs more time than its parities are
worth. The fibre has no length, so that the detectors' efficiency is the total one. Time begins when both sides hold the
first key, which has paid for starting, compiling and the bootstrap; from there on everything counts, re-keying and all.
Blocks that were under way at that moment are not counted, although they take of the time: the figure never flatters.
"""

import asyncio
import tempfile
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean

from qkdlink.alice.in_flight import LEAST_BLOCKS
from qkdlink.benchmarks.process_costs import ProcessCost, cost_of, only_child_of
from qkdlink.common.distillation.reconciliation.schedule import Pace
from qkdlink.common.errors import LinkError
from qkdlink.common.journal.events import BlockEnded, Entry
from qkdlink.common.optics.presets import DEFAULT_PRESET, preset
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.protocol.variants.one_decoy import ONE_DECOY
from qkdlink.deployment.homes.home import open_home
from qkdlink.deployment.homes.names import ALICE, BOB
from qkdlink.deployment.launching.link_run import LinkRun, Observer
from qkdlink.deployment.launching.running_link import RunningLink, run_link
from qkdlink.deployment.planning.planner import plan, task_for
from qkdlink.lab.faults.rough_line import long_line

BROKER = "broker"
UNCOUNTED_BLOCKS = LEAST_BLOCKS
"""The first, with which time begins, and those that were under way then."""
_FRAME_PULSES = 2**22
"""Of Alice's light: fewer changes of threads than with frames of the default size, which is right for small blocks."""
_PATIENCE_S = 300.0
"""For any one block, the first with all that comes before it."""


@dataclass(frozen=True, slots=True)
class Course:
    """A link to be measured, and for how long."""

    eta: float
    """Total efficiency, channel times receiver, 0..1."""
    block_pulses: int
    least_blocks: int
    """That are counted: none that had begun before time did."""
    least_seconds: float
    dead_time_ns: float = 0.0
    """At a clock of 1 GHz."""
    round_trip_s: float = 0.0
    """By which a question of the nodes and its answer take longer than on this machine."""
    pace: Pace = Pace.DISTANCE
    """Of reconciliation."""

    def parameters(self) -> LinkParameters:
        """Plan the link; ConfigurationError if blocks of this size give no key."""
        device = preset(DEFAULT_PRESET)
        task = task_for(device, self.block_pulses, ONE_DECOY.name, 0.0)
        detector = replace(task.detector, efficiency=self.eta, dead_time_ns=self.dead_time_ns)
        planned = plan(replace(task, detector=detector)).link_parameters()
        return planned.model_copy(update={"reconciliation_pace": self.pace})


@dataclass(frozen=True, slots=True)
class LinkRates:
    """What a link has done per second of the clock on the wall."""

    pulses_per_second: float
    sifted_bits_per_second: float
    """Of the key basis."""
    secret_bits_per_second: float
    """By the finite-key bound, stored on both sides."""


@dataclass(frozen=True, slots=True)
class LinkSpeed:
    """What was measured on one course."""

    course: Course
    rates: LinkRates
    blocks: int
    """That were counted."""
    seconds: float
    """That they took."""
    efficiency: float | None
    """Mean of leaked bits over Shannon's limit; None if no block came so far."""
    rounds_per_block: float
    """Mean number of exchanges of parities."""
    cpu_seconds: Mapping[str, float | None]
    """Of alice, bob and broker while these blocks were made; None where it is not told (no /proc)."""
    peak_mib: Mapping[str, float | None]
    """Of each, since it began."""


def measure(course: Course) -> LinkSpeed:
    """Run a link in a temporary home until it has run its course; LinkError if a process fails or no block ends."""
    with tempfile.TemporaryDirectory(prefix="qkdlink-bench-") as folder:
        return asyncio.run(_measure(course, Path(folder)))


@dataclass(slots=True)
class Tally:
    """The blocks that have ended on both sides, in the order in which they did, and when."""

    ended: list[tuple[float, BlockEnded]] = field(default_factory=list)
    """Seconds since 1970 at the later side, and Alice's account."""
    _one_side: dict[str, Entry] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def watch(self, entry: Entry) -> None:
        """Take note of what a node tells."""
        if not isinstance(entry.event, BlockEnded):
            return
        other = self._one_side.pop(entry.event.block_id, None)
        if other is None:
            self._one_side[entry.event.block_id] = entry
            return
        of_alice = entry if entry.node == ALICE else other
        if isinstance(of_alice.event, BlockEnded):
            self.ended.append((max(entry.time, other.time), of_alice.event))
            self._news.set()

    async def next_block(self) -> None:
        """Wait for one more block; LinkError if there is none for minutes."""
        before = len(self.ended)
        while len(self.ended) == before:
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), _PATIENCE_S)
            except TimeoutError as error:
                raise LinkError(
                    f"No block has ended for {_PATIENCE_S:.0f} s: ask for smaller ones."
                ) from error

    @property
    def seconds(self) -> float:
        """From the end of the first block to that of the last."""
        return self.ended[-1][0] - self.ended[0][0]

    def has_run(self, course: Course) -> bool:
        """Whether blocks and time suffice."""
        return (
            len(self.ended) >= UNCOUNTED_BLOCKS + course.least_blocks and self.seconds >= course.least_seconds
        )


async def _measure(course: Course, folder: Path) -> LinkSpeed:
    tally = Tally()
    async with run_link(
        open_home(folder),
        LinkRun(
            course.parameters(),
            blocks=0,
            line=long_line(course.round_trip_s) if course.round_trip_s else nullcontext,
            alice={"frame_pulses": _FRAME_PULSES},
        ),
        Observer(watch=tally.watch),
    ) as link:
        failure = asyncio.create_task(link.until_done())
        course_run = asyncio.create_task(_run(course, tally, link))
        try:
            await asyncio.wait({failure, course_run}, return_when=asyncio.FIRST_COMPLETED)
            if course_run.done():
                return course_run.result()
            await failure
            raise LinkError("The link has ended before its time.")
        finally:
            failure.cancel()
            course_run.cancel()
            await asyncio.gather(failure, course_run, return_exceptions=True)


async def _run(course: Course, tally: Tally, link: RunningLink) -> LinkSpeed:
    await tally.next_block()
    before = _costs(link)
    while not tally.has_run(course):
        await tally.next_block()
    return _summed(course, tally, before, _costs(link))


def _costs(link: RunningLink) -> dict[str, ProcessCost | None]:
    broker = only_child_of(link.broker.process.pid)
    return {
        ALICE: cost_of(link.alice.process.pid),
        BOB: cost_of(link.bob.process.pid),
        BROKER: None if broker is None else cost_of(broker),
    }


def _summed(
    course: Course,
    tally: Tally,
    before: Mapping[str, ProcessCost | None],
    after: Mapping[str, ProcessCost | None],
) -> LinkSpeed:
    blocks = [block for _, block in tally.ended[UNCOUNTED_BLOCKS:]]
    efficiencies = [block.efficiency for block in blocks if block.efficiency is not None]
    return LinkSpeed(
        course,
        LinkRates(
            sum(block.pulses for block in blocks) / tally.seconds,
            sum(block.sifted_bits for block in blocks) / tally.seconds,
            sum(block.secret_bits for block in blocks) / tally.seconds,
        ),
        len(blocks),
        tally.seconds,
        fmean(efficiencies) if efficiencies else None,
        fmean(block.exchanges for block in blocks),
        {name: _spent(before[name], after[name]) for name in after},
        {name: None if cost is None else cost.peak_mib for name, cost in after.items()},
    )


def _spent(before: ProcessCost | None, after: ProcessCost | None) -> float | None:
    return None if before is None or after is None else after.cpu_seconds - before.cpu_seconds
