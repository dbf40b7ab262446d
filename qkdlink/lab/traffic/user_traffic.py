"""User traffic for experiments: two applications agree on a key, then say words that come back under it, over TCP.

Each does on a connection of its own, in messages. Under a key of 32 bytes (`qkdlink.lab.traffic.key_exchanges`, or what
else two ends have in common) they are sealed with AES-256-GCM:

    offset  bytes  field
    0       4      length of what follows, big-endian
    4       12     nonce: the direction (4 bytes), the number of the message (8 bytes)
    16             ciphertext and its tag

Both directions use one key and never one nonce. Who has the key reads, alters and answers; nobody else does.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from qkdlink.common.errors import LinkError
from qkdlink.common.transport.addresses import Address
from qkdlink.deployment.brokers.ports import LOOPBACK, free_port
from qkdlink.eve.recorder import Recorder
from qkdlink.eve.relay import ClassicalRelay
from qkdlink.lab.traffic.key_exchanges import (
    DeliveredKey,
    Exchange,
    KeySource,
    Primitive,
    exchange_of,
    key_from,
    parts,
)

LONGEST_MESSAGE_BYTES = 1 << 16
_LENGTH = struct.Struct(">I")
_NONCE = struct.Struct(">IQ")
_TAG_BYTES = 16
type Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


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
async def answering(serve: Serve) -> AsyncIterator[Address]:
    """Take calls at a loopback port of its own while the context is open; yields where."""
    server = await asyncio.start_server(serve, LOOPBACK, 0)
    try:
        yield Address(LOOPBACK, server.sockets[0].getsockname()[1])
    finally:
        server.close()


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

    async with answering(serve) as where:
        yield where


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


@dataclass(frozen=True, slots=True)
class Recorded:
    """User traffic that was recorded, and what only the laboratory knows of it."""

    source: KeySource
    came_back: bool
    """Whether every text came back as it was said."""
    kept: Mapping[Primitive, bytes] = field(repr=False)
    """What the dialler has kept to itself."""


async def record_traffic(
    folder: Path,
    source: KeySource,
    texts: Sequence[bytes],
    at_alice: DeliveredKey | None = None,
    at_bob: DeliveredKey | None = None,
) -> Recorded:
    """Let two applications agree on a key and exchange texts, with Eve's recorder on their wire."""
    alice = [exchange_of(primitive, at_alice) for primitive in source.primitives]
    bob = [exchange_of(primitive, at_bob) for primitive in source.primitives]
    relay = ClassicalRelay()
    with closing(Recorder(folder)) as recorder:
        relay.watch.append(recorder.words)
        relay.on_closed.append(recorder.closed)
        async with AsyncExitStack() as open_things:
            agreed = asyncio.get_running_loop().create_future()
            where = await open_things.enter_async_context(_listening(source, bob, agreed))
            dialled = await open_things.enter_async_context(_tapped(relay, where))
            key = await _agree(dialled, source, alice)
            where = await open_things.enter_async_context(echoing(await agreed))
            dialled = await open_things.enter_async_context(_tapped(relay, where))
            answers = await echoes(dialled, key, texts)
    kept = {name: each.private for name, each in zip(source.primitives, alice, strict=True)}
    return Recorded(source, answers == list(texts), kept)


@asynccontextmanager
async def _tapped(relay: ClassicalRelay, onward: Address) -> AsyncIterator[Address]:
    at = Address(LOOPBACK, free_port())
    async with relay.listening(at, onward):
        yield at


@asynccontextmanager
async def _listening(
    source: KeySource, exchanges: Sequence[Exchange], agreed: asyncio.Future[TrafficKey]
) -> AsyncIterator[Address]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(LinkError, OSError):
            offers = parts(exchanges, await receive(reader), offers=True)
            answers = [each.answer(offer) for each, offer in zip(exchanges, offers, strict=True)]
            await send(writer, b"".join(answer for answer, _ in answers))
            agreed.set_result(TrafficKey(key_from(source, [secret for _, secret in answers])))
        writer.close()

    async with answering(serve) as where:
        yield where


async def _agree(at: Address, source: KeySource, exchanges: Sequence[Exchange]) -> TrafficKey:
    reader, writer = await asyncio.open_connection(at.host, at.port)
    try:
        await send(writer, b"".join(each.offer() for each in exchanges))
        answers = parts(exchanges, await receive(reader), offers=False)
        secrets = [each.secret(answer) for each, answer in zip(exchanges, answers, strict=True)]
        return TrafficKey(key_from(source, secrets))
    finally:
        writer.close()
