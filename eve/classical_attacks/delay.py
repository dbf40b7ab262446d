"""Delay: every piece is held up for a while; nothing is lost, and nobody can tell it from a slow network."""

import asyncio
from typing import Annotated, ClassVar

from pydantic import Field

from qkdlink.eve.classical_attacks.base import Counting, Line
from qkdlink.eve.relay import Way


class Delay(Counting):
    """Hold pieces up."""

    name: ClassVar[str] = "delay"
    seconds: Annotated[float, Field(ge=0, le=60)] = 0.1

    @property
    def obstacle(self) -> str | None:
        """Say that no time is no delay."""
        return f"{self.name} changes nothing: it holds pieces up for 0 s." if not self.seconds else None

    async def act(self, way: Way, data: bytes, line: Line) -> bytes:
        """Wait, and let it go on."""
        del way, line
        await asyncio.sleep(self.seconds)
        return data
