"""Light leaves no earlier than the source's clock says, and lateness is told."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdlink.alice.pace import SourceClock
from qkdlink.alice.transmitter import MqttTransmitter
from qkdlink.common.journal.event import Event
from qkdlink.common.journal.events import LightProgress, SourceBehind
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.optics.seal import LightSeal
from qkdlink.common.protocol.account import Account
from qkdlink.common.protocol.block import Block
from qkdlink.common.protocol.conversation import BlockConversation
from qkdlink.common.randomness import Randomness
from qkdlink.common.transport.light import LightOutlet
from qkdlink.common.wire.pulse_frames import FrameHeader
from tests.support.processes import small_parameters

PULSES, FRAMES = 40_000, 4


@given(
    clock=st.floats(1, 1e10),
    blocks=st.lists(st.tuples(st.integers(1, 2**32), st.floats(0, 0.9)), min_size=1, max_size=6),
    started=st.floats(0, 1e6),
)
def test_after_short_pauses_light_leaves_when_the_clock_says(
    clock: float, blocks: list[tuple[int, float]], started: float
):
    source, now, so_far = SourceClock(clock), started, 0
    for pulses, pause in blocks:
        source.begin(now)
        so_far += pulses
        now += source.wait_s(pulses, now)
        source.end(pulses)
        assert now >= started + so_far / clock - 1e-6
        assert source.behind_s(now) == pytest.approx(max(0.0, now - started - so_far / clock), abs=1e-6)
        now += pause


def test_a_short_pause_is_made_up_for_and_of_a_long_one_a_second():
    source = SourceClock(100.0)
    source.begin(10.0)
    source.end(100)  # due until 11
    source.begin(11.5)
    assert source.wait_s(50, 11.5) == 0
    assert source.wait_s(100, 11.5) == 0.5
    source.end(100)  # due until 12
    source.begin(20.0)
    assert source.wait_s(100, 20.0) == 0
    assert source.wait_s(300, 20.0) == 2.0
    source.end(300)
    assert source.behind_s(22.0) == 7.0
    assert source.pulses_per_second(22.0) == 500 / 12


def test_it_is_told_once_that_it_falls_behind_and_again_when_it_is_worse():
    source = SourceClock(100.0)
    source.begin(0.0)
    source.end(100)
    assert not source.falls_behind(1.019)
    assert source.falls_behind(1.1)
    assert not source.falls_behind(1.12)
    assert source.falls_behind(1.14)
    source.begin(1.14)
    source.end(100)
    assert not source.falls_behind(2.0), "it has caught up"
    assert source.falls_behind(2.05)


def test_without_a_clock_nothing_waits_and_nothing_is_late():
    source = SourceClock(None)
    assert source.wait_s(10**9, 6.0) == source.behind_s(1e9) == source.pulses_per_second(1.0) == 0
    source.begin(5.0)
    source.end(10)
    assert source.wait_s(10**9, 6.0) == source.behind_s(1e9) == 0
    assert not source.falls_behind(1e9)


@dataclass
class Watch:
    """Stands for an outlet: notes when frames leave, and may be slow."""

    takes_s: float = 0.0

    def __post_init__(self) -> None:
        self.left: list[tuple[float, int, bytes]] = []

    async def send(self, header: FrameHeader, *sealed: bytes) -> None:
        await asyncio.sleep(self.takes_s)
        end = header.first_pulse + header.pulses
        self.left.append((asyncio.get_running_loop().time(), end, b"".join(sealed)))

    async def drain(self) -> None:
        return

    def clear(self) -> None:
        return


async def transmitted(
    watch: Watch, clock_hz: float | None, pauses_s: Sequence[float] = ()
) -> tuple[float, list[Event]]:
    """Transmit a block, and one more after each pause."""
    told: list[Event] = []
    parameters = small_parameters(pulses=30_000).model_copy(update={"block_pulses": PULSES})
    block = Block(
        id=BlockId("link-1", "ab" * 16, 1),
        parameters=parameters,
        conversation=cast("BlockConversation", None),
        randomness=Randomness("alice", 1),
        compute=asyncio.to_thread,
        tell=told.append,
        account=Account(),
    )
    seal = LightSeal(bytes(32), "alice")
    transmitter = MqttTransmitter(cast("LightOutlet", watch), seal, PULSES // FRAMES, clock_hz=clock_hz)
    started = asyncio.get_running_loop().time()
    record = await transmitter.transmit(block)
    assert record.complete
    for pause_s in pauses_s:
        await asyncio.sleep(pause_s)
        await transmitter.transmit(block)
    return started, told


async def test_no_pulse_leaves_before_its_time() -> None:
    await transmitted(Watch(), None)  # kernels are compiled
    watch = Watch()
    started, told = await transmitted(watch, 2e5)
    for when, pulses, _ in watch.left:
        assert when - started >= pulses / 2e5 - 1e-3
    assert watch.left[-1][0] - started < 5, "and light does leave"
    assert not [event for event in told if isinstance(event, SourceBehind)]


def test_a_slow_clock_makes_frames_short_rather_than_rare() -> None:
    outlet, seal = cast("LightOutlet", Watch()), LightSeal(bytes(32), "alice")
    assert MqttTransmitter(outlet, seal, 2**20, clock_hz=1000.0).frames(10_000) == 20
    assert MqttTransmitter(outlet, seal, 2**20, clock_hz=0.1).frames(3) == 3
    assert MqttTransmitter(outlet, seal, 2**20, clock_hz=1e9).frames(2**21) == 2
    assert MqttTransmitter(outlet, seal, 2**20).frames(2**21 + 1) == 3


async def test_an_emulation_that_cannot_keep_up_says_by_how_much() -> None:
    _, told = await transmitted(Watch(takes_s=0.05), 1e9)
    (behind,) = [event for event in told if isinstance(event, SourceBehind)]
    assert behind.behind_s >= 0.2 - PULSES / 1e9
    assert behind.pulses_per_second <= PULSES / 0.2
    assert behind.clock_hz == 1e9


async def test_pauses_between_blocks_count() -> None:
    _, told = await transmitted(Watch(), 1e9, pauses_s=[0.1, 0.1])
    behind = [event for event in told if isinstance(event, SourceBehind)]
    assert behind[-1].behind_s >= 0.2 - 3 * PULSES / 1e9
    assert behind[-1].pulses_per_second <= 3 * PULSES / 0.2


async def test_without_a_clock_nobody_is_behind() -> None:
    _, told = await transmitted(Watch(takes_s=0.05), None)
    assert not [event for event in told if isinstance(event, SourceBehind)]
    assert [event.pulses for event in told if isinstance(event, LightProgress)][-1] == PULSES
