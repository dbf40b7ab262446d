"""What a node tells its launcher alone, over an inherited pipe: events, and a fingerprint of its keys.

The fingerprint is a running SHA-256 over the keys of confirmed blocks in the order in which the blocks were opened,
which is the same on both sides. It never crosses a wire, a broker or a log; a node that was not started by a launcher
has none.
"""

import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import Any

from common.distillation.stages import SecretKey
from common.journal.events import Entry
from common.keys.identifiers import BlockId


class Fingerprint:
    """Running SHA-256 over blocks' keys, in order, although blocks may end out of order."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._open: dict[BlockId, bytes | None] = {}

    def begin(self, block: BlockId) -> None:
        """Enter a block that was opened: later ones wait for its outcome."""
        self._open[block] = None

    def settle(self, block: BlockId, key: SecretKey | None) -> None:
        """Enter the outcome of a block: its key, or None if it has none."""
        self._open[block] = key.material if key else b""
        while self._open and (material := self._open[first := next(iter(self._open))]) is not None:
            self._hash.update(material)
            del self._open[first]

    def hexdigest(self) -> str:
        """Return the fingerprint so far."""
        return self._hash.hexdigest()


@dataclass(slots=True)
class LauncherPipe:
    """The write end of the pipe; without one, everything said here is forgotten."""

    file: int | None
    _fingerprint: Fingerprint = field(default_factory=Fingerprint)

    def event(self, entry: Entry) -> None:
        """Pass on an event of the journal."""
        self._write({"entry": entry.model_dump(mode="json")})

    def begin(self, block: BlockId) -> None:
        """Enter a block that was opened."""
        if self.file is not None:
            self._fingerprint.begin(block)

    def settle(self, block: BlockId, key: SecretKey | None) -> None:
        """Enter the outcome of a block and tell the fingerprint so far."""
        if self.file is not None:
            self._fingerprint.settle(block, key)
            self._write({"fingerprint": self._fingerprint.hexdigest()})

    def _write(self, report: dict[str, Any]) -> None:
        if self.file is not None:
            try:
                os.write(self.file, json.dumps(report).encode() + b"\n")
            except BrokenPipeError:
                self.file = None  # the launcher is gone, which ends this node (`common.node.station`)
