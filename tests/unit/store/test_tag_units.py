"""Units for tags: in order, spent on disk before they are used, never twice; what a peer may look up, and what not."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.keys.allotment import (
    OF_ALICE,
    OF_BOB,
    RESERVE_TARGET_BITS,
    TAG_BITS,
    UNIT_BITS,
    Purpose,
    cut,
)
from qkdlink.common.store.key_store import KeyStore
from qkdlink.common.store.tag_units import UNIT_BYTES, UnitName
from tests.support.stores import (
    ALICE_OWNER,
    LINK,
    SESSION,
    block,
    contents,
    deposit,
    open_store,
    rows,
    secret,
)

BITS, RESERVE_BITS = 4_000, 4 * UNIT_BITS
PER_BLOCK = TAG_BITS // UNIT_BITS
TAGS_A, RESERVE_A = OF_ALICE
TAGS_B, RESERVE_B = OF_BOB


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "alice"


@pytest.fixture
def store(home: Path) -> Iterator[KeyStore]:
    with closing(open_store(home)) as opened:
        yield opened


def unit(number: int, purpose: Purpose, index: int) -> UnitName:
    return UnitName(block(number), purpose, index)


def material(name: UnitName, bits: int = BITS, reserve_bits: int = RESERVE_BITS) -> bytes:
    """What the rule cuts for a unit, told without the store."""
    parts = {part.purpose: part for part in cut(bits, tags=True, reserve_bits=reserve_bits)}
    start = parts[name.purpose].start + name.unit * UNIT_BYTES
    return secret(name.block.number, bits).material[start : start + UNIT_BYTES]


def filled(store: KeyStore, *numbers: int) -> KeyStore:
    for number in numbers:
        deposit(store, number, BITS, reserve_bits=RESERVE_BITS)
    return store


# --- taking ---------------------------------------------------------------------------------------------------


def test_units_are_taken_oldest_block_first_the_reserve_last_and_then_there_is_none(store: KeyStore) -> None:
    filled(store, 1, 2)
    expected = [unit(number, purpose, index) for purpose in OF_ALICE for number in (1, 2) for index in (0, 1)]
    taken = [store.units.take(OF_ALICE, "3") for _ in expected]
    assert taken == [(name, material(name)) for name in expected]
    assert store.units.take(OF_ALICE, "3") is None
    assert store.units.left(OF_ALICE) == 0
    assert store.units.left(OF_BOB) == len(expected)


def test_the_oldest_block_is_the_one_with_the_lowest_number_whenever_it_came(store: KeyStore) -> None:
    filled(store, 2, 1)
    assert store.units.take(OF_ALICE, "3") == (name := unit(1, TAGS_A, 0), material(name))


def test_nothing_is_taken_of_a_pending_block(store: KeyStore) -> None:
    store.hold(block(1), secret(1, BITS), 0, tags=True)
    assert store.units.take(OF_ALICE, "2") is None
    assert store.units.left(OF_ALICE) == 0
    store.release(block(1))
    assert store.units.take(OF_ALICE, "2") is not None


def test_nothing_is_taken_of_a_key_that_was_not_cut_for_tags(store: KeyStore) -> None:
    deposit(store, 1, tags=False)
    assert store.units.take((*OF_ALICE, *OF_BOB), "2") is None


def test_what_was_taken_is_gone_from_the_disk_before_it_is_used_and_its_use_is_written_down(
    store: KeyStore, home: Path
) -> None:
    filled(store, 1)
    sealed = [blob for (blob,) in rows(home, "SELECT sealed FROM parts WHERE purpose = 'tags-alice-to-bob'")]
    assert store.units.take(OF_ALICE, "7") is not None
    assert not [blob for blob in sealed if isinstance(blob, bytes) and blob in contents(home)]
    assert store.material(block(1), TAGS_A) == bytes(UNIT_BYTES) + material(unit(1, TAGS_A, 1))
    assert rows(home, "SELECT purpose, unit, used_for FROM units") == [(TAGS_A, 0, "7")]


def test_a_part_whose_units_are_used_up_is_spent_and_has_no_material(store: KeyStore, home: Path) -> None:
    filled(store, 1)
    for state in ("available", "spent"):
        store.units.take(OF_ALICE, "7")
        assert rows(home, "SELECT state FROM parts WHERE purpose = 'tags-alice-to-bob'") == [(state,)]
    assert store.material(block(1), TAGS_A) is None


def test_each_unit_is_in_the_ledger_and_no_longer_available(store: KeyStore) -> None:
    filled(store, 1)
    before = store.balance()
    store.units.take(OF_ALICE, "7")
    store.units.used(unit(1, TAGS_B, 0), "7")
    after = store.balance()
    assert after.spent == {TAGS_A: UNIT_BITS, TAGS_B: UNIT_BITS}
    assert before.available_bits - after.available_bits == after.authentication_bits == 2 * UNIT_BITS
    assert after.net_gain_per_block == BITS - 2 * UNIT_BITS


def test_many_who_take_at_once_from_one_store_or_two_never_get_the_same(store: KeyStore, home: Path) -> None:
    there = 4 * (PER_BLOCK + 2)
    filled(store, 1, 2, 3, 4)
    with closing(open_store(home)) as other, ThreadPoolExecutor(8) as threads:
        stores = [store, other] * (there // 2 + 2)
        taken = list(threads.map(lambda each: each.units.take(OF_ALICE, "5"), stores))
    names = [found[0] for found in taken if found is not None]
    assert len(names) == len(set(names)) == there
    assert {found[1] for found in taken if found is not None} == {material(name) for name in names}


def test_of_those_who_note_the_same_use_at_once_one_is_believed(store: KeyStore) -> None:
    filled(store, 1)
    with ThreadPoolExecutor(8) as threads:
        noted = list(threads.map(lambda _: store.units.used(unit(1, TAGS_B, 0), "5"), range(16)))
    assert noted.count(True) == 1


def test_a_restart_goes_on_where_the_last_life_ended(store: KeyStore, home: Path) -> None:
    filled(store, 1)
    store.units.take(OF_ALICE, "7")
    store.units.used(unit(1, TAGS_B, 0), "7")
    store.close()
    with closing(open_store(home)) as again:
        assert again.units.look_up(unit(1, TAGS_B, 0)) is None
        assert not again.units.used(unit(1, TAGS_B, 0), "8")
        assert again.units.take(OF_ALICE, "8") == (name := unit(1, TAGS_A, 1), material(name))


# --- looking up what the peer names -----------------------------------------------------------------------------


def test_a_unit_that_the_peer_has_named_is_used_once_and_then_unknown(store: KeyStore) -> None:
    filled(store, 1)
    named = unit(1, RESERVE_B, 1)
    assert store.units.look_up(named) == store.units.look_up(named) == material(named)
    assert store.units.used(named, "7") is True
    assert store.units.look_up(named) is None
    assert store.units.used(named, "7") is False
    assert store.material(block(1), RESERVE_B) == material(unit(1, RESERVE_B, 0)) + bytes(UNIT_BYTES)


@pytest.mark.parametrize(
    "named",
    [
        unit(9, TAGS_B, 0),
        UnitName(block(1, "7a" * 16), TAGS_B, 0),
        unit(1, TAGS_B, PER_BLOCK),
        unit(1, RESERVE_B, 10**9 - 1),
        unit(10**18 - 1, TAGS_B, 0),
    ],
    ids=["unknown block", "other session", "beyond the part", "far beyond it", "the highest number"],
)
def test_what_is_not_here_is_neither_found_nor_used(store: KeyStore, named: UnitName) -> None:
    filled(store, 1)
    before = store.balance()
    assert store.units.look_up(named) is None
    assert store.units.used(named, "7") is False
    assert store.balance() == before


def test_a_pending_block_serves_the_peer_and_is_entered_at_its_release(store: KeyStore) -> None:
    """The peer may have our confirmation while we still wait for its own."""
    store.hold(block(1), secret(1, BITS, RESERVE_BITS), 0, tags=True)
    named = unit(1, TAGS_B, 0)
    assert store.units.look_up(named) == material(named)
    assert store.units.used(named, "2")
    assert not store.units.used(named, "2")
    assert store.balance().spent == {}
    store.release(block(1))
    balance = store.balance()
    assert balance.spent == {TAGS_B: UNIT_BITS}
    assert balance.available_bits + UNIT_BITS == balance.produced_bits
    assert store.units.look_up(named) is None


def test_a_block_that_is_discarded_counts_for_nothing_and_gives_nothing(store: KeyStore) -> None:
    store.hold(block(1), secret(1, BITS), 0, tags=True)
    assert store.units.used(unit(1, TAGS_B, 0), "2")
    store.discard(block(1))
    assert store.units.look_up(unit(1, TAGS_B, 1)) is None
    assert store.balance().spent == {}


def test_a_unit_that_lies_elsewhere_than_its_name_says_does_not_open(store: KeyStore) -> None:
    filled(store, 1, 2)
    with store._database.transaction() as database:
        database.execute(
            "UPDATE parts SET sealed = (SELECT sealed FROM parts WHERE block = 2 AND purpose = ?)"
            " WHERE block = 1 AND purpose = ?",
            (TAGS_B, TAGS_B),
        )
    with pytest.raises(ConfigurationError, match="does not open"):
        store.units.look_up(unit(1, TAGS_B, 0))


# --- names --------------------------------------------------------------------------------------------------

NUMBERS, UNITS = st.integers(1, 10**18 - 1), st.integers(0, 10**9 - 1)


@given(
    st.text("0123456789abcdef", min_size=32, max_size=32),
    NUMBERS,
    st.sampled_from((*OF_ALICE, *OF_BOB)),
    UNITS,
)
def test_a_name_reads_as_what_it_was_written_from(
    session: str, number: int, purpose: Purpose, index: int
) -> None:
    name = UnitName(block(number, session), purpose, index)
    assert UnitName.read(str(name), LINK) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"{SESSION}/1/{TAGS_B}",
        f"{SESSION}/1/{TAGS_B}/",
        f"{SESSION}/1/{TAGS_B}/-1",
        f"{SESSION}/1/{TAGS_B}/00",
        f"{SESSION}/01/{TAGS_B}/0",
        f"{SESSION}/0/{TAGS_B}/0",
        f"{SESSION}/{10**18}/{TAGS_B}/0",
        f"{SESSION}/1/{TAGS_B}/{10**9}",
        f"{SESSION}/1/{Purpose.LINK_PSK}/0",
        f"{SESSION}/1/{Purpose.APPLICATIONS_AT_BOB}/0",
        f"{SESSION}/1/{TAGS_B.upper()}/0",
        f"{SESSION.upper()}/1/{TAGS_B}/0",
        f"{SESSION[1:]}/1/{TAGS_B}/0",
        f"{SESSION}/1/{TAGS_B}/0\n",
        f" {SESSION}/1/{TAGS_B}/0",
        f"{SESSION}/\N{ARABIC-INDIC DIGIT ONE}/{TAGS_B}/0",
        f"{LINK}/{SESSION}/1/{TAGS_B}/0",
    ],
)
def test_what_is_no_name_of_a_unit_for_tags_is_not_read(text: str) -> None:
    assert UnitName.read(text, LINK) is None


TOLD = st.one_of(
    st.text(max_size=120),
    st.from_regex(
        r"[0-9a-f]{32}/[0-9]{1,25}/(tags|reserve|link|applications)-[a-z-]{1,20}/[0-9]{1,25}", fullmatch=True
    ),
    st.tuples(NUMBERS, st.sampled_from(list(Purpose)), UNITS).map(
        lambda told: f"{SESSION}/{told[0]}/{told[1]}/{told[2]}"
    ),
)


@pytest.fixture(scope="module")
def untrusting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyStore]:
    with closing(open_store(tmp_path_factory.mktemp("told") / "alice")) as store:
        yield filled(store, 1)


@given(told=TOLD)
def test_whatever_a_peer_calls_a_unit_is_read_in_its_one_spelling_or_not_at_all(
    untrusting: KeyStore, told: str
) -> None:
    name = UnitName.read(told, LINK)
    if name is None:
        return
    assert str(name) == told
    found = untrusting.units.look_up(name)
    assert (found is not None) == (name.block == block(1) and name.unit < 2)


# --- what is left, and what the reserve lacks --------------------------------------------------------------------


def test_an_empty_reserve_lacks_all_and_the_emptier_side_counts(store: KeyStore) -> None:
    assert store.reserve_lacks_bits() == RESERVE_TARGET_BITS
    filled(store, 1)
    assert store.reserve_lacks_bits() == RESERVE_TARGET_BITS - RESERVE_BITS
    store.units.take((RESERVE_A,), "2")
    assert store.reserve_lacks_bits() == RESERVE_TARGET_BITS - RESERVE_BITS + 2 * UNIT_BITS
    store.units.used(unit(1, RESERVE_B, 0), "2")
    assert store.reserve_lacks_bits() == RESERVE_TARGET_BITS - RESERVE_BITS + 2 * UNIT_BITS


def test_a_full_reserve_lacks_nothing(store: KeyStore) -> None:
    deposit(store, 1, 2 * RESERVE_TARGET_BITS, reserve_bits=RESERVE_TARGET_BITS)
    assert store.reserve_lacks_bits() == 0
    deposit(store, 2, BITS, reserve_bits=RESERVE_BITS)
    assert store.reserve_lacks_bits() == 0


def test_the_reserve_of_a_pending_block_is_not_there_yet(store: KeyStore) -> None:
    store.hold(block(1), secret(1, BITS, RESERVE_BITS), 0, tags=True)
    assert store.reserve_lacks_bits() == RESERVE_TARGET_BITS


def test_what_the_peer_has_passed_over_is_not_left(store: KeyStore) -> None:
    """An attacker spoils the peer's tags: we never note their pads, and the peer will never use them again."""
    filled(store, 1, 2, 3)
    assert store.units.left((RESERVE_B,)) == 6
    assert store.units.used(unit(2, RESERVE_B, 1), "9")
    assert store.units.left((RESERVE_B,)) == 2, "those of block 3 alone"
    assert store.units.used(unit(2, RESERVE_B, 0), "8"), (
        "a tag that was overtaken by another is still believed"
    )


