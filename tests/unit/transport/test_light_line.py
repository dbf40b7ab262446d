"""The line for light against a broker that says what a test tells it to."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from qkdlink.common.errors import LinkError
from qkdlink.common.journal.event import Event
from qkdlink.common.transport import light_wire, renewal
from qkdlink.common.transport.addresses import Address
from qkdlink.common.transport.inlet import Inlet
from qkdlink.common.transport.light_line import LightLine, connect_light
from qkdlink.common.transport.mqtt import BrokerAccess, Subscription
from qkdlink.common.wire.mqtt_packets import LONGEST_BODY, publication_head
from qkdlink.common.wire.patch import Route
from qkdlink.deployment.brokers.ports import LOOPBACK

CONNACK, SUBACK, UNSUBACK, PINGRESP = b"\x20\2\0\0", b"\x90\3\0\1\0", b"\xb0\2\0\1", b"\xd0\0"


@dataclass
class ScriptedBroker:
    """Answers questions, keeps what is sent to it, and sends what it is told to."""

    greeting: bytes = CONNACK
    suback: bytes = SUBACK
    puback: bytes = b"\x40\2\0\1"
    longest: int = 2**30
    """A longer message ends the connection."""
    pings: int = 0
    answers_pings: bool = True
    received: list[bytes] = field(default_factory=list)
    sends: set[bytes] = field(default_factory=set)
    """Topics that are subscribed to now."""
    visits: int = 0
    visitor: asyncio.StreamWriter | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visits, self.visitor = self.visits + 1, writer
        try:
            while True:
                first, body = await packet(reader)
                match first & 0xF0:
                    case 0x10:
                        writer.write(self.greeting)
                    case 0x80:
                        self.sends.add(body[4:-1])
                        writer.write(self.suback)
                    case 0xA0:
                        self.sends.discard(body[4:])
                        writer.write(UNSUBACK)
                    case 0xC0:
                        self.pings += 1
                        writer.write(PINGRESP if self.answers_pings else b"")
                    case 0x30 if len(body) > self.longest:
                        writer.transport.abort()
                        return
                    case 0x30:
                        self.received.append(body)
                        writer.write(self.puback if first & 6 else b"")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def send(self, topic: str, payload: bytes) -> None:
        """Send what was published on a topic, if it is subscribed to."""
        if topic.encode() in self.sends:
            self.say(message(payload, topic))

    def say(self, *pieces: bytes) -> None:
        assert self.visitor is not None
        for piece in pieces:
            self.visitor.write(piece)


async def packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    first, length, shift = (await reader.readexactly(1))[0], 0, 0
    while (byte := (await reader.readexactly(1))[0]) > 127:
        length, shift = length | (byte & 127) << shift, shift + 7
    return first, await reader.readexactly(length | byte << shift)


@asynccontextmanager
async def a_line(
    broker: ScriptedBroker, on_oversized: Callable[[str], None] | None = None
) -> AsyncIterator[LightLine]:
    server = await asyncio.start_server(broker.serve, LOOPBACK, 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with connect_light(
            BrokerAccess(Address(LOOPBACK, port), "me", "me", "secret"), on_oversized
        ) as line:
            await line.ready()
            yield line
    finally:
        server.close()


def message(payload: bytes, topic: str = "light") -> bytes:
    return publication_head(topic, len(payload)) + payload


async def heard(subscription: Subscription) -> bytes:
    async with asyncio.timeout(5):
        return bytes((await subscription.get()).payload)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the broker has nobody to tell
            await asyncio.sleep(0.01)


async def test_a_message_of_any_length_leaves_whole() -> None:
    broker = ScriptedBroker()
    async with a_line(broker) as line:
        payloads = [secrets.token_bytes(size) for size in (0, 1, 130, 2**14, 2**22)]
        for payload in payloads:
            await line.publish("light", payload[:100], payload[100:])
        await until(lambda: len(broker.received) == len(payloads))
    assert broker.received == [b"\0\5light" + payload for payload in payloads]


@pytest.mark.parametrize("piece", [1, 7, 500, 5000, 2**20])
async def test_messages_are_taken_whole_however_they_were_cut(piece: int) -> None:
    broker = ScriptedBroker()
    async with a_line(broker) as line:
        light = await line.subscribe("light")
        lengths = (0, 1, 490, 505, 506, 507, 600, 3000) if piece < 500 else (0, 500, 600, 2**19, 3, 2**18)
        payloads = [secrets.token_bytes(size) for size in lengths]
        stream = b"".join(message(payload) for payload in payloads)
        for start in range(0, len(stream), piece):
            broker.say(stream[start : start + piece])
            if piece < 2**20:
                await asyncio.sleep(0)
        assert [await heard(light) for _ in payloads] == payloads
        assert light.dropped == 0


async def test_a_message_that_the_broker_kept_says_so_and_other_topics_are_left_out() -> None:
    broker = ScriptedBroker()
    async with a_line(broker) as line:
        light = await line.subscribe("light")
        broker.say(message(b"other", "other"), b"\x31" + message(b"kept")[1:])
        async with asyncio.timeout(5):
            delivery = await light.get()
        assert (bytes(delivery.payload), delivery.retained) == (b"kept", True)


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x30\xff\xff\xff\xff",
        b"\x30\1x",
        b"\x32\7\0\1a\0\1xx",
        b"\xff\0",
        b"\x30\4\0\2\xff\xff",
    ],
)
async def test_a_broker_that_talks_nonsense_is_left_and_dialled_again(
    nonsense: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "FIRST_PAUSE_S", 0.01)
    broker = ScriptedBroker()
    async with a_line(broker) as line:
        light = await line.subscribe("light")
        broker.say(nonsense)
        await until(lambda: broker.visits == 2)
        await line.ready()
        broker.say(message(b"again"))
        assert await heard(light) == b"again", "the subscription was renewed"


async def test_without_its_broker_nothing_leaves() -> None:
    broker = ScriptedBroker()
    async with a_line(broker) as line:
        broker.greeting = b""
        assert broker.visitor is not None
        broker.visitor.transport.abort()
        await asyncio.sleep(0.05)
        with pytest.raises(LinkError, match=r"The broker at .* is gone; waiting for it to come back\."):
            await line.publish("light", bytes(1000))


async def test_a_broker_that_does_not_read_holds_the_sender_up() -> None:
    async def deaf(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CONNACK)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(5)

    broker = ScriptedBroker()
    broker.serve = deaf  # type: ignore[method-assign, assignment]
    async with a_line(broker) as line:
        sent = 0

        async def flood() -> None:
            nonlocal sent
            for sent in range(100):  # noqa: B007 - counted for the assertion
                await line.publish("light", bytes(2**20), b"")

        flooding = asyncio.create_task(flood())
        await asyncio.sleep(0.3)
        assert 0 < sent < 30, "what waits in this process is bounded"
        flooding.cancel()


async def test_silence_is_broken_by_a_ping_and_a_silent_broker_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(light_wire, "KEEPALIVE_S", 0.1)
    monkeypatch.setattr(renewal, "FIRST_PAUSE_S", 0.01)
    broker = ScriptedBroker()
    async with a_line(broker):
        await until(lambda: broker.pings >= 3)
        assert broker.visits == 1
        broker.answers_pings = False
        await until(lambda: broker.visits == 2)


@pytest.mark.parametrize(
    ("greeting", "sentence"),
    [(b"\x20\2\0\5", "does not know this node"), (b"\x20\2\0\4", "password"), (b"\x20\2\0\3", "0x03")],
)
async def test_a_broker_that_refuses_is_named_with_its_reason(greeting: bytes, sentence: str) -> None:
    with pytest.raises(LinkError, match=sentence):
        async with a_line(ScriptedBroker(greeting=greeting)):
            pass


CONNACK_5 = b"\x20\x0b\0\0\x08\x22\0\x0a\x27\0\0\x04\0"
"""MQTT 5, section 3.2: Topic Alias Maximum 10, Maximum Packet Size 1,024."""


async def test_a_broker_that_takes_no_packet_so_long_is_named_with_both_numbers() -> None:
    async with a_line(ScriptedBroker(greeting=CONNACK_5)) as line:
        await line.publish("light", bytes(1011))
        with pytest.raises(LinkError, match=r"at most 1024 bytes, and .* one of 1025: raise"):
            await line.publish("light", bytes(1012))


@pytest.mark.parametrize(
    ("code", "words"),
    [(0x87, "may not write there"), (0x95, "message is too long"), (0x97, "quota"), (0x80, "0x80")],
)
async def test_a_message_that_the_broker_does_not_take_is_named_with_its_reason(
    code: int, words: str
) -> None:
    broker = ScriptedBroker(greeting=CONNACK_5, puback=bytes([0x40, 3, 0, 1, code]))
    async with a_line(broker) as line:
        for _ in range(2):
            with pytest.raises(LinkError, match=f"a message of 100 bytes on light: .*{words}"):
                await line.publish("light", bytes(100))
        broker.puback = b"\x40\2\0\1"
        for _ in range(2):
            await line.publish("light", bytes(100))
        await until(lambda: len(broker.received) == 4)
        assert [len(body) for body in broker.received] == [110, 110, 110, 108], "one is asked for, then none"


async def test_a_broker_that_closes_on_every_long_message_is_suspected_of_a_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(renewal, "FIRST_PAUSE_S", 0.01)
    broker, told = ScriptedBroker(), list[Event]()
    async with a_line(broker) as line:
        line.trouble.tell = told.append
        broker.longest = 1000
        await line.publish("light", bytes(100))
        for visits in (2, 3):
            await line.publish("light", bytes(2000))
            assert not line.suspicion, "one loss may be a broker that was restarted"
            await until(lambda visits=visits: broker.visits == visits)  # type: ignore[misc] # a lambda has no types
            await line.ready()
        assert (
            "closes each one after a message of 2000 bytes or more: it probably has a limit" in line.suspicion
        )
        assert [event.type for event in told] == ["broker-refused"]
        broker.longest = 2**30
        await line.publish("light", bytes(2000))
        light = await line.subscribe("light")
        broker.say(message(b"an answer"))
        assert await heard(light) == b"an answer"
        broker.visitor.transport.abort()  # type: ignore[union-attr] # it is there
        await until(lambda: broker.visits == 4)
        assert not line.suspicion, "the broker has taken one meanwhile"


async def test_a_packet_too_long_is_passed_over_and_named_and_the_next_one_is_taken() -> None:
    broker, named = ScriptedBroker(), list[str]()
    async with a_line(broker, named.append) as line:
        light = await line.subscribe("light")
        head = b"\x31" + written(LONGEST_BODY + 1) + b"\0\5light"
        tail = bytes(2**20)
        broker.say(head, *[tail] * (LONGEST_BODY // 2**20), bytes(LONGEST_BODY % 2**20 - 6))
        broker.say(b"\x30\x0b\0\5lightlast")
        assert await heard(light) == b"last"
        assert broker.visits == 1, "the connection goes on"
    assert len(named) == 1
    assert f"a message of {LONGEST_BODY + 1 + 5} bytes on light is longer than any frame" in named[0]


def written(length: int) -> bytes:
    return bytes([length & 127 | 128, length >> 7 & 127 | 128, length >> 14 & 127 | 128, length >> 21])


async def test_a_subscription_that_is_refused_is_an_error() -> None:
    async with a_line(ScriptedBroker(suback=b"\x90\3\0\1\x80")) as line:
        with pytest.raises(LinkError, match="refuses"):
            await line.subscribe("light")


async def test_a_broker_that_is_not_there_is_named() -> None:
    with pytest.raises(LinkError, match=r"There is no MQTT broker at 127\.0\.0\.1:1"):
        async with connect_light(BrokerAccess(Address(LOOPBACK, 1), "me")):
            pass


WAYS: dict[Route, str] = {"direct": "a/light/b", "eve": "e/light/b"}


@asynccontextmanager
async def an_inlet(broker: ScriptedBroker) -> AsyncIterator[tuple[Inlet, list[str]]]:
    strays: list[str] = []
    async with a_line(broker) as line:
        line.on_stray = strays.append
        inlet = await Inlet.open(line, WAYS)
        keeping = asyncio.create_task(inlet.run())
        try:
            yield inlet, strays
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)


async def test_the_broker_sends_the_way_that_is_plugged_in_and_no_other() -> None:
    broker = ScriptedBroker()
    async with an_inlet(broker) as (inlet, strays):
        for way in ("direct", "eve", "direct", "eve"):
            inlet.select(way)
            await until(lambda way=way: broker.sends == {WAYS[way].encode()})
            for topic in WAYS.values():
                broker.send(topic, topic.encode())
            async with asyncio.timeout(5):
                assert bytes((await inlet.get()).payload) == WAYS[way].encode()
        assert strays == []


async def test_a_thousand_frames_on_a_way_that_is_not_plugged_in_wait_nowhere() -> None:
    broker = ScriptedBroker()
    async with an_inlet(broker) as (inlet, strays):
        for _ in range(1000):  # from a broker that sends what nobody has asked for
            broker.say(message(bytes(10), WAYS["eve"]))
        broker.send(WAYS["direct"], b"the way in use")
        async with asyncio.timeout(5):
            assert bytes((await inlet.get()).payload) == b"the way in use"
        assert strays == [WAYS["eve"]] * 1000


async def test_what_came_of_a_way_that_was_left_is_told_and_not_taken_for_what_comes_of_the_new_one() -> None:
    broker = ScriptedBroker()
    async with an_inlet(broker) as (inlet, strays):
        broker.send(WAYS["direct"], b"taken")
        async with asyncio.timeout(5):
            assert bytes((await inlet.get()).payload) == b"taken"
        waiting = asyncio.create_task(inlet.get())
        await asyncio.sleep(0)
        broker.suback = b""  # its answers are late: what it sends until then was sent before
        inlet.select("eve")
        for topic in (WAYS["direct"], WAYS["direct"], WAYS["eve"]):
            broker.say(message(b"late" if topic == WAYS["direct"] else b"new", topic))
        async with asyncio.timeout(5):
            assert bytes((await waiting).payload) == b"new"
        assert strays == [WAYS["direct"]] * 2


async def test_a_connection_that_is_renewed_begins_with_the_way_that_is_plugged_in_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(renewal, "FIRST_PAUSE_S", 0.01)
    broker = ScriptedBroker()
    async with an_inlet(broker) as (inlet, _):
        assert broker.visitor is not None
        broker.visitor.transport.abort()
        broker.sends.clear()
        inlet.select("eve")
        await until(lambda: broker.sends == {WAYS["eve"].encode()})
