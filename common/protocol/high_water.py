"""High-water marks: what a store has done and what it has heard of its peer's, so that a copy put back is noticed.

A store that was put back from a copy would number blocks again and take units for tags again: two messages under one
pad. Neither end can see that in itself. So both state four numbers at each meeting, and each compares what the other
has heard with what itself has done. Both numbers only grow, and nothing is sent before it is written down; so what a
side has heard is never more than what the other has done, unless one of the two stores is older than it was.

The statements are the peer's word. They end a connection, never a node, and change nothing that is stored.
"""

from dataclasses import dataclass

from qkdlink.common.errors import OutdatedStoreError
from qkdlink.common.wire.messages import Holdings

FURTHEST_JUMP = 2**39
"""As far Alice follows Bob's word after her store was lost; a lying Bob leaves her as many numbers again."""
_FURTHEST_STEP = 2**30
"""Once her own numbers are as high as that, she follows him so far above them."""


def furthest(highest_block: int) -> int:
    """Return the highest number that Alice believes Bob, if her own highest is this one."""
    return max(FURTHEST_JUMP, highest_block + _FURTHEST_STEP)


@dataclass(frozen=True, slots=True)
class Marks:
    """What one store has done on its link, and what it has heard of the other; all but the first since the bootstrap
    was last opened by an operator."""

    highest_block: int
    """The highest block number that this side knows of."""
    heard_block: int
    """The highest number of a block in which the peer has stored a key or used a unit, as this side has verified."""
    units_taken: int
    """Units of its own that this side has taken, counted to the highest of each part."""
    units_heard: int
    """Units of the peer that this side has seen in right tags, counted in the same way."""

    @classmethod
    def of(cls, said: Holdings) -> "Marks":
        """Read what the peer states."""
        return cls(said.highest_block, said.heard_block, said.units_taken, said.units_heard)


def check_marks(before: Marks, now: Marks, theirs: Marks, node: str, peer: str) -> None:
    """Raise OutdatedStoreError if one of the two stores is older than what the other side has heard of it.

    `before` is what this side knew before the peer stated `theirs`, `now` what it knows after: blocks of an earlier
    connection go on meanwhile.
    """
    if theirs.heard_block > now.highest_block or theirs.units_heard > now.units_taken:
        raise outdated(node, peer)
    if theirs.highest_block < before.heard_block or theirs.units_taken < before.units_heard:
        raise outdated(peer, node)


def outdated(older: str, other: str) -> OutdatedStoreError:
    """Say whose store is too old, and what to do."""
    return OutdatedStoreError(
        f"The key store of {older} is older than what {other} has seen of it: it was put back from a copy, and would"
        " use keys twice; run `qkdlink bootstrap --again` at both ends."
    )
