"""A bus whose broker is lost while it has a message in its hands, or acknowledges none."""

import asyncio
import tracemalloc

import pytest

from common.errors import LinkError
from common.transport import mqtt
from common.transport.addresses import Address
from common.transport.mqtt import BrokerAccess, connect

CONNACK = b"\x20\x02\x00\x00"
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


async def _send_too_much(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1024)
    writer.write(CONNACK)
    await reader.read(1024)
    writer.write(b"\x90\x03\0\1\1")
    writer.write(b"\x31\x87\x80\x80\x05\0\5patch")  # 10 MiB and 7 bytes, retained
    for _ in range(10):
        writer.write(bytes(2**20))
        await writer.drain()
    writer.write(b"\x30\x0b\0\5patchnext")
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
