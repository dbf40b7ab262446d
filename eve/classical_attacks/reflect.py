"""Reflect: a piece goes back to whoever said it, and not on. Each direction has a key of its own, so it does not open;
and a handshake that meets itself finds no listener's name in its own offer (RFC 9257, section 4.1).
"""

from typing import ClassVar

from qkdlink.eve.classical_attacks.base import Counting, Line
from qkdlink.eve.relay import Way


class Reflect(Counting):
    """Turn pieces round."""

    name: ClassVar[str] = "reflect"

    async def act(self, way: Way, data: bytes, line: Line) -> bytes:
        """Send it back."""
        line.inject(Way.TO_ALICE if way is Way.TO_BOB else Way.TO_BOB, data)
        return b""
