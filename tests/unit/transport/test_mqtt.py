"""A bus whose broker is lost while it has a message in its hands, or acknowledges none."""

import asyncio

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
