"""Where events go: one JSON line each in the node's file, one message each on the broker, and to the launcher."""

import os
import secrets
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from queue import Empty, Full, Queue

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.journal.event import Event
from qkdlink.common.journal.events import Entry
from qkdlink.common.node.journal_delivery import JournalDelivery
from qkdlink.common.transport.mqtt import Bus

MOST_UNPRINTED = 4096
"""Lines that wait for standard output: about 2 MB. If it stays slow the oldest ones are dropped, a gap for readers."""

_END_TIMEOUT_S = 1.0


class JournalOutput:
    """The same lines on standard output, which may be slow or closed: a thread writes them, so the node never waits."""

    def __init__(self) -> None:
        self._lines: Queue[bytes] = Queue(MOST_UNPRINTED)
        # where it was closed from the start Python has none, and its descriptor may be a store or a connection by now
        self._descriptor = None if sys.__stdout__ is None else sys.__stdout__.fileno()
        self._thread = threading.Thread(target=self._print, name="journal on standard output", daemon=True)
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Queue a line; a full queue loses its oldest one."""
        while True:
            try:
                return self._lines.put_nowait(line)
            except Full:
                with suppress(Empty):
                    self._lines.get_nowait()

    def close(self) -> None:
        """Wait a moment until all is written."""
        self.write(b"")
        self._thread.join(_END_TIMEOUT_S)

    def _print(self) -> None:
        with suppress(OSError):  # nobody reads it any more; the file has every line
            while self._descriptor is not None and (line := self._lines.get()):
                while line:
                    line = line[os.write(self._descriptor, line) :]


class JournalFile:
    """An append-only file of whole lines, readable by its owner alone; on standard output, too, if that is wanted."""

    def __init__(self, path: Path, *, to_stdout: bool = False) -> None:
        self._path = path
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigurationError(f"The journal {path} cannot be written: {error.strerror}.") from error
        self._output = JournalOutput() if to_stdout else None

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
        if self._output is not None:
            self._output.write(data)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)
        if self._output is not None:
            self._output.close()


class Journal:
    """Stamps events with vantage point, run, number and time and hands them on."""

    def __init__(self, node: str, file: JournalFile, to_launcher: Callable[[Entry], None]) -> None:
        self._node = node
        self._file = file
        self._to_launcher = to_launcher
        self._run = secrets.token_hex(8)
        self._number = 0
        self._delivery = JournalDelivery()

    def tell(self, event: Event) -> None:
        """Write an event; what the broker cannot take in time is in the file all the same."""
        stamp = {"node": self._node, "run": self._run, "number": self._number + 1, "time": time.time()}
        entry = Entry.model_validate({**stamp, "event": event})
        line = entry.model_dump_json()
        self._file.write(line)
        self._number += 1
        self._to_launcher(entry)
        self._delivery.add(line)

    def published(self, bus: Bus, topic: str) -> AbstractAsyncContextManager[object]:
        """Publish events on the broker while the context is open; its end waits for what the broker has not taken."""
        return self._delivery.running(bus, topic)
