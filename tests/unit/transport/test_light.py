"""Light through an outlet and into a receiver over a broker made of a list: each fault named, each wait bounded."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkdlink.bob.receiver import MqttReceiver
from qkdlink.common.errors import LinkError
from qkdlink.common.journal.event import Event
from qkdlink.common.journal.events import LightFault
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.optics.pulses import PulseTrain
from qkdlink.common.optics.seal import LightSeal
from qkdlink.common.optics.source import PulseSource
from qkdlink.common.protocol.aborts import LightLost
from qkdlink.common.protocol.account import Account
from qkdlink.common.protocol.block import Block
from qkdlink.common.protocol.conversation import BlockConversation
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.randomness import Choice, Nature, Randomness
from qkdlink.common.transport.light import LightOutlet
from qkdlink.common.transport.light_line import LightLine
from qkdlink.common.transport.mqtt import Delivery, Subscription
from qkdlink.common.wire.pulse_frames import FrameFault, FrameHeader, Receipt
from tests.support.forged_light import forged_frame
from tests.support.patience import HANGS_S
from tests.support.processes import small_parameters

SESSION, SEAL_KEY = "ab" * 16, bytes(range(32))
FRAMES, PULSES = 4, 1000
PARAMETERS = small_parameters(pulses=30_000).model_copy(update={"block_pulses": FRAMES * PULSES})


@dataclass
class ListBus:
    """A broker that keeps what it is given, and fails when told to."""

    published: list[tuple[str, bytes]] = field(default_factory=list)
    broken: bool = False
    hangs: bool = False
    suspicion: str = ""

    async def publish(self, topic: str, *payload: bytes) -> None:
        if self.broken:
            raise LinkError("The broker is gone.")
        if self.hangs:
            await asyncio.Event().wait()
        self.published.append((topic, b"".join(payload)))


def a_block(number: int = 1, parameters: LinkParameters = PARAMETERS) -> Block:
    told: list[Event] = []
    return Block(
        id=BlockId("link-1", SESSION, number),
        parameters=parameters,
        conversation=cast("BlockConversation", None),
        randomness=Randomness("bob", 1),
        compute=asyncio.to_thread,
        tell=told.append,
        account=Account(),
    )


def frames(seal: LightSeal, number: int = 1, link: str = "link-1") -> list[bytes]:
    """The light of a block, as Alice would send it."""
    randomness = Randomness("alice", 1)
    source = PulseSource(
        PARAMETERS.source,
        randomness.choices(Choice.PULSES, number),
        randomness.nature(Nature.SOURCE, number),
    )
    sealed = []
    for sequence in range(FRAMES):
        header = FrameHeader(link, SESSION, number, sequence, FRAMES, sequence * PULSES, PULSES).encode()
        _, train = source.emit(sequence * PULSES, PULSES, PARAMETERS.fibre)
        sealed.append(header + seal.seal(train, header))
    return sealed


@dataclass
class Reception:
    """A receiver with its detectors on, and what it says of its light."""

    receiver: MqttReceiver
    block: Block
    light: Subscription
    bus: ListBus
    told: list[Event]
    signs_of_life: list[int]

    def shine(self, *payloads: bytes, retained: bool = False) -> None:
        for payload in payloads:
            self.light.put(Delivery(payload, retained))

    @property
    def faults(self) -> list[str]:
        return [
            event.fault for event in self.told if isinstance(event, LightFault) for _ in range(event.frames)
        ]

    @property
    def receipts(self) -> list[int]:
        return [cast("Receipt", Receipt.decode(payload)).sequence for _, payload in self.bus.published]


@pytest.fixture(scope="module", autouse=True)
def kernels_are_compiled() -> None:
    """Where patience is short, the first light of a process is not to wait for a compiler."""

    async def a_block_comes() -> None:
        async with reception(HANGS_S) as bob:
            bob.shine(*frames(LightSeal(SEAL_KEY, "alice")))
            await bob.receiver.finish(bob.block)

    asyncio.run(a_block_comes())


@asynccontextmanager
async def reception(patience_s: float = 2.0) -> AsyncIterator[Reception]:
    bus, light, block = ListBus(), Subscription("light"), a_block()
    told: list[Event] = []
    signs: list[int] = []
    receiver = MqttReceiver(
        line=cast("LightLine", bus),
        light=light,
        receipts_topic="receipts",
        seal=LightSeal(SEAL_KEY, "bob"),
        tell=told.append,
        patience_s=patience_s,
    )
    receiver.on_light = lambda: signs.append(1)
    await receiver.open(block, FRAMES)
    listening = asyncio.create_task(receiver.listen())
    try:
        yield Reception(receiver, block, light, bus, told, signs)
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def test_light_that_all_came_is_measured_receipted_and_a_sign_of_life() -> None:
    async with reception() as bob:
        bob.shine(*frames(LightSeal(SEAL_KEY, "alice")))
        detected = await bob.receiver.finish(bob.block)
        assert 0.2 < len(detected.gates) / (FRAMES * PULSES) < 0.45
        assert np.all(np.diff(detected.gates) > 0)
        assert detected.gates[-1] >= (FRAMES - 1) * PULSES, "gates count over the whole block"
        assert bob.receipts == [0, 1, 2, 3]
        assert len(bob.signs_of_life) == FRAMES
        assert bob.faults == []


async def test_what_is_detected_does_not_depend_on_the_cut_into_frames() -> None:
    async with reception() as bob:
        bob.shine(*frames(LightSeal(SEAL_KEY, "alice")))
        whole = await bob.receiver.finish(bob.block)
    async with reception() as again:
        again.shine(*frames(LightSeal(SEAL_KEY, "alice")))
        same = await again.receiver.finish(again.block)
    assert np.array_equal(whole.gates, same.gates)
    assert np.array_equal(whole.bits, same.bits)


type Tamper = Callable[[list[bytes]], list[bytes]]
VOIDING: dict[str, tuple[Tamper, list[str]]] = {
    "the first is lost": (lambda f: f[1:], ["lost"]),
    "one is lost": (lambda f: [f[0], f[2], f[3]], ["lost"]),
    "the last is lost": (lambda f: f[:3], ["lost"]),
    "two are lost": (lambda f: [f[0], f[3]], ["lost", "lost"]),
    "all are lost": (lambda _: [], ["lost"] * 4),
    "two are swapped": (lambda f: [f[0], f[2], f[1], f[3]], ["lost", "reordered"]),
    "one is cut in its light": (lambda f: [f[0], f[1][:200], f[2], f[3]], ["truncated", "lost"]),
    "one is cut by one byte": (lambda f: [f[0], f[1][:-1], f[2], f[3]], ["truncated", "lost"]),
    "one is cut in its header": (lambda f: [f[0], f[1][:30], f[2], f[3]], ["truncated", "lost"]),
    "one is longer": (lambda f: [f[0], f[1] + b"x", f[2], f[3]], ["broken-seal", "lost"]),
    "a bit of light is flipped": (
        lambda f: [f[0], _flipped(f[1], -100), f[2], f[3]],
        ["broken-seal", "lost"],
    ),
    "a bit of the tag is flipped": (
        lambda f: [f[0], _flipped(f[1], -1), f[2], f[3]],
        ["broken-seal", "lost"],
    ),
    "a bit of the first pulse's number is flipped": (
        lambda f: [f[0], _flipped(f[1], 45 + 6), f[2], f[3]],
        ["broken-seal", "lost"],
    ),
    "a bit of the magic is flipped": (lambda f: [f[0], _flipped(f[1], 0), f[2], f[3]], ["foreign", "lost"]),
    "a bit of the session is flipped": (
        lambda f: [f[0], _flipped(f[1], 13), f[2], f[3]],
        ["foreign", "lost"],
    ),
    "the light of one stands in the header of another": (
        lambda f: [f[0], f[1][:56] + f[2][56:], f[2], f[3]],
        ["broken-seal", "lost"],
    ),
}
HARMLESS: dict[str, tuple[Tamper, list[str]]] = {
    "one is repeated": (lambda f: [f[0], f[0], f[1], f[2], f[3]], ["repeated"]),
    "all are repeated": (lambda f: [x for y in f for x in (y, y)][:-1], ["repeated"] * 3),
    "something else comes": (
        lambda f: [b"", b"x", b"QKDL", b"hello world", *f],
        ["foreign", "foreign", "truncated", "foreign"],
    ),
    "light of another link comes": (
        lambda f: [*frames(LightSeal(SEAL_KEY, "eve"), link="link-2")[:2], *f],
        ["foreign"] * 2,
    ),
    "light of another block comes": (
        lambda f: [*frames(LightSeal(SEAL_KEY, "alice"), 9)[:2], *f],
        ["foreign"] * 2,
    ),
    "light under another key comes": (
        lambda f: [frames(LightSeal(bytes(32), "alice"))[0], *f],
        ["broken-seal"],
    ),
    "a later frame is forged": (
        lambda f: [f[0], frames(LightSeal(bytes(32), "alice"))[3], *f[1:]],
        ["broken-seal"],
    ),
    "a frame beyond the last is forged": (
        lambda f: [f[0][:36] + (77).to_bytes(4) + f[0][40:], *f],
        ["foreign"],
    ),
    "another version comes": (lambda f: [f[0][:4] + b"\x02" + f[0][5:], *f], ["foreign"]),
}


def _flipped(frame: bytes, at: int) -> bytes:
    changed = bytearray(frame)
    changed[at] ^= 1
    return bytes(changed)


@pytest.mark.parametrize("what", VOIDING)
async def test_light_is_lost_with_the_whole_block_when(what: str) -> None:
    tamper, faults = VOIDING[what]
    async with reception() as bob:
        bob.shine(*tamper(frames(LightSeal(SEAL_KEY, "alice"))))
        with pytest.raises(LightLost, match=r"frame \d of 4 (was lost|came out of order)"):
            await bob.receiver.finish(bob.block)
        assert bob.faults == faults


@pytest.mark.parametrize("what", HARMLESS)
async def test_light_is_measured_as_if_nothing_had_been_when(what: str) -> None:
    tamper, faults = HARMLESS[what]
    async with reception() as undisturbed:
        undisturbed.shine(*frames(LightSeal(SEAL_KEY, "alice")))
        expected = await undisturbed.receiver.finish(undisturbed.block)
    async with reception() as bob:
        bob.shine(*tamper(frames(LightSeal(SEAL_KEY, "alice"))))
        detected = await bob.receiver.finish(bob.block)
        assert bob.faults == faults
        assert np.array_equal(detected.gates, expected.gates)
        assert np.array_equal(detected.bits, expected.bits)


async def test_kept_light_is_refused_however_good_its_seal_is() -> None:
    async with reception() as bob:
        good = frames(LightSeal(SEAL_KEY, "alice"))
        bob.shine(good[0], retained=True)
        bob.shine(*good)
        await bob.receiver.finish(bob.block)
        assert bob.faults == ["retained"]


async def test_light_of_a_block_that_is_over_is_foreign() -> None:
    async with reception() as bob:
        good = frames(LightSeal(SEAL_KEY, "alice"))
        bob.shine(*good)
        await bob.receiver.finish(bob.block)
        bob.shine(good[0])
        await asyncio.sleep(0.05)
        assert bob.faults == ["foreign"]


async def test_a_flood_is_told_three_times_and_then_counted() -> None:
    async with reception() as bob:
        bob.shine(*[b"noise"] * 100, *frames(LightSeal(SEAL_KEY, "alice")))
        await bob.receiver.finish(bob.block)
        told = [event for event in bob.told if isinstance(event, LightFault)]
        assert [event.frames for event in told] == [1, 1, 1, 97]


async def test_a_broker_that_takes_no_receipts_does_not_stop_the_measurement() -> None:
    async with reception() as bob:
        bob.bus.broken = True
        bob.shine(*frames(LightSeal(SEAL_KEY, "alice")))
        await bob.receiver.finish(bob.block)
        assert bob.faults == []


FIRST = FrameHeader("link-1", SESSION, block=1, sequence=0, frames=FRAMES, first_pulse=0, pulses=PULSES)
PLACES: dict[str, tuple[dict[str, int], str]] = {
    "it is longer than its place": ({"pulses": FRAMES * PULSES}, "foreign"),
    "it is longer than the block": ({"pulses": FRAMES * PULSES + 1}, "foreign"),
    "it begins behind its place": ({"first_pulse": 5}, "foreign"),
    "it is the last and ends early": ({"sequence": 3, "first_pulse": 3 * PULSES, "pulses": 5}, "foreign"),
    "it comes before what came": ({"sequence": 2, "first_pulse": 0}, "foreign"),
    "it lies beyond every block": ({"first_pulse": 2**63}, "impossible"),
}


@pytest.mark.parametrize("what", PLACES)
async def test_a_frame_that_cannot_stand_in_its_place_is_a_named_fault_and_leaves_the_place_free(
    what: str,
) -> None:
    place, fault = PLACES[what]
    header = replace(FIRST, **place)
    train = PulseTrain(np.zeros(header.pulses, np.uint8), PARAMETERS.fibre, header.first_pulse)
    async with reception() as bob:
        bob.shine(header.encode() + LightSeal(SEAL_KEY, "alice").seal(train, header.encode()))
        bob.shine(*frames(LightSeal(SEAL_KEY, "alice")))
        await bob.receiver.finish(bob.block)
        assert bob.faults == [fault]


DOUBLES = st.floats() | st.sampled_from([0.0, 0.2, 10.0, float("nan"), float("inf"), -1.0, 1e308])
ANY_CONTENT = {
    "version": st.sampled_from([0, 1, 2, 3]),
    "counter": st.integers(0, 8) | st.integers(0, 2**64 - 1),
    "first_pulse": st.sampled_from([0, PULSES, 2**32 - 1]) | st.integers(0, 2**64 - 1),
    "fibre": st.tuples(DOUBLES, DOUBLES, DOUBLES),
    "payload": st.binary(max_size=64) | st.sampled_from([bytes(PULSES), b"\xff" * 2 * PULSES]),
    "sequence": st.integers(0, FRAMES) | st.integers(0, 2**32 - 1),
    "frames": st.sampled_from([FRAMES, 0, 2**32 - 1]),
    "pulses": st.sampled_from([0, 1, 32, PULSES]) | st.integers(0, 2**32 - 1),
}
IN_PLACE = {"version": 1, "first_pulse": 0, "sequence": 0, "frames": FRAMES, "pulses": PULSES}
NEARLY_GOOD = ANY_CONTENT | {name: st.just(value) for name, value in IN_PLACE.items()}
CONTENTS = st.fixed_dictionaries(ANY_CONTENT) | st.fixed_dictionaries(
    NEARLY_GOOD | {"payload": st.binary(min_size=PULSES, max_size=PULSES)}
)


def _forged(content: dict[str, Any], boot_id: bytes) -> bytes:
    """Whatever a thief of the seal key seals in Alice's name, for the block that she sends."""
    place = (content.pop(name) for name in ("sequence", "frames"))
    header = FrameHeader("link-1", SESSION, 1, *place, content["first_pulse"], content.pop("pulses")).encode()
    return header + forged_frame(SEAL_KEY, header, boot_id, **content)


