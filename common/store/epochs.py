"""The epochs of a link, and the latch: closed by the first epoch that has a key, opened by an operator."""

from dataclasses import dataclass

from common.keys.identifiers import BlockId
from common.store.database import Database


@dataclass(frozen=True, slots=True)
class Epoch:
    """The epoch that the node is in: 0 is the bootstrap, later ones have the key id of their PSK."""

    number: int
    key_id: str | None
    latched: bool


@dataclass(frozen=True, slots=True)
class Epochs:
    """The epoch of one store, asked and changed inside a context of its database."""

    database: Database

    def now(self) -> Epoch:
        """Return the epoch that the node is in."""
        meta = self.database.meta
        return Epoch(int(meta("epoch", "0")), meta("epoch-key", "") or None, meta("latched", "0") == "1")

    def block_number(self) -> int:
        """Return the number of the block that the epoch's PSK comes from; 0 if it has none."""
        key_id = self.now().key_id
        return 0 if key_id is None else int(key_id.rpartition("/")[2])

    def is_of(self, block: BlockId) -> bool:
        """Whether the epoch's PSK comes from a block."""
        return self.now().key_id == _key_id(block)

    def enter(self, number: int, block: BlockId) -> None:
        """Enter an epoch whose PSK comes from a block; the latch closes."""
        self.database.set_meta("epoch", str(number))
        self.database.set_meta("epoch-key", _key_id(block))
        self.database.set_meta("latched", "1")

    def open_latch(self) -> None:
        """Leave the epoch for a bootstrap; its number stays, so that none comes twice."""
        self.database.set_meta("latched", "0")
        self.database.set_meta("epoch-key", "")


def _key_id(block: BlockId) -> str:
    return f"{block.session}/{block.number}"
