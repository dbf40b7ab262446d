"""Where keys rest in this process: pending until the peer confirms, available afterwards."""

from common.distillation.stages import SecretKey
from common.errors import LocalProtocolError
from common.keys.identifiers import BlockId


class Keyring:
    """Keys of one run, in memory."""

    def __init__(self) -> None:
        self._pending: dict[BlockId, SecretKey] = {}
        self._available: dict[BlockId, SecretKey] = {}

    def __repr__(self) -> str:
        return f"Keyring({len(self._pending)} pending, {len(self._available)} available, redacted)"

    async def hold(self, block: BlockId, key: SecretKey) -> None:
        """Keep a key as pending; LocalProtocolError if the block has one already."""
        if block in self._pending or block in self._available:
            raise LocalProtocolError(f"Block {block} has a key already.")
        self._pending[block] = key

    async def release(self, block: BlockId) -> None:
        """Make a pending key available; LocalProtocolError if there is none."""
        if block not in self._pending:
            raise LocalProtocolError(f"Block {block} has no pending key.")
        self._available[block] = self._pending.pop(block)