@settings(max_examples=60, deadline=None)
@given(contents=st.lists(CONTENTS, min_size=1, max_size=4))
def test_whatever_is_under_a_good_seal_is_a_valid_frame_or_a_named_fault_and_costs_no_later_frame(
    contents: list[dict[str, Any]],
) -> None:
    async def shone() -> None:
        alice = LightSeal(SEAL_KEY, "alice")
        mine, next_block = frames(alice), frames(alice, 2)
        boot_id = mine[0][72:88]
        async with reception(HANGS_S) as bob:
            block = a_block(2)
            await bob.receiver.open(block, FRAMES)
            bob.shine(*(_forged(content, boot_id) for content in contents), *mine, *next_block)
            await bob.receiver.finish(block)
            bob.receiver.close(bob.block)
        assert set(bob.faults) <= set(FrameFault)
        came = len(bob.faults) - bob.faults.count("lost") + len(bob.receipts)
        assert came == len(contents) + 2 * FRAMES

    asyncio.run(shone())


@dataclass
class Sending:
    """An outlet, its broker and its receipts."""

    outlet: LightOutlet
    bus: ListBus
    receipts: Subscription

    def header(self, sequence: int) -> FrameHeader:
        return FrameHeader("link-1", SESSION, 1, sequence, FRAMES, sequence * PULSES, PULSES)

    def receipt(self, sequence: int, *, retained: bool = False, block: int = 1) -> None:
        receipt = replace(self.header(sequence).receipt, block=block)
        self.receipts.put(Delivery(receipt.encode(), retained))


