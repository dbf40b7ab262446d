"""Pads of a pre-shared key in the store: spent once, no key of the link's, and gone with their bootstrap."""

import hashlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.keys.allotment import Purpose
from qkdlink.common.store.key_store import KeyStore
from tests.support.stores import block, contents, deposit, open_store, rows

OURS, THEIRS = Purpose.TAGS_ALICE_TO_BOB, Purpose.TAGS_BOB_TO_ALICE
MATERIAL = hashlib.shake_256(b"pads").digest(6 * 32)
PADS = {OURS: MATERIAL[:96], THEIRS: MATERIAL[96:]}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KeyStore]:
    with closing(open_store(tmp_path / "alice")) as one:
        assert one.pads.deposit("a file", PADS)
        yield one


def test_units_are_taken_in_order_and_each_once_even_by_the_next_process(
    store: KeyStore, tmp_path: Path
) -> None:
    assert store.pads.take(OURS, "1") == (0, MATERIAL[:32])
    store.close()
    with closing(open_store(tmp_path / "alice")) as again:
        assert again.pads.deposit("a file", PADS), "the same bootstrap goes on"
        assert again.pads.take(OURS, "2") == (1, MATERIAL[32:64])
        assert again.pads.take(OURS, "2") == (2, MATERIAL[64:96])
        assert again.pads.take(OURS, "2") is None


def test_a_unit_of_the_peers_is_noted_once(store: KeyStore) -> None:
    assert store.pads.ahead(THEIRS) == {0: MATERIAL[96:128], 1: MATERIAL[128:160], 2: MATERIAL[160:]}
    assert store.pads.used(THEIRS, 1, "1")
    assert not store.pads.used(THEIRS, 1, "1")
    assert not store.pads.used(THEIRS, 3, "1")
    assert set(store.pads.ahead(THEIRS)) == {2}
    assert store.pads.left(THEIRS) == 1, "it takes them in order: what it has passed over is gone"


def test_pads_are_no_key_of_the_links(store: KeyStore, tmp_path: Path) -> None:
    one = deposit(store, 1)
    before = store.balance()
    store.pads.take(OURS, "1")
    store.pads.used(THEIRS, 0, "1")
    assert store.balance() == before
    assert store.link_psks() == [one]
    assert store.pending() == []
    assert rows(tmp_path / "alice", "SELECT COUNT(*) FROM blocks") == [(1,)]


@pytest.mark.parametrize("end", ["the latch", "an operator"])
def test_when_a_bootstrap_is_over_nothing_of_its_pads_is_left_and_they_never_come_back(
    store: KeyStore, tmp_path: Path, end: str
) -> None:
    one = deposit(store, 1)
    store.pads.take(OURS, "1")
    if end == "the latch":
        store.begin_epoch(one)
    else:
        store.reopen_bootstrap()
    assert store.pads.take(OURS, "2") is None
    assert store.pads.ahead(THEIRS) == {}
    assert store.pads.left(OURS) == store.pads.left(THEIRS) == 0
    assert rows(tmp_path / "alice", "SELECT COUNT(*) FROM pads WHERE sealed IS NOT NULL") == [(0,)]
    assert store.pads.is_over("a file")
    assert not store.pads.deposit("a file", PADS)
    assert store.pads.take(OURS, "2") is None
    assert store.pads.used(THEIRS, 0, "2") == (end == "the latch"), "said before the end, heard after it"
    assert not store.pads.used(THEIRS, 0, "2")


def test_another_file_takes_the_place_of_the_last_for_good(store: KeyStore) -> None:
    store.reopen_bootstrap()
    assert store.pads.deposit("another file", {OURS: MATERIAL[32:64], THEIRS: MATERIAL[:32]})
    assert store.pads.take(OURS, "3") == (0, MATERIAL[32:64])
    assert store.pads.take(OURS, "3") is None
    assert not store.pads.is_over("another file")
    assert not store.pads.deposit("a file", PADS)
    assert store.pads.ahead(THEIRS) == {0: MATERIAL[:32]}


def test_a_file_that_is_replaced_during_a_bootstrap_is_given_up(store: KeyStore) -> None:
    assert store.pads.deposit("another file", {OURS: MATERIAL[32:64], THEIRS: MATERIAL[:32]})
    assert not store.pads.deposit("a file", PADS)


def test_neither_pads_nor_what_was_burnt_lies_in_clear_on_the_disk(store: KeyStore, tmp_path: Path) -> None:
    sealed = [
        bytes(row[0])
        for row in rows(tmp_path / "alice", "SELECT sealed FROM pads WHERE sealed IS NOT NULL")
        if isinstance(row[0], bytes)
    ]
    assert len(sealed) == 6
    store.pads.take(OURS, "1")
    store.reopen_bootstrap()
    left = contents(tmp_path / "alice")
    assert not any(each in left for each in sealed)
    assert not any(MATERIAL[start : start + 32] in left for start in range(0, len(MATERIAL), 32))


# --- a bootstrap without authentication --------------------------------------------------------------------------


def test_what_goes_back_to_nobodys_word_is_no_applications_not_even_after_a_better_bootstrap(
    tmp_path: Path,
) -> None:
    with closing(open_store(tmp_path / "alice")) as store:
        assert not store.unauthenticated
        store.mark_unauthenticated()
        deposit(store, 1)
        with pytest.raises(ConfigurationError, match="goes back to a bootstrap without authentication"):
            store.deliver(block(1), Purpose.APPLICATIONS_AT_ALICE)
    with closing(open_store(tmp_path / "alice")) as store:
        assert store.unauthenticated, "the mark outlives the process"
        deposit(store, 2)
        store.reopen_bootstrap()
        deposit(store, 3)
        for number in (1, 2, 3):  # the third by a process that had begun before the latch was opened
            with pytest.raises(ConfigurationError, match="without authentication"):
                store.deliver(block(number), Purpose.APPLICATIONS_AT_ALICE)
    with closing(open_store(tmp_path / "alice")) as store:
        assert not store.unauthenticated
        deposit(store, 4)
        assert store.deliver(block(4), Purpose.APPLICATIONS_AT_ALICE)
        with pytest.raises(ConfigurationError, match="without authentication"):
            store.deliver(block(1), Purpose.APPLICATIONS_AT_ALICE)
