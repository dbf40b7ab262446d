"""How the file of a key store and its key are found, made at the first start, and refused when they are not ours."""

import os
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import quote

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.store.database import Database
from qkdlink.common.store.owner import StoreOwner, place_of_seal
from qkdlink.common.store.schema import SCHEMA_VERSION, TABLES
from qkdlink.common.store.sealing import StoreSeal

STORE_FILE, STORE_KEY_FILE = "store.db", "store.key"
_BUSY_TIMEOUT_S = 10.0


def open_database(folder: Path, owner: StoreOwner) -> tuple[Database, StoreSeal]:
    """Open the file in a node's home and the seal of its material, making both at the first start.

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
        database = Database(connection, owner.node)
        _furnish(database, seal, owner)
        _check_owner(database, seal, owner, path)
        opened.pop_all()
    return database, seal


def told_by(path: Path) -> dict[str, str]:
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
            f"The key store {store} is gone, but its key {key} is there: never put back a copy; remove"
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


def _furnish(database: Database, seal: StoreSeal, owner: StoreOwner) -> None:
    with database.transaction() as connection:
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone() is None:
            for statement in TABLES.split(";"):
                connection.execute(statement)
            for name, value in _identity(owner).items():
                database.set_meta(name, value)
            database.set_meta("seal", seal.seal(b"", place_of_seal(owner)).hex())


def _identity(owner: StoreOwner) -> dict[str, str]:
    return {
        "schema": SCHEMA_VERSION,
        "link": owner.link,
        "node": owner.node,
        "reproducible": str(int(owner.reproducible)),
    }


def _check_owner(database: Database, seal: StoreSeal, owner: StoreOwner, path: Path) -> None:
    with database.reading():
        found = {name: database.meta(name, "") for name in _identity(owner)}
        sealed = database.meta("seal", "")
    if found["schema"] != SCHEMA_VERSION:
        raise ConfigurationError(
            f"The key store {path} was made by another version of qkdlink (schema '{found['schema']}', not"
            f" '{SCHEMA_VERSION}'): use that version, or give its keys up by removing {STORE_FILE} and"
            f" {STORE_KEY_FILE} at both ends, and, with a pre-shared key, making a new one for both, and start both"
            " nodes to bootstrap the link anew."
        )
    for name, value in _identity(owner).items():
        if found[name] != value:
            raise ConfigurationError(
                f"The key store {path} has {name} '{found[name]}', this node {name} '{value}': they do not go"
                " together."
            )
    try:
        seal.unseal(bytes.fromhex(sealed), place_of_seal(owner))
    except ValueError as error:
        raise ConfigurationError(f"The key store {path} is damaged.") from error