@asynccontextmanager
async def sending(window: int = 2, patience_s: float = 0.2) -> AsyncIterator[Sending]:
    bus, receipts = ListBus(), Subscription("receipts")
    outlet = LightOutlet(cast("LightLine", bus), "light", receipts, window, patience_s)
    async with outlet.listening():
        yield Sending(outlet, bus, receipts)


async def test_no_more_frames_are_in_flight_than_the_window_holds() -> None:
    async with sending(window=2, patience_s=5.0) as alice:
        for sequence in (0, 1):
            await alice.outlet.send(alice.header(sequence), b"light")
        third = asyncio.create_task(alice.outlet.send(alice.header(2), b"light"))
        await asyncio.sleep(0.05)
        assert len(alice.bus.published) == 2
        alice.receipt(1)
        await third
        assert len(alice.bus.published) == 3
        for sequence in (0, 2):
            alice.receipt(sequence)
        async with asyncio.timeout(HANGS_S):
            await alice.outlet.drain()


async def test_a_frame_without_a_receipt_is_lost_light() -> None:
    async with sending() as alice:
        for sequence in (0, 1):
            await alice.outlet.send(alice.header(sequence), b"light")
        alice.receipt(0)
        with pytest.raises(LightLost, match=r"frame 1 of 4 was not receipted within 0\.2 s"):
            await alice.outlet.drain()


