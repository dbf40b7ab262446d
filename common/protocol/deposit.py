"""How a key comes to rest: pending before our confirmation, available after the peer's."""

from typing import Protocol

from qkdlink.common.distillation.stages import SecretKey
from qkdlink.common.keys.identifiers import BlockId


class Deposit(Protocol):
    """Where a node keeps its keys."""

    async def hold(self, block: BlockId, key: SecretKey, leaked_bits: int) -> None:
        """Keep the key as pending; it is durable when this returns."""

    async def release(self, block: BlockId) -> None:
        """The peer has confirmed: the pending key is available from now on."""
