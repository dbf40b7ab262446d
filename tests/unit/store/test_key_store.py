"""The key store: two phases, epochs and the latch, whose store it is, and what lies on the disk."""

import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from qkdlink.common.errors import ConfigurationError, LocalProtocolError
from qkdlink.common.keys.allotment import Purpose, cut
from qkdlink.common.keys.derivation import key_id, resume_proof_key
from qkdlink.common.store.bootstrap import Vouched
from qkdlink.common.store.epochs import Epoch
from qkdlink.common.store.key_store import KeyStore
from qkdlink.common.store.opening import STORE_FILE, STORE_KEY_FILE
from qkdlink.common.store.schema import State
from tests.support.stores import (
    ALICE_OWNER,
    block,
    change,
    contents,
    deposit,
    open_store,
    rows,
    secret,
)

OTHER_SESSION = "7a" * 16
LINK_PSK = Purpose.LINK_PSK


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "alice"


@pytest.fixture
def store(home: Path) -> Iterator[KeyStore]:
    with closing(open_store(home)) as opened:
        yield opened


# --- two phases ---------------------------------------------------------------------------------------------


def test_a_held_block_is_pending_with_all_its_parts_and_its_proof_and_counts_for_nothing(
    store: KeyStore,
) -> None:
    store.hold(block(1), secret(1), 100, tags=True)
    assert store.state(block(1)) is State.PENDING
    assert store.pending() == [block(1)]
    assert store.secret_bits(block(1)) == 2_000
    for part in cut(2_000, tags=True):
        assert store.material(block(1), part.purpose) == part.of(secret(1).material)
    assert store.proof_key(block(1)) == resume_proof_key(secret(1).material[:32])
    balance = store.balance()
    assert (balance.produced_bits, balance.leaked_bits, balance.available_bits) == (0, 0, 0)
    assert balance.pending_blocks == 1


def test_a_released_block_is_available_and_in_the_ledger_and_releasing_it_again_changes_nothing(
    store: KeyStore,
) -> None:
    store.hold(block(1), secret(1), 100, tags=True)
    assert store.release(block(1)) is True
    after = store.balance()
    assert store.release(block(1)) is False
    assert store.balance() == after
    assert store.state(block(1)) is State.AVAILABLE
    assert store.pending() == []
    assert (after.produced_bits, after.leaked_bits, after.available_bits) == (2_000, 100, 2_000)


def test_a_block_is_held_once_in_its_life(store: KeyStore) -> None:
    store.hold(block(1), secret(1), 100, tags=True)
    for settle in (lambda: None, lambda: store.release(block(1))):
        settle()
        with pytest.raises(LocalProtocolError, match="has a key already"):
            store.hold(block(1), secret(2), 100, tags=True)
    assert store.material(block(1), LINK_PSK) == secret(1).material[:32]
    store.hold(block(2), secret(2), 100, tags=True)
    store.discard(block(2))
    with pytest.raises(LocalProtocolError, match="has a key already"):
        store.hold(block(2), secret(2), 100, tags=True)


def test_the_same_number_in_another_session_is_another_block(store: KeyStore) -> None:
    store.hold(block(1), secret(1), 100, tags=True)
    store.hold(block(1, OTHER_SESSION), secret(2), 100, tags=True)
    assert store.pending() == [block(1), block(1, OTHER_SESSION)]
    assert store.material(block(1, OTHER_SESSION), LINK_PSK) == secret(2).material[:32]


def test_a_key_too_short_for_a_link_psk_is_not_held(store: KeyStore) -> None:
    with pytest.raises(LocalProtocolError, match="too short for a link PSK"):
        store.hold(block(1), secret(1, 255), 100, tags=True)
    assert store.state(block(1)) is None


