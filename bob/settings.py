"""What Bob's node is told beyond what every node is told."""

from typing import Annotated

from pydantic import Field

from qkdlink.common.node.settings import NodeSettings
from qkdlink.common.wire.patch import ROUTES, Route


class BobSettings(NodeSettings):
    """Configuration of `python -m qkdlink.bob`."""

    most_blocks_in_flight: Annotated[int, Field(ge=1, le=64)] = 8
    """Blocks that Alice may have open at a time; she is told at the meeting, and keeps to it."""
    unproven_pause_s: Annotated[float, Field(gt=0, le=3600)] = 600.0
    """Pause between blocks of a peer that has shown no right tag in the last 32, so that nobody with a stolen link PSK
    empties the reserve."""
    light_patience_s: Annotated[float, Field(gt=0, le=3600)] = 20.0
    """How long a frame that Alice says she has sent is waited for."""

    @property
    def most_blocks(self) -> int:
        """As many as he lets be open."""
        return self.most_blocks_in_flight

    @property
    def classical_ways(self) -> frozenset[Route]:
        """All of them: it makes no difference whom Alice dials, he is dialled."""
        return frozenset(ROUTES)
