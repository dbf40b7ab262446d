"""A wire between Alice and Bob that can be cut, blocked, and listened to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from qkdlink.common.transport.addresses import Address
from qkdlink.deployment.brokers.ports import LOOPBACK


class Wire:
    """Carries TCP connections from its own address to another."""

    def __init__(self, there: Address) -> None:
        self.address = there
        self.said: list[bytes] = []
        """What each dialler has said, connection by connection."""
        self.is_blocked = False
        self._there = there
        self._lines: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, ...]] = {}

    def lead_to(self, there: Address) -> None:
        """Lead connections somewhere else from now on."""
        self._there = there

    def cut(self) -> None:
        """Cut every connection that there is."""
        for task, writers in self._lines.items():
            for writer in writers:
                writer.transport.abort()
            task.cancel()

    async def _arrived(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self.is_blocked:
            writer.transport.abort()
            return
        with suppress(OSError):
            there, back = await asyncio.open_connection(self._there.host, self._there.port)
            self._lines[task] = (writer, back)
            self.said.append(b"")
            try:
                await asyncio.gather(
                    self._carry(reader, back, len(self.said) - 1), self._carry(there, writer)
                )
            finally:
                del self._lines[task]
                back.transport.abort()
        writer.transport.abort()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, recorded_as: int | None = None
    ) -> None:
        while piece := await reader.read(1 << 16):
            if recorded_as is not None:
                self.said[recorded_as] += piece
            writer.write(piece)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


@asynccontextmanager
async def wire_to(there: Address) -> AsyncIterator[Wire]:
    """Lay a wire while the context is open."""
    wire = Wire(there)
    server = await asyncio.start_server(wire._arrived, LOOPBACK, 0)
    wire.address = Address(LOOPBACK, server.sockets[0].getsockname()[1])
    try:
        yield wire
    finally:
        server.close()
        wire.cut()
        await asyncio.sleep(0)