def test_a_discarded_block_is_gone_but_its_name(store: KeyStore, home: Path) -> None:
    store.hold(block(1), secret(1), 100, tags=True)
    sealed = [blob for (blob,) in rows(home, "SELECT sealed FROM parts UNION SELECT proof FROM blocks")]
    store.discard(block(1))
    store.discard(block(1))
    assert store.state(block(1)) is State.DISCARDED
    assert store.pending() == []
    assert store.proof_key(block(1)) is None
    assert all(store.material(block(1), purpose) is None for purpose in Purpose)
    assert rows(home, "SELECT * FROM parts") == []
    assert store.balance().produced_bits == 0
    assert not [blob for blob in sealed if isinstance(blob, bytes) and blob in contents(home)]


def test_an_available_block_cannot_be_discarded_nor_a_discarded_or_unknown_one_released(
    store: KeyStore,
) -> None:
    deposit(store, 1)
    with pytest.raises(LocalProtocolError, match="is available and cannot be discarded"):
        store.discard(block(1))
    assert store.state(block(1)) is State.AVAILABLE
    store.hold(block(2), secret(2), 100, tags=True)
    store.discard(block(2))
    for gone in (block(2), block(3)):
        with pytest.raises(LocalProtocolError, match="has no pending key"):
            store.release(gone)
    store.discard(block(3))
    assert store.state(block(3)) is None


@pytest.mark.parametrize("number", [2**63 - 1, 2**63, 2**64 - 1])
def test_a_block_with_a_number_that_no_block_can_have_is_unknown(store: KeyStore, number: int) -> None:
    assert store.state(block(number)) is None
    assert store.proof_key(block(number)) is None
    assert store.secret_bits(block(number)) == 0


def test_numbers_are_used_up_upwards_and_remembered(store: KeyStore, home: Path) -> None:
    assert store.highest_block() == 0
    for number in (1, 2, 7, 3):
        store.opened(number)
    assert store.highest_block() == 7
    with closing(open_store(home)) as again:
        assert again.highest_block() == 7


# --- epochs and the latch -----------------------------------------------------------------------------------


def test_before_the_first_epoch_the_latch_is_open(store: KeyStore) -> None:
    assert store.epoch() == Epoch(None, latched=False)
    deposit(store, 1)
    assert store.epoch() == Epoch(None, latched=False)


def test_an_epoch_closes_the_latch_durably_and_destroys_every_older_link_psk(
    store: KeyStore, home: Path
) -> None:
    for number in (1, 2, 3, 4):
        deposit(store, number)
    assert store.link_psks() == [block(4), block(3), block(2), block(1)]
    assert store.begin_epoch(block(3))
    with closing(open_store(home)) as again:
        for opened in (store, again):
            assert opened.epoch() == Epoch(key_id(block(3)), latched=True)
            assert opened.link_psks() == [block(4), block(3)], "a newer one, and the one in use"
            assert opened.material(block(3), LINK_PSK) == secret(3).material[:32]
            assert opened.material(block(1), LINK_PSK) is opened.material(block(2), LINK_PSK) is None


def test_beginning_the_same_epoch_again_changes_nothing(store: KeyStore) -> None:
    deposit(store, 1)
    assert store.begin_epoch(block(1))
    before = (store.epoch(), store.balance())
    assert store.begin_epoch(block(1))
    assert store.begin_epoch(block(1))
    assert (store.epoch(), store.balance()) == before
    assert before[1].spent == {"link-psk": 256}


def test_a_pending_link_psk_outlives_an_epoch_opens_no_line_and_is_burnt_at_its_release(
    store: KeyStore,
) -> None:
    store.hold(block(1), secret(1), 100, tags=True)
    deposit(store, 2)
    assert store.link_psks() == [block(2), block(1)]
    store.begin_epoch(block(2))
    assert store.material(block(1), LINK_PSK) is not None
    assert store.link_psks() == [block(2)]
    assert store.proof_key(block(1)) is not None
    store.release(block(1))
    assert store.material(block(1), LINK_PSK) is None
    assert store.balance().spent == {"link-psk": 256, "link-psk (burnt)": 256}


