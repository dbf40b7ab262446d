"""Everything said in one block, in order and in both directions, as one party saw it."""

import hashlib
import struct
from collections.abc import Iterator
from itertools import islice

_ENTRY = struct.Struct(">BQ")


class Transcript:
    """An append-only record; each entry is its speaker and its length (9 bytes), then the frame itself.

    The lengths make the concatenation unambiguous: two different conversations never have the same bytes.
    """

    def __init__(self, heading: bytes) -> None:
        self._parts: list[bytes] = []
        self._length = 0
        self._digest = hashlib.sha256()
        self._digested = 0
        self._add(heading)

    def append(self, speaker: int, frame: bytes) -> None:
        """Record a frame said by `speaker` (0 Alice, 1 Bob)."""
        self._add(_ENTRY.pack(speaker, len(frame)))
        self._add(frame)

    def since(self, length: int) -> bytes:
        """Return all bytes after the first `length`."""
        return b"".join(self._parts)[length:]

    def parts(self) -> Iterator[bytes]:
        """All bytes so far, in order: what an information-theoretic tag has to run over."""
        return iter(self._parts)

    def sha256(self) -> bytes:
        """SHA-256 over all bytes so far: what a signature or a computational MAC may run over.

        What was said is digested when this is first asked for, and once: where tags are polynomials, never.
        """
        for part in islice(self._parts, self._digested, None):
            self._digest.update(part)
        self._digested = len(self._parts)
        return self._digest.copy().digest()

    def __len__(self) -> int:
        return self._length

    def _add(self, part: bytes) -> None:
        self._parts.append(part)
        self._length += len(part)
