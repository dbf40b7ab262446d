"""The tables of a key store, and the words that stand in them."""

from enum import StrEnum

SCHEMA_VERSION = "2"
LARGEST_NUMBER = 2**63 - 1
"""What SQLite can hold."""
TABLES = """
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
CREATE TABLE pads (
    purpose TEXT NOT NULL, unit INTEGER NOT NULL, sealed BLOB, used_for TEXT, PRIMARY KEY (purpose, unit)) STRICT;
CREATE TABLE pad_files (id TEXT PRIMARY KEY, over INTEGER NOT NULL) STRICT;
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
