"""Light leaves no earlier than the source's clock says, and lateness is told."""

import asyncio
from dataclasses import dataclass
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alice.pace import Pace
from alice.transmitter import MqttTransmitter
from common.journal.events import Event, LightProgress, SourceBehind
from common.keys.identifiers import BlockId
from common.optics.seal import LightSeal
from common.protocol.account import Account
from common.protocol.block import Block
from common.protocol.conversation import BlockConversation
from common.randomness import Randomness
from common.transport.light import LightOutlet
from common.wire.pulse_frames import FrameHeader
from tests.support.processes import small_parameters

PULSES, FRAMES = 40_000, 4


@given(st.floats(1, 1e10), st.integers(1, 2**32), st.floats(0, 1e6), st.floats(0, 1e6))
def test_light_is_waited_for_or_behind_and_never_both(
    clock: float, pulses: int, started: float, later: float
):
    pace, now = Pace(clock, started), started + later
    wait, behind = pace.wait_s(pulses, now), pace.behind_s(pulses, now)
    assert min(wait, behind) == 0
    assert now + wait - behind == pytest.approx(started + pulses / clock, abs=1e-6)


def test_without_a_clock_nothing_waits_and_nothing_is_late():
    assert Pace(None, 5.0).wait_s(10**9, 6.0) == Pace(None, 5.0).behind_s(1, 1e9) == 0


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


async def transmitted(watch: Watch, clock_hz: float | None) -> tuple[float, list[Event]]:
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


async def test_without_a_clock_nobody_is_behind() -> None:
    _, told = await transmitted(Watch(takes_s=0.05), None)
    assert not [event for event in told if isinstance(event, SourceBehind)]
    assert [event.pulses for event in told if isinstance(event, LightProgress)][-1] == PULSES
