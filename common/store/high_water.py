"""What a store can say of its own past: the highest block, and how far the units of each direction have gone.

Nothing is written for it: blocks and units are on disk with their numbers before they count. The marks begin anew when
an operator opens the bootstrap again, because the store at the other end may have been lost.
"""

from dataclasses import dataclass

from qkdlink.common.keys.allotment import Purpose
from qkdlink.common.store.blocks import LAST_NUMBER
from qkdlink.common.store.database import Database

_BLOCKS_BEFORE, _UNITS_BEFORE = "marks: row of the last block before", "marks: row of the last unit before"


@dataclass(frozen=True, slots=True)
class HighWater:
    """The marks of one store, asked and changed inside a context of its database."""

    database: Database

    def highest_block(self) -> int:
        """Return the highest block number that was opened, stored or tagged here, 0 if there is none."""
        found = self.database.connection.execute(
            "SELECT MAX((SELECT COALESCE(MAX(number), 0) FROM blocks),"
            " (SELECT COALESCE(MAX(CAST(used_for AS INTEGER)), 0) FROM units))"
        ).fetchone()[0]
        return max(int(found), int(self.database.meta(LAST_NUMBER, "0")))

    def heard_block(self, peers: tuple[Purpose, ...]) -> int:
        """Return the highest number of a block that the peer has confirmed, or spent one of its units on."""
        found = self.database.connection.execute(
            "SELECT MAX((SELECT COALESCE(MAX(number), 0) FROM blocks WHERE id > ?),"
            " (SELECT COALESCE(MAX(CAST(used_for AS INTEGER)), 0) FROM units WHERE rowid > ? AND purpose IN (?, ?)))",
            (self._before(_BLOCKS_BEFORE), self._before(_UNITS_BEFORE), *peers),
        ).fetchone()[0]
        return int(found)

    def unproven_blocks(self, own: tuple[Purpose, ...], peers: tuple[Purpose, ...]) -> int:
        """Count the blocks that cost a unit here since the last one in which the peer has shown a right tag."""
        found = self.database.connection.execute(
            "SELECT COUNT(DISTINCT used_for) FROM units WHERE rowid > ? AND purpose IN (?, ?)"
            " AND rowid > (SELECT COALESCE(MAX(rowid), 0) FROM units WHERE purpose IN (?, ?))",
            (self._before(_UNITS_BEFORE), *own, *peers),
        ).fetchone()[0]
        return int(found)

    def units(self, purposes: tuple[Purpose, ...]) -> int:
        """Count the units of these parts up to the highest used of each; the owner takes them in order."""
        generated, file = self.database.connection.execute(
            "SELECT (SELECT COALESCE(SUM(gone), 0) FROM (SELECT MAX(unit) + 1 AS gone FROM units WHERE rowid > ?"
            " AND purpose IN (?, ?) GROUP BY block, purpose)),"
            " (SELECT COALESCE(MAX(unit) + 1, 0) FROM pads WHERE purpose = ? AND used_for GLOB '[0-9]*')",
            (self._before(_UNITS_BEFORE), *purposes, purposes[0]),
        ).fetchone()
        return int(generated) + int(file)

    def last_unit_row(self) -> int:
        """Return the row of the unit that was used last, 0 if there is none."""
        return int(
            self.database.connection.execute("SELECT COALESCE(MAX(rowid), 0) FROM units").fetchone()[0]
        )

    def begin_anew(self) -> None:
        """Compare nothing that was before with the peer any more; no block number comes twice all the same."""
        newest = self.database.connection.execute("SELECT COALESCE(MAX(id), 0) FROM blocks").fetchone()[0]
        self.database.set_meta(_BLOCKS_BEFORE, str(newest))
        self.database.set_meta(_UNITS_BEFORE, str(self.last_unit_row()))

    def _before(self, what: str) -> int:
        return int(self.database.meta(what, "0"))
