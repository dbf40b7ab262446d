"""Where events go: one JSON line each in the node's file, one message each on the broker, and to the launcher."""

import os
import secrets
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from common.errors import ConfigurationError
from common.journal.events import Entry, Event
from common.node.journal_delivery import JournalDelivery
from common.transport.mqtt import Bus


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
