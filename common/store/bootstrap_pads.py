"""Pads of a pre-shared key: deposited once per file, used once each, and gone when its bootstrap is over.

They are no key that this link has produced: no ledger counts them, no epoch, reserve or application is served from
them. The store remembers by a derived name which files it has had, because no pad of a file may be used in a second
bootstrap; nothing of a pad goes into the name, which leaves the node no more than its mark beside the file does
(`qkdlink.common.trust.used_marks`): that one says so when this store is lost.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from qkdlink.common.keys.allotment import UNIT_BYTES, Purpose
from qkdlink.common.store.database import Database
from qkdlink.common.store.owner import StoreOwner, place_of_pad
from qkdlink.common.store.sealing import StoreSeal

_BURNT = "nothing: the bootstrap was over"


@dataclass(frozen=True, slots=True)
class BootstrapPads:
    """The pads of one store."""

    database: Database
    seal: StoreSeal
    owner: StoreOwner

    def deposit(self, file: str, pads: Mapping[Purpose, bytes]) -> bool:
        """Keep the pads of the file called `file`, unless they are here; False if its bootstrap is over already.

        Those of another file are burnt: a bootstrap has one.
        """
        with self.database.transaction() as database:
            known = database.execute("SELECT over FROM pad_files WHERE id = ?", (file,)).fetchone()
            if known is not None:
                return not known["over"]
            self.burn(database)
            database.execute("DELETE FROM pads")
            database.execute("INSERT INTO pad_files VALUES (?, 0)", (file,))
            database.executemany(
                "INSERT INTO pads VALUES (?, ?, ?, NULL)",
                [
                    (purpose, unit, self._sealed(purpose, unit, material))
                    for purpose, material in pads.items()
                    for unit in range(len(material) // UNIT_BYTES)
                ],
            )
        return True

    def has_had(self, file: str) -> bool:
        """Whether the pads of a file were ever deposited here."""
        with self.database.reading() as database:
            return database.execute("SELECT 1 FROM pad_files WHERE id = ?", (file,)).fetchone() is not None

    def is_under_way(self) -> bool:
        """Whether a bootstrap that uses pads of a file has begun, and is not over."""
        with self.database.reading() as database:
            return database.execute("SELECT 1 FROM pad_files WHERE NOT over").fetchone() is not None

    def is_over(self, file: str) -> bool:
        """Whether the pads of a file have had their bootstrap."""
        with self.database.reading() as database:
            known = database.execute("SELECT over FROM pad_files WHERE id = ?", (file,)).fetchone()
        return known is not None and bool(known["over"])

    def take(self, purpose: Purpose, used_for: str) -> tuple[int, bytes] | None:
        """Take the next unit of our own: (number, 32 bytes), spent on disk when this returns; None if none is left."""
        with self.database.transaction() as database:
            row = database.execute(
                "SELECT unit, sealed FROM pads WHERE purpose = ? AND sealed IS NOT NULL ORDER BY unit LIMIT 1",
                (purpose,),
            ).fetchone()
            if row is None:
                return None
            self._use(database, purpose, row["unit"], used_for)
        return row["unit"], self._open(purpose, row)

    def ahead(self, purpose: Purpose) -> dict[int, bytes]:
        """Return the peer's units after the last one that it used, by their numbers; for checking its tags alone."""
        with self.database.reading() as database:
            rows = database.execute(
                "SELECT unit, sealed FROM pads WHERE purpose = ? AND sealed IS NOT NULL AND unit >= ?",
                (purpose, self._gone(purpose)),
            ).fetchall()
        return {row["unit"]: self._open(purpose, row) for row in rows}

    def gone(self, purpose: Purpose) -> int:
        """Count the units up to the last one that was used in a tag; what was burnt unused does not count."""
        with self.database.reading():
            return self._gone(purpose)

    def _gone(self, purpose: Purpose) -> int:
        found = self.database.connection.execute(
            "SELECT COALESCE(MAX(unit) + 1, 0) FROM pads WHERE purpose = ? AND used_for != ?",
            (purpose, _BURNT),
        ).fetchone()
        return int(found[0])

    def used(self, purpose: Purpose, unit: int, used_for: str) -> bool:
        """Note that the peer has used a unit, which may be burnt here since; False if it had been used before."""
        with self.database.transaction() as database:
            return self._use(database, purpose, unit, used_for)

    def left(self, purpose: Purpose) -> int:
        """Count the units that their owner can still take: in order, so what lies before the last one used is gone."""
        with self.database.reading() as database:
            found = database.execute(
                "SELECT COUNT(*) FROM pads WHERE purpose = ? AND sealed IS NOT NULL AND unit >"
                " (SELECT COALESCE(MAX(unit), -1) FROM pads WHERE purpose = ? AND used_for IS NOT NULL)",
                (purpose, purpose),
            ).fetchone()
        return int(found[0])

    def burn(self, database: sqlite3.Connection) -> None:
        """Overwrite what is left, for good, in the transaction that ends a bootstrap or begins another."""
        database.execute("UPDATE pads SET sealed = NULL, used_for = ? WHERE sealed IS NOT NULL", (_BURNT,))
        database.execute("UPDATE pad_files SET over = 1")

    def forget(self, database: sqlite3.Connection) -> None:
        """Burn what is left, and forget which pads were used: an operator has opened the bootstrap again."""
        self.burn(database)
        database.execute("DELETE FROM pads")

    def _use(self, database: sqlite3.Connection, purpose: Purpose, unit: int, used_for: str) -> bool:
        changed = database.execute(
            "UPDATE pads SET sealed = NULL, used_for = ?"
            " WHERE purpose = ? AND unit = ? AND (used_for IS NULL OR used_for = ?)",
            (used_for, purpose, unit, _BURNT),
        )
        return changed.rowcount == 1

    def _sealed(self, purpose: Purpose, unit: int, material: bytes) -> bytes:
        place = self._place(purpose, unit)
        return self.seal.seal(material[unit * UNIT_BYTES : (unit + 1) * UNIT_BYTES], place)

    def _open(self, purpose: Purpose, row: sqlite3.Row) -> bytes:
        return self.seal.unseal(row["sealed"], self._place(purpose, row["unit"]))

    def _place(self, purpose: Purpose, unit: int) -> str:
        return place_of_pad(self.owner, f"pre-shared/{purpose}/{unit}")
