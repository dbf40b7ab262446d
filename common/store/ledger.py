"""The ledger: every bit that came in and every bit that went, and what they add up to."""

from dataclasses import dataclass
from typing import Self

from qkdlink.common.journal.key_levels import KeyLevels
from qkdlink.common.keys.allotment import OF_ALICE, OF_BOB, UNIT_BITS, Purpose
from qkdlink.common.store.database import Database
from qkdlink.common.store.epochs import Epoch
from qkdlink.common.store.schema import Entry, State

_GONE = (Entry.SPENT, Entry.BURNT)


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

    @classmethod
    def told(cls, node: str, told: KeyLevels) -> Self:
        """Return what a node has told of its store."""
        by_purpose = {level.purpose: level for level in told.levels}
        gone = {name: level.spent_bits + level.burnt_bits for name, level in by_purpose.items()}
        spent = {name: level.spent_bits for name, level in by_purpose.items()}
        burnt = {f"{name} (burnt)": level.burnt_bits for name, level in by_purpose.items()}
        return cls(
            node=node,
            produced_bits=told.produced_bits,
            leaked_bits=told.leaked_bits,
            spent={name: bits for name, bits in (spent | burnt).items() if bits},
            available_bits=sum(level.available_bits for level in told.levels),
            authentication_bits=sum(gone[purpose] for purpose in (*OF_ALICE, *OF_BOB)),
            psk_bits=gone[Purpose.LINK_PSK],
            confirmed_blocks=told.confirmed_blocks,
            pending_blocks=told.pending_blocks,
            epoch=told.epoch,
            latched=told.latched,
            unauthenticated=told.unauthenticated,
        )

    @property
    def net_gain_per_block(self) -> float:
        """Secret bits of a mean block, less what the link has spent on itself; 0 without a block."""
        if not self.confirmed_blocks:
            return 0.0
        return (self.produced_bits - self.authentication_bits - self.psk_bits) / self.confirmed_blocks


@dataclass(frozen=True, slots=True)
class Ledger:
    """The ledger of one store; entries are made inside the transaction of what they are about."""

    database: Database

    def enter(self, row: int, entry: Entry, purpose: Purpose | None, bits: int) -> None:
        """Count bits of the block in a row; `purpose` is None for the block as a whole."""
        self.database.connection.execute(
            "INSERT INTO ledger (block, entry, purpose, bits) VALUES (?, ?, ?, ?)",
            (row, entry, purpose, bits),
        )

    def enter_released(self, row: int, secret_bits: int, leaked_bits: int) -> None:
        """Enter a block that counts from now on, with what the peer has used of it before, and what was burnt."""
        self.enter(row, Entry.PRODUCED, None, secret_bits)
        self.enter(row, Entry.LEAKED, None, leaked_bits)
        for part in self.database.connection.execute(
            "SELECT purpose, state, bits, (SELECT COUNT(*) FROM units WHERE units.block = parts.block"
            " AND units.purpose = parts.purpose) AS used FROM parts WHERE block = ?",
            (row,),
        ).fetchall():
            purpose, used_bits = Purpose(part["purpose"]), UNIT_BITS * part["used"]
            if used_bits:
                self.enter(row, Entry.SPENT, purpose, used_bits)
            if part["state"] == State.BURNT:
                self.enter(row, Entry.BURNT, purpose, part["bits"] - used_bits)

    def balance(self, node: str, epoch: Epoch, *, unauthenticated: bool) -> Balance:
        """Add up the ledger of `node`, whose epoch and bootstrap are as they are told here."""
        sums = self._sums()
        available = self.database.connection.execute(
            "SELECT COALESCE(SUM(bits), 0) - (SELECT ? * COUNT(*) FROM units JOIN parts USING (block, purpose)"
            " WHERE parts.state = ?) FROM parts WHERE state = ?",
            (UNIT_BITS, State.AVAILABLE, State.AVAILABLE),
        ).fetchone()[0]
        return Balance(
            node=node,
            produced_bits=sums.get((Entry.PRODUCED, None), 0),
            leaked_bits=sums.get((Entry.LEAKED, None), 0),
            spent={
                f"{purpose}" if entry == Entry.SPENT else f"{purpose} (burnt)": bits
                for (entry, purpose), bits in sorted(sums.items(), key=str)
                if entry in _GONE
            },
            available_bits=available,
            authentication_bits=sum(
                sums.get((entry, purpose), 0) for entry in _GONE for purpose in (*OF_ALICE, *OF_BOB)
            ),
            psk_bits=sum(sums.get((entry, Purpose.LINK_PSK), 0) for entry in _GONE),
            confirmed_blocks=self.blocks(State.AVAILABLE),
            pending_blocks=self.blocks(State.PENDING),
            epoch=epoch.number,
            latched=epoch.latched,
            unauthenticated=unauthenticated,
        )

    def _sums(self) -> dict[tuple[str, str | None], int]:
        """Add up the entries of each kind and purpose."""
        rows = self.database.connection.execute(
            "SELECT entry, purpose, SUM(bits) AS bits FROM ledger GROUP BY entry, purpose"
        )
        return {(row["entry"], row["purpose"]): row["bits"] for row in rows}

    def blocks(self, state: State) -> int:
        """Count the blocks in a state."""
        found = self.database.connection.execute("SELECT COUNT(*) FROM blocks WHERE state = ?", (state,))
        return int(found.fetchone()[0])
