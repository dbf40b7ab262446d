"""What the protocol asks of a scheme that authenticates data, and what is to be known of each.

An `Authentication` belongs to one connection and makes a `CheckpointScheme` for each of its blocks. A tag may wait for
a disk (a pad is marked spent before it is used), so making and checking one is awaited; nothing else here knows of it.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from qkdlink.common.authentication.transcript import Transcript


class SchemeName(StrEnum):
    """The schemes that a link can be configured with; each has a file of its own here."""

    WEGMAN_CARTER = "wegman-carter"
    """Poly1305 under pads cut from generated key: information-theoretic; the default."""
    HMAC_SHA256 = "hmac-sha256"
    """HMAC under a key expanded from the link PSK."""
    GMAC = "gmac"
    """AES-256-GMAC under a key expanded from the link PSK."""
    ED25519 = "ed25519"
    """Signatures on an elliptic curve, keys pinned during the bootstrap."""
    ML_DSA_65 = "ml-dsa-65"
    """Signatures on lattices (FIPS 204), keys pinned during the bootstrap."""
    NONE = "none"
    """No tag at all: TLS alone authenticates, if anything does."""

    @property
    def cuts_tags(self) -> bool:
        """Whether tags are paid for with generated key, so that every key is cut for them."""
        return self is SchemeName.WEGMAN_CARTER

    @property
    def signs(self) -> bool:
        """Whether public keys are shown and pinned during the bootstrap."""
        return self in (SchemeName.ED25519, SchemeName.ML_DSA_65)


def uses_units(scheme: str) -> bool:
    """Whether tags of a scheme name the unit that they were made with: at a bootstrap its name has a prefix."""
    return scheme.endswith(SchemeName.WEGMAN_CARTER)


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag as it travels: its bytes, and the name of the pad that it was made with, where there is one."""

    value: bytes = field(repr=False)
    pad: str = ""


class CheckpointScheme(Protocol):
    """Makes and checks the tags of one block; the place (direction and position) is part of what is tagged."""

    @property
    def name(self) -> str:
        """The scheme's name as it stands in messages, journal and tables."""

    async def tag(self, speaker: int, position: int, transcript: Transcript) -> Tag:
        """Tag the transcript for `speaker` (0 Alice, 1 Bob) at checkpoint number `position` of the block."""

    async def verify(self, speaker: int, position: int, transcript: Transcript, tag: Tag) -> bool:
        """Whether `tag` is the peer's tag for this transcript at this place."""


class Authentication(Protocol):
    """How the blocks of one connection are authenticated."""

    @property
    def name(self) -> str:
        """The name of the scheme that its blocks have."""

    @property
    def is_independent(self) -> bool:
        """Whether the key that opened the connection is not enough to make a tag.

        Where it is enough, a tag says no more than the connection does, and no key is discarded on its word.
        """

    def of_block(self, number: int) -> CheckpointScheme:
        """Begin a block: its scheme, whose pads, if it needs any, belong to this block alone."""
