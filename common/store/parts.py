"""The parts of the blocks' keys: each for one purpose, handed out once, and overwritten when they are gone."""

from collections.abc import Sequence
from dataclasses import dataclass

from qkdlink.common.keys.allotment import APPLICATIONS, OF_ALICE, OF_BOB, UNIT_BITS, Part, Purpose
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.store.database import Database
from qkdlink.common.store.ledger import Ledger
from qkdlink.common.store.owner import StoreOwner, place_of
from qkdlink.common.store.schema import Entry, State
from qkdlink.common.store.sealing import StoreSeal


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one store, asked and changed inside a context of its database."""

    database: Database
    seal: StoreSeal
    owner: StoreOwner
    ledger: Ledger

    def insert(self, row: int, block: BlockId, parts: Sequence[Part], key: bytes) -> None:
        """Keep the parts of a pending block's key."""
        self.database.connection.executemany(
            "INSERT INTO parts (block, purpose, state, bits, sealed) VALUES (?, ?, ?, ?, ?)",
            [
                (
                    row,
                    part.purpose,
                    State.PENDING,
                    8 * part.length,
                    self.seal.seal(part.of(key), place_of(self.owner, block, part.purpose)),
                )
                for part in parts
            ],
        )

    def release(self, row: int) -> None:
        """Make the parts of a block available, those that are still there."""
        self.database.connection.execute(
            "UPDATE parts SET state = ? WHERE block = ? AND state = ?", (State.AVAILABLE, row, State.PENDING)
        )

    def discard(self, row: int) -> None:
        """Forget the parts of a block."""
        self.database.connection.execute("DELETE FROM parts WHERE block = ?", (row,))

    def material(self, block: BlockId, purpose: Purpose) -> bytes | None:
        """Return the material of one part while it exists, pending parts included."""
        row = self.database.connection.execute(
            "SELECT sealed FROM parts JOIN blocks ON blocks.id = parts.block"
            " WHERE session = ? AND number = ? AND purpose = ?",
            (block.session, block.number, purpose),
        ).fetchone()
        sealed = None if row is None else row["sealed"]
        return None if sealed is None else self.seal.unseal(sealed, place_of(self.owner, block, purpose))

    def deliver(self, block: BlockId, purpose: Purpose) -> bytes | None:
        """Spend an available part, and return what it was; None if it is not available."""
        part = self.database.connection.execute(
            "SELECT parts.block, bits, sealed FROM parts JOIN blocks ON blocks.id = parts.block"
            " WHERE session = ? AND number = ? AND purpose = ? AND parts.state = ?",
            (block.session, block.number, purpose, State.AVAILABLE),
        ).fetchone()
        if part is None:
            return None
        self._overwrite(part["block"], purpose, State.SPENT)
        self.ledger.enter(part["block"], Entry.SPENT, purpose, part["bits"])
        return self.seal.unseal(part["sealed"], place_of(self.owner, block, purpose))

    def expire(self, before: float) -> int:
        """Burn the application parts of blocks released before a time (seconds since 1970); returns how many."""
        parts = self.database.connection.execute(
            "SELECT parts.block, purpose, bits FROM parts JOIN blocks ON blocks.id = parts.block"
            " WHERE parts.state = ? AND released < ? AND purpose IN (?, ?)",
            (State.AVAILABLE, before, *APPLICATIONS),
        ).fetchall()
        for part in parts:
            self._overwrite(part["block"], part["purpose"], State.BURNT)
            self.ledger.enter(part["block"], Entry.BURNT, Purpose(part["purpose"]), part["bits"])
        return len(parts)

    def destroy_tags(self) -> None:
        """Overwrite all that is left for tags; what is still pending is entered at its release."""
        for part in self.database.connection.execute(
            "SELECT block, purpose, state, bits - ? * (SELECT COUNT(*) FROM units WHERE units.block = parts.block"
            " AND units.purpose = parts.purpose) AS unused FROM parts WHERE sealed IS NOT NULL"
            " AND purpose IN (?, ?, ?, ?)",
            (UNIT_BITS, *OF_ALICE, *OF_BOB),
        ).fetchall():
            self._overwrite(part["block"], part["purpose"], State.BURNT)
            if part["state"] == State.AVAILABLE:
                self.ledger.enter(part["block"], Entry.BURNT, Purpose(part["purpose"]), part["unused"])

    def link_psks(self, since_number: int) -> list[BlockId]:
        """Return the blocks from a number on whose link PSK is there, newest first."""
        rows = self.database.connection.execute(
            "SELECT session, number FROM parts JOIN blocks ON blocks.id = parts.block"
            " WHERE purpose = ? AND sealed IS NOT NULL AND number >= ? ORDER BY number DESC, blocks.id DESC",
            (Purpose.LINK_PSK, since_number),
        ).fetchall()
        return [BlockId(self.owner.link, row["session"], row["number"]) for row in rows]

    def use_link_psk(self, row: int) -> bool:
        """Take the link PSK of an available block into use; False if it has been destroyed."""
        taken = self.database.connection.execute(
            "UPDATE parts SET state = ? WHERE block = ? AND purpose = ? AND sealed IS NOT NULL",
            (State.IN_USE, row, Purpose.LINK_PSK),
        )
        return taken.rowcount > 0

    def destroy_link_psks(self, before_number: int | None = None) -> None:
        """Overwrite every link PSK, or those of the blocks before a number, but the pending ones."""
        rows = self.database.connection.execute(
            "SELECT parts.block FROM parts JOIN blocks ON blocks.id = parts.block WHERE purpose = ?"
            " AND sealed IS NOT NULL AND (? IS NULL OR number < ? AND blocks.state != ?)",
            (Purpose.LINK_PSK, before_number, before_number, State.PENDING),
        ).fetchall()
        for row in rows:
            self.destroy_link_psk(row["block"])

    def destroy_link_psk(self, row: int) -> None:
        """Overwrite a link PSK: one in use was entered as spent before, one still pending is entered at its release."""
        found = self.database.connection.execute(
            "SELECT state, bits FROM parts WHERE block = ? AND purpose = ? AND sealed IS NOT NULL",
            (row, Purpose.LINK_PSK),
        ).fetchone()
        if found is None:
            return
        self._overwrite(row, Purpose.LINK_PSK, State.SPENT if found["state"] == State.IN_USE else State.BURNT)
        if found["state"] == State.AVAILABLE:
            self.ledger.enter(row, Entry.BURNT, Purpose.LINK_PSK, found["bits"])

    def _overwrite(self, row: int, purpose: str, state: State) -> None:
        self.database.connection.execute(
            "UPDATE parts SET sealed = NULL, state = ? WHERE block = ? AND purpose = ?", (state, row, purpose)
        )
