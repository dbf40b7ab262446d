"""Replay: a piece goes on twice. The second time its records have numbers that have been used, and do not open."""

from typing import ClassVar

from qkdlink.eve.classical_attacks.base import Counting, Line
from qkdlink.eve.relay import Way


class Replay(Counting):
    """Say pieces again."""

    name: ClassVar[str] = "replay"

    async def act(self, way: Way, data: bytes, line: Line) -> bytes:
        """Say it twice."""
        del way, line
        return data + data
