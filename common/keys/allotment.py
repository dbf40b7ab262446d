"""Who owns which bits: the published rule by which a block's key is cut when it is deposited.

Both sides cut alike, because the rule looks at nothing but the length of the key and the kind of block. Each part has
one side that allocates from it, so that no allocation needs a lock across the link.

    part                     bits                                                    allocated by
    link-psk                 256                                                     Alice, who dials
    tags-alice-to-bob        512: one r and three pads of 128                        Alice
    tags-bob-to-alice        512                                                     Bob
    reserve-at-alice         of a bootstrap block all that is left, up to 65,536;    Alice
                             of a later one a sixteenth of what is left; halved
    reserve-at-bob           between both sides                                      Bob
    applications-at-alice    half of what is left                                    Alice
    applications-at-bob      the rest                                                Bob

The parts follow each other in this order from the first bit of the key; each is a whole number of bytes, and the bits
beyond the last whole byte are not used. A key too short for the first parts gives them in this order of importance.
"""

from dataclasses import dataclass
from enum import StrEnum

LINK_PSK_BITS = 256
TAG_BITS = 512
RESERVE_TARGET_BITS = 65_536
_RESERVE_SHARE = 16


class Purpose(StrEnum):
    """What a part of a block is for; one purpose, one direction, once."""

    LINK_PSK = "link-psk"
    TAGS_ALICE_TO_BOB = "tags-alice-to-bob"
    TAGS_BOB_TO_ALICE = "tags-bob-to-alice"
    RESERVE_AT_ALICE = "reserve-at-alice"
    RESERVE_AT_BOB = "reserve-at-bob"
    APPLICATIONS_AT_ALICE = "applications-at-alice"
    APPLICATIONS_AT_BOB = "applications-at-bob"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a block's key: its purpose and its place, in bytes."""

    purpose: Purpose
    start: int
    length: int

    def of(self, material: bytes) -> bytes:
        """Cut this part out of the block's key."""
        return material[self.start : self.start + self.length]


def cut(secret_bits: int, *, bootstrap: bool) -> tuple[Part, ...]:
    """Cut a key of `secret_bits` bits by the rule; parts without a single byte are left out."""
    left = secret_bits // 8
    lengths: list[tuple[Purpose, int]] = []
    for purpose, wanted in (
        (Purpose.LINK_PSK, LINK_PSK_BITS // 8),
        (Purpose.TAGS_ALICE_TO_BOB, TAG_BITS // 8),
        (Purpose.TAGS_BOB_TO_ALICE, TAG_BITS // 8),
    ):
        given = wanted if left >= wanted else 0
        lengths.append((purpose, given))
        left -= given
    reserve = min(left, RESERVE_TARGET_BITS // 8) if bootstrap else left // _RESERVE_SHARE
    at_alice = (left - reserve) // 2
    lengths += [
        (Purpose.RESERVE_AT_ALICE, reserve // 2),
        (Purpose.RESERVE_AT_BOB, reserve - reserve // 2),
        (Purpose.APPLICATIONS_AT_ALICE, at_alice),
        (Purpose.APPLICATIONS_AT_BOB, left - reserve - at_alice),
    ]
    return _placed(lengths)


def _placed(lengths: list[tuple[Purpose, int]]) -> tuple[Part, ...]:
    parts, start = [], 0
    for purpose, length in lengths:
        if length:
            parts.append(Part(purpose, start, length))
        start += length
    return tuple(parts)
