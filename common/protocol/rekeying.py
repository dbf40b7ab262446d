"""When a new epoch is due, and what has to be there for it: a policy without a clock of its own."""

from dataclasses import dataclass


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
