"""Checkpoints signed by keys that were pinned during the bootstrap: Ed25519, or ML-DSA-65 (FIPS 204).

Each side shows its public key inside a block that the bootstrap authenticates, and the other keeps it with the first
key that comes of it. What is signed: a label, the place, and SHA-256 of the transcript. Computational; Ed25519 falls
to a quantum computer, and a signature that is forged later opens no key that was made before.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, Self

from cryptography.exceptions import InvalidSignature

from qkdlink.common.authentication.place import place
from qkdlink.common.authentication.scheme import SchemeName, Tag
from qkdlink.common.authentication.transcript import Transcript

_LABEL = b"qkdlink checkpoint pinned signature v1\0"


@dataclass(frozen=True, slots=True)
class PinnedSignature:
    """A link's scheme: our key signs, the pinned one verifies."""

    name: SchemeName
    sign: Callable[[bytes], bytes] = field(repr=False)
    verify_peer: Callable[[bytes, bytes], bool] = field(repr=False)
    """(statement, signature) -> whether the peer made it."""

    @property
    def is_independent(self) -> bool:
        """The signing key was pinned earlier; no link PSK makes it."""
        return True

    def of_block(self, number: int) -> Self:
        """All blocks have the same keys; the transcript's heading tells them apart."""
        del number
        return self

    async def tag(self, speaker: int, position: int, transcript: Transcript) -> Tag:
        """Sign the transcript at this place."""
        return Tag(self.sign(_statement(speaker, position, transcript)))

    async def verify(self, speaker: int, position: int, transcript: Transcript, tag: Tag) -> bool:
        """Whether the peer signed this transcript at this place."""
        return not tag.pad and self.verify_peer(_statement(speaker, position, transcript), tag.value)


class Verifier(Protocol):
    """A public key of `cryptography`, as far as signatures go."""

    def verify(self, signature: bytes, data: bytes, /) -> None:
        """Return if the key made the signature over the data; InvalidSignature otherwise."""


def pinned(name: SchemeName, sign: Callable[[bytes], bytes], peer: Verifier) -> PinnedSignature:
    """Sign with our key and verify with the pinned one."""

    def verify(statement: bytes, signature: bytes) -> bool:
        try:
            peer.verify(signature, statement)
        except InvalidSignature:
            return False
        return True

    return PinnedSignature(name, sign, verify)


def _statement(speaker: int, position: int, transcript: Transcript) -> bytes:
    return _LABEL + place(speaker, position) + transcript.sha256()
