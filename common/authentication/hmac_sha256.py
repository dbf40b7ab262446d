"""Checkpoints under a key expanded from the link's PSK: HMAC-SHA-256, computational.

The key belongs to one session: it is derived from the PSK's material and the session's identifier, to which both
nonces contribute. What is tagged: a label, the place, and SHA-256 of the transcript.
"""

import hmac
import struct
from dataclasses import dataclass, field

from common.authentication.transcript import Transcript

_LABEL = b"qkdlink checkpoint hmac v1\0"
_PLACE = struct.Struct(">BB")


@dataclass(frozen=True, slots=True)
class HmacSha256:
    """One session's scheme."""

    key: bytes = field(repr=False)

    @property
    def name(self) -> str:
        """The scheme's name."""
        return "hmac-sha256"

    def tag(self, speaker: int, position: int, transcript: Transcript) -> bytes:
        """MAC the transcript at this place."""
        return hmac.digest(self.key, _LABEL + _PLACE.pack(speaker, position) + transcript.sha256(), "sha256")

    def verify(self, speaker: int, position: int, transcript: Transcript, tag: bytes) -> bool:
        """Whether `tag` is the MAC of this transcript at this place."""
        return hmac.compare_digest(self.tag(speaker, position, transcript), tag)
