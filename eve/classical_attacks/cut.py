"""Cut: a connection ends after so many bytes, counted from when she lays her hand on it."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from qkdlink.eve.classical_attacks.base import ClassicalAttack, Hand, Line
from qkdlink.eve.relay import Way


class Cut(ClassicalAttack):
    """End connections."""

    name: ClassVar[str] = "cut"
    after_bytes: Annotated[int, Field(ge=0, le=2**40)] = 0

    def begin(self, line: Line) -> Hand:
        """Count the bytes of both directions together."""
        return _Knife(line, self.after_bytes)


@dataclass(slots=True)
class _Knife:
    line: Line
    left: int

    async def touch(self, way: Way, data: bytes) -> bytes:
        del way
        self.left -= len(data)
        if self.left > 0:
            return data
        self.line.acted()
        self.line.cut()
        return b""
