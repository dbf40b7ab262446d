"""Key stores for tests: blocks with names and keys of their own, and a look at everything that lies in the file."""

import hashlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from qkdlink.common.distillation.stages import SecretKey
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.store.key_store import KeyStore
from qkdlink.common.store.opening import STORE_FILE
from qkdlink.common.store.owner import StoreOwner

LINK = "link-1"
SESSION = "5e" * 16
ALICE_OWNER = StoreOwner(LINK, "alice", reproducible=False)


def block(number: int, session: str = SESSION) -> BlockId:
    """Name a block of the link."""
    return BlockId(LINK, session, number)


def secret(number: int, bits: int = 2_000, reserve_bits: int = 0) -> SecretKey:
    """Return the key of a block: the same at every call, and like random."""
    material = hashlib.shake_256(f"key of block {number}".encode()).digest((bits + 7) // 8)
    return SecretKey(material, bits, reserve_bits)


def open_store(folder: Path, owner: StoreOwner = ALICE_OWNER) -> KeyStore:
    """Open the store in a folder, making the folder if there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    return KeyStore.open(folder, owner)


def deposit(
    store: KeyStore, number: int, bits: int = 2_000, *, tags: bool = True, reserve_bits: int = 0
) -> BlockId:
    """Make a block available."""
    store.hold(block(number), secret(number, bits, reserve_bits), 100, tags=tags)
    store.release(block(number))
    return block(number)


def rows(folder: Path, query: str) -> list[tuple[object, ...]]:
    """Ask the file itself, past the store."""
    with closing(sqlite3.connect(folder / STORE_FILE)) as connection:
        return connection.execute(query).fetchall()


def change(folder: Path, statement: str, *values: object) -> None:
    """Tamper with the file."""
    with closing(sqlite3.connect(folder / STORE_FILE, isolation_level=None)) as connection:
        connection.execute(statement, values)


def contents(folder: Path) -> bytes:
    """Return every byte that lies on disk beside the store key."""
    return b"".join(path.read_bytes() for path in sorted(folder.glob(f"{STORE_FILE}*")))


def fast_folder() -> Path:
    """Make a folder for stores whose durability is not the subject: in memory, where the system has such a place."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
    return Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))


@contextmanager
def in_memory() -> Iterator[Path]:
    """Lend such a folder, and remove it afterwards."""
    folder = fast_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
