"""The pending blocks of one meeting: those that are named there are judged and settled there, and no others."""

from dataclasses import dataclass, field

from common.keys.identifiers import BlockId
from common.node.vault import Vault
from common.protocol.resumption import (
    MOST_PENDING,
    Claim,
    claim,
    decode_blocks,
    decode_claims,
    encode_blocks,
    encode_claims,
    is_proven,
)
from common.store.schema import State
from common.wire.messages import Holdings


@dataclass(slots=True)
class Meeting:
    """One side's `common.protocol.greeting.PendingBlocks`, for one connection."""

    vault: Vault
    authenticated: bool = True
    """Whether it is known who the peer is. Whoever is not known decides about no block of somebody who was."""
    _claimed: frozenset[BlockId] = field(default=frozenset())

    async def claims(self, session: str) -> bytes:
        """Name our pending blocks, each with a proof that we hold it."""
        pending = [block for block in self.vault.store.pending() if self._may_settle(block)][:MOST_PENDING]
        keys = {block: key for block in pending if (key := self.vault.store.proof_key(block)) is not None}
        self._claimed = frozenset(keys)
        return encode_claims(claim(block, key, session, self.vault.role) for block, key in keys.items())

    async def answer(self, claims: bytes, session: str) -> tuple[bytes, bytes]:
        """Judge the peer's pending blocks: (those that we hold too, now available here, those that we never had)."""
        have, never = [], []
        for claimed in decode_claims(claims, self.vault.link):
            if self._holds_too(claimed, session):
                await self.vault.release(claimed.block)
                have.append(claimed.block)
            elif not self.vault.is_live(claimed.block) and self.vault.store.state(claimed.block) in (
                None,
                State.DISCARDED,
            ):
                never.append(claimed.block)
        return encode_blocks(have), encode_blocks(never)

    async def settle(self, answered: Holdings) -> None:
        """Do as the peer answered to our claims: what it has is available, what it never had is discarded."""
        for block in decode_blocks(answered.have, self.vault.link):
            if self._is_open_question(block):
                await self.vault.release(block)
        for block in decode_blocks(answered.never, self.vault.link):
            if self._is_open_question(block):
                await self.vault.discard(block)

    def _is_open_question(self, block: BlockId) -> bool:
        still_pending = self.vault.store.state(block) is State.PENDING
        return block in self._claimed and still_pending and not self.vault.is_live(block)

    def _holds_too(self, claimed: Claim, session: str) -> bool:
        key = self.vault.store.proof_key(claimed.block) if self._may_settle(claimed.block) else None
        return key is not None and is_proven(claimed, key, session, self.vault.role.peer)

    def _may_settle(self, block: BlockId) -> bool:
        known = self.authenticated or self.vault.store.is_unauthenticated(block)
        return known and not self.vault.is_live(block)
