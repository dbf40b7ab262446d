"""Drop: a piece goes nowhere. What comes after it no longer opens, because TLS counts its records."""

from typing import ClassVar

from qkdlink.eve.classical_attacks.base import Counting, Line
from qkdlink.eve.relay import Way


class Drop(Counting):
    """Swallow pieces."""

    name: ClassVar[str] = "drop"

    async def act(self, way: Way, data: bytes, line: Line) -> bytes:
        """Let nothing go on."""
        del way, data, line
        return b""
