"""The key store: blocks in two phases, parts that are spent once, a ledger that balances, and the bootstrap latch.

Every change is one transaction that is on disk when the method returns (rollback journal, `synchronous = EXTRA`), so
a process killed at any instant leaves either the state before or the state after. Material that is spent, burnt or
discarded is overwritten (`secure_delete`).
"""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self
from urllib.parse import quote

from common.distillation.stages import SecretKey
from common.errors import ConfigurationError, LocalProtocolError
from common.keys.allotment import (
    APPLICATIONS,
    LINK_PSK_BITS,
    OF_ALICE,
    OF_BOB,
    RESERVE_TARGET_BITS,
    RESERVES,
    UNIT_BITS,
    Purpose,
    cut,
)
from common.keys.derivation import resume_proof_key
from common.keys.identifiers import BlockId
from common.store.bootstrap_pads import PADS_SCHEMA, BootstrapPads
from common.store.sealing import StoreSeal
from common.store.tag_units import TagUnits

STORE_FILE, STORE_KEY_FILE = "store.db", "store.key"
_SCHEMA_VERSION = "2"
_BUSY_TIMEOUT_S = 10.0
_LARGEST_NUMBER = 2**63 - 1
"""What SQLite can hold."""
_UNAUTHENTICATED = "unauthenticated"
_GENERATION = "generation"
"""Counts how often an operator has opened the bootstrap again."""
_ANCHOR, _VOUCHES_AFTER = "anchor of the bootstrap", "row of the last block before it"
_SIGNS_WITH = "scheme of the signing keys"
_PINNED, _OWN = "pinned key of the peer", "own signing key"
_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE blocks (
    id INTEGER PRIMARY KEY, session TEXT NOT NULL, number INTEGER NOT NULL, state TEXT NOT NULL,
    secret_bits INTEGER NOT NULL, leaked_bits INTEGER NOT NULL, proof BLOB NOT NULL, peer_key BLOB,
    released REAL, unauthenticated INTEGER NOT NULL, UNIQUE (session, number)) STRICT;
CREATE TABLE parts (
    block INTEGER NOT NULL REFERENCES blocks, purpose TEXT NOT NULL, state TEXT NOT NULL, bits INTEGER NOT NULL,
    sealed BLOB, taken INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (block, purpose)) STRICT;
CREATE TABLE units (
    block INTEGER NOT NULL REFERENCES blocks, purpose TEXT NOT NULL, unit INTEGER NOT NULL, used_for TEXT NOT NULL,
    PRIMARY KEY (block, purpose, unit)) STRICT;
CREATE INDEX parts_by_purpose ON parts (purpose, state);
CREATE INDEX units_by_purpose ON units (purpose);
CREATE TABLE ledger (
    id INTEGER PRIMARY KEY, block INTEGER REFERENCES blocks, entry TEXT NOT NULL, purpose TEXT, bits INTEGER NOT NULL
    ) STRICT;
