"""Units of generated key for tags: taken in order, named, spent on disk before they are used, never twice.

A unit is 256 bits at a fixed place of a part that was cut for tags, or for the reserve. The side that owns the part
takes its units one after the other; the other side looks up the one that it is told, and notes it as used once the tag
was right. Both overwrite what is gone. A process that is killed after taking a unit has burnt it: nothing is rewound,
and the other side counts as gone whatever the owner has passed over.
"""

import re
import sqlite3
from dataclasses import dataclass

from qkdlink.common.keys.allotment import OF_ALICE, OF_BOB, UNIT_BITS, UNIT_BYTES, Purpose
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.store.database import Database
from qkdlink.common.store.ledger import Ledger
from qkdlink.common.store.owner import StoreOwner, place_of
from qkdlink.common.store.schema import Entry
from qkdlink.common.store.sealing import StoreSeal

# eighteen digits fit into SQLite's integers; a name has one spelling, so that equal units have equal names
_NAME = re.compile(
    r"(?P<session>[0-9a-f]{32})/(?P<number>[1-9][0-9]{0,17})/"
    rf"(?P<purpose>{'|'.join((*OF_ALICE, *OF_BOB))})/(?P<unit>0|[1-9][0-9]{{0,8}})"
)
_GONE = bytes(UNIT_BYTES)


@dataclass(frozen=True, slots=True)
class UnitName:
    """Where a unit lies: which part of which block's key, and the how manieth of it."""

    block: BlockId
    purpose: Purpose
    unit: int

    def __str__(self) -> str:
        return f"{self.block.session}/{self.block.number}/{self.purpose}/{self.unit}"

    @classmethod
    def read(cls, text: str, link: str) -> "UnitName | None":
        """Read a name that a peer has sent; None if it is none."""
        found = _NAME.fullmatch(text)
        if found is None:
            return None
        return cls(
            BlockId(link, found["session"], int(found["number"])),
            Purpose(found["purpose"]),
            int(found["unit"]),
        )


@dataclass(frozen=True, slots=True)
class TagUnits:
    """The units of one store."""

    database: Database
    seal: StoreSeal
    owner: StoreOwner
    ledger: Ledger

    def take(self, purposes: tuple[Purpose, ...], used_for: str) -> tuple[UnitName, bytes] | None:
        """Take the next unit of the parts for `purposes`, in this order, oldest block first; None if none is left.

        The oldest block is the one with the lowest number, because both sides know that order.
        """
        with self.database.transaction() as database:
            for purpose in purposes:
                part = database.execute(
                    "SELECT parts.block, session, number, parts.bits, sealed, taken, blocks.state AS block_state"
                    " FROM parts JOIN blocks ON blocks.id = parts.block"
                    " WHERE purpose = ? AND parts.state = 'available' AND blocks.state = 'available'"
                    " AND taken < parts.bits / ? ORDER BY number, blocks.id LIMIT 1",
                    (purpose, UNIT_BITS),
                ).fetchone()
                if part is None:
                    continue
                name = UnitName(
                    BlockId(self.owner.link, part["session"], part["number"]), purpose, part["taken"]
                )
                unit = self._use(database, part, name, used_for)
                database.execute(
                    "UPDATE parts SET taken = taken + 1 WHERE block = ? AND purpose = ?",
                    (part["block"], purpose),
                )
                return name, unit
        return None

    def look_up(self, name: UnitName) -> bytes | None:
        """Return a unit that the peer names, of a block that may still be pending; None if it is not here, or used."""
        with self.database.reading() as database:
            part = _find(database, name)
            if part is None or _is_used(database, part["block"], name):
                return None
            return self._unit(self._material(part, name), name)

    def was_used(self, name: UnitName, passed_before_row: int = 0) -> bool:
        """Whether a unit was used, or lies before one of its part that was used up to a row of the table of units."""
        with self.database.reading() as database:
            found = database.execute(
                "SELECT 1 FROM units JOIN blocks ON blocks.id = units.block WHERE session = ? AND number = ?"
                " AND purpose = ? AND (unit = ? OR unit > ? AND units.rowid <= ?)",
                (
                    name.block.session,
                    name.block.number,
                    name.purpose,
                    name.unit,
                    name.unit,
                    passed_before_row,
                ),
            ).fetchone()
        return found is not None

    def used(self, name: UnitName, used_for: str) -> bool:
        """Note a unit of the peer's as used, and overwrite it; False if it was used before or is gone."""
        with self.database.transaction() as database:
            part = _find(database, name)
            if part is None or _is_used(database, part["block"], name):
                return False
            self._use(database, part, name, used_for)
        return True

    def left(self, purposes: tuple[Purpose, ...]) -> int:
        """Count the units that their owner can still take, of available blocks.

        Of our own that is known. Of the peer's we see what was used: it takes them in order, so what lies before the
        last one is gone, whether it was used or burnt.
        """
        with self.database.reading() as database:
            return sum(_left(database, purpose) for purpose in purposes)

    def blocks_since_a_key(self) -> int:
        """Count the blocks that took units here after the newest block with a key, those still under way included."""
        with self.database.reading() as database:
            found = database.execute(
                "SELECT COUNT(DISTINCT used_for) FROM units WHERE CAST(used_for AS INTEGER) >"
                " (SELECT COALESCE(MAX(number), 0) FROM blocks WHERE state = 'available')"
            ).fetchone()
        return int(found[0])

    def are_cut(self) -> bool:
        """Whether the newest available block was cut for tags; False without a block."""
        with self.database.reading() as database:
            found = database.execute(
                "SELECT 1 FROM parts WHERE purpose IN (?, ?, ?, ?) AND block ="
                " (SELECT id FROM blocks WHERE state = 'available' ORDER BY number DESC, id DESC LIMIT 1)",
                (*OF_ALICE, *OF_BOB),
            ).fetchone()
        return found is not None

    def _use(self, database: sqlite3.Connection, part: sqlite3.Row, name: UnitName, used_for: str) -> bytes:
        """Write down that a unit is used, overwrite it where it lay, and return it."""
        material = self._material(part, name)
        unit = self._unit(material, name)
        database.execute(
            "INSERT INTO units VALUES (?, ?, ?, ?)", (part["block"], name.purpose, name.unit, used_for)
        )
        start = name.unit * UNIT_BYTES
        rest = material[:start] + _GONE + material[start + UNIT_BYTES :]
        used = database.execute(
            "SELECT COUNT(*) FROM units WHERE block = ? AND purpose = ?", (part["block"], name.purpose)
        ).fetchone()[0]
        sealed = (
            None
            if used == part["bits"] // UNIT_BITS
            else self.seal.seal(rest, place_of(self.owner, name.block, name.purpose))
        )
        database.execute(
            "UPDATE parts SET sealed = ?, state = CASE WHEN ? IS NULL THEN 'spent' ELSE state END"
            " WHERE block = ? AND purpose = ?",
            (sealed, sealed, part["block"], name.purpose),
        )
        if part["block_state"] != "pending":  # of a pending block, the ledger is told at its release
            self.ledger.enter(part["block"], Entry.SPENT, name.purpose, UNIT_BITS)
        return unit

    def _material(self, part: sqlite3.Row, name: UnitName) -> bytes:
        return self.seal.unseal(part["sealed"], place_of(self.owner, name.block, name.purpose))

    @staticmethod
    def _unit(material: bytes, name: UnitName) -> bytes:
        return material[name.unit * UNIT_BYTES : (name.unit + 1) * UNIT_BYTES]


