"""The file under a key store: one connection that threads share, transactions that are on disk when they end."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from qkdlink.common.errors import ConfigurationError


class Database:
    """The connection of one node's store; what is read or changed is read or changed inside one of two contexts."""

    def __init__(self, connection: sqlite3.Connection, node: str) -> None:
        connection.row_factory = sqlite3.Row
        self.connection = connection
        self._node = node
        self._lock = threading.Lock()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Keep other threads out; ConfigurationError if the file cannot be read."""
        with self._lock:
            try:
                yield self.connection
            except sqlite3.Error as error:
                raise ConfigurationError(f"The key store of {self._node} cannot be read: {error}.") from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Make one change, which is on disk at the end, or undone; ConfigurationError if it cannot be written."""
        with self._lock:
            try:
                self.connection.execute("BEGIN IMMEDIATE")
                yield self.connection
                self.connection.execute("COMMIT")
            except sqlite3.Error as error:
                self._roll_back()
                raise ConfigurationError(
                    f"The key store of {self._node} cannot be written: {error}."
                ) from error
            except BaseException:
                self._roll_back()
                raise

    def close(self) -> None:
        """Close the file, once whoever is writing has finished; a cancelled task may have left its thread at it."""
        with self._lock:
            self.connection.close()

    def meta(self, name: str, default: str) -> str:
        """Return a value that is kept by its name."""
        row = self.connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return default if row is None else str(row["value"])

    def set_meta(self, name: str, value: str) -> None:
        """Keep a value by its name, inside a transaction."""
        self.connection.execute(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )

    def _roll_back(self) -> None:
        with suppress(sqlite3.ProgrammingError):  # it was closed in the meantime, which rolls back as well
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
