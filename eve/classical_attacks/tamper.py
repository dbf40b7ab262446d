"""Tamper: the last bit of a piece is flipped. It lies in a record's tag or text, so that record does not open."""

from typing import ClassVar

from qkdlink.eve.classical_attacks.base import Counting, Line
from qkdlink.eve.relay import Way


class Tamper(Counting):
    """Flip a bit of pieces."""

    name: ClassVar[str] = "tamper"

    async def act(self, way: Way, data: bytes, line: Line) -> bytes:
        """Flip it."""
        del way, line
        return data[:-1] + bytes([data[-1] ^ 1])