def test_no_way_leads_back_to_an_older_key(store: KeyStore) -> None:
    store.hold(block(1), secret(1), 100, tags=True)
    deposit(store, 2)
    store.begin_epoch(block(2))
    store.release(block(1))
    before = (store.epoch(), store.balance())
    assert store.begin_epoch(block(1)) is False
    assert (store.epoch(), store.balance()) == before


@pytest.mark.parametrize("state", ["unknown", "pending", "discarded"])
def test_an_epoch_begins_only_with_an_available_block(store: KeyStore, state: str) -> None:
    if state != "unknown":
        store.hold(block(1), secret(1), 100, tags=True)
    if state == "discarded":
        store.discard(block(1))
    with pytest.raises(LocalProtocolError, match="is not available and cannot begin an epoch"):
        store.begin_epoch(block(1))
    assert store.epoch() == Epoch(None, latched=False)


def test_a_destroyed_link_psk_leaves_no_sealed_copy_on_the_disk(store: KeyStore, home: Path) -> None:
    deposit(store, 1)
    (sealed,) = rows(home, "SELECT sealed FROM parts WHERE purpose = 'link-psk'")[0]
    assert isinstance(sealed, bytes)
    assert sealed in contents(home)
    deposit(store, 2)
    store.begin_epoch(block(2))
    assert rows(home, "SELECT sealed, state FROM parts WHERE purpose = 'link-psk' AND block = 1") == [
        (None, "burnt")
    ]
    assert sealed not in contents(home)


def test_an_operator_opens_the_latch_again_and_every_link_psk_is_destroyed(store: KeyStore) -> None:
    for number in (1, 2):
        deposit(store, number)
    store.begin_epoch(block(1))
    store.hold(block(3), secret(3), 100, tags=True)
    store.reopen_bootstrap()
    assert store.epoch() == Epoch(None, latched=False)
    assert store.link_psks() == []
    assert all(store.material(block(number), LINK_PSK) is None for number in (1, 2, 3))
    assert store.balance().spent == {
        "link-psk": 256,
        "link-psk (burnt)": 256,
        "tags-alice-to-bob (burnt)": 2 * 512,
        "tags-bob-to-alice (burnt)": 2 * 512,
    }
    store.release(block(3))
    assert store.balance().spent == {
        "link-psk": 256,
        "link-psk (burnt)": 512,
        "tags-alice-to-bob (burnt)": 3 * 512,
        "tags-bob-to-alice (burnt)": 3 * 512,
    }
    assert store.balance().available_bits == 3 * (2_000 - 256 - 2 * 512)


@pytest.mark.parametrize("stored", ["2", str(2**32), str(2**63), "-1", "nonsense", ""])
def test_an_epoch_is_numbered_by_its_key_whatever_number_an_older_version_has_stored(
    store: KeyStore, stored: str
) -> None:
    deposit(store, 4)
    store.begin_epoch(block(4))
    with store._database.transaction():
        store._database.set_meta("epoch", stored)
    assert (store.epoch().number, store.balance().epoch) == (4, 4)
    store.reopen_bootstrap()
    assert (store.epoch().number, store.epoch().latched) == (0, False)
    deposit(store, 5)
    assert store.begin_epoch(block(5))
    assert (store.epoch().number, store.epoch().latched) == (5, True)


def test_an_anchor_is_told_with_the_blocks_of_its_bootstrap_and_only_if_it_vouched_for_them(
    store: KeyStore,
) -> None:
    assert store.vouched() == Vouched("", 0)
    store.begin_bootstrap("pki")
    store.hold(block(1), secret(1), 100, tags=True)
    store.discard(block(1))
    store.begin_bootstrap("psk")
    assert store.vouched() == Vouched("psk", 0), "the certificate's line came to nothing"
    store.hold(block(2), secret(2), 100, tags=True)
    store.begin_bootstrap("web-of-trust")
    deposit(store, 3)
    store.release(block(2))
    assert store.vouched() == Vouched("psk", 2)
    store.reopen_bootstrap()
    assert store.vouched().anchor == ""
    store.begin_bootstrap("none")
    deposit(store, 4)
    assert store.vouched() == Vouched("none", 1)


