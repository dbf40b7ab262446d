"""Units of tag key in memory: two sides that hold the same ones, as two stores do, and a record of what they did."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from qkdlink.common.authentication.wegman_carter import UNIT_BYTES, Unit
from qkdlink.common.errors import StarvationError
from qkdlink.common.protocol.roles import Role


@dataclass
class MemoryPads:
    """One side: its own units, taken in order, and the peer's, each of them noted once."""

    own: Mapping[str, bytes] = field(repr=False)
    peers: Mapping[str, bytes] = field(repr=False)
    happened: list[str] = field(default_factory=list)
    """What was asked of this side, in order."""
    used_by_peer: dict[str, int] = field(default_factory=dict)
    """Which block each of the peer's units was used for."""
    _taken: int = 0

    async def take(self, block: int) -> Unit:
        """Take the next unit of our own."""
        if self._taken == len(self.own):
            raise StarvationError("No unit is left.")
        name, material = list(self.own.items())[self._taken]
        self._taken += 1
        self.happened.append(f"take {name} for {block}")
        return Unit(name, material)

    async def look_up(self, name: str) -> bytes | None:
        """Find a unit of the peer's that was not used before."""
        self.happened.append(f"look up {name}")
        return None if name in self.used_by_peer else self.peers.get(name)

    async def used(self, name: str, block: int) -> bool:
        """Note a unit of the peer's as used."""
        self.happened.append(f"used {name} for {block}")
        if name in self.used_by_peer:
            return False
        self.used_by_peer[name] = block
        return True


def pads(units: int = 8) -> tuple[MemoryPads, MemoryPads]:
    """Alice's side and Bob's, each with so many units of its own; the same ones at every call."""
    alices, bobs = ({name: _material(name) for name in names(role, units)} for role in Role)
    return MemoryPads(alices, bobs), MemoryPads(bobs, alices)


def names(role: Role, units: int) -> list[str]:
    """Name the units of one side."""
    return [f"{role.word}/{index}" for index in range(units)]


def _material(name: str) -> bytes:
    return hashlib.shake_256(f"unit {name}".encode()).digest(UNIT_BYTES)
