"""Eve on the words: she takes Alice's calls in Bob's place and calls Bob, and every byte passes through her hands.

What she may do to bytes is a `Treatment`, switched while the line runs; the transparent one passes them on. She speaks
no TLS here: whoever wants to be believed in Bob's place needs what authenticates him (`qkdlink.eve.half_links`).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum

from qkdlink.common.errors import LinkError
from qkdlink.common.transport.addresses import Address
from qkdlink.common.transport.shedding import KnownSources, Places, source_of

_CHUNK_BYTES = 1 << 16
MAX_UNANSWERED = 64
"""Connections at a time on which Bob has not said anything; he limits those on which he has."""


class Way(StrEnum):
    """Which way bytes go."""

    TO_BOB = "alice->bob"
    TO_ALICE = "bob->alice"


type Treatment = Callable[[int, Way, bytes], Awaitable[bytes]]
"""(number of the connection, its direction, what has come) -> what goes on; an empty result goes nowhere."""
type Watch = Callable[[int, Way, bytes], None]
"""Sees every byte as it comes, before any treatment."""


async def pass_on(connection: int, way: Way, data: bytes) -> bytes:
    """The treatment that does nothing."""
    del connection, way
    return data


@dataclass(slots=True)
class ClassicalRelay:
    """Both ports of the classical line."""

    treat: Treatment = pass_on
    watch: list[Watch] = field(default_factory=list)
    on_closed: list[Callable[[int], None]] = field(default_factory=list)
    detours: dict[Address, Address] = field(default_factory=dict)
    """Where calls lead instead of where they should go on to, while somebody answers them in Bob's place."""
    passed: int = 0
    """How many bytes have passed so far."""
    _unanswered: Places[int] = field(default_factory=lambda: Places(MAX_UNANSWERED, KnownSources()))
    _count: int = 0
    _open: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    _sinks: dict[tuple[int, Way], asyncio.StreamWriter] = field(default_factory=dict)

    @asynccontextmanager
    async def listening(self, at: Address, onward: Address) -> AsyncIterator[None]:
        """Relay one port while the context is open; LinkError if it cannot be listened at."""
        try:
            server = await asyncio.start_server(
                lambda reader, writer: self._arrived(reader, writer, onward), at.host, at.port
            )
        except OSError as error:
            raise LinkError(f"Eve cannot listen at {at}: {error.strerror or error}.") from error
        try:
            yield
        finally:
            server.close()
            self.cut()
            if self._open:
                await asyncio.wait(self._open.values())

    def cut(self, connection: int | None = None) -> None:
        """Cut every connection that is open now, or one."""
        for number, task in self._open.items():
            if connection in (None, number):
                task.cancel()

    def inject(self, connection: int, way: Way, data: bytes) -> None:
        """Say something that nobody has said, after what has gone that way so far; nothing if the line is gone."""
        sink = self._sinks.get((connection, way))
        if sink is not None and not sink.is_closing():
            sink.write(data)

    async def _arrived(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, onward: Address
    ) -> None:
        task = asyncio.current_task()
        if task is None:
            return
        self._count += 1
        number = self._count
        self._open[number] = task
        source = source_of(writer.get_extra_info("peername")[0])
        displaced = self._unanswered.take(number, source)
        if displaced is not None:
            self.cut(displaced)
        try:
            await self._relay(number, reader, writer, onward)
        except asyncio.CancelledError:
            pass  # she has cut it, or is going
        finally:
            del self._open[number]
            self._unanswered.leave(number)
            writer.transport.abort()
            for closed in self.on_closed:
                closed(number)

    async def _relay(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, onward: Address
    ) -> None:
        try:
            onward = self.detours.get(onward, onward)
            there, back = await asyncio.open_connection(onward.host, onward.port)
        except OSError:
            return
        self._sinks |= {(number, Way.TO_BOB): back, (number, Way.TO_ALICE): writer}
        ways = [
            asyncio.create_task(self._copy(number, Way.TO_BOB, reader, back)),
            asyncio.create_task(self._copy(number, Way.TO_ALICE, there, writer)),
        ]
        try:
            await asyncio.wait(ways)
        finally:
            for way in ways:
                way.cancel()
            for towards in Way:
                del self._sinks[number, towards]
            back.transport.abort()

    async def _copy(
        self, number: int, way: Way, source: asyncio.StreamReader, sink: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError):
            while data := await source.read(_CHUNK_BYTES):
                self.passed += len(data)
                if way is Way.TO_ALICE:
                    self._unanswered.leave(number)
                for watch in self.watch:
                    watch(number, way, data)
                onward = await self.treat(number, way, data)
                if onward:
                    sink.write(onward)
                    await sink.drain()
            sink.write_eof()
