"""The pending blocks of one meeting: those that are named there are judged and settled there, and no others."""

from dataclasses import dataclass, field

from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.node.vault import Vault
from qkdlink.common.protocol.high_water import Marks, check_marks
from qkdlink.common.protocol.resumption import (
    MOST_PENDING,
    ProvenBlock,
    Statement,
    decode_answers,
    decode_proven,
    encode_blocks,
    encode_proven,
    is_proven,
    prove,
)
from qkdlink.common.store.schema import State
from qkdlink.common.wire.messages import Holdings


@dataclass(slots=True)
class Meeting:
    """One side's `qkdlink.common.protocol.greeting.PendingBlocks`, for one connection."""

    vault: Vault
    authenticated_peer: bool = True
    """Whether it is known who the peer is. An unknown peer decides about no block that was made with a known one."""
    _claimed: frozenset[BlockId] = field(default=frozenset())
    _denied: list[BlockId] = field(default_factory=list)
    units_before: int = field(init=False)
    """Row of the last unit that was used here before this meeting."""
    _before: Marks = field(init=False)

    def __post_init__(self) -> None:
        self.units_before = self.vault.store.last_unit_row()
        self._before = self.marks()

    def marks(self) -> Marks:
        """Return what this store has done and heard until now."""
        return self.vault.marks()

    def check_marks(self, theirs: Marks, node: str, peer: str) -> None:
        """Raise OutdatedStoreError if one of the two stores was put back from a copy."""
        check_marks(self._before, self.marks(), theirs, node, peer)

    async def claims(self, session: str) -> bytes:
        """Name our pending blocks, each with a proof that we hold it; those that the peer denied before come last."""
        pending = [block for block in self.vault.store.pending() if self._may_settle(block)]
        pending.sort(key=self.vault.denied.__contains__)
        proven = [
            named
            for block in pending[:MOST_PENDING]
            if (named := self._prove(Statement.CLAIM, block, session)) is not None
        ]
        self._claimed = frozenset(named.block for named in proven)
        return encode_proven(proven)

    async def answer(self, claims: bytes, session: str) -> tuple[bytes, bytes]:
        """Judge the peer's pending blocks: (those that we hold too, now available here, those that we never had)."""
        have, never = [], []
        for claimed in decode_proven(claims, self.vault.link):
            block = claimed.block
            if self._may_settle(block) and self._is_proven(Statement.CLAIM, claimed, session):
                await self.vault.release(block)
                have.append(self._prove(Statement.HAVE, block, session))
            elif not self.vault.is_live(block) and self.vault.store.state(block) in (None, State.DISCARDED):
                never.append(block)
        return encode_proven(named for named in have if named is not None), encode_blocks(never)

    async def settle(self, answered: Holdings, session: str) -> None:
        """Release what the peer proves to have; note what it says it never had, until `authenticated`."""
        have, never = decode_answers(answered.have, answered.never, self.vault.link)
        for named in have:
            if self._is_open_question(named.block) and self._is_proven(Statement.HAVE, named, session):
                await self.vault.release(named.block)
        for block in never:
            if self._is_open_question(block):
                self._denied.append(block)
                self.vault.denied.add(block)

    async def authenticated(self) -> None:
        """Discard what the peer never had: a right tag covers its answer."""
        denied, self._denied = self._denied, []
        for block in denied:
            if self._is_open_question(block):
                await self.vault.discard(block)

    def _is_open_question(self, block: BlockId) -> bool:
        still_pending = self.vault.store.state(block) is State.PENDING
        return block in self._claimed and still_pending and not self.vault.is_live(block)

    def _prove(self, statement: Statement, block: BlockId, session: str) -> ProvenBlock | None:
        key = self.vault.store.proof_key(block)
        return None if key is None else prove(statement, block, key, session, self.vault.role)

    def _is_proven(self, statement: Statement, named: ProvenBlock, session: str) -> bool:
        key = self.vault.store.proof_key(named.block)
        return key is not None and is_proven(statement, named, key, session, self.vault.role.peer)

    def _may_settle(self, block: BlockId) -> bool:
        known = self.authenticated_peer or self.vault.store.is_unauthenticated(block)
        return known and not self.vault.is_live(block)
