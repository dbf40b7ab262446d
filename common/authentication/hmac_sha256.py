"""Checkpoints under a key expanded from something shorter than what they protect: HMAC-SHA-256, computational.

The key belongs to one session: it is derived from the PSK's material and the session's identifier, to which both
nonces contribute. What is tagged: a label, the place, and SHA-256 of the transcript.
"""

import hmac
from dataclasses import dataclass, field
from typing import Self

from qkdlink.common.authentication.place import place
from qkdlink.common.authentication.scheme import SchemeName, Tag
from qkdlink.common.authentication.transcript import Transcript

_LABEL = b"qkdlink checkpoint hmac v1\0"


@dataclass(frozen=True, slots=True)
class HmacSha256:
    """One session's scheme."""

    key: bytes = field(repr=False)
    name: str = SchemeName.HMAC_SHA256

    @property
    def is_independent(self) -> bool:
        """The key is expanded from what the key of the connection is expanded from."""
        return False

    def of_block(self, number: int) -> Self:
        """All blocks of a session have the same key; the transcript's heading tells them apart."""
        del number
        return self

    async def tag(self, speaker: int, position: int, transcript: Transcript) -> Tag:
        """MAC the transcript at this place."""
        return Tag(self._mac(speaker, position, transcript))

    async def verify(self, speaker: int, position: int, transcript: Transcript, tag: Tag) -> bool:
        """Whether `tag` is the MAC of this transcript at this place."""
        return not tag.pad and hmac.compare_digest(self._mac(speaker, position, transcript), tag.value)

    def _mac(self, speaker: int, position: int, transcript: Transcript) -> bytes:
        return hmac.digest(self.key, _LABEL + place(speaker, position) + transcript.sha256(), "sha256")