def test_a_node_that_ran_while_its_bootstrap_was_opened_again_keeps_no_block_and_closes_no_latch(
    store: KeyStore, home: Path
) -> None:
    deposit(store, 1)
    with closing(open_store(home)) as operators:
        operators.reopen_bootstrap()
        deposit(operators, 2)
    for act in (
        lambda: store.hold(block(3), secret(3), 100, tags=True),
        lambda: store.begin_epoch(block(2)),
        store.mark_unauthenticated,
    ):
        with pytest.raises(ConfigurationError, match="opened again while it ran: start it anew"):
            act()
    assert store.state(block(3)) is None
    with closing(open_store(home)) as started_anew:
        assert started_anew.epoch() == Epoch(None, latched=False)
        assert not started_anew.unauthenticated
        assert started_anew.begin_epoch(block(2))


# --- whose store it is --------------------------------------------------------------------------------------


def test_store_and_store_key_are_for_their_owner_alone(store: KeyStore, home: Path) -> None:
    deposit(store, 1)
    for path in home.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name


def test_a_store_shows_nothing_of_itself(store: KeyStore) -> None:
    assert repr(store) == "KeyStore(alice, redacted)"


@pytest.mark.parametrize(
    ("owner", "sentence"),
    [
        (replace(ALICE_OWNER, node="bob"), "has node 'alice', this node node 'bob'"),
        (replace(ALICE_OWNER, link="link-2"), "has link 'link-1', this node link 'link-2'"),
        (replace(ALICE_OWNER, reproducible=True), "has reproducible '0', this node reproducible '1'"),
    ],
    ids=["another node", "another link", "a seeded run"],
)
def test_a_store_is_opened_for_its_owner_alone(
    store: KeyStore, home: Path, owner: object, sentence: str
) -> None:
    deposit(store, 1)
    with pytest.raises(ConfigurationError, match=sentence):
        open_store(home, owner)  # type: ignore[arg-type] # an owner it is, whatever parametrize calls it
    assert store.state(block(1)) is State.AVAILABLE


def test_a_store_of_a_seeded_run_is_not_opened_without_the_flag(tmp_path: Path) -> None:
    open_store(tmp_path / "seeded", replace(ALICE_OWNER, reproducible=True)).close()
    with pytest.raises(ConfigurationError, match="has reproducible '1', this node reproducible '0'"):
        open_store(tmp_path / "seeded")


def test_whoever_names_a_home_opens_its_store_whoevers_it_is(store: KeyStore, home: Path) -> None:
    deposit(store, 1)
    with closing(KeyStore.of(home)) as found:
        assert found.balance() == store.balance()


def _nothing(_: Path) -> None:
    """Leave the home as it is."""


def _without(name: str) -> Callable[[Path], None]:
    return lambda home: (home / name).unlink()


def _with(name: str, text: bytes) -> Callable[[Path], None]:
    def spoil(home: Path) -> None:
        (home / name).write_bytes(text)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (
            _without(STORE_FILE),
            r"is gone, but its key .*qkdlink bootstrap --again.*, with a pre-shared key, make a new one",
        ),
        (_without(STORE_KEY_FILE), "The key .* of the key store is gone"),
        (_with(STORE_KEY_FILE, b"ab" * 32), "does not open: the store or its key was replaced or damaged"),
        (_with(STORE_FILE, b"no database"), "cannot be"),
        (lambda home: (home / STORE_FILE).chmod(0o644), "is open to others: run 'chmod 600"),
        (lambda home: change(home, "UPDATE meta SET value = 'zz' WHERE name = 'seal'"), "is damaged"),
        (lambda home: change(home, "DELETE FROM meta WHERE name = 'seal'"), "does not open"),
        (
            lambda home: change(home, "UPDATE meta SET value = '1' WHERE name = 'schema'"),
            r"another version of qkdlink \(schema '1', not '2'\): use that version, or .* both ends, and, with a pre-",
        ),
        (lambda home: change(home, "UPDATE meta SET value = '3' WHERE name = 'schema'"), "schema '3', not"),
    ],
    ids=[
        "no store",
        "no key",
        "other key",
        "no database",
        "open",
        "damaged seal",
        "no seal",
        "earlier version",
        "later version",
    ],
)
def test_a_store_that_is_not_whole_is_refused_in_a_sentence(
    home: Path, spoil: Callable[[Path], None], sentence: str
) -> None:
    deposit(store := open_store(home), 1)
    store.close()
    spoil(home)
    before = contents(home)
    with pytest.raises(ConfigurationError, match=sentence):
        open_store(home)
    assert contents(home) == before