"""


class State(StrEnum):
    """The life of a block and of its parts."""

    PENDING = "pending"
    AVAILABLE = "available"
    DISCARDED = "discarded"
    IN_USE = "in-use"
    SPENT = "spent"
    BURNT = "burnt"


class Entry(StrEnum):
    """What the ledger counts."""

    PRODUCED = "produced"
    LEAKED = "leaked"
    SPENT = "spent"
    BURNT = "burnt"


@dataclass(frozen=True, slots=True)
class StoreOwner:
    """Whose store it is; a store is never opened for another node or link."""

    link: str
    node: str
    reproducible: bool


@dataclass(frozen=True, slots=True)
class Holding:
    """A block in the store."""

    block: BlockId
    state: State
    secret_bits: int


@dataclass(frozen=True, slots=True)
class Epoch:
    """The epoch that the node is in: 0 is the bootstrap, later ones have the key id of their PSK."""

    number: int
    key_id: str | None
    latched: bool


@dataclass(frozen=True, slots=True)
class Vouched:
    """What the anchor of the present bootstrap, or of the one that the latch has closed, has vouched for."""

    anchor: str
    """Empty if none has opened a line yet."""
    blocks: int
    """Blocks that became available since it opened its first line."""


@dataclass(frozen=True, slots=True)
class Balance:
    """What a store has to tell; no material."""

    node: str
    produced_bits: int
    leaked_bits: int
    spent: dict[str, int]
    available_bits: int
    authentication_bits: int
    """Spent on tags, in both directions, those included that were never used because a bootstrap began anew."""
    psk_bits: int
    """Spent on link PSKs, those included that were never used because a newer one came first."""
    confirmed_blocks: int
    pending_blocks: int
    epoch: int
    latched: bool
    unauthenticated: bool
    """The keys go back to a bootstrap without authentication: no application gets any."""

    @property
    def net_gain_per_block(self) -> float:
        """Secret bits of a mean block, less what the link has spent on itself; 0 without a block."""
        if not self.confirmed_blocks:
            return 0.0
        return (self.produced_bits - self.authentication_bits - self.psk_bits) / self.confirmed_blocks


class KeyStore:
    """One node's keys on disk; methods are short and may be called from any thread."""

    def __init__(self, connection: sqlite3.Connection, seal: StoreSeal, owner: StoreOwner) -> None:
        self._connection = connection
        self._seal = seal
        self._owner = owner
        self._lock = threading.Lock()
        self._unauthenticated = False
        self._unwatched = False
        """Never unset in a process: what it still has under way when an operator opens the latch rests on nothing."""
        self._generation = 0
        self.units = TagUnits(
            owner.link, seal, self._place, self._transaction, self._reading, self._enter_spent
        )

        self.pads = BootstrapPads(
            seal, lambda what: f"{owner.node}/{owner.link}/{what}", self._transaction, self._reading
        )

    def __repr__(self) -> str:
        return f"KeyStore({self._owner.node}, redacted)"

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Open the store that is in a node's home, whoever's it is; ConfigurationError if there is none."""
        told = _told_by(folder / STORE_FILE)
        if not told:
            raise ConfigurationError(
                f"There is no key store in {folder}: name the home of a node that has run."
            )
        owner = StoreOwner(told["link"], told["node"], told["reproducible"] == "1")
        return cls.open(folder, owner)

    @classmethod
    def is_latched(cls, folder: Path) -> bool:
        """Whether a node's home has a store whose latch is closed; nothing is made by asking."""
        return _told_by(folder / STORE_FILE).get("latched") == "1"

    @classmethod
    def open(cls, folder: Path, owner: StoreOwner) -> Self:
        """Open the store in a node's home, making it at the first start.

        ConfigurationError if it belongs to another node or link, comes from a reproducible run while this one is not
        (or the other way round), is damaged, open to others, or without its key; and if the key is there alone, which
        is a store that was lost.
        """
        path = folder / STORE_FILE
        seal = _open_seal(path, folder / STORE_KEY_FILE)
        try:
            connection = sqlite3.connect(
                path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            connection.executescript(
                "PRAGMA journal_mode = TRUNCATE; PRAGMA synchronous = EXTRA;"
                "PRAGMA secure_delete = ON; PRAGMA foreign_keys = ON;"
            )
        except sqlite3.Error as error:
            raise ConfigurationError(f"The key store {path} cannot be opened: {error}.") from error
        with ExitStack() as opened:
            opened.callback(connection.close)
            store = cls(connection, seal, owner)
            store._furnish()
            store._check_owner(path)
            opened.pop_all()
        return store

    def close(self) -> None:
        """Close the file, once whoever is writing has finished; a cancelled task may have left its thread at it."""
        with self._lock:
            self._connection.close()

    # --- two-phase deposit -------------------------------------------------------------------------------------

    def hold(
        self, block: BlockId, key: SecretKey, leaked_bits: int, *, tags: bool, peer_key: bytes = b""
    ) -> None:
        """Make a block durable as pending; LocalProtocolError if it is here already.

        ConfigurationError if the bootstrap was opened again since this store was: its line rests on the old trust.

        `tags` says whether the key is cut for tags; `peer_key` is the public key that the peer showed in this block,
        to be pinned when it is released, or nothing. The block's proof key, by which it is recognised at the next
        contact while it is pending, is expanded from its link PSK, and outlives it: it tells nothing of the PSK.
        """
        with self._transaction() as database:
            self._refuse_old_trust()
            if self._row(block) is not None:
                raise LocalProtocolError(f"Block {block} has a key already.")
            parts = cut(key.secret_bits, tags=tags, reserve_bits=key.reserve_bits)
            if key.secret_bits < LINK_PSK_BITS:
                raise LocalProtocolError(f"The key of block {block} is too short for a link PSK.")
            proof = self._seal.seal(resume_proof_key(parts[0].of(key.material)), self._place(block, "proof"))
            row = database.execute(
                "INSERT INTO blocks (session, number, state, secret_bits, leaked_bits, proof, peer_key,"
                " unauthenticated) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    block.session,
                    block.number,
                    State.PENDING,
                    key.secret_bits,
                    leaked_bits,
                    proof,
                    self._seal.seal(peer_key, _PINNED) if peer_key else None,
                    int(self._unauthenticated or self._unwatched),
                ),
            ).lastrowid
            database.executemany(
                "INSERT INTO parts (block, purpose, state, bits, sealed) VALUES (?, ?, ?, ?, ?)",
                [
                    (
                        row,
                        part.purpose,
                        State.PENDING,
                        8 * part.length,
                        self._seal.seal(part.of(key.material), self._place(block, part.purpose)),
                    )
                    for part in parts
                ],
            )

    def release(self, block: BlockId) -> bool:
        """Make a pending block available; False if it was available already, LocalProtocolError if it is not here."""
        with self._transaction() as database:
            row = self._row(block)
            if row is None or row["state"] == State.DISCARDED:
                raise LocalProtocolError(f"Block {block} has no pending key.")
            if row["state"] == State.AVAILABLE:
                return False
            database.execute(
                "UPDATE blocks SET state = ?, released = ? WHERE id = ?",
                (State.AVAILABLE, time.time(), row["id"]),
            )
            database.execute(
                "UPDATE parts SET state = ? WHERE block = ? AND state = ?",
                (State.AVAILABLE, row["id"], State.PENDING),
            )
            self._enter(row["id"], Entry.PRODUCED, None, row["secret_bits"])
            self._enter(row["id"], Entry.LEAKED, None, row["leaked_bits"])
            self._enter_what_was_used_while_pending(row["id"])
            if block.number < self._epoch_block_number():
                self._destroy_link_psk(row["id"])
            if row["peer_key"] is not None and not self._meta("peer-key", ""):
                self._set_meta("peer-key", row["peer_key"].hex())
            return True

    def discard(self, block: BlockId) -> None:
        """Forget a pending block that the peer does not have; LocalProtocolError if it is available."""
        with self._transaction() as database:
            row = self._row(block)
            if row is None or row["state"] == State.DISCARDED:
                return
            if row["state"] != State.PENDING:
                raise LocalProtocolError(f"Block {block} is available and cannot be discarded.")
            database.execute(
                "UPDATE blocks SET state = ?, proof = x'' WHERE id = ?", (State.DISCARDED, row["id"])
            )
            database.execute("DELETE FROM parts WHERE block = ?", (row["id"],))

    def state(self, block: BlockId) -> State | None:
        """Return the state of a block, None if it was never here."""
        with self._reading():
            row = self._row(block)
        return None if row is None else State(row["state"])

    def secret_bits(self, block: BlockId) -> int:
        """Return the length of a block's key; 0 if it is not here."""
        with self._reading():
            row = self._row(block)
        return 0 if row is None else int(row["secret_bits"])

    def is_unauthenticated(self, block: BlockId) -> bool:
        """Whether no application gets the key of a block, because nobody vouched for it, or watched its light."""
        with self._reading():
            row = self._row(block)
        return row is not None and bool(row["unauthenticated"])

    def pending(self) -> list[BlockId]:
        """Return every pending block, oldest first."""
        with self._reading() as database:
            rows = database.execute(
                "SELECT session, number FROM blocks WHERE state = ? ORDER BY id", (State.PENDING,)
            ).fetchall()
        return [BlockId(self._owner.link, row["session"], row["number"]) for row in rows]

    def last_number(self) -> int:
        """Return the highest block number ever opened here, 0 if there is none."""
        with self._reading():
            return int(self._meta("last-number", "0"))

    def opened(self, number: int) -> None:
        """Remember that a block number has been used."""
        with self._transaction():
            self._set_meta("last-number", str(max(number, int(self._meta("last-number", "0")))))

    # --- material ----------------------------------------------------------------------------------------------

    def material(self, block: BlockId, purpose: Purpose) -> bytes | None:
        """Return the material of one part while it exists, pending parts included; for the link alone."""
        with self._reading() as database:
            row = database.execute(
                "SELECT sealed FROM parts JOIN blocks ON blocks.id = parts.block"
                " WHERE session = ? AND number = ? AND purpose = ?",
                (block.session, block.number, purpose),
            ).fetchone()
        sealed = None if row is None else row["sealed"]
        return None if sealed is None else self._seal.unseal(sealed, self._place(block, purpose))

    def deliver(self, block: BlockId, purpose: Purpose) -> bytes | None:
        """Hand a part out for its purpose, once: it is spent on disk, and overwritten, before this returns.

        None if the block is not available, or the part was delivered, has expired or was never cut. LocalProtocolError
        for what is the link's own: PSKs, which epochs use and destroy (`begin_epoch`), and tags, taken in units.
        ConfigurationError for what goes back to a bootstrap without authentication: whoever answered may know it.
        """
        if purpose not in APPLICATIONS:
            raise LocalProtocolError(f"{purpose} is for the link alone.")
        with self._transaction() as database:
            row = self._row(block)
            if row is not None and row["unauthenticated"]:
                raise ConfigurationError(
                    f"Block {block} goes back to a bootstrap without authentication, or was made with monitors turned"
                    " off, and no application gets its key: turn them on, choose another trust.anchor, and run `qkdlink"
                    " bootstrap --again` at both ends."
                )
            part = database.execute(
                "SELECT parts.block, bits, sealed FROM parts JOIN blocks ON blocks.id = parts.block"
                " WHERE session = ? AND number = ? AND purpose = ? AND parts.state = ?",
                (block.session, block.number, purpose, State.AVAILABLE),
            ).fetchone()
            if part is None:
                return None
            database.execute(
                "UPDATE parts SET state = ?, sealed = NULL WHERE block = ? AND purpose = ?",
                (State.SPENT, part["block"], purpose),
            )
            self._enter(part["block"], Entry.SPENT, purpose, part["bits"])
            return self._seal.unseal(part["sealed"], self._place(block, purpose))

    def expire(self, before: float) -> int:
        """Burn the application parts of blocks released before a time (seconds since 1970); returns how many.

        Link PSKs, tag keys and the reserve never expire: the link would have to go back to its bootstrap.
        """
        with self._transaction() as database:
            parts = database.execute(
                "SELECT parts.block, purpose, bits FROM parts JOIN blocks ON blocks.id = parts.block"
                " WHERE parts.state = ? AND released < ? AND purpose IN (?, ?)",
                (State.AVAILABLE, before, *APPLICATIONS),
            ).fetchall()
            for part in parts:
                database.execute(
                    "UPDATE parts SET state = ?, sealed = NULL WHERE block = ? AND purpose = ?",
                    (State.BURNT, part["block"], part["purpose"]),
                )
                self._enter(part["block"], Entry.BURNT, Purpose(part["purpose"]), part["bits"])
        return len(parts)

    def proof_key(self, block: BlockId) -> bytes | None:
        """Return the key that proves to the peer that this block is here."""
        with self._reading():
            row = self._row(block)
        if row is None or row["state"] == State.DISCARDED:
            return None
        return self._seal.unseal(row["proof"], self._place(block, "proof"))

    def link_psks(self) -> list[BlockId]:
        """Return the blocks whose link PSK may be used, newest first: those after the current epoch's, and that one."""
        with self._reading() as database:
            rows = database.execute(
                "SELECT session, number FROM parts JOIN blocks ON blocks.id = parts.block"
                " WHERE purpose = ? AND sealed IS NOT NULL AND number >= ? ORDER BY number DESC, blocks.id DESC",
                (Purpose.LINK_PSK, self._epoch_block_number()),
            ).fetchall()
        return [BlockId(self._owner.link, row["session"], row["number"]) for row in rows]

    # --- epochs and the latch ----------------------------------------------------------------------------------

    def epoch(self) -> Epoch:
        """Return the epoch that the node is in."""
        with self._reading():
            return self._epoch()

    def begin_epoch(self, number: int, block: BlockId) -> bool:
        """Enter an epoch whose PSK comes from `block`: the latch closes, and every older link PSK is destroyed.

        To be called once both directions have been heard on the new line; repeating it changes nothing.
        False, and no change, if its PSK has been destroyed in the meantime, by a newer epoch or by an operator;
        LocalProtocolError if the block is not available; ConfigurationError if the bootstrap was opened again since
        this store was.
        """
        with self._transaction() as database:
            self._refuse_old_trust()
            epoch, row = self._epoch(), self._row(block)
            if epoch.key_id == _key_id(block):
                return True
            if row is None or row["state"] != State.AVAILABLE:
                raise LocalProtocolError(f"Block {block} is not available and cannot begin an epoch.")
            taken = database.execute(
                "UPDATE parts SET state = ? WHERE block = ? AND purpose = ? AND sealed IS NOT NULL",
                (State.IN_USE, row["id"], Purpose.LINK_PSK),
            )
            if taken.rowcount == 0:
                return False
            self._set_meta("epoch", str(number))
            self._set_meta("epoch-key", _key_id(block))
            self._set_meta("latched", "1")
            self.pads.burn(database)
            self._enter(row["id"], Entry.SPENT, Purpose.LINK_PSK, LINK_PSK_BITS)
            for older in database.execute(
                "SELECT blocks.id FROM parts JOIN blocks ON blocks.id = parts.block WHERE purpose = ?"
                " AND sealed IS NOT NULL AND number < ? AND blocks.state != ?",
                (Purpose.LINK_PSK, block.number, State.PENDING),
            ).fetchall():
                self._destroy_link_psk(older["id"])
            return True

    def reopen_bootstrap(self) -> None:
        """Open the latch: an operator's act, to be done at both ends; the link forgets what it knew the peer by.

        Destroyed are every link PSK, every unit for tags and the pinned keys, those of pending blocks included: whoever
        has got hold of one store knows them, and a peer that has lost its own does not. Whoever has the store open
        besides can neither keep a block any more nor close the latch.
        """
        with self._transaction() as database:
            self._generation = self._generation_on_disk() + 1
            self._set_meta(_GENERATION, str(self._generation))
            for row in database.execute(
                "SELECT block FROM parts WHERE purpose = ? AND sealed IS NOT NULL", (Purpose.LINK_PSK,)
            ).fetchall():
                self._destroy_link_psk(row["block"])
            self._set_meta("latched", "0")
            self._set_meta("epoch-key", "")
            self._set_meta(_UNAUTHENTICATED, "0")
            self._set_meta(_ANCHOR, "")
            self.pads.burn(database)
            self._destroy_tags()
            database.execute("UPDATE blocks SET peer_key = NULL WHERE peer_key IS NOT NULL")
            for pinned in ("own-key", "peer-key"):
                self._set_meta(pinned, "")

    def begin_bootstrap(self, anchor: str) -> None:
        """Note that a line of `anchor` is open; not if a block of this bootstrap goes back to an earlier one's.

        ConfigurationError if the bootstrap was opened again since this store was.
        """
        with self._transaction() as database:
            self._refuse_old_trust()
            newest, newest_kept = database.execute(
                "SELECT COALESCE(MAX(id), 0), COALESCE(MAX(id) FILTER (WHERE state != ?), 0) FROM blocks",
                (State.DISCARDED,),
            ).fetchone()
            if self._meta(_ANCHOR, "") and newest_kept > int(self._meta(_VOUCHES_AFTER, "0")):
                return
            self._set_meta(_ANCHOR, anchor)
            self._set_meta(_VOUCHES_AFTER, str(newest))

    def vouched(self) -> Vouched:
        """Return which anchor began the bootstrap, and for how many blocks it has vouched until now."""
        with self._reading() as database:
            blocks = database.execute(
                "SELECT COUNT(*) FROM blocks WHERE state = ? AND id > ?",
                (State.AVAILABLE, int(self._meta(_VOUCHES_AFTER, "0"))),
            ).fetchone()[0]
            return Vouched(self._meta(_ANCHOR, ""), blocks)

    def leave_unwatched(self) -> None:
        """Give no key of this process to applications: monitors that would notice Eve are turned off."""
        self._unwatched = True

    def mark_unauthenticated(self) -> None:
        """Note that a bootstrap without authentication has begun: no application gets a key that goes back to it.

        The store stays marked until an operator opens the latch again; blocks that were made meanwhile, for good.
        """
        with self._transaction():
            self._refuse_old_trust()
            self._set_meta(_UNAUTHENTICATED, "1")
        self._unauthenticated = True

    @property
    def unauthenticated(self) -> bool:
        """Whether what this process makes goes back to a bootstrap without authentication."""
        return self._unauthenticated

    # --- tags --------------------------------------------------------------------------------------------------

    def reserve_lacks_bits(self) -> int:
        """Return how many bits would fill the reserve of both sides; the emptier side counts."""
        fullest_common = min(self.units.left((purpose,)) for purpose in RESERVES)
        return max(0, RESERVE_TARGET_BITS - 2 * UNIT_BITS * fullest_common)

    # --- pinned keys -------------------------------------------------------------------------------------------

    def own_key(self, scheme: str, draw: Callable[[], bytes]) -> bytes:
        """Return this node's private signing key, drawing it at the first use after a bootstrap was opened.

        ConfigurationError if another signature scheme than `scheme` has drawn it: no key serves two.
        """
        with self._transaction():
            found, drawn_for = self._meta("own-key", ""), self._meta(_SIGNS_WITH, scheme)
            if found and drawn_for != scheme:
                raise ConfigurationError(
                    f"The signing keys of this link are of {drawn_for}, not of {scheme}: choose the scheme that the"
                    " link began with, or have an operator run `qkdlink bootstrap --again` at both ends."
                )
            if found:
                return self._seal.unseal(bytes.fromhex(found), _OWN)
            key = draw()
            self._set_meta("own-key", self._seal.seal(key, _OWN).hex())
            self._set_meta(_SIGNS_WITH, scheme)
        return key

    def peer_key(self) -> bytes:
        """Return the peer's public key that a bootstrap has pinned; empty if there is none."""
        with self._reading():
            found = self._meta("peer-key", "")
        return self._seal.unseal(bytes.fromhex(found), _PINNED) if found else b""

    # --- account -----------------------------------------------------------------------------------------------

    def balance(self) -> Balance:
        """Add up the ledger."""
        with self._reading() as database:
            sums = {
                (row["entry"], row["purpose"]): row["bits"]
                for row in database.execute(
                    "SELECT entry, purpose, SUM(bits) AS bits FROM ledger GROUP BY entry, purpose"
                )
            }
            available = database.execute(
                "SELECT COALESCE(SUM(bits), 0) - (SELECT ? * COUNT(*) FROM units JOIN parts USING (block, purpose)"
                " WHERE parts.state = ?) FROM parts WHERE state = ?",
                (UNIT_BITS, State.AVAILABLE, State.AVAILABLE),
            ).fetchone()[0]
            confirmed = database.execute(
                "SELECT COUNT(*) FROM blocks WHERE state = ?", (State.AVAILABLE,)
            ).fetchone()[0]
            pending = database.execute(
                "SELECT COUNT(*) FROM blocks WHERE state = ?", (State.PENDING,)
            ).fetchone()[0]
            epoch, unauthenticated = self._epoch(), self._meta(_UNAUTHENTICATED, "0") == "1"
        spent = {
            f"{purpose}" if entry == Entry.SPENT else f"{purpose} (burnt)": bits
            for (entry, purpose), bits in sorted(sums.items(), key=str)
            if entry in (Entry.SPENT, Entry.BURNT)
        }
        return Balance(
            node=self._owner.node,
            produced_bits=sums.get((Entry.PRODUCED, None), 0),
            leaked_bits=sums.get((Entry.LEAKED, None), 0),
            spent=spent,
            available_bits=available,
            authentication_bits=sum(
                sums.get((entry, purpose), 0)
                for entry in (Entry.SPENT, Entry.BURNT)
                for purpose in (*OF_ALICE, *OF_BOB)
            ),
            psk_bits=sum(sums.get((entry, Purpose.LINK_PSK), 0) for entry in (Entry.SPENT, Entry.BURNT)),
            confirmed_blocks=confirmed,
            pending_blocks=pending,
            epoch=epoch.number,
            latched=epoch.latched,
            unauthenticated=unauthenticated,
        )

    # --- inside ------------------------------------------------------------------------------------------------

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                raise ConfigurationError(
                    f"The key store of {self._owner.node} cannot be read: {error}."
                ) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                self._roll_back()
                raise ConfigurationError(
                    f"The key store of {self._owner.node} cannot be written: {error}."
                ) from error
            except BaseException:
                self._roll_back()
                raise

    def _roll_back(self) -> None:
        with suppress(sqlite3.ProgrammingError):  # it was closed in the meantime, which rolls back as well
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _furnish(self) -> None:
        self._connection.row_factory = sqlite3.Row
        with self._transaction() as database:
            if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone() is None:
                for statement in (_SCHEMA + PADS_SCHEMA).split(";"):
                    database.execute(statement)
                for name, value in self._identity().items():
                    self._set_meta(name, value)
                self._set_meta("seal", self._seal.seal(b"", self._seal_place).hex())
        with self._reading():
            self._unauthenticated = self._meta(_UNAUTHENTICATED, "0") == "1"
            self._generation = self._generation_on_disk()

    def _generation_on_disk(self) -> int:
        return int(self._meta(_GENERATION, "0"))

    def _refuse_old_trust(self) -> None:
        if self._generation != self._generation_on_disk():
            raise ConfigurationError(
                f"The bootstrap of {self._owner.node} was opened again while it ran: start it anew, once the same was"
                " done at the other end."
            )

    def _identity(self) -> dict[str, str]:
        return {
            "schema": _SCHEMA_VERSION,
            "link": self._owner.link,
            "node": self._owner.node,
            "reproducible": str(int(self._owner.reproducible)),
        }

    def _check_owner(self, path: Path) -> None:
        with self._reading():
            found = {name: self._meta(name, "") for name in self._identity()}
            sealed = self._meta("seal", "")
        if found["schema"] != _SCHEMA_VERSION:
            raise ConfigurationError(
                f"The key store {path} was made by another version of qkdlink (schema '{found['schema']}', not"
                f" '{_SCHEMA_VERSION}'): use that version, or give its keys up by removing {STORE_FILE} and"
                f" {STORE_KEY_FILE} at both ends, and, with a pre-shared key, making a new one for both, and start both"
                " nodes to bootstrap the link anew."
            )
        for name, value in self._identity().items():
            if found[name] != value:
                raise ConfigurationError(
                    f"The key store {path} has {name} '{found[name]}', this node {name} '{value}': they do not go"
                    " together."
                )
        try:
            self._seal.unseal(bytes.fromhex(sealed), self._seal_place)
        except ValueError as error:
            raise ConfigurationError(f"The key store {path} is damaged.") from error

    @property
    def _seal_place(self) -> str:
        return place_of_seal(self._owner)

    def _place(self, block: BlockId, purpose: str) -> str:
        return place_of(self._owner, block, purpose)

    def _row(self, block: BlockId) -> sqlite3.Row | None:
        if block.number > _LARGEST_NUMBER:  # a peer may name any
            return None
        found: sqlite3.Row | None = self._connection.execute(
            "SELECT * FROM blocks WHERE session = ? AND number = ?", (block.session, block.number)
        ).fetchone()
        return found

    def _meta(self, name: str, default: str) -> str:
        row = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return default if row is None else str(row["value"])

    def _set_meta(self, name: str, value: str) -> None:
        self._connection.execute(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )

    def _epoch(self) -> Epoch:
        key_id = self._meta("epoch-key", "")
        return Epoch(int(self._meta("epoch", "0")), key_id or None, self._meta("latched", "0") == "1")

    def _epoch_block_number(self) -> int:
        key_id = self._epoch().key_id
        return 0 if key_id is None else int(key_id.rpartition("/")[2])

    def _enter(self, row: int, entry: Entry, purpose: Purpose | None, bits: int) -> None:
        self._connection.execute(
            "INSERT INTO ledger (block, entry, purpose, bits) VALUES (?, ?, ?, ?)",
            (row, entry, purpose, bits),
        )

    def _enter_spent(self, row: int, purpose: Purpose, bits: int) -> None:
        self._enter(row, Entry.SPENT, purpose, bits)

    def _enter_what_was_used_while_pending(self, row: int) -> None:
        """Enter the units that the peer has used of a block, and the parts that were burnt, now that it counts."""
        for part in self._connection.execute(
            "SELECT purpose, state, bits, (SELECT COUNT(*) FROM units WHERE units.block = parts.block"
            " AND units.purpose = parts.purpose) AS used FROM parts WHERE block = ?",
            (row,),
        ).fetchall():
            purpose, used_bits = Purpose(part["purpose"]), UNIT_BITS * part["used"]
            if used_bits:
                self._enter(row, Entry.SPENT, purpose, used_bits)
            if part["state"] == State.BURNT:
                self._enter(row, Entry.BURNT, purpose, part["bits"] - used_bits)

    def _destroy_tags(self) -> None:
        """Overwrite all that is left for tags; what is still pending is entered at its release."""
        for part in self._connection.execute(
            "SELECT block, purpose, state, bits - ? * (SELECT COUNT(*) FROM units WHERE units.block = parts.block"
            " AND units.purpose = parts.purpose) AS unused FROM parts WHERE sealed IS NOT NULL"
            " AND purpose IN (?, ?, ?, ?)",
            (UNIT_BITS, *OF_ALICE, *OF_BOB),
        ).fetchall():
            self._connection.execute(
                "UPDATE parts SET sealed = NULL, state = ? WHERE block = ? AND purpose = ?",
                (State.BURNT, part["block"], part["purpose"]),
            )
            if part["state"] == State.AVAILABLE:
                self._enter(part["block"], Entry.BURNT, Purpose(part["purpose"]), part["unused"])

    def _destroy_link_psk(self, row: int) -> None:
        """Overwrite a link PSK: one in use was entered as spent before, one still pending is entered at its release."""
        found = self._connection.execute(
            "SELECT state, bits FROM parts WHERE block = ? AND purpose = ? AND sealed IS NOT NULL",
            (row, Purpose.LINK_PSK),
        ).fetchone()
        if found is None:
            return
        self._connection.execute(
            "UPDATE parts SET sealed = NULL, state = ? WHERE block = ? AND purpose = ?",
            (State.SPENT if found["state"] == State.IN_USE else State.BURNT, row, Purpose.LINK_PSK),
        )
        if found["state"] == State.AVAILABLE:
            self._enter(row, Entry.BURNT, Purpose.LINK_PSK, found["bits"])


