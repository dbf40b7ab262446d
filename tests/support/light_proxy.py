"""Somebody between Alice and her broker, who treats her frames of light as he is told."""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from qkdlink.common.transport.addresses import Address
from qkdlink.common.wire.mqtt_packets import V5
from qkdlink.common.wire.pulse_frames import FrameHeader, split
from qkdlink.deployment.brokers.ports import LOOPBACK

_CONNECT, _PUBLISH = 0x10, 0x30
_PUBACK = b"\x40\2\0\1"

type Treatment = Callable[[FrameHeader, bytes], Awaitable[list[bytes]]]
"""What becomes of one frame: the messages that go on instead of it."""


async def pass_on(_: FrameHeader, frame: bytes) -> list[bytes]:
    """The treatment that does nothing."""
    return [frame]


class LightProxy:
    """Speaks enough MQTT to find the frames of light among a node's packets."""

    def __init__(self, broker: Address) -> None:
        self.treat: Treatment = pass_on
        self.address = broker
        self._broker = broker
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator["LightProxy"]:
        """Listen while the context is open."""
        server = await asyncio.start_server(self._arrived, LOOPBACK, 0)
        self.address = Address(LOOPBACK, server.sockets[0].getsockname()[1])
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _arrived(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with suppress(OSError, asyncio.IncompleteReadError):
            there, back = await self._reached()
            ways = {
                asyncio.create_task(self._treated(reader, back, writer)),
                asyncio.create_task(_copied(there, writer)),
            }
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
                back.close()
        writer.close()
        self._tasks.discard(task)

    async def _reached(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while True:
            try:
                return await asyncio.open_connection(self._broker.host, self._broker.port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)

    async def _treated(
        self, reader: asyncio.StreamReader, onward: asyncio.StreamWriter, back: asyncio.StreamWriter
    ) -> None:
        properties = b""
        while True:
            first, body = await _packet(reader)
            if first == _CONNECT:
                properties = b"\0" if body[6] == V5 else b""
            topic, payload = _published(first, body)
            if b"/light/" not in topic:
                onward.write(_encoded(first, body))
                continue
            if first != _PUBLISH:  # one that the node wants acknowledged, which its treatment may leave out
                payload = payload[len(_PUBACK) - 2 :]
                back.write(_PUBACK)
            payload = payload[len(properties) :]  # a node gives its frames none
            header, _, _ = split(payload)
            for message in await self.treat(header, payload):
                onward.write(_encoded(_PUBLISH, struct.pack(">H", len(topic)) + topic + properties + message))
            await onward.drain()


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(1 << 16):
        writer.write(piece)
        await writer.drain()


async def _packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    first, length, shift = (await reader.readexactly(1))[0], 0, 0
    while True:
        byte = (await reader.readexactly(1))[0]
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            return first, await reader.readexactly(length)
        shift += 7


def _encoded(first: int, body: bytes) -> bytes:
    length, rest = bytearray(), len(body)
    while True:
        rest, digit = rest >> 7, rest & 0x7F
        length.append(digit | (0x80 if rest else 0))
        if not rest:
            return bytes([first, *length]) + body


def _published(first: int, body: bytes) -> tuple[bytes, bytes]:
    """Topic of a publication and what follows it; nothing of any other packet."""
    if first & 0xF0 != _PUBLISH:
        return b"", b""
    end = 2 + int.from_bytes(body[:2])
    return body[2:end], body[end:]