def test_a_first_start_that_was_killed_between_store_and_key_is_done_again(home: Path) -> None:
    home.mkdir()
    (home / STORE_FILE).touch(0o600)
    assert not KeyStore.is_latched(home)
    with closing(open_store(home)) as store:
        deposit(store, 1)
    assert not KeyStore.is_latched(home)


def test_the_latch_can_be_asked_for_without_opening_or_making_a_store(store: KeyStore, home: Path) -> None:
    assert not KeyStore.is_latched(home / "nowhere")
    assert not (home / "nowhere").exists()
    deposit(store, 1)
    store.begin_epoch(block(1))
    assert KeyStore.is_latched(home)
    store.reopen_bootstrap()
    assert not KeyStore.is_latched(home)


def test_a_home_without_a_store_has_nothing_to_show(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="There is no key store in"):
        KeyStore.of(tmp_path)
    assert list(tmp_path.iterdir()) == []


# --- sealed at rest -----------------------------------------------------------------------------------------


def test_no_byte_of_a_key_lies_in_the_file(store: KeyStore, home: Path) -> None:
    deposit(store, 1)
    store.hold(block(2), secret(2), 100, tags=True)
    on_disk = contents(home)
    for number in (1, 2):
        material = secret(number).material
        for at in range(len(material) - 8):
            assert material[at : at + 8] not in on_disk
            assert material[at : at + 8].hex().encode() not in on_disk
        assert resume_proof_key(material[:32])[:8] not in on_disk


@pytest.mark.parametrize(
    "swap",
    [
        "UPDATE parts SET sealed = (SELECT sealed FROM parts WHERE block = 2) WHERE block = 1",
        "UPDATE parts SET sealed = (SELECT sealed FROM parts WHERE purpose LIKE 'tags%') WHERE block = 1",
        "UPDATE parts SET sealed = (SELECT proof FROM blocks WHERE id = 1) WHERE block = 1",
        "UPDATE parts SET sealed = x'00' WHERE block = 1",
        "UPDATE blocks SET number = number + 10",
    ],
    ids=["of another block", "of another purpose", "the proof", "cut short", "another number"],
)
def test_sealed_material_that_was_moved_is_refused(store: KeyStore, home: Path, swap: str) -> None:
    deposit(store, 1)
    deposit(store, 2)
    change(home, swap)
    named = block(11) if "number" in swap else block(1)
    with pytest.raises(ConfigurationError, match="does not open"):
        store.material(named, LINK_PSK)


def test_what_is_sealed_in_one_store_opens_in_no_other_although_they_share_a_store_key(
    tmp_path: Path,
) -> None:
    stores = {}
    for name in ("alice", "bob"):
        (tmp_path / name).mkdir()
        stores[name] = open_store(tmp_path / name, replace(ALICE_OWNER, node=name))
        deposit(stores[name], 1)
        stores[name].close()
    for name in (STORE_KEY_FILE, STORE_FILE):
        (tmp_path / "bob" / name).write_bytes((tmp_path / "alice" / name).read_bytes())
    change(tmp_path / "bob", "UPDATE meta SET value = 'bob' WHERE name = 'node'")
    with pytest.raises(ConfigurationError, match="does not open"):
        open_store(tmp_path / "bob", replace(ALICE_OWNER, node="bob"))
