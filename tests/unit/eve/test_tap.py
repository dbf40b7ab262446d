"""Eve's taps: what passes, what she makes of it, and what does not go on."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import numpy as np
import pytest

from qkdlink.common.errors import LinkError
from qkdlink.common.journal.event import Event
from qkdlink.common.journal.events import LightFault
from qkdlink.common.journal.light_faults import LightFaults
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.pulses import PulseTrain
from qkdlink.common.optics.seal import LightSeal
from qkdlink.common.transport.light_line import LightLine
from qkdlink.common.transport.mqtt import Delivery, Subscription
from qkdlink.common.wire.pulse_frames import FrameFault, FrameHeader, Receipt, split
from qkdlink.common.wire.topics import Topics
from qkdlink.eve.guarded import AttackError
from qkdlink.eve.tap import LightTap, ReceiptTap
from qkdlink.eve.topics import EVE

TOPICS = Topics("link-1")
KEY = bytes(range(32))
PULSES = 1000
STATES = np.random.default_rng(1).integers(0, 16, PULSES, np.uint8)


class Line:
    """Keeps what is sent, or is lost."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, tuple[bytes | memoryview, ...]]] = []
        self.is_lost = False
        self.told: list[Event] = []

    async def publish(self, topic: str, *payload: bytes | memoryview) -> None:
        if self.is_lost:
            raise LinkError("The broker is gone.")
        self.sent.append((topic, payload))


@asynccontextmanager
async def living(tap: LightTap | ReceiptTap) -> AsyncIterator[None]:
    life = asyncio.create_task(tap.run())
    yield
    life.cancel()
    await asyncio.gather(life, return_exceptions=True)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the line has nobody to tell
            await asyncio.sleep(0.001)


def taps() -> tuple[LightTap, Line, Subscription]:
    line, frames = Line(), Subscription(TOPICS.light("alice", EVE))
    faults = LightFaults(line.told.append)
    tap = LightTap(cast("LightLine", line), TOPICS.light(EVE, "bob"), LightSeal(KEY, EVE), frames, faults)
    return tap, line, frames


def a_frame(alice: LightSeal, sequence: int = 0) -> memoryview:
    header = FrameHeader("link-1", "5e" * 16, 1, sequence, 4, sequence * PULSES, PULSES).encode()
    light = PulseTrain(STATES.copy(), Fibre(10.0, 0.2, 0.01), sequence * PULSES)
    return memoryview(header + alice.seal(light, header))


async def test_transparent_she_passes_a_frame_on_from_where_it_lies():
    tap, line, frames = taps()
    seen: list[bytes | memoryview] = []
    tap.watch.append(seen.append)
    frame = a_frame(LightSeal(KEY, "alice"))
    async with living(tap):
        frames.put(Delivery(frame, retained=False))
        await until(lambda: tap.passed)
    [(topic, parts)] = line.sent
    assert topic == TOPICS.light(EVE, "bob")
    assert [id(part) for part in parts] == [id(frame)] == [id(each) for each in seen]


async def test_what_an_attack_has_made_of_a_frame_goes_on_under_its_header_and_her_seal():
    tap, line, frames = taps()
    tap.treat = lambda header, train: PulseTrain(
        train.absorb() ^ np.uint8(4), train.medium, header.first_pulse
    )
    frame = a_frame(LightSeal(KEY, "alice"), sequence=3)
    async with living(tap):
        frames.put(Delivery(frame, retained=False))
        await until(lambda: tap.passed)
    [(_, parts)] = line.sent
    header, associated, sealed = split(b"".join(parts))
    assert header == split(frame)[0]
    train = LightSeal(KEY, "bob").unseal(sealed, associated)
    np.testing.assert_array_equal(train.absorb(), STATES ^ np.uint8(4))


