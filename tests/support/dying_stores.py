"""Stores in processes of their own, which end at a chosen statement or meet a full disk."""

import json
import os
import resource
from collections.abc import Callable
from contextlib import closing, suppress
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.keys.allotment import OF_ALICE, Purpose
from qkdlink.common.store.key_store import KeyStore
from qkdlink.common.store.opening import STORE_FILE
from qkdlink.common.store.tag_units import UnitName
from qkdlink.lab.faults.mortal import fork_server
from tests.support.stores import block, deposit, open_store, secret

LARGE_BITS = 400_000
"""A key that takes more pages than the cache below holds."""
THEIRS = UnitName(block(2), Purpose.TAGS_BOB_TO_ALICE, 1)
THEIRS_PENDING = UnitName(block(3), Purpose.TAGS_BOB_TO_ALICE, 0)


def _prepare(store: KeyStore) -> None:
    deposit(store, 1)
    deposit(store, 2)
    store.begin_epoch(block(1))
    store.hold(block(3), secret(3), 100, tags=True)
    store.hold(block(5), secret(5), 100, tags=True, peer_key=b"a key that was shown")


CHANGES: dict[str, Callable[[KeyStore], object]] = {
    "hold": lambda store: store.hold(block(4), secret(4), 100, tags=True),
    "hold a large key": lambda store: store.hold(block(4), secret(4, LARGE_BITS), 100, tags=True),
    "release": lambda store: store.release(block(3)),
    "discard": lambda store: store.discard(block(3)),
    "begin epoch": lambda store: store.begin_epoch(block(2)),
    "reopen bootstrap": lambda store: store.reopen_bootstrap(),
    "use number": lambda store: store.opened(9),
    "take": lambda store: store.units.take(OF_ALICE, "9"),
    "used": lambda store: store.units.used(THEIRS, "9"),
    "used of a pending block": lambda store: store.units.used(THEIRS_PENDING, "9"),
    "release with a key": lambda store: store.release(block(5)),
    "own key": lambda store: store.own_key("ed25519", lambda: bytes(32)),
}
"""Every change that a store knows, each of them possible in the state that `prepared` leaves."""


def prepared(folder: Path) -> KeyStore:
    """A store in which every change is possible: two available blocks, an epoch, two pending blocks."""
    store = open_store(folder)
    _prepare(store)
    return store


def ends_at(folder: Path, change: str, statement: int) -> bool:
    """Make a change in a process that ends at its n-th statement, before that is executed; False if it had fewer."""
    return _in_a_process(_end_at, folder, change, statement) == 1


def on_a_full_disk(folder: Path, change: str) -> dict[str, object]:
    """Try a change where no file may grow, then once more where it may; return what the store said."""
    assert _in_a_process(_on_a_full_disk, folder, change) == 0
    found: dict[str, object] = json.loads((folder / "said.json").read_text())
    return found


def told_until_killed(folder: Path, names: int) -> list[str]:
    """Let a process take units and tell of each that it has; kill it once so many were told; return all that were."""
    context = _processes()
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_take_and_tell, args=(folder, theirs))
    process.start()
    theirs.close()
    told = [ours.recv() for _ in range(names)]
    process.kill()
    process.join(60)
    with suppress(EOFError):
        while True:
            told.append(ours.recv())
    return told


def _processes() -> ForkServerContext:
    """Return what forks them; the nodes of `qkdlink.lab.faults.mortal` come from the same server, which preloads only
    what it is told first."""
    return fork_server(
        "tests.support.dying_stores", "qkdlink.lab.faults.mortal", "qkdlink.deployment.launching.warm"
    )


def _take_and_tell(folder: Path, listener: Connection) -> None:
    store = open_store(folder)
    while taken := store.units.take(OF_ALICE, "a block"):
        listener.send(str(taken[0]))


def _in_a_process(target: Callable[..., None], *arguments: object) -> int | None:
    context = _processes()
    process = context.Process(target=target, args=arguments)
    process.start()
    process.join(60)
    return process.exitcode


def _end_at(folder: Path, change: str, statement: int) -> None:
    store, seen = open_store(folder), 0
    store._database.connection.execute("PRAGMA cache_size = 1")

    def count(_: str) -> None:
        nonlocal seen
        seen += 1
        if seen > statement:
            os._exit(1)

    store._database.connection.set_trace_callback(count)
    CHANGES[change](store)
    os._exit(0)


def _on_a_full_disk(folder: Path, change: str) -> None:
    said: dict[str, object] = {"sentence": None}
    with closing(open_store(folder)) as store:
        before = store.balance()
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, ((folder / STORE_FILE).stat().st_size, hard))
        try:
            CHANGES[change](store)
        except ConfigurationError as error:
            said["sentence"] = str(error)
        said["unchanged"] = store.balance() == before and store.state(block(4)) is None
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        CHANGES[change](store)
        said["afterwards"] = store.state(block(4))
    (folder / "said.json").write_text(json.dumps(said))
