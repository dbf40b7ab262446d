"""When a new epoch is due, and what has to be there for it: a policy without a clock of its own."""

from collections.abc import Collection
from dataclasses import dataclass

from qkdlink.common.errors import RemoteProtocolError
from qkdlink.common.keys.identifiers import BlockId


@dataclass(frozen=True, slots=True)
class RekeyingPolicy:
    """How often the dialler changes the link's PSK."""

    blocks: int
    """After so many blocks opened in an epoch."""
    seconds: float
    """After so much time in an epoch."""

    def is_due(self, *, epoch: int, blocks: int, seconds: float) -> bool:
        """Whether an epoch that has had so many blocks and seconds should end; the bootstrap always should."""
        return epoch == 0 or blocks >= self.blocks or seconds >= self.seconds


LONGEST_OVERLAP_S = 60.0
"""An old connection ends when its last block has ended, or after this time."""

MOST_LIVE_EPOCHS = 2

MOST_BOOTSTRAP_KEYS = 3
"""Confirmed blocks that a certificate may authenticate; without a PSK by then the link stops rather than go on."""


@dataclass(slots=True)
class BootstrapKeys:
    """Counts the keys that one connection of the bootstrap makes, together with those that were here before it.

    Keys that are made meanwhile on a connection under a link PSK do not count: blocks of the bootstrap may end later.
    """

    before: frozenset[BlockId]
    """Blocks whose link PSK was here when the two met."""
    _made: int = 0

    def check(self, stored: Collection[BlockId]) -> None:
        """Raise RemoteProtocolError if no further key may be made; `stored` are the blocks whose link PSK is here now.

        The dialler opens no block that could be one key too many; this is how the other end holds it to that.
        """
        if self._made + len(self.before.intersection(stored)) >= MOST_BOOTSTRAP_KEYS:
            raise RemoteProtocolError(
                f"The peer would make more than the {MOST_BOOTSTRAP_KEYS} keys that a bootstrap authenticates; if its"
                " store is lost, run `qkdlink bootstrap --again` here."
            )

    def take(self, stored: Collection[BlockId]) -> None:
        """Count one key more, or raise RemoteProtocolError if it is one too many."""
        self.check(stored)
        self._made += 1
