"""A classical line that can be cut, stalled, slowed and made long: a relay between the nodes that knows no message."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field

from qkdlink.common.transport.addresses import Address
from qkdlink.deployment.brokers.ports import LOOPBACK, free_port
from qkdlink.deployment.homes.configuration import LinkAddresses
from qkdlink.deployment.launching.link_run import Line

_CHUNK_BYTES = 1 << 14
_CHUNKS_UNDER_WAY = 1 << 12
"""On a long line, in each direction; whoever sends more waits."""


@dataclass(slots=True)
class RoughLine:
    """What the relay does to whatever passes."""

    pause_s: float = 0.0
    """Before each chunk goes on."""
    delay_s: float = 0.0
    """How much later each chunk arrives, while others are under way: half of a round trip. Set before relaying."""
    _flowing: asyncio.Event = field(default_factory=asyncio.Event)
    _connections: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._flowing.set()

    def cut(self) -> None:
        """Cut every connection in the middle of whatever it carries; new ones are relayed."""
        for connection in self._connections:
            connection.cancel()

    async def stall(self, seconds: float) -> None:
        """Let nothing pass for a while, and lose nothing."""
        self._flowing.clear()
        await asyncio.sleep(seconds)
        self._flowing.set()

    async def slow(self, seconds: float, pause_s: float) -> None:
        """Hold each chunk back for a while."""
        self.pause_s = pause_s
        await asyncio.sleep(seconds)
        self.pause_s = 0.0

    @asynccontextmanager
    async def relaying(self, listen: Address, onward: Address) -> AsyncIterator[None]:
        """Relay between two addresses while the context is open."""

        async def arrived(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            if task is None:
                return
            self._connections.add(task)
            try:
                await self._relay(reader, writer, onward)
            except asyncio.CancelledError:
                pass  # cut: the connection ends here, and with it this task
            finally:
                self._connections.discard(task)
                writer.transport.abort()

        server = await asyncio.start_server(arrived, listen.host, listen.port)
        try:
            yield
        finally:
            server.close()
            self.cut()
            if self._connections:
                await asyncio.wait(self._connections)

    async def _relay(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, onward: Address
    ) -> None:
        try:
            there, back = await asyncio.open_connection(onward.host, onward.port)
        except OSError:
            return
        try:
            ways = [
                asyncio.create_task(self._copy(reader, back)),
                asyncio.create_task(self._copy(there, writer)),
            ]
            try:
                await asyncio.wait(ways)
            finally:
                for way in ways:
                    way.cancel()
        finally:
            back.transport.abort()

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        if self.delay_s:
            await self._carry(source, sink)
        else:
            await self._hand_over(source, sink)

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Put chunks on a long line and take each from its other end when it is due."""
        line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_CHUNKS_UNDER_WAY)
        async with asyncio.TaskGroup() as ends:
            ends.create_task(self._put(source, line))
            ends.create_task(_take(line, sink))

    async def _put(self, source: asyncio.StreamReader, line: asyncio.Queue[tuple[float, bytes]]) -> None:
        now = asyncio.get_running_loop().time
        with suppress(OSError):
            while chunk := await source.read(_CHUNK_BYTES):
                await line.put((now() + self.delay_s, chunk))
        await line.put((now() + self.delay_s, b""))

    async def _hand_over(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await source.read(_CHUNK_BYTES):
                await self._flowing.wait()
                if self.pause_s:
                    await asyncio.sleep(self.pause_s)
                sink.write(chunk)
                await sink.drain()
            sink.write_eof()


async def _take(line: asyncio.Queue[tuple[float, bytes]], sink: asyncio.StreamWriter) -> None:
    """Write each chunk when it is due; an empty one is the end."""
    now = asyncio.get_running_loop().time
    with suppress(OSError):
        while True:
            due, chunk = await line.get()
            await asyncio.sleep(due - now())
            if not chunk:
                sink.write_eof()
                return
            sink.write(chunk)
            await sink.drain()


def long_line(round_trip_s: float) -> Line:
    """Return a line on which question and answer take so much longer than on this machine."""

    @asynccontextmanager
    async def far(bob: LinkAddresses) -> AsyncIterator[LinkAddresses]:
        begins = LinkAddresses(bob.broker, *(Address(LOOPBACK, free_port()) for _ in range(2)))
        async with AsyncExitStack() as lines:
            for begin, end in ((begins.classical, bob.classical), (begins.bootstrap, bob.bootstrap)):
                await lines.enter_async_context(RoughLine(delay_s=round_trip_s / 2).relaying(begin, end))
            yield begins

    return far