def _find(database: sqlite3.Connection, name: UnitName) -> sqlite3.Row | None:
    part: sqlite3.Row | None = database.execute(
        "SELECT parts.block, parts.bits, sealed, blocks.state AS block_state"
        " FROM parts JOIN blocks ON blocks.id = parts.block"
        " WHERE session = ? AND number = ? AND purpose = ? AND sealed IS NOT NULL AND parts.bits / ? > ?",
        (name.block.session, name.block.number, name.purpose, UNIT_BITS, name.unit),
    ).fetchone()
    return part


def _is_used(database: sqlite3.Connection, block: int, name: UnitName) -> bool:
    found = database.execute(
        "SELECT 1 FROM units WHERE block = ? AND purpose = ? AND unit = ?", (block, name.purpose, name.unit)
    ).fetchone()
    return found is not None


def _left(database: sqlite3.Connection, purpose: Purpose) -> int:
    found = database.execute(
        "SELECT COALESCE(SUM(parts.bits / ? - MAX(taken, COALESCE((SELECT MAX(unit) + 1 FROM units"
        " WHERE units.block = parts.block AND units.purpose = parts.purpose), 0))), 0)"
        " FROM parts JOIN blocks ON blocks.id = parts.block"
        " WHERE purpose = ? AND parts.state = 'available' AND blocks.state = 'available' AND number >= ?",
        (UNIT_BITS, purpose, _passed_over_below(database, purpose)),
    ).fetchone()
    return int(found[0])


def _passed_over_below(database: sqlite3.Connection, purpose: Purpose) -> int:
    """Return the number of the block whose unit the peer has used last, 0 if it has used none or the parts are ours."""
    latest = database.execute(
        "SELECT number, taken FROM units JOIN parts USING (block, purpose) JOIN blocks ON blocks.id = units.block"
        " WHERE purpose = ? ORDER BY units.rowid DESC LIMIT 1",
        (purpose,),
    ).fetchone()
    return 0 if latest is None or latest["taken"] else int(latest["number"])