async def test_light_that_cannot_go_on_is_lost_and_the_next_goes_on():
    tap, line, frames = taps()
    alice = LightSeal(KEY, "alice")
    async with living(tap):
        line.is_lost = True
        frames.put(Delivery(a_frame(alice, 0), retained=False))
        await until(lambda: tap.lost == 1)
        line.is_lost = False
        tap.treat = lambda _, train: train
        frames.put(Delivery(memoryview(b"no light"), retained=False))
        frames.put(Delivery(a_frame(LightSeal(bytes(32), "alice"), 1), retained=False))
        frames.put(Delivery(a_frame(alice, 1), retained=True))
        await until(lambda: tap.lost == 4)
        frames.put(Delivery(a_frame(alice, 2), retained=False))
        await until(lambda: tap.passed == 1)
    assert len(line.sent) == 1
    told = [(each.fault, each.frames) for each in line.told if isinstance(each, LightFault)]
    assert told == [(fault, 1) for fault in (FrameFault.FOREIGN, FrameFault.BROKEN_SEAL, FrameFault.RETAINED)]


@pytest.mark.parametrize("attacks", [False, True])
async def test_a_flood_of_what_the_broker_kept_is_named_and_then_counted(
    monkeypatch: pytest.MonkeyPatch, attacks: bool
):
    monkeypatch.setattr("qkdlink.eve.tap._FAULTS_TOLD_EVERY_S", 0.01)
    tap, line, frames = taps()
    tap.treat = (lambda _, train: train) if attacks else None
    async with living(tap):
        for sequence in range(100):
            frames.put(Delivery(a_frame(LightSeal(KEY, "alice"), sequence % 4), retained=True))
        await until(lambda: tap.lost == 100)
        telling = asyncio.create_task(tap.tell_faults())
        await until(lambda: len(line.told) == 4)
        telling.cancel()
    told = [each for each in line.told if isinstance(each, LightFault)]
    assert {each.fault for each in told} == {FrameFault.RETAINED}
    assert [each.frames for each in told] == [1, 1, 1, 97]
    assert not line.sent


async def test_an_attack_that_is_stuck_is_found_and_holds_nobody_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("qkdlink.eve.tap.STALL_S", 2)
    tap, line, frames = taps()
    alice, go_on = LightSeal(KEY, "alice"), threading.Event()
    tap.whose = lambda: "the attack Sleeper"

    def slow(_: FrameHeader, train: PulseTrain) -> PulseTrain:
        go_on.wait(10)
        return train

    tap.treat = slow
    async with living(tap):
        watching = asyncio.create_task(tap.watch_the_work())
        frames.put(Delivery(a_frame(alice, 0), retained=False))
        await asyncio.sleep(1.5)
        go_on.set()
        await until(lambda: tap.passed)
        go_on.clear()
        frames.put(Delivery(a_frame(alice, 1), retained=False))
        await asyncio.sleep(1)
        assert not watching.done(), "each frame has its own time"
        with pytest.raises(AttackError, match=r"Sleeper has had a frame of light in its hand for 2 s"):
            await asyncio.wait_for(watching, 5)
    assert len(line.sent) == 1  # she has ended, and the attack has not
    go_on.set()


async def test_a_receipt_passes_on_and_is_seen_unless_a_half_link_takes_it():
    line, receipts = Line(), Subscription(TOPICS.receipts("bob", EVE))
    tap = ReceiptTap(cast("LightLine", line), TOPICS.receipts(EVE, "alice"), receipts)
    seen: list[bytes] = []
    tap.watch.append(seen.append)
    said = [Receipt("5e" * 16, 1, sequence).encode() for sequence in range(3)]
    said += [b"", b"no receipt", bytes(1 << 20)]
    async with living(tap):
        for sequence, receipt in enumerate(said):
            tap.is_open = sequence != 1
            receipts.put(Delivery(memoryview(receipt), retained=False))
            await until(lambda expected=sequence + 1: len(seen) == expected)
    assert seen == said
    assert line.sent == [(TOPICS.receipts(EVE, "alice"), (receipt,)) for receipt in (said[0], said[2])]


async def test_light_ends_with_her_while_a_half_link_takes_it():
    tap, line, frames = taps()
    seen: list[bytes | memoryview] = []
    tap.watch.append(seen.append)
    tap.is_open = False
    async with living(tap):
        frames.put(Delivery(a_frame(LightSeal(KEY, "alice")), retained=False))
        await until(lambda: seen)
        await asyncio.sleep(0.01)
    assert line.sent == []
