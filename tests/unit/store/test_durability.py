"""A process that ends at any statement of any change leaves the state before it or after it, whole."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.keys.allotment import OF_ALICE, UNIT_BITS, Purpose
from qkdlink.common.store.key_store import KeyStore
from qkdlink.common.store.opening import STORE_FILE
from tests.support.dying_stores import (
    CHANGES,
    THEIRS,
    THEIRS_PENDING,
    ends_at,
    on_a_full_disk,
    prepared,
    told_until_killed,
)
from tests.support.stores import block, deposit, open_store

MOST_STATEMENTS = 60
TAGS_ALICE_TO_BOB = Purpose.TAGS_ALICE_TO_BOB


def look(store: KeyStore) -> tuple[object, ...]:
    """Everything that a store says of itself, with the material of tags."""
    numbers = [block(number) for number in range(1, 6)]
    return (
        [store.state(each) for each in numbers],
        [store.proof_key(each) is not None for each in numbers],
        store.link_psks(),
        store.pending(),
        store.epoch(),
        store.balance(),
        store.highest_block(),
        store.peer_key(),
        store._database.meta("own-key", "") != "",
        [store.units.look_up(each) for each in (THEIRS, THEIRS_PENDING)],
        [store.material(block(number), TAGS_ALICE_TO_BOB) for number in (1, 2, 3)],
    )


@pytest.mark.parametrize("change", CHANGES)
def test_whichever_statement_a_process_dies_at_the_change_is_made_or_not_made(
    change: str, tmp_path: Path
) -> None:
    with closing(prepared(tmp_path / "before")) as store:
        before = look(store)
    shutil.copytree(tmp_path / "before", tmp_path / "after")
    with closing(open_store(tmp_path / "after")) as store:
        CHANGES[change](store)
        after = look(store)
    assert before != after
    died = 0
    for statement in range(MOST_STATEMENTS):
        folder = tmp_path / f"died at {statement}"
        shutil.copytree(tmp_path / "before", folder)
        if not ends_at(folder, change, statement):
            break
        died += 1
        with closing(KeyStore.of(folder)) as store:
            assert look(store) == before, f"before the commit nothing has happened (statement {statement})"
            CHANGES[change](store)
            assert look(store) == after
    assert 4 <= died < MOST_STATEMENTS
    with closing(KeyStore.of(folder)) as store:
        assert look(store) == after


def test_what_lay_half_written_on_the_disk_is_undone_by_whoever_looks_next(tmp_path: Path) -> None:
    folder = tmp_path / "alice"
    with closing(prepared(folder)) as store:
        before = look(store)
    file, journal, statement = folder / STORE_FILE, folder / f"{STORE_FILE}-journal", 0
    small = file.stat().st_size
    while file.stat().st_size == small:
        assert ends_at(folder, "hold a large key", statement), "pages are written before the commit"
        statement += 1
    assert journal.stat().st_size > 0
    with closing(KeyStore.of(folder)) as store:
        assert look(store) == before
    assert not journal.exists() or journal.stat().st_size == 0


def test_what_a_killed_process_has_had_in_its_hands_is_never_had_again(tmp_path: Path) -> None:
    units = 1_000  # more than a process can take before it is killed, however slow its reader
    with closing(open_store(tmp_path / "alice")) as store:
        deposit(store, 1, 600_000, tags=False, reserve_bits=2 * units * UNIT_BITS)
    seen: list[str] = []
    for names in (1, 2, 3, 5, 8):
        told = told_until_killed(tmp_path / "alice", names)
        assert len(told) >= names
        seen += told
        with closing(KeyStore.of(tmp_path / "alice")) as store:
            taken = store.units.take(OF_ALICE, "after")
            left = store.units.left(OF_ALICE)
        assert taken is not None
        seen.append(str(taken[0]))
    assert len(seen) == len(set(seen))
    assert len(seen) + left <= units, "burnt at most: nothing is rewound"


def test_a_full_disk_is_one_sentence_and_nothing_has_changed(tmp_path: Path) -> None:
    prepared(tmp_path / "alice").close()
    said = on_a_full_disk(tmp_path / "alice", "hold a large key")
    assert said == {
        # of a limit on the size of files, which stands in for a full disk here, SQLite says no more than this
        "sentence": "The key store of alice cannot be written: disk I/O error.",
        "unchanged": True,
        "afterwards": "pending",
    }


def test_a_store_is_closed_only_when_nobody_writes(tmp_path: Path) -> None:
    store = open_store(tmp_path / "alice")
    with ThreadPoolExecutor() as threads:
        for number in range(1, 200):
            threads.submit(store.opened, number)
        threads.submit(store.close).result()
        late = threads.submit(store.opened, 1_000)
        with pytest.raises(ConfigurationError):
            late.result()
