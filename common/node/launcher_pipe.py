"""What a node tells its launcher alone, over an inherited pipe: events, and a fingerprint of its keys.

The fingerprint never crosses a wire, a broker or a log; a node that was not started by a launcher has none. Blocks may
begin and end in another order at each node, on two connections for instance, so the order does not count.
"""

import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import Any

from qkdlink.common.distillation.stages import SecretKey
from qkdlink.common.journal.events import Entry


class Fingerprint:
    """The sum, modulo 2^256, of the SHA-256 of each confirmed key; without names, so that a seed decides it."""

    def __init__(self) -> None:
        self._sum = 0

    def add(self, key: SecretKey) -> None:
        """Enter the key of a confirmed block."""
        digest = hashlib.sha256(key.material).digest()
        self._sum = (self._sum + int.from_bytes(digest)) % 2**256

    def hexdigest(self) -> str:
        """Return the fingerprint so far."""
        return f"{self._sum:064x}"


@dataclass(slots=True)
class LauncherPipe:
    """The write end of the pipe; without one, everything said here is forgotten."""

    file: int | None
    _fingerprint: Fingerprint = field(default_factory=Fingerprint)

    def event(self, entry: Entry) -> None:
        """Pass on an event of the journal."""
        self._write({"entry": entry.model_dump(mode="json")})

    def settle(self, key: SecretKey | None) -> None:
        """Enter the outcome of a block, its key or None, and tell the fingerprint so far."""
        if self.file is not None:
            if key is not None:
                self._fingerprint.add(key)
            self._write({"fingerprint": self._fingerprint.hexdigest()})

    def _write(self, report: dict[str, Any]) -> None:
        if self.file is not None:
            try:
                os.write(self.file, json.dumps(report).encode() + b"\n")
            except BrokenPipeError:
                self.file = None  # the launcher is gone, which ends this node (`qkdlink.common.node.station`)
