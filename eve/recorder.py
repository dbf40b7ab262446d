"""What Eve keeps for later: every byte of every wire, with the time at which it passed.

She copies what crosses her hands: the classical line, sealed light, receipts, and the nodes' journals on the broker.
Light that she copies so is light that she has not kept: what is sealed was never opened, and the photons are gone
(`docs/physics.md`); only words can be recorded.

One file, `wires.rec`, 0600, entries one after the other:

    8 bytes  seconds since 1970, IEEE 754, big-endian
    1 byte   the wire: 1 words, 2 light, 3 receipts, 4 journal
    1 byte   1 towards Bob, 2 towards Alice
    4 bytes  number of the connection, from 1; 0 where there is none
    4 bytes  length of what follows
    bytes    as they passed; nothing at all is said where a connection was closed

The file is bounded; of light, which is by far the most, only so much is kept that there is room for the words.
"""

import os
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.trust.private_files import SECRET_MODE, private_folder
from qkdlink.eve.relay import Way

RECORDING_FILE = "wires.rec"
MOST_BYTES = 2**30
MOST_LIGHT_BYTES = 2**28
_HEADER = struct.Struct(">dBBII")
_LONGEST_ENTRY = 2**28
_WAYS = {1: Way.TO_BOB, 2: Way.TO_ALICE}
_NUMBERS = {way: number for number, way in _WAYS.items()}


class Wire(IntEnum):
    """What was recorded."""

    WORDS = 1
    LIGHT = 2
    RECEIPTS = 3
    JOURNAL = 4


@dataclass(frozen=True, slots=True)
class Passed:
    """One entry."""

    time: float
    """Seconds since 1970."""
    wire: Wire
    way: Way
    connection: int
    """0 where there is none."""
    data: bytes = field(repr=False)
    """Empty where a connection was closed."""


class Recorder:
    """Writes a recording; whatever no longer fits is counted and not kept."""

    def __init__(
        self,
        folder: Path,
        now: Callable[[], float] = time.time,
        *,
        most_bytes: int = MOST_BYTES,
        most_light_bytes: int = MOST_LIGHT_BYTES,
    ) -> None:
        self._now = now
        self._most_bytes = most_bytes
        self._most_light_bytes = most_light_bytes
        self._light_bytes = 0
        self.lost_bytes = 0
        """What did not fit."""
        path = folder / RECORDING_FILE
        try:
            with private_folder(folder):
                self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, SECRET_MODE)
        except FileExistsError as error:
            raise ConfigurationError(
                f"There is a recording in {folder} already: name a folder of its own for each."
            ) from error
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be written: {error.strerror}.") from error
        self.size_bytes = 0
        """Of the recording."""

    def words(self, connection: int, way: Way, data: bytes) -> None:
        """Keep bytes of the classical line (`qkdlink.eve.relay.Watch`)."""
        self._keep(Wire.WORDS, way, connection, data)

    def closed(self, connection: int) -> None:
        """Note that a connection is gone."""
        self._keep(Wire.WORDS, Way.TO_BOB, connection, b"")

    def light(self, payload: bytes | memoryview) -> None:
        """Keep a sealed frame of Alice's."""
        if self._light_bytes + len(payload) > self._most_light_bytes:
            self.lost_bytes += len(payload)
            return
        self._light_bytes += len(payload)
        self._keep(Wire.LIGHT, Way.TO_BOB, 0, payload)

    def receipt(self, payload: bytes) -> None:
        """Keep a receipt of Bob's."""
        self._keep(Wire.RECEIPTS, Way.TO_ALICE, 0, payload)

    def journal(self, payload: bytes) -> None:
        """Keep what a node told on the broker."""
        self._keep(Wire.JOURNAL, Way.TO_BOB, 0, payload)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _keep(self, wire: Wire, way: Way, connection: int, data: bytes | memoryview) -> None:
        entry = _HEADER.pack(self._now(), wire, _NUMBERS[way], connection, len(data)) + data
        if self.size_bytes + len(entry) > self._most_bytes:
            self.lost_bytes += len(data)
            return
        try:
            written = os.write(self._file, entry)
        except OSError:
            written = 0
        if written == len(entry):
            self.size_bytes += written
        else:  # a full disk ends the recording, not the link
            os.ftruncate(self._file, self.size_bytes)
            self._most_bytes = self.size_bytes
            self.lost_bytes += len(data)


def read_recording(folder: Path) -> Iterator[Passed]:
    """Yield the entries of a recording; ConfigurationError if there is none, or if it is something else."""
    path = folder / RECORDING_FILE
    try:
        with path.open("rb") as file:
            while header := file.read(_HEADER.size):
                yield _entry(path, header, file.read)
    except OSError as error:
        raise ConfigurationError(f"There is no recording {path} to be read: {error.strerror}.") from error


def _entry(path: Path, header: bytes, read: Callable[[int], bytes]) -> Passed:
    if len(header) == _HEADER.size:
        at, wire, way, connection, length = _HEADER.unpack(header)
        known = wire in set(Wire) and way in _WAYS and length <= _LONGEST_ENTRY
        data = read(length) if known else b""
        if known and len(data) == length:
            return Passed(at, Wire(wire), _WAYS[way], connection, data)
    raise ConfigurationError(
        f"{path} is damaged, or no recording of Eve's: name the folder that she has written."
    )
