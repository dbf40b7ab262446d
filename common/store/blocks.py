"""The blocks of a store: pending until the peer has confirmed, then available, or discarded."""

import sqlite3
import time
from dataclasses import dataclass, field

from qkdlink.common.errors import LocalProtocolError
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.store.database import Database
from qkdlink.common.store.owner import StoreOwner, place_of
from qkdlink.common.store.schema import LARGEST_NUMBER, State
from qkdlink.common.store.sealing import StoreSeal

LAST_NUMBER = "last-number"
"""The highest block number that Alice has used up."""


@dataclass(frozen=True, slots=True)
class NewBlock:
    """What is written down of a block when it becomes pending; its parts apart."""

    secret_bits: int
    leaked_bits: int
    proof_key: bytes = field(repr=False)
    peer_key: bytes | None = field(repr=False)
    """Sealed: a public key that the peer has shown."""
    unauthenticated: bool


@dataclass(frozen=True, slots=True)
class Blocks:
    """The blocks of one store, asked and changed inside a context of its database."""

    database: Database
    seal: StoreSeal
    owner: StoreOwner

    def row(self, block: BlockId) -> sqlite3.Row | None:
        """Return what is known of a block; None if it was never here."""
        if block.number > LARGEST_NUMBER:  # a peer may name any
            return None
        found: sqlite3.Row | None = self.database.connection.execute(
            "SELECT * FROM blocks WHERE session = ? AND number = ?", (block.session, block.number)
        ).fetchone()
        return found

    def insert(self, block: BlockId, new: NewBlock) -> int:
        """Keep a block as pending, and return its row."""
        row = self.database.connection.execute(
            "INSERT INTO blocks (session, number, state, secret_bits, leaked_bits, proof, peer_key,"
            " unauthenticated) VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
            (
                block.session,
                block.number,
                State.PENDING,
                new.secret_bits,
                new.leaked_bits,
                self.seal.seal(new.proof_key, place_of(self.owner, block, "proof")),
                new.peer_key,
                int(new.unauthenticated),
            ),
        ).fetchone()
        return int(row["id"])

    def release(self, block: BlockId) -> sqlite3.Row | None:
        """Make a pending block available, and return it as it was; None if it was available already."""
        row = self.row(block)
        if row is None or row["state"] == State.DISCARDED:
            raise LocalProtocolError(f"Block {block} has no pending key.")
        if row["state"] == State.AVAILABLE:
            return None
        self.database.connection.execute(
            "UPDATE blocks SET state = ?, released = ? WHERE id = ?",
            (State.AVAILABLE, time.time(), row["id"]),
        )
        return row

    def released_at(self, key_id: str | None) -> float | None:
        """Return when the block of a key id became available, seconds since 1970; None if it is not here."""
        session, _, number = (key_id or "").rpartition("/")
        if not session:
            return None
        row = self.row(BlockId(self.owner.link, session, int(number)))
        return None if row is None else row["released"]

    def discard(self, block: BlockId) -> int | None:
        """Forget a pending block, and return its row; None if it is not here, or was discarded before."""
        row = self.row(block)
        if row is None or row["state"] == State.DISCARDED:
            return None
        if row["state"] != State.PENDING:
            raise LocalProtocolError(f"Block {block} is available and cannot be discarded.")
        self.database.connection.execute(
            "UPDATE blocks SET state = ?, proof = x'' WHERE id = ?", (State.DISCARDED, row["id"])
        )
        return int(row["id"])

    def pending(self) -> list[BlockId]:
        """Return every pending block, oldest first."""
        rows = self.database.connection.execute(
            "SELECT session, number FROM blocks WHERE state = ? ORDER BY id", (State.PENDING,)
        ).fetchall()
        return [BlockId(self.owner.link, row["session"], row["number"]) for row in rows]

    def proof_key(self, block: BlockId) -> bytes | None:
        """Return the key that proves to the peer that a block is here; None if it is not."""
        row = self.row(block)
        if row is None or row["state"] == State.DISCARDED:
            return None
        return self.seal.unseal(row["proof"], place_of(self.owner, block, "proof"))

    def opened(self, number: int) -> None:
        """Remember that a block number has been used."""
        last = int(self.database.meta(LAST_NUMBER, "0"))
        self.database.set_meta(LAST_NUMBER, str(max(number, last)))
