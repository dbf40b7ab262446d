"""Everything said in one block, in order and in both directions, as one party saw it."""

import hashlib
import struct
from collections.abc import Iterator
from itertools import islice

_ENTRY = struct.Struct(">BQ")
_SMALL_BYTES = 2**16
"""Parts of this size or less are joined before they are read: reconciliation has a thousand, and each tag reads all."""


class Transcript:
    """An append-only record; each entry is its speaker and its length (9 bytes), then the frame itself.

    The lengths make the concatenation unambiguous: two different conversations never have the same bytes.
    """

    def __init__(self, heading: bytes) -> None:
        self._parts: list[bytes] = []
        self._small: list[bytes] = []
        self._length = 0
        self._digest = hashlib.sha256()
        self._digested = 0
        self._add(heading)

    def append(self, speaker: int, frame: bytes) -> None:
        """Record a frame said by `speaker` (0 Alice, 1 Bob)."""
        self._add(_ENTRY.pack(speaker, len(frame)))
        self._add(frame)

    def parts(self) -> Iterator[bytes]:
        """All bytes so far, in order: what an information-theoretic tag has to run over."""
        self._join_small()
        return iter(self._parts)

    def sha256(self) -> bytes:
        """SHA-256 over all bytes so far: what a signature or a computational MAC may run over.

        What was said is digested when this is first asked for, and once: where tags are polynomials, never.
        """
        self._join_small()
        for part in islice(self._parts, self._digested, None):
            self._digest.update(part)
        self._digested = len(self._parts)
        return self._digest.copy().digest()

    def __len__(self) -> int:
        return self._length

    def _add(self, part: bytes) -> None:
        self._length += len(part)
        if len(part) <= _SMALL_BYTES:
            self._small.append(part)
        else:
            self._join_small()
            self._parts.append(part)

    def _join_small(self) -> None:
        if self._small:
            self._parts.append(b"".join(self._small))
            self._small.clear()
