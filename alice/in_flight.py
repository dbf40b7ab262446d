"""How many blocks are under way at a time: as many as hide a long line's waiting from the light, if Bob lets them."""

import asyncio
from math import ceil

LEAST_BLOCKS = 2
"""Light of the next block is sent while this one is distilled."""
MOST_BLOCKS = 6
"""Each takes memory at both ends; Bob may let fewer be open, and says so at the meeting."""
_NEAR_S = 1e-3
"""So much of a round trip is no distance but two processes of a busy machine that wake each other up."""


def blocks_needed(exchanges: int, round_trip_s: float, light_s: float) -> int:
    """How many blocks are under way if light never waits for the line, within `LEAST_BLOCKS`..`MOST_BLOCKS`.

    A block's words take `exchanges` round trips, during which the light of others can be sent, each in `light_s`.
    Only waiting counts: busy processors are no reason for more blocks, so that a backlog still slows Alice down.
    """
    waiting_s = exchanges * max(0.0, round_trip_s - _NEAR_S)
    if waiting_s > light_s * (MOST_BLOCKS - LEAST_BLOCKS):
        return MOST_BLOCKS
    return LEAST_BLOCKS + (ceil(waiting_s / light_s) if waiting_s else 0)


class BlocksInFlight:
    """Lets blocks begin: a fixed number at a time, or, without one, as many as the line has been seen to need.

    Never more than Bob allows, on all lines together: he counts those of each line by itself, so that a line of which
    he does not know yet that it is lost takes no room from the next; where two epochs overlap this is the stricter.
    """

    def __init__(self, fixed: int | None) -> None:
        self._fixed = fixed is not None
        self._wanted = fixed or LEAST_BLOCKS
        self._allowed: int | None = None
        self._living = 0
        self._changed = asyncio.Event()

    @property
    def most(self) -> int:
        """So many at a time, for now."""
        return self._wanted if self._allowed is None else min(self._wanted, self._allowed)

    def allow(self, most: int) -> None:
        """Take note of how many may be open at a time on the line that blocks begin on from now on."""
        self._allowed = most
        self._changed.set()

    async def enter(self) -> None:
        """Wait until one more block may begin, and count it."""
        while self._living >= self.most:
            self._changed.clear()
            await self._changed.wait()
        self._living += 1

    def leave(self) -> None:
        """Count one block less."""
        self._living -= 1
        self._changed.set()

    def learn(self, exchanges: int, round_trip_s: float, light_s: float) -> None:
        """Take note of what a block has taken: exchanges, and seconds per round trip and for its light."""
        if not self._fixed:
            self._wanted = blocks_needed(exchanges, round_trip_s, light_s)
            self._changed.set()
