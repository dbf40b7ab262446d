"""Where events go: one JSON line each in the node's file, one message each on the broker, and to the launcher."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

from common.errors import ConfigurationError, LinkError
from common.journal.events import Entry, Event
from common.transport.mqtt import Bus

_QUEUED_ENTRIES = 1000


class JournalFile:
    """An append-only file of whole lines, readable by its owner alone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigurationError(f"The journal {path} cannot be written: {error.strerror}.") from error

    def write(self, line: str) -> None:
        """Append a line, all of it or nothing; ConfigurationError if the disk is full."""
        before = os.fstat(self._file).st_size
        data = line.encode() + b"\n"
        try:
            written = os.write(self._file, data)
            reason = "the disk is full"
        except OSError as error:
            written, reason = 0, error.strerror or "the disk is full"
        if written != len(data):
            os.ftruncate(self._file, before)
            raise ConfigurationError(f"The journal {self._path} cannot be written: {reason}.")

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


class Journal:
    """Stamps events with vantage point and time and hands them on."""

    def __init__(self, node: str, file: JournalFile, to_launcher: Callable[[Entry], None]) -> None:
        self._node = node
        self._file = file
        self._to_launcher = to_launcher
        self._for_broker: asyncio.Queue[str] = asyncio.Queue(_QUEUED_ENTRIES)

    def tell(self, event: Event) -> None:
        """Write an event; what the broker cannot take in time is in the file all the same."""
        entry = Entry.model_validate({"node": self._node, "time": time.time(), "event": event})
        line = entry.model_dump_json()
        self._file.write(line)
        self._to_launcher(entry)
        if not self._for_broker.full():
            self._for_broker.put_nowait(line)

    @asynccontextmanager
    async def published(self, bus: Bus, topic: str) -> AsyncIterator[Self]:
        """Publish events on the broker while the context is open."""
        task = asyncio.create_task(self._publish(bus, topic), name="journal")
        try:
            yield self
            async with asyncio.timeout(1):
                await self._for_broker.join()
        except TimeoutError:
            pass  # the file has them all
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _publish(self, bus: Bus, topic: str) -> None:
        while True:
            line = await self._for_broker.get()
            try:
                await bus.publish(topic, line.encode())
            except LinkError:
                await asyncio.sleep(0.25)  # the broker is away; the file has the event
            finally:
                self._for_broker.task_done()
