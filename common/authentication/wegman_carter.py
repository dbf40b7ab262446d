"""Wegman-Carter tags: a polynomial over the transcript's bytes under r, plus a pad s that is used once.

    tag = (Poly1305_r(transcript || place) + s) mod 2^128

r (128 bits) is fresh per block and direction, s (128 bits) per tag; both are cut from generated key and expanded from
nothing. The polynomial runs over the bytes themselves, never over a digest of them: then whoever can compute without
limit forges a message of L bytes with probability 8 ceil(L/16) / 2^106 at most, and that is the whole claim.

A pad is spent on the disk of the side that uses it before the tag leaves (`Pads.take`), and its name travels with the
tag. The side that checks looks the name up, refuses a pad that it has seen or that is not the speaker's to use, and
notes it as used once the tag was right.

Source: Carter, Wegman 1979/1981; Bernstein 2005 (Poly1305, Theorem 3.3); Portmann, arXiv:1202.1229 (r may be recycled).
"""

import hmac
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.hazmat.primitives.poly1305 import Poly1305

from qkdlink.common.authentication.place import place
from qkdlink.common.authentication.scheme import SchemeName, Tag
from qkdlink.common.authentication.transcript import Transcript
from qkdlink.common.keys.allotment import UNIT_BYTES

_HALF = UNIT_BYTES // 2
_CLAMPED_BITS = 106
"""Poly1305 fixes 22 of r's 128 bits."""


@dataclass(frozen=True, slots=True)
class Unit:
    """256 bits of generated key, and their name."""

    name: str
    material: bytes = field(repr=False)


class Pads(Protocol):
    """Where units come from; the same store at both sides, each of which takes from its own parts only."""

    async def take(self, block: int) -> Unit:
        """Take the next unit of this side's own for a block: it is spent on disk when this returns.

        Raises StarvationError if there is none.
        """

    async def look_up(self, name: str) -> bytes | None:
        """Return the unit that the peer names; None, or RemoteProtocolError that says why, if it may not be used."""

    async def used(self, name: str, block: int) -> bool:
        """Note on disk that the peer has used a unit for a block; False if it had been used already."""


@dataclass(frozen=True, slots=True)
class WegmanCarter:
    """The scheme of one connection: its blocks take their pads from the same place."""

    pads: Pads
    name: str = SchemeName.WEGMAN_CARTER

    @property
    def is_independent(self) -> bool:
        """Units are cut apart from the key of the connection."""
        return True

    def of_block(self, number: int) -> "WegmanCarterBlock":
        """Begin a block; it takes its pads when it needs them."""
        return WegmanCarterBlock(self.pads, number, self.name)


@dataclass(slots=True)
class _Direction:
    """What one direction of a block has of units: their names, and their halves, r first."""

    names: list[str] = field(default_factory=list)
    halves: list[bytes] = field(default_factory=list, repr=False)
    tags: int = 0

    @property
    def needs_unit(self) -> bool:
        """Whether the next tag needs a half that is not here yet."""
        return len(self.halves) < self.tags + 2

    def add(self, name: str, material: bytes) -> None:
        """Add a unit."""
        self.names.append(name)
        self.halves += [material[:_HALF], material[_HALF:]]

    def tag(self, parts: Iterable[bytes]) -> bytes:
        """Tag with the next pad."""
        return polynomial_tag(self.halves[0], self.halves[self.tags + 1], parts)


@dataclass(slots=True)
class WegmanCarterBlock:
    """The scheme of one block: at most one r per direction, and a pad per tag."""

    pads: Pads
    number: int
    name: str
    _ours: _Direction = field(default_factory=_Direction)
    _theirs: _Direction = field(default_factory=_Direction)

    async def tag(self, speaker: int, position: int, transcript: Transcript) -> Tag:
        """Tag the transcript at this place, with a pad that is already spent on disk."""
        if self._ours.needs_unit:
            unit = await self.pads.take(self.number)
            self._ours.add(unit.name, unit.material)
        value = self._ours.tag((*transcript.parts(), place(speaker, position)))
        self._ours.tags += 1
        return Tag(value, self._ours.names[-1])

    async def verify(self, speaker: int, position: int, transcript: Transcript, tag: Tag) -> bool:
        """Whether the tag is right and its pad the speaker's, unused, and due at this place."""
        theirs, is_new = self._theirs, self._theirs.needs_unit
        if is_new:
            material = None if tag.pad in theirs.names else await self.pads.look_up(tag.pad)
            if material is None:
                return False
            trial = _Direction([*theirs.names], [*theirs.halves], theirs.tags)
            trial.add(tag.pad, material)
        else:
            trial = theirs
        if tag.pad != trial.names[-1]:
            return False
        expected = trial.tag((*transcript.parts(), place(speaker, position)))
        if not hmac.compare_digest(expected, tag.value):
            return False
        if is_new and not await self.pads.used(tag.pad, self.number):
            return False
        trial.tags += 1
        self._theirs = trial
        return True


def polynomial_tag(r: bytes, s: bytes, parts: Iterable[bytes]) -> bytes:
    """Poly1305 of the parts, one after the other: 16 bytes. `r` and `s` have 16 bytes each; `s` is used once."""
    mac = Poly1305(r + s)
    for part in parts:
        mac.update(part)
    return mac.finalize()


def forgery_probability(length_bytes: int) -> float:
    """Bound on the probability that a forged message of at most so many bytes is believed: 8 ceil(L/16) / 2^106."""
    return 8 * math.ceil(length_bytes / 16) / 2.0**_CLAMPED_BITS
