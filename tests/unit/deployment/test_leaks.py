"""What leaked is in Eve's copy of a store bit for bit, and everything else there is a guess."""

from collections.abc import Iterator
from contextlib import closing
from itertools import product
from pathlib import Path

import pytest

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.keys.allotment import OF_ALICE, OF_BOB, Purpose
from qkdlink.common.keys.derivation import key_id
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.store.key_store import KeyStore
from qkdlink.common.store.opening import STORE_FILE, STORE_KEY_FILE
from qkdlink.deployment.stolen.leaks import Loot, rob_store
from tests.support.stores import ALICE_OWNER, deposit, in_memory, open_store

TAGS = (*OF_ALICE, *OF_BOB)


@pytest.fixture
def homes() -> Iterator[tuple[Path, Path]]:
    with in_memory() as folder:
        (folder / "eve").mkdir()
        yield folder / "alice", folder / "eve"


def furnish(victim: Path) -> tuple[BlockId, BlockId]:
    """An epoch under the first block's PSK, and a newer block whose PSK has not been used; a unit is used up."""
    with closing(open_store(victim)) as store:
        current, newer = (deposit(store, number, 4_000, reserve_bits=2_048) for number in (1, 2))
        store.begin_epoch(current)
        assert store.units.take(OF_ALICE, "3") is not None
        return current, newer


def parts(folder: Path, blocks: tuple[BlockId, BlockId]) -> dict[tuple[BlockId, Purpose], bytes]:
    with closing(KeyStore.of(folder)) as store:
        found = {
            (block, purpose): store.material(block, purpose) for block, purpose in product(blocks, Purpose)
        }
    return {place: material for place, material in found.items() if material is not None}


@pytest.mark.parametrize(("link_psk", "tag_keys"), [*product((False, True), repeat=2)])
def test_what_leaked_is_the_victims_and_every_other_secret_is_a_guess(
    homes: tuple[Path, Path], *, link_psk: bool, tag_keys: bool
) -> None:
    victim, hers = homes
    blocks = furnish(victim)
    rob_store(victim, ALICE_OWNER, Loot(link_psk=link_psk, tag_keys=tag_keys), hers)
    theirs, copy = parts(victim, blocks), parts(hers, blocks)
    leaked = {
        (block, purpose)
        for block, purpose in theirs
        if (link_psk and purpose is Purpose.LINK_PSK and block == blocks[0]) or (tag_keys and purpose in TAGS)
    }
    assert theirs.keys() == copy.keys()
    assert {place for place in theirs if theirs[place] == copy[place]} == leaked
    assert all(len(theirs[place]) == len(copy[place]) for place in theirs)


def test_the_copy_stands_where_the_victim_stood(homes: tuple[Path, Path]) -> None:
    victim, hers = homes
    current, newer = furnish(victim)
    rob_store(victim, ALICE_OWNER, Loot(link_psk=True, tag_keys=True), hers)
    with closing(KeyStore.of(victim)) as store, closing(KeyStore.of(hers)) as copy:
        assert copy.epoch() == store.epoch()
        assert copy.epoch().key_id == key_id(current)
        assert copy.link_psks() == store.link_psks() == [newer, current]
        assert copy.units.take(OF_ALICE, "4") == store.units.take(OF_ALICE, "4")
        assert copy.proof_key(newer) != store.proof_key(newer)


def test_the_victims_store_key_stays_where_it_is_and_hers_is_private(homes: tuple[Path, Path]) -> None:
    victim, hers = homes
    furnish(victim)
    rob_store(victim, ALICE_OWNER, Loot(tag_keys=True), hers)
    assert (victim / STORE_KEY_FILE).read_bytes() != (hers / STORE_KEY_FILE).read_bytes()
    assert {(hers / name).stat().st_mode & 0o777 for name in (STORE_FILE, STORE_KEY_FILE)} == {0o600}


def test_where_there_is_no_store_there_is_nothing_to_steal(homes: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigurationError, match="There is no key store"):
        rob_store(homes[0], ALICE_OWNER, Loot(link_psk=True), homes[1])
