import asyncio
import gc
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from qkdlink.benchmarks import link_benchmark
from qkdlink.benchmarks.link_benchmark import UNCOUNTED_BLOCKS, Course, Tally, measure
from qkdlink.benchmarks.process_costs import cost_of, only_child_of
from qkdlink.common.errors import ConfigurationError, LinkError
from qkdlink.common.journal.events import BlockEnded, Entry
from qkdlink.deployment.brokers.broker import find_mosquitto

SMALL = Course(eta=0.5, block_pulses=1_000_000, least_blocks=1, least_seconds=0.0)
BLOCK = BlockEnded(
    block_id="",
    number=0,
    pulses=1000,
    detections=100,
    sifted_bits=50,
    qber_key=0.01,
    qber_test=0.01,
    gains={},
    leaked_bits=5,
    efficiency=1.05,
    secret_bits=20,
    aborted=None,
    detail=None,
    authenticated_by="wegman-carter",
    exchanges=300,
    classical_bytes=1,
    authentication_bytes=1,
    authentication_seconds=0.0,
    seconds=1.0,
)


def ended(node: str, number: int, time: float) -> Entry:
    return Entry(
        node=node, time=time, event=BLOCK.model_copy(update={"block_id": f"b{number}", "number": number})
    )


def test_a_block_has_ended_when_the_later_side_has_it() -> None:
    tally = Tally()
    for entry in (ended("bob", 1, 5.0), ended("bob", 2, 6.0), ended("alice", 1, 5.5)):
        tally.watch(entry)
    assert [(time, block.number) for time, block in tally.ended] == [(5.5, 1)]


def test_blocks_that_were_under_way_when_time_began_are_not_counted() -> None:
    tally = Tally()
    course = replace(SMALL, least_blocks=2, least_seconds=4.0)
    for number in range(1, UNCOUNTED_BLOCKS + 3):
        assert not tally.has_run(course)
        tally.watch(ended("alice", number, 10.0 + 2 * number))
        tally.watch(ended("bob", number, 10.0 + 2 * number))
    assert tally.has_run(course)
    speed = link_benchmark._summed(course, tally, {}, {})
    assert (speed.blocks, speed.seconds) == (2, 2.0 * (UNCOUNTED_BLOCKS + 1))
    assert speed.rates.secret_bits_per_second == 2 * 20 / speed.seconds
    assert speed.efficiency == 1.05


async def test_a_link_that_makes_nothing_is_given_up_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_benchmark, "_PATIENCE_S", 0.01)
    with pytest.raises(LinkError, match="No block has ended"):
        await Tally().next_block()


def test_blocks_too_small_for_a_key_are_refused_before_anything_is_started() -> None:
    with pytest.raises(ConfigurationError):
        replace(SMALL, block_pulses=10_000).parameters()


@pytest.mark.skipif(find_mosquitto() is None, reason="Mosquitto is not installed")
def test_a_whole_link_is_measured_with_what_each_process_has_cost() -> None:
    speed = measure(SMALL)
    assert speed.rates.secret_bits_per_second > 0
    assert speed.rates.pulses_per_second == speed.blocks * SMALL.block_pulses / speed.seconds
    assert 1.0 < (speed.efficiency or 0.0) < 1.5
    assert set(speed.cpu_seconds) == set(speed.peak_mib) == {"alice", "bob", "broker"}
    if sys.platform == "linux":
        assert all(seconds is not None and seconds >= 0.0 for seconds in speed.cpu_seconds.values())
        assert (speed.peak_mib["alice"] or 0.0) > (speed.peak_mib["broker"] or 0.0) > 0.0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
def test_what_a_process_costs_grows_with_what_it_does() -> None:
    before = cost_of(os.getpid())
    sum(range(2_000_000))
    after = cost_of(os.getpid())
    assert before is not None
    assert after is not None
    assert after.cpu_seconds > before.cpu_seconds
    assert after.peak_mib >= before.peak_mib > 1.0


def test_what_has_ended_is_not_told_of() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert cost_of(gone.pid) is None
    assert only_child_of(gone.pid) is None


async def test_the_one_child_of_a_guard_is_found_and_of_several_none() -> None:
    command = "sleep 60 & read line; sleep 60 & read line; kill $(jobs -p)"
    shell = await asyncio.create_subprocess_exec("sh", "-c", command, stdin=subprocess.PIPE)
    try:
        assert await becomes(shell.pid, found=True)
        assert shell.stdin is not None
        shell.stdin.write(b"more\n")
        assert await becomes(shell.pid, found=False)
    finally:
        shell.stdin.write(b"end\n")
        await shell.wait()


async def becomes(pid: int, *, found: bool) -> bool:
    for _ in range(500):
        if (only_child_of(pid) is not None) is found:
            return True
        await asyncio.sleep(0.01)
    return False


async def test_a_measurement_that_is_interrupted_leaves_no_failure_that_nobody_hears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nodes end when the link does, and whoever waited for them is told as the last thing."""
    unheard: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
    down = asyncio.Event()

    class Link:
        async def until_done(self) -> None:
            try:
                await down.wait()
            finally:
                raise LinkError("alice ended with status -15")

    @asynccontextmanager
    async def run_link(*_: object, **__: object) -> AsyncIterator[Link]:
        try:
            yield Link()
        finally:
            down.set()
            await asyncio.sleep(0.01)

    monkeypatch.setattr(link_benchmark, "run_link", run_link)
    measuring = asyncio.create_task(link_benchmark._measure(SMALL, tmp_path / "home"))
    await asyncio.sleep(0.05)
    measuring.cancel()
    with pytest.raises(asyncio.CancelledError):
        await measuring
    del measuring
    gc.collect()
    await asyncio.sleep(0)
    assert not unheard