def test_of_our_own_nothing_is_passed_over_when_an_older_block_is_settled_late(store: KeyStore) -> None:
    store.hold(block(1), secret(1, BITS, RESERVE_BITS), 0, tags=True)
    filled(store, 2)
    store.units.take(OF_ALICE, "3")
    store.release(block(1))
    assert store.units.left(OF_ALICE) == 2 * (PER_BLOCK + 2) - 1
    assert store.units.take(OF_ALICE, "3") == (name := unit(1, TAGS_A, 0), material(name))


# --- keys that are pinned -----------------------------------------------------------------------------------------


def test_the_own_key_is_drawn_once_and_lies_sealed(store: KeyStore, home: Path) -> None:
    key, *others = keys = [secret(number, 256).material for number in range(1, 4)]
    drawn = iter(keys)
    assert store.own_key("ed25519", lambda: next(drawn)) == key
    assert list(drawn) == others
    store.close()
    with closing(open_store(home)) as again:
        assert again.own_key("ed25519", lambda: bytes(32)) == key
    assert key not in contents(home)
    assert key.hex().encode() not in contents(home)


def test_a_signing_key_serves_one_scheme_until_a_bootstrap_is_opened_again(store: KeyStore) -> None:
    key = store.own_key("ed25519", lambda: b"drawn for the first")
    with pytest.raises(
        ConfigurationError,
        match=r"are of ed25519, not of ml-dsa-65: .* that the link began with.*bootstrap --again",
    ):
        store.own_key("ml-dsa-65", lambda: b"never drawn")
    assert store.own_key("ed25519", lambda: b"never drawn") == key


