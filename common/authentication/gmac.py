"""Checkpoints by AES-256-GMAC (NIST SP 800-38D) over the whole transcript: computational.

It looks like Wegman-Carter, a polynomial hash plus a pad, but hash key and pad are what AES makes of 32 bytes: they
were expanded, so the tag is only as good as AES. The key belongs to one session; the nonce is the block's number and
the place, which no two tags of a session share.
"""

import hmac
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import GCM

from qkdlink.common.authentication.place import place
from qkdlink.common.authentication.scheme import SchemeName, Tag
from qkdlink.common.authentication.transcript import Transcript

_NONCE = struct.Struct(">Q2s2s")


@dataclass(frozen=True, slots=True)
class Gmac:
    """One session's scheme."""

    key: bytes = field(repr=False)
    """32 bytes."""

    @property
    def name(self) -> str:
        """The scheme's name."""
        return SchemeName.GMAC

    @property
    def is_independent(self) -> bool:
        """The key is expanded from what the key of the connection is expanded from."""
        return False

    def of_block(self, number: int) -> "GmacBlock":
        """Begin a block; its number is part of every nonce."""
        return GmacBlock(self.key, number)


@dataclass(frozen=True, slots=True)
class GmacBlock:
    """The scheme of one block."""

    key: bytes = field(repr=False)
    number: int

    @property
    def name(self) -> str:
        """The scheme's name."""
        return SchemeName.GMAC

    async def tag(self, speaker: int, position: int, transcript: Transcript) -> Tag:
        """MAC the transcript at this place."""
        return Tag(self._mac(speaker, position, transcript))

    async def verify(self, speaker: int, position: int, transcript: Transcript, tag: Tag) -> bool:
        """Whether `tag` is the MAC of this transcript at this place."""
        return not tag.pad and hmac.compare_digest(self._mac(speaker, position, transcript), tag.value)

    def _mac(self, speaker: int, position: int, transcript: Transcript) -> bytes:
        where = place(speaker, position)
        return gmac(self.key, _NONCE.pack(self.number, where, b"\0\0"), (*transcript.parts(), where))


def gmac(key: bytes, nonce: bytes, parts: Iterable[bytes]) -> bytes:
    """GMAC of the parts, one after the other: 16 bytes. `key` has 32 bytes; `nonce` has 12, used once under a key."""
    mac = Cipher(AES256(key), GCM(nonce)).encryptor()
    for part in parts:
        mac.authenticate_additional_data(part)
    mac.finalize()
    return mac.tag
