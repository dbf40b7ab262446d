"""Checkpoints of bootstrap blocks: signed by the key that the node's certificate vouches for.

What is signed: a label, both certificates' fingerprints, the place, and SHA-256 of the transcript. The fingerprints
tie the tag to the two ends of this TLS connection: a signature made towards one peer is worth nothing to another.
It is computational, and it has to hold only until the block is confirmed: breaking it later opens nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from qkdlink.common.authentication.place import place
from qkdlink.common.authentication.scheme import Tag
from qkdlink.common.authentication.transcript import Transcript

_LABEL = b"qkdlink checkpoint signature v1\0"


@dataclass(frozen=True, slots=True)
class CertificateSignature:
    """One connection's scheme: our private key signs, the peer's certificate verifies."""

    sign: Callable[[bytes], bytes]
    verify_peer: Callable[[bytes, bytes], bool]
    fingerprints: tuple[bytes, bytes]
    """SHA-256 of Alice's and of Bob's certificate, in this order on both sides."""

    @property
    def name(self) -> str:
        """The scheme's name."""
        return "certificate-signature"

    @property
    def is_independent(self) -> bool:
        """The certificates' own keys open the connection and sign: nothing weaker is enough."""
        return True

    def of_block(self, number: int) -> Self:
        """All blocks have the same keys; the transcript's heading tells them apart."""
        del number
        return self

    async def tag(self, speaker: int, position: int, transcript: Transcript) -> Tag:
        """Sign the transcript at this place."""
        return Tag(self.sign(self._statement(speaker, position, transcript)))

    async def verify(self, speaker: int, position: int, transcript: Transcript, tag: Tag) -> bool:
        """Whether the peer's certificate key signed this transcript at this place."""
        return not tag.pad and self.verify_peer(self._statement(speaker, position, transcript), tag.value)

    def _statement(self, speaker: int, position: int, transcript: Transcript) -> bytes:
        return b"".join([_LABEL, *self.fingerprints, place(speaker, position), transcript.sha256()])
