"""Who owns which bits: the published rule by which a block's key is cut when it is deposited.

Both sides cut alike, because the rule looks at nothing but what both know: the length of the key, whether the agreed
scheme pays for its tags with generated key, and how many bits Alice has asked for the reserve. Each part has one side
that allocates from it, so that no allocation needs a lock across the link.

    part                     bits                                                    allocated by
    link-psk                 256                                                     Alice, who dials
    tags-alice-to-bob        512 (one r and three pads of 128), or none              Alice
    tags-bob-to-alice        512, or none                                            Bob
    reserve-at-alice         what was asked for the reserve, as far as the key       Alice
    reserve-at-bob           goes, in whole units of 256 bits, halved                Bob
    applications-at-alice    half of what is left                                    Alice
    applications-at-bob      the rest                                                Bob

The parts follow each other in this order from the first bit of the key; each is a whole number of bytes, and the bits
beyond the last whole byte are not used. A key too short for the first parts gives them in this order of importance.
"""

from dataclasses import dataclass
from enum import StrEnum

LINK_PSK_BITS = 256
TAG_BITS = 512
"""What the tags of one block cost in one direction: one r, and a pad for each of at most three checkpoints."""
UNIT_BITS = 256
"""Tags are paid for in units of this size: r and the first pad of a block and direction, then two pads more."""
UNIT_BYTES = UNIT_BITS // 8
RESERVE_BLOCKS = 160
"""For so many blocks that cost tags and yield no key: more than fit into a day of aborting, with its pauses."""
RESERVE_TARGET_BITS = 2 * RESERVE_BLOCKS * TAG_BITS
"""The reserve of both sides together when it is full."""


def upkeep_bits(*, tags: bool) -> int:
    """Return what a block costs: its link PSK and, where tags are paid for with generated key, those of both sides."""
    return LINK_PSK_BITS + (2 * TAG_BITS if tags else 0)


class Purpose(StrEnum):
    """What a part of a block is for; one purpose, one direction, once."""

    LINK_PSK = "link-psk"
    TAGS_ALICE_TO_BOB = "tags-alice-to-bob"
    TAGS_BOB_TO_ALICE = "tags-bob-to-alice"
    RESERVE_AT_ALICE = "reserve-at-alice"
    RESERVE_AT_BOB = "reserve-at-bob"
    APPLICATIONS_AT_ALICE = "applications-at-alice"
    APPLICATIONS_AT_BOB = "applications-at-bob"


APPLICATIONS = (Purpose.APPLICATIONS_AT_ALICE, Purpose.APPLICATIONS_AT_BOB)
OF_ALICE = (Purpose.TAGS_ALICE_TO_BOB, Purpose.RESERVE_AT_ALICE)
"""What Alice takes the units of her tags from, in this order; the reserve comes last."""
OF_BOB = (Purpose.TAGS_BOB_TO_ALICE, Purpose.RESERVE_AT_BOB)
"""What Bob takes his from."""
RESERVES = (Purpose.RESERVE_AT_ALICE, Purpose.RESERVE_AT_BOB)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a block's key: its purpose and its place, in bytes."""

    purpose: Purpose
    start: int
    length: int

    def of(self, material: bytes) -> bytes:
        """Cut this part out of the block's key."""
        return material[self.start : self.start + self.length]


def cut(secret_bits: int, *, tags: bool, reserve_bits: int = 0) -> tuple[Part, ...]:
    """Cut a key of `secret_bits` bits by the rule; parts without a single byte are left out."""
    left = secret_bits // 8
    lengths: list[tuple[Purpose, int]] = []
    for purpose, wanted in (
        (Purpose.LINK_PSK, LINK_PSK_BITS // 8),
        (Purpose.TAGS_ALICE_TO_BOB, TAG_BITS // 8 if tags else 0),
        (Purpose.TAGS_BOB_TO_ALICE, TAG_BITS // 8 if tags else 0),
    ):
        given = wanted if left >= wanted else 0
        lengths.append((purpose, given))
        left -= given
    reserve_per_side = min(left, reserve_bits // 8) // (2 * UNIT_BITS // 8) * (UNIT_BITS // 8)
    left -= 2 * reserve_per_side
    lengths += [
        (Purpose.RESERVE_AT_ALICE, reserve_per_side),
        (Purpose.RESERVE_AT_BOB, reserve_per_side),
        (Purpose.APPLICATIONS_AT_ALICE, left // 2),
        (Purpose.APPLICATIONS_AT_BOB, left - left // 2),
    ]
    return _placed(lengths)


def _placed(lengths: list[tuple[Purpose, int]]) -> tuple[Part, ...]:
    parts, start = [], 0
    for purpose, length in lengths:
        if length:
            parts.append(Part(purpose, start, length))
        start += length
    return tuple(parts)
