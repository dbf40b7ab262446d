"""User traffic for experiments: words that come back, sealed with AES-256-GCM under a key of 32 bytes, over TCP.

    offset  bytes  field
    0       4      length of what follows, big-endian
    4       12     nonce: the direction (4 bytes), the number of the message (8 bytes)
    16             ciphertext and its tag

Both directions use one key and never one nonce. Who has the key reads, alters and answers; nobody else does.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import IntEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from common.errors import LinkError
from common.transport.addresses import Address

KEY_BYTES = 32
LONGEST_MESSAGE_BYTES = 1 << 16
_LENGTH = struct.Struct(">I")
_NONCE = struct.Struct(">IQ")
_TAG_BYTES = 16
LOOPBACK = "127.0.0.1"


class Direction(IntEnum):
    """Which way a message goes."""

    THERE = 0
    BACK = 1


@dataclass(frozen=True, slots=True)
class TrafficKey:
    """The key of one user connection."""

    key: bytes = field(repr=False)

    def seal(self, direction: Direction, number: int, text: bytes) -> bytes:
        """Seal message `number` (from 0) of a direction."""
        nonce = _NONCE.pack(direction, number)
        return nonce + AESGCM(self.key).encrypt(nonce, text, None)

    def unseal(self, direction: Direction, number: int, sealed: bytes) -> bytes:
        """Open it; LinkError if it is another message, was altered, or is sealed under another key."""
        nonce = _NONCE.pack(direction, number)
        try:
            if sealed[: _NONCE.size] == nonce:
                return AESGCM(self.key).decrypt(nonce, sealed[_NONCE.size :], None)
        except (InvalidTag, ValueError):
            pass
        raise LinkError("a message of user traffic does not open under this key")


async def send(writer: asyncio.StreamWriter, sealed: bytes) -> None:
    """Send a sealed message."""
    writer.write(_LENGTH.pack(len(sealed)) + sealed)
    await writer.drain()


async def receive(reader: asyncio.StreamReader) -> bytes:
    """Wait for a sealed message; LinkError if the connection ends or the message is too long or too short."""
    try:
        length = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))[0]
        if not _NONCE.size + _TAG_BYTES <= length <= LONGEST_MESSAGE_BYTES:
            raise LinkError(f"a message of user traffic cannot have {length} bytes")
        return await reader.readexactly(length)
    except (EOFError, OSError) as error:
        raise LinkError("the connection of the user traffic has ended") from error


@asynccontextmanager
async def echoing(key: TrafficKey) -> AsyncIterator[Address]:
    """Send everything back that comes sealed under `key`, for as long as the context lasts; yields where."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = 0
        with suppress(LinkError, OSError):
            while True:
                text = key.unseal(Direction.THERE, number, await receive(reader))
                await send(writer, key.seal(Direction.BACK, number, text))
                number += 1
        writer.transport.abort()

    server = await asyncio.start_server(serve, LOOPBACK, 0)
    try:
        yield Address(LOOPBACK, server.sockets[0].getsockname()[1])
    finally:
        server.close()


async def echoes(at: Address, key: TrafficKey, texts: Sequence[bytes]) -> list[bytes]:
    """Say each text and return what came back; LinkError if anything does not open or nobody answers."""
    try:
        reader, writer = await asyncio.open_connection(at.host, at.port)
    except OSError as error:
        raise LinkError(f"nobody answers user traffic at {at}") from error
    try:
        answers = []
        for number, text in enumerate(texts):
            await send(writer, key.seal(Direction.THERE, number, text))
            answers.append(key.unseal(Direction.BACK, number, await receive(reader)))
        return answers
    finally:
        writer.transport.abort()
