"""The key store as the node uses it: waits for the disk off the event loop, and tells what was settled."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

from qkdlink.common.authentication.scheme import SchemeName
from qkdlink.common.authentication.wegman_carter import Unit
from qkdlink.common.distillation.stages import SecretKey
from qkdlink.common.errors import RemoteProtocolError, StarvationError
from qkdlink.common.journal.key_levels import KeyLevels
from qkdlink.common.keys.allotment import OF_ALICE, OF_BOB, Purpose
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.protocol.aborts import Aborted, AbortReason
from qkdlink.common.protocol.high_water import Marks
from qkdlink.common.protocol.roles import Role
from qkdlink.common.store.epochs import Epoch
from qkdlink.common.store.key_store import KeyStore
from qkdlink.common.store.schema import State
from qkdlink.common.store.tag_units import UnitName

_TAKEN_BY = {Role.ALICE: OF_ALICE, Role.BOB: OF_BOB}
"""Which parts each party takes the units of its tags from."""


class OnSettled(Protocol):
    """Hears what became of each block."""

    def __call__(self, block: BlockId, key: SecretKey | None, /, *, available: bool, late: bool) -> None:
        """A block is settled: with its key if this process made it; late if its conversation had ended before."""


@dataclass(slots=True)
class Vault:
    """Keys of a node: deposits of running blocks, pending blocks of earlier connections, link PSKs."""

    store: KeyStore
    link: str
    role: Role
    on_settled: OnSettled
    scheme: SchemeName = SchemeName.WEGMAN_CARTER
    """Whether keys are cut for tags depends on it."""
    _live: set[BlockId] = field(default_factory=set)
    """Blocks that a task is working on; nobody else decides about them."""
    denied: set[BlockId] = field(default_factory=set)
    """Pending blocks that the peer says it never had; they are claimed again, after the others."""
    _held: dict[BlockId, SecretKey] = field(default_factory=dict)
    """Keys of this process that are pending, for the fingerprint of their release."""
    _levels: KeyLevels | None = None

    async def use_number(self, number: int) -> None:
        """Use up a block number: no later block of this link has it, whatever happens to this process."""
        await asyncio.to_thread(self.store.opened, number)

    def open(self, block: BlockId) -> None:
        """Begin to work on a block: nobody else decides about it until `close`."""
        self._live.add(block)

    async def hold(self, block: BlockId, key: SecretKey, leaked_bits: int, peer_key: bytes = b"") -> None:
        """Keep a key, and what the peer has shown with it, as pending; it is durable when this returns."""
        await _to_its_end(self._hold(block, key, leaked_bits, peer_key))

    async def _hold(self, block: BlockId, key: SecretKey, leaked_bits: int, peer_key: bytes) -> None:
        tags = self.scheme.cuts_tags
        await asyncio.to_thread(self.store.hold, block, key, leaked_bits, tags=tags, peer_key=peer_key)
        self._held[block] = key

    async def release(self, block: BlockId) -> None:
        """Make a pending key available: the peer has confirmed it, or proven that it holds it."""
        await _to_its_end(self._release(block))

    async def _release(self, block: BlockId) -> None:
        if await asyncio.to_thread(self.store.release, block):
            key = self._held.pop(block, None)
            self.on_settled(block, key, available=True, late=block not in self._live)

    def changed_levels(self) -> KeyLevels | None:
        """Return what the store holds per purpose, None if it is what was returned the last time."""
        levels, before = self.store.levels(), self._levels
        self._levels = levels
        return None if levels == before else levels

    def close(self, block: BlockId) -> int | Aborted | None:
        """End the work on a block and say what is stored of it: its secret bits, that it is pending, or None.

        What is pending stays pending until the next contact.
        """
        self._live.discard(block)
        match self.store.state(block):
            case State.AVAILABLE:
                return self.store.secret_bits(block)
            case State.PENDING:
                return Aborted(AbortReason.PENDING, "stored; to be settled with the peer", by_peer=False)
            case _:
                self.on_settled(block, None, available=False, late=False)
                return None

    # --- pending blocks at the next contact (`qkdlink.common.node.meeting`)
    # -----------------------------------------------

    def is_live(self, block: BlockId) -> bool:
        """Whether a task is working on a block."""
        return block in self._live

    async def discard(self, block: BlockId) -> None:
        """Forget a pending key that the peer never had."""
        await _to_its_end(self._discard(block))

    async def _discard(self, block: BlockId) -> None:
        await asyncio.to_thread(self.store.discard, block)
        self.denied.discard(block)
        self._held.pop(block, None)
        self.on_settled(block, None, available=False, late=True)

    # --- tags --------------------------------------------------------------------------------------------------

    async def take(self, block: int) -> Unit:
        """Take the next unit of our own for a block: it is spent on disk by then. StarvationError without one."""
        taken = await asyncio.to_thread(self.store.units.take, self._own_parts, str(block))
        if taken is None:
            raise self.starvation()
        name, material = taken
        return Unit(str(name), material)

    async def look_up(self, name: str) -> bytes | None:
        """Return the unit that the peer names; RemoteProtocolError if it is not the peer's, not here, or was used."""
        unit = self._peers_unit(name)
        if unit is None:
            raise self.refused_unit(name, "which is no unit of generated key that is its own to use")
        material = await asyncio.to_thread(self.store.units.look_up, unit)
        if material is None:
            was_used = await asyncio.to_thread(self.store.units.was_used, unit)
            raise self.refused_unit(
                name, "which was used before" if was_used else "which this node does not have"
            )
        return material

    def refused_unit(self, name: str, why: str) -> RemoteProtocolError:
        """Say why a unit that the peer names is not taken."""
        return RemoteProtocolError(f'{self.role.peer.label} names the unit "{name}" for a tag, {why}.')

    async def is_passed(self, name: str, before_row: int) -> bool:
        """Whether the peer's unit was used, or lies before one of its part that was used up to that row."""
        unit = self._peers_unit(name)
        return unit is not None and await asyncio.to_thread(self.store.units.was_used, unit, before_row)

    def marks(self) -> Marks:
        """Return how far this store has come."""
        return self.store.marks(self._own_parts, _TAKEN_BY[self.role.peer])

    def unproven_blocks(self) -> int:
        """Count the blocks that cost a unit here since the last one in which the peer has shown a right tag."""
        return self.store.unproven_blocks(self._own_parts, _TAKEN_BY[self.role.peer])

    async def used(self, name: str, block: int) -> bool:
        """Note on disk that the peer has used a unit for a block; False if it had been used already."""
        unit = self._peers_unit(name)
        return unit is not None and await asyncio.to_thread(self.store.units.used, unit, str(block))

    def starvation(self) -> StarvationError:
        """Say that the link stops rather than go on with less."""
        if self.store.epoch().latched and not self.store.units.are_cut():
            return StarvationError(
                f"Link {self.link} stops, because the keys here were cut for another authentication.scheme: choose it"
                " again, or have an operator run `qkdlink bootstrap --again` at both ends."
            )
        if self.store.pads.is_under_way():
            return StarvationError(
                f"Link {self.link} stops, because the pads in its pre-shared key are used up: an operator has to make a"
                " new one with `qkdlink psk new`, carry it to both ends, and run `qkdlink bootstrap --again` at both."
            )
        return StarvationError(
            f"Link {self.link} stops, because no generated key is left to authenticate with: an operator has to run"
            " `qkdlink bootstrap --again` at both ends."
        )

    def blocks_payable(self) -> int:
        """For how many blocks both sides can pay, as far as this one knows."""
        return self.store.blocks_payable()

    @property
    def _own_parts(self) -> tuple[Purpose, ...]:
        return _TAKEN_BY[self.role]

    def _peers_unit(self, name: str) -> UnitName | None:
        unit = UnitName.read(name, self.link)
        return unit if unit is not None and unit.purpose in _TAKEN_BY[self.role.peer] else None

    # --- link PSKs -----------------------------------------------------------------------------------------------

    def epoch(self) -> Epoch:
        """Return the epoch that this node is in."""
        return self.store.epoch()

    def link_psk_material(self, block: BlockId) -> bytes | None:
        """Return the material of a block's link PSK, while it exists."""
        return self.store.material(block, Purpose.LINK_PSK)

    def link_psks(self, *, live_too: bool = False) -> list[BlockId]:
        """Return the blocks whose link PSK may authenticate a line, newest first.

        A dialler leaves out blocks that are still being worked on. A listener takes them too: the dialler may have
        our confirmation already, and her handshake then proves what her own confirmation would have said.
        """
        return [block for block in self.store.link_psks() if live_too or block not in self._live]

    async def begin_epoch(self, block: BlockId) -> bool:
        """Enter the epoch of a block's PSK, under which both directions were heard; False if a newer one came first."""
        await self.release(block)
        return await asyncio.to_thread(self.store.begin_epoch, block)


async def _to_its_end(change: Coroutine[Any, Any, None]) -> None:
    """Wait for a change of the store although we are cancelled: the disk has it, so it has to be told as well."""
    task = asyncio.ensure_future(change)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