def place_of(owner: StoreOwner, block: BlockId, what: str) -> str:
    """Name the place that a part of a block, or its `proof`, is sealed for; it opens nowhere else."""
    return f"{owner.node}/{block}/{what}"


def place_of_seal(owner: StoreOwner) -> str:
    """Name the place of the empty text by which a store recognises its key."""
    return f"{owner.node}/{owner.link}/seal"


def _told_by(path: Path) -> dict[str, str]:
    """Return what a store says of itself in clear; nothing if there is none, or its first start was cut short."""
    if not path.exists():
        return {}
    # not read-only: what a killed process has left half-done is undone by whoever opens the file next
    there = f"file:{quote(str(path))}?mode=rw"
    try:
        with closing(sqlite3.connect(there, uri=True, timeout=_BUSY_TIMEOUT_S)) as connection:
            if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone() is None:
                return {}
            return dict(connection.execute("SELECT name, value FROM meta").fetchall())
    except sqlite3.Error as error:
        raise ConfigurationError(f"The key store {path} cannot be read: {error}.") from error


def _open_seal(store: Path, key: Path) -> StoreSeal:
    """Make an empty store and then its key at the first start; afterwards neither is opened without the other."""
    if key.exists() and not store.exists():
        raise ConfigurationError(
            f"The key store {store} is gone, but its key {key} is there: put the store back, or, if it is lost, remove"
            " the key too and run `qkdlink bootstrap --again` at the other end, and, with a pre-shared key, make a new"
            " one for both."
        )
    try:
        os.close(os.open(store, os.O_RDWR | os.O_CREAT, 0o600))
        status = store.stat()
    except OSError as error:
        raise ConfigurationError(f"The key store {store} cannot be opened: {error.strerror}.") from error
    if status.st_mode & 0o077:
        raise ConfigurationError(f"The key store {store} is open to others: run 'chmod 600 {store}'.")
    if status.st_size and not key.exists():
        raise ConfigurationError(
            f"The key {key} of the key store is gone: put it back; nothing opens without it."
        )
    return StoreSeal.open(key)


def _key_id(block: BlockId) -> str:
    return f"{block.session}/{block.number}"
