"""What the keys of a store go back to: which anchor began its bootstrap, or none, and how often it was opened again."""

from dataclasses import dataclass

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.store.database import Database
from qkdlink.common.store.schema import State

_UNAUTHENTICATED = "unauthenticated"
_GENERATION = "generation"
"""Counts how often an operator has opened the bootstrap again."""
_ANCHOR, _VOUCHES_AFTER = "anchor of the bootstrap", "row of the last block before it"


@dataclass(frozen=True, slots=True)
class Vouched:
    """What the anchor of the present bootstrap, or of the one that the latch has closed, has vouched for."""

    anchor: str
    """Empty if none has opened a line yet."""
    blocks: int
    """Blocks that became available since it opened its first line."""


class Bootstrap:
    """The bootstrap of one store as its process has found it; asked and changed inside a context of its database."""

    def __init__(self, database: Database, node: str) -> None:
        self._database = database
        self._node = node
        self._generation = self._generation_on_disk()
        self.unauthenticated = self.is_marked()
        """Whether what this process makes goes back to a bootstrap without authentication."""
        self.unwatched = False
        """Never unset in a process: what it still has under way when an operator opens the latch rests on nothing."""

    def is_marked(self) -> bool:
        """Whether a bootstrap without authentication has begun, and no operator has opened it again since."""
        return self._database.meta(_UNAUTHENTICATED, "0") == "1"

    def mark(self) -> None:
        """Note that a bootstrap without authentication has begun."""
        self.refuse_old_trust()
        self._database.set_meta(_UNAUTHENTICATED, "1")

    def refuse_old_trust(self) -> None:
        """ConfigurationError if another process has opened the bootstrap again since this one began."""
        if self._generation != self._generation_on_disk():
            raise ConfigurationError(
                f"The bootstrap of {self._node} was opened again while it ran: start it anew, once the same was"
                " done at the other end."
            )

    def open_again(self) -> None:
        """Forget what the last one was; whoever has the store open besides is of the old trust."""
        self._generation = self._generation_on_disk() + 1
        self._database.set_meta(_GENERATION, str(self._generation))
        self._database.set_meta(_UNAUTHENTICATED, "0")
        self._database.set_meta(_ANCHOR, "")

    def begin(self, anchor: str) -> None:
        """Note that a line of `anchor` is open; not if a block of this bootstrap goes back to an earlier one's."""
        self.refuse_old_trust()
        newest, newest_kept = self._database.connection.execute(
            "SELECT COALESCE(MAX(id), 0), COALESCE(MAX(id) FILTER (WHERE state != ?), 0) FROM blocks",
            (State.DISCARDED,),
        ).fetchone()
        if self.anchor() and newest_kept > self._vouches_after():
            return
        self._database.set_meta(_ANCHOR, anchor)
        self._database.set_meta(_VOUCHES_AFTER, str(newest))

    def anchor(self) -> str:
        """Return which anchor began the bootstrap; empty before the first line."""
        return self._database.meta(_ANCHOR, "")

    def vouched(self) -> Vouched:
        """Return which anchor began the bootstrap, and for how many blocks it has vouched until now."""
        blocks = self._database.connection.execute(
            "SELECT COUNT(*) FROM blocks WHERE state = ? AND id > ?", (State.AVAILABLE, self._vouches_after())
        ).fetchone()[0]
        return Vouched(self.anchor(), blocks)

    def _vouches_after(self) -> int:
        return int(self._database.meta(_VOUCHES_AFTER, "0"))

    def _generation_on_disk(self) -> int:
        return int(self._database.meta(_GENERATION, "0"))
