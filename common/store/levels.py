"""What a store holds per purpose, kept up to date from the ledger's new entries: it is asked after every block."""

from collections import Counter
from dataclasses import dataclass, field

from qkdlink.common.journal.key_levels import KeyLevel
from qkdlink.common.keys.allotment import UNIT_BITS, Purpose
from qkdlink.common.store.database import Database
from qkdlink.common.store.schema import Entry, State


@dataclass(slots=True)
class Levels:
    """Sums over the ledger of one store; asked in a context of its database that changes nothing.

    The ledger only grows. A key's parts are counted when its block is entered as produced, and leave when they are
    entered as spent or burnt.
    """

    database: Database
    _last_entry: int = 0
    _sums: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    _cut: Counter[str] = field(default_factory=Counter)
    _blocks: int = 0

    def catch_up(self) -> None:
        """Add the entries that were made since the last time."""
        database, since = self.database.connection, self._last_entry
        for row in database.execute(
            "SELECT entry, purpose, SUM(bits) AS bits FROM ledger WHERE id > ? GROUP BY entry, purpose",
            (since,),
        ):
            self._sums[row["entry"], row["purpose"]] += row["bits"]
        for row in database.execute(  # CROSS: from the new entries to their parts, not through all parts
            "SELECT parts.purpose, SUM(parts.bits) AS bits FROM ledger CROSS JOIN parts"
            " ON parts.block = ledger.block WHERE ledger.id > ? AND entry = ? GROUP BY parts.purpose",
            (since, Entry.PRODUCED),
        ):
            self._cut[row["purpose"]] += row["bits"]
        blocks, last = database.execute(
            "SELECT COUNT(*) FILTER (WHERE entry = ?), MAX(id) FROM ledger WHERE id > ?",
            (Entry.PRODUCED, since),
        ).fetchone()
        self._blocks += blocks
        self._last_entry = last or since

    @property
    def confirmed_blocks(self) -> int:
        """How many blocks have made a key."""
        return self._blocks

    def sum_of(self, entry: Entry) -> int:
        """Return the bits of a kind of entry that counts blocks as a whole."""
        return self._sums[entry, None]

    def per_purpose(self) -> tuple[KeyLevel, ...]:
        """Return what is stored, spent and burnt of each purpose."""
        return tuple(self._level(purpose) for purpose in Purpose)

    def _level(self, purpose: Purpose) -> KeyLevel:
        spent, burnt = self._sums[Entry.SPENT, purpose], self._sums[Entry.BURNT, purpose]
        return KeyLevel(
            purpose=purpose.value,
            available_bits=self._cut[purpose] - spent - burnt,
            pending_bits=self._pending_bits(purpose),
            spent_bits=spent,
            burnt_bits=burnt,
        )

    def _pending_bits(self, purpose: Purpose) -> int:
        found = self.database.connection.execute(
            "SELECT COALESCE(SUM(bits - ? * (SELECT COUNT(*) FROM units WHERE units.block = parts.block"
            " AND units.purpose = parts.purpose)), 0) FROM parts WHERE purpose = ? AND state = ?",
            (UNIT_BITS, purpose, State.PENDING),
        )
        return int(found.fetchone()[0])