async def test_a_receipt_that_comes_as_patience_ends_is_not_too_late() -> None:
    async with sending(patience_s=0.05) as alice:
        await alice.outlet.send(alice.header(0), b"light")
        draining = asyncio.create_task(alice.outlet.drain())
        await asyncio.sleep(0.01)
        alice.receipt(0)
        time.sleep(0.1)  # noqa: ASYNC251 - a busy loop finds the receipt there and the patience at its end, at once
        await draining


async def test_each_receipt_renews_the_patience() -> None:
    async with sending(window=4, patience_s=0.3) as alice:
        for sequence in range(FRAMES):
            await alice.outlet.send(alice.header(sequence), b"light")
        draining = asyncio.create_task(alice.outlet.drain())
        for sequence in range(FRAMES):
            await asyncio.sleep(0.15)
            alice.receipt(sequence)
        await draining


@pytest.mark.parametrize(
    "forge",
    [
        lambda alice: alice.receipt(3),
        lambda alice: alice.receipt(0, block=2),
        lambda alice: alice.receipt(0, retained=True),
        lambda alice: alice.receipts.put(Delivery(b"", retained=False)),
        lambda alice: alice.receipts.put(Delivery(bytes(1000), retained=False)),
    ],
)
async def test_a_receipt_for_something_else_counts_for_nothing(forge: Callable[[Sending], None]) -> None:
    async with sending() as alice:
        await alice.outlet.send(alice.header(0), b"light")
        forge(alice)
        with pytest.raises(LightLost):
            await alice.outlet.drain()


async def test_a_broker_that_is_gone_loses_the_light() -> None:
    async with sending() as alice:
        alice.bus.broken = True
        with pytest.raises(LightLost, match=r"frame 0 of 4 could not be sent: The broker is gone"):
            await alice.outlet.send(alice.header(0), b"light")


async def test_a_broker_that_does_not_answer_loses_the_light() -> None:
    async with sending() as alice:
        alice.bus.hangs = True
        with pytest.raises(LightLost, match="the broker did not take frame 0 of 4"):
            await alice.outlet.send(alice.header(0), b"light")


async def test_a_block_that_is_given_up_leaves_the_window_to_the_next() -> None:
    async with sending(window=1) as alice:
        await alice.outlet.send(alice.header(0), b"light")
        alice.outlet.clear()
        await alice.outlet.send(alice.header(1), b"light")
        assert len(alice.bus.published) == 2
