"""The units for tags as one connection uses them: the peer's go up from where they were when the two met.

Blocks are tagged in parallel and on two connections at a time, so units may arrive in another order than they were
taken in. But what the peer takes for a connection lies above all that this side had seen before that meeting. A unit
below is one that the peer takes a second time, because its store was put back from a copy.
"""

from dataclasses import dataclass

from qkdlink.common.authentication.wegman_carter import Unit
from qkdlink.common.node.vault import Vault
from qkdlink.common.protocol.high_water import outdated


@dataclass(frozen=True, slots=True)
class ConnectionPads:
    """One connection's `qkdlink.common.authentication.wegman_carter.Pads`."""

    vault: Vault
    node: str
    peer: str
    units_before: int
    """Row of the last unit that was used here before the two met."""

    async def take(self, block: int) -> Unit:
        """Take the next unit of our own for a block; StarvationError without one."""
        return await self.vault.take(block)

    async def look_up(self, name: str) -> bytes | None:
        """Return the unit that the peer names; RemoteProtocolError if it is not the peer's, or not here.

        OutdatedStoreError if it was used, or lies before one that was used before the two met.
        """
        if await self.vault.is_passed(name, self.units_before):
            raise outdated(self.peer, self.node)
        return await self.vault.look_up(name)

    async def used(self, name: str, block: int) -> bool:
        """Note on disk that the peer has used a unit for a block; False if it had been used already."""
        return await self.vault.used(name, block)