def test_a_peers_key_is_pinned_with_the_first_key_that_comes_of_its_block(store: KeyStore) -> None:
    assert store.peer_key() == b""
    for number, key in ((1, b"never confirmed"), (2, b"the first"), (3, b"a later one")):
        store.hold(block(number), secret(number), 0, tags=True, peer_key=key)
    assert store.peer_key() == b""
    store.discard(block(1))
    store.release(block(2))
    store.release(block(3))
    assert store.peer_key() == b"the first"


def test_a_block_in_which_nothing_was_shown_pins_nothing(store: KeyStore) -> None:
    deposit(store, 1)
    assert store.peer_key() == b""


def test_a_second_bootstrap_forgets_both_keys_and_what_was_shown_before_it(store: KeyStore) -> None:
    store.hold(block(1), secret(1), 0, tags=True, peer_key=b"before")
    store.hold(block(2), secret(2), 0, tags=True, peer_key=b"before, and pending")
    store.release(block(1))
    store.own_key("ed25519", lambda: b"drawn before")
    store.reopen_bootstrap()
    assert store.peer_key() == b""
    assert store.own_key("ml-dsa-65", lambda: b"drawn anew") == b"drawn anew"
    store.release(block(2))
    assert store.peer_key() == b"", "the key of a thief may have been shown there"
    store.hold(block(3), secret(3), 0, tags=True, peer_key=b"after")
    store.release(block(3))
    assert store.peer_key() == b"after"


