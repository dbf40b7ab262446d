"""Bob's own limit on blocks in which the peer proves nothing: whoever holds one link PSK must not empty his reserve.

A block costs Bob a unit for his tag even if it ends early, and Alice's right tag shows that she is there. Blocks
without one have been opened by somebody who holds no tag keys, or the connection was lost each time. An honest Alice
pauses after each of them by herself (`qkdlink.alice.pauses`), so she does not meet this limit.
"""

from dataclasses import dataclass

FREE_BLOCKS = 32
"""So many in a row are taken at once: a fifth of a full reserve, and four times the blocks that are open by default."""


@dataclass(slots=True)
class UnprovenBlocks:
    """When the next block may be taken, after so many in a row in which the peer has shown no right tag."""

    pause_s: float
    """Between two of them, once the free ones are used up."""
    _next_s: float = 0.0

    def take(self, unproven: int, now_s: float) -> float:
        """Take a block at this moment, and return 0; or return for how many seconds none is taken."""
        if unproven < FREE_BLOCKS:
            return 0.0
        if now_s < self._next_s:
            return self._next_s - now_s
        self._next_s = now_s + self.pause_s
        return 0.0
