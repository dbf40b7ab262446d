"""The epochs of a link, and the latch: closed by the first epoch that has a key, opened by an operator."""

from dataclasses import dataclass

from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.store.database import Database


@dataclass(frozen=True, slots=True)
class Epoch:
    """The epoch that the node is in: the bootstrap, or that of a link PSK, which has the key id of its block."""

    key_id: str | None
    latched: bool

    @property
    def number(self) -> int:
        """The number of the block that the PSK comes from, which both ends know; 0 at the bootstrap."""
        return 0 if self.key_id is None else int(self.key_id.rpartition("/")[2])


@dataclass(frozen=True, slots=True)
class Epochs:
    """The epoch of one store, asked and changed inside a context of its database."""

    database: Database

    def now(self) -> Epoch:
        """Return the epoch that the node is in."""
        meta = self.database.meta
        return Epoch(meta("epoch-key", "") or None, meta("latched", "0") == "1")

    def is_of(self, block: BlockId) -> bool:
        """Whether the epoch's PSK comes from a block."""
        return self.now().key_id == _key_id(block)

    def enter(self, block: BlockId) -> None:
        """Enter the epoch whose PSK comes from a block; the latch closes."""
        self.database.set_meta("epoch-key", _key_id(block))
        self.database.set_meta("latched", "1")

    def open_latch(self) -> None:
        """Leave the epoch for a bootstrap."""
        self.database.set_meta("latched", "0")
        self.database.set_meta("epoch-key", "")


def _key_id(block: BlockId) -> str:
    return f"{block.session}/{block.number}"
