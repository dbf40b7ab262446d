"""A bus whose broker is lost while it has a message in its hands, or acknowledges none."""

import asyncio
import re
import tracemalloc
from functools import partial

import pytest

from qkdlink.common.errors import LinkError
from qkdlink.common.journal.event import Event
from qkdlink.common.journal.events import BrokerBack, BrokerLost, BrokerRefused
from qkdlink.common.transport import mqtt, renewal
from qkdlink.common.transport.addresses import Address
from qkdlink.common.transport.light_line import connect_light
from qkdlink.common.transport.mqtt import BrokerAccess, connect

CONNACK = b"\x20\x03\x00\x00\x00"
SOON_S = 5.0
"""Half of what the client library waits for a receipt."""


async def _hang_up_at_the_first_message(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1024)
    writer.write(CONNACK)
    await reader.read(1024)
    writer.close()


async def test_a_message_that_a_lost_broker_did_not_take_is_given_up_at_once() -> None:
    server = await asyncio.start_server(_hang_up_at_the_first_message, "127.0.0.1", 0)
    access = BrokerAccess(Address("127.0.0.1", server.sockets[0].getsockname()[1]), "somebody")
    async with server, connect(access) as bus, asyncio.timeout(SOON_S):
        with pytest.raises(LinkError, match="was lost before it took a message"):
            await bus.publish("a/topic", b"a message")


async def _acknowledge_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(CONNACK)
    while await reader.read(1024):
        pass
    writer.close()


async def test_a_broker_that_acknowledges_nothing_does_not_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mqtt, "_QUEUED_PUBLISHES", 4)
    server = await asyncio.start_server(_acknowledge_nothing, "127.0.0.1", 0)
    access = BrokerAccess(Address("127.0.0.1", server.sockets[0].getsockname()[1]), "somebody")
    async with server, connect(access) as bus, asyncio.timeout(SOON_S):
        kept = [asyncio.create_task(bus.publish("a/topic", b"kept")) for _ in range(4)]
        await asyncio.sleep(0)
        with pytest.raises(LinkError, match="did not take a message"):
            await bus.publish("a/topic", b"one too many")
        for each in kept:
            each.cancel()
        await asyncio.gather(*kept, return_exceptions=True)


async def _refuse(code: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each message with a reason code; the properties say: Receive Maximum 2, Maximum Packet Size 64."""
    await reader.read(1024)
    writer.write(b"\x20\x0b\0\0\x08\x21\0\x02\x27\0\0\0\x40")
    while message := await reader.read(1024):
        if message[0] & 0xF0 == 0x30:
            number = message[4 + message[3] :][:2]
            writer.write(b"\x40\3" + number + bytes([code]))
    writer.close()


@pytest.mark.parametrize(
    ("code", "payload", "words"),
    [
        (0x87, b"a message", r"a message on a/topic: this node may not write there; correct"),
        (0x95, b"a message", r"a message on a/topic: the message is too long; raise .*message_size_limit"),
        (0x97, b"a message", r"a message on a/topic: a quota is exceeded; raise"),
        (0x10 | 0x80, b"a message", r"a message on a/topic: its reason is 0x90"),
        (0, bytes(100), "takes packets of at most 64 bytes, and this node has to send one of 114: raise"),
    ],
)
async def test_a_message_that_the_broker_refuses_is_named_with_its_reason_and_reported_once(
    code: int, payload: bytes, words: str
) -> None:
    server = await asyncio.start_server(partial(_refuse, code), "127.0.0.1", 0)
    access = BrokerAccess(Address("127.0.0.1", server.sockets[0].getsockname()[1]), "somebody")
    told: list[Event] = []
    async with server, connect(access) as bus, asyncio.timeout(SOON_S):
        bus.trouble.tell = told.append
        for _ in range(2):
            with pytest.raises(LinkError, match=words):
                await bus.publish("a/topic", payload)
    assert len(told) == 1
    assert isinstance(told[0], BrokerRefused)
    assert re.search(words, told[0].reason)


async def test_no_more_messages_are_under_way_than_the_broker_takes() -> None:
    most = 0

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal most
        await reader.read(1024)
        writer.write(b"\x20\x06\0\0\x03\x21\0\x02")
        while messages := await reader.read(1024):
            numbers = [number + 1 for number in range(8) if b"a/topic\0" + bytes([number + 1]) in messages]
            most = max(most, len(numbers))
            writer.write(b"".join(b"\x40\2\0" + bytes([number]) for number in numbers))
        writer.close()

    server = await asyncio.start_server(count, "127.0.0.1", 0)
    access = BrokerAccess(Address("127.0.0.1", server.sockets[0].getsockname()[1]), "somebody")
    async with server, connect(access) as bus, asyncio.timeout(SOON_S):
        await asyncio.gather(*(bus.publish("a/topic", b"x") for _ in range(8)))
    assert 0 < most <= 2


async def test_a_broker_that_refuses_later_on_is_named_once_and_its_return_is_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(renewal, "FIRST_PAUSE_S", 0.01)
    visits = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal visits
        visits += 1
        await reader.read(1024)
        if visits in (3, 4, 5, 6, 7, 8):  # both connections are refused more than once
            writer.write(b"\x20\3\0\x86\0")
        else:
            writer.write(CONNACK)
            if visits > 2:
                await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    access = BrokerAccess(Address("127.0.0.1", server.sockets[0].getsockname()[1]), "somebody")
    told: list[Event] = []
    async with server, connect(access) as bus, connect_light(access, None, bus.trouble), asyncio.timeout(30):
        bus.trouble.tell = told.append
        while len(told) < 2:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
        await asyncio.sleep(0)
    lost, back = told
    assert isinstance(lost, BrokerLost)
    assert isinstance(back, BrokerBack)
    assert "turns this node away: user name or password is wrong" in lost.reason


async def _send_too_much(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1024)
    writer.write(CONNACK)
    await reader.read(1024)
    writer.write(b"\x90\x04\0\1\0\1")
    writer.write(b"\x31\x87\x80\x80\x05\0\5patch")  # 10 MiB and 7 bytes, retained
    for _ in range(10):
        writer.write(bytes(2**20))
        await writer.drain()
    writer.write(b"\x30\x0c\0\5patch\0next")
    await reader.read()
    writer.close()


async def test_a_message_longer_than_any_of_ours_is_passed_over_without_being_stored() -> None:
    server = await asyncio.start_server(_send_too_much, "127.0.0.1", 0)
    access = BrokerAccess(Address("127.0.0.1", server.sockets[0].getsockname()[1]), "somebody")
    async with server, connect(access) as bus, asyncio.timeout(SOON_S):
        tracemalloc.start()
        try:
            patch = await bus.subscribe("patch")
            assert await patch.get() == mqtt.Delivery(b"", retained=True, too_long=True)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 5 * 2**20, "the broker's end, which writes a mebibyte at a time, is counted, too"
        assert await patch.get() == mqtt.Delivery(b"next", retained=False)
