"""Read journals: a file, whole or its end, and entries that come from the broker, whose gaps the file fills."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.journal.events import ENTRY, Entry
from qkdlink.common.journal.link_state import KEPT, LinkState
from qkdlink.common.journal.sequence import Gap

TAIL_BYTES = 1 << 20
_LINE_BYTES = 1 << 16
"""No event has a longer line; what is longer is foreign, and is passed over without being held in memory."""

type Healer = Callable[[Gap], Iterable[Entry]]
"""Returns the entries of a gap that it can find, in order."""


def read_entries(path: Path, tail_bytes: int | None = None) -> Iterator[Entry]:
    """Read a journal, or its last `tail_bytes`; nothing if there is none, ConfigurationError if it cannot be read.

    A line that was cut, is being written, is too long, or is of another version is passed over.
    """
    try:
        with path.open("rb") as file:
            if tail_bytes is not None:
                file.seek(max(0, file.seek(0, os.SEEK_END) - tail_bytes))
            for line in _lines(file):
                if (entry := parse_entry(line)) is not None:
                    yield entry
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigurationError(f"The journal {path} cannot be read: {error.strerror}.") from error


def parse_entry(line: bytes) -> Entry | None:
    """Parse a line; None if it is no entry."""
    try:
        return ENTRY.validate_json(line)
    except ValidationError:
        return None


def healer_from(journals: dict[str, Path]) -> Healer:
    """Return a healer that reads the gaps of these nodes from their files, as far as they can be read."""

    def heal(gap: Gap) -> Iterator[Entry]:
        if gap.node not in journals:
            return
        try:
            for entry in read_entries(journals[gap.node]):
                if (entry.node, entry.run) == (gap.node, gap.run) and gap.first <= entry.number <= gap.last:
                    yield entry
        except ConfigurationError:
            return  # the gap stays named in the state

    return heal


def follow(state: LinkState, entry: Entry, heal: Healer) -> Iterator[Entry]:
    """Let the state take an entry, after what was missing before it; yield every entry that was new to the state."""
    if (gap := state.gap_before(entry)) is not None:
        yield from (found for found in heal(gap) if state.take(found))
    if state.take(entry):
        yield entry


def rebuilt(journals: Iterable[Path], eavesdropper: str | None = None, kept: int = KEPT) -> LinkState:
    """Rebuild the state of a link from its programs' files; what `eavesdropper` tells is of Eve."""
    state = LinkState(kept, eavesdropper)
    for path in journals:
        for entry in read_entries(path):
            state.take(entry)
    return state


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines that are not too long."""
    whole = True
    while piece := file.readline(_LINE_BYTES):
        if whole and (piece.endswith(b"\n") or len(piece) < _LINE_BYTES):
            yield piece
        whole = piece.endswith(b"\n")