def test_a_second_bootstrap_burns_what_tags_were_to_be_made_with(store: KeyStore, home: Path) -> None:
    filled(store, 1)
    store.units.take(OF_ALICE, "2")
    store.hold(block(2), secret(2, BITS), 0, tags=True)
    store.units.used(unit(2, TAGS_B, 0), "3")
    available = store.balance().available_bits
    store.reopen_bootstrap()
    assert store.units.take(OF_ALICE, "4") is None
    assert store.units.look_up(unit(1, TAGS_B, 0)) is store.units.look_up(unit(2, TAGS_B, 1)) is None
    assert (
        rows(home, "SELECT * FROM parts WHERE sealed IS NOT NULL AND purpose NOT LIKE 'applications%'") == []
    )
    balance = store.balance()
    assert balance.authentication_bits == 2 * TAG_BITS + RESERVE_BITS
    assert available - balance.available_bits == balance.authentication_bits - UNIT_BITS + balance.psk_bits
    store.release(block(2))
    balance = store.balance()
    assert balance.authentication_bits == 4 * TAG_BITS + RESERVE_BITS
    assert balance.available_bits + sum(balance.spent.values()) == balance.produced_bits
    assert store.units.left((*OF_ALICE, *OF_BOB)) == 0


def test_both_sides_cut_and_name_the_same_units(store: KeyStore, tmp_path: Path) -> None:
    filled(store, 1)
    with closing(open_store(tmp_path / "bob", replace(ALICE_OWNER, node="bob"))) as bob:
        filled(bob, 1)
        for ours, theirs, parts in ((store, bob, OF_ALICE), (bob, store, OF_BOB)):
            while taken := ours.units.take(parts, "2"):
                name = UnitName.read(str(taken[0]), LINK)
                assert name is not None
                assert theirs.units.look_up(name) == taken[1]
                assert theirs.units.used(name, "2")
        assert store.balance().spent == bob.balance().spent


def test_blocks_that_took_units_since_the_newest_key_are_counted_once_each_in_every_later_process(
    home: Path,
) -> None:
    with closing(open_store(home)) as store:
        assert filled(store, 1, 2).units.blocks_since_a_key() == 0
        for used_for in ("2", "3", "3", "10"):
            store.units.take(OF_ALICE, used_for)
    with closing(open_store(home)) as store:
        assert store.units.blocks_since_a_key() == 2
        assert filled(store, 11).units.blocks_since_a_key() == 0
