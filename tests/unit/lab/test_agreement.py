"""The audit of two homes: it sees every kind of disagreement that it is there for."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from qkdlink.common.journal.event import Event
from qkdlink.common.journal.events import BlockOpened, Entry, EpochBegan
from qkdlink.common.keys.allotment import OF_ALICE, OF_BOB, Purpose
from qkdlink.common.store.key_store import KeyStore
from qkdlink.common.store.tag_units import UnitName
from qkdlink.deployment.homes.home import LinkHome
from qkdlink.deployment.homes.names import ALICE, BOB
from qkdlink.deployment.homes.sites import make_sites
from qkdlink.lab.faults.agreement import NODES, Audit, journal_faults
from tests.support.stores import ALICE_OWNER, LINK, block, change, deposit, in_memory, open_store, secret

SESSION, NEXT = "5e" * 16, "7a" * 16
NEVER = float("inf")
TAGS_A, RESERVE_A = OF_ALICE
TAGS_B, _ = OF_BOB


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with in_memory() as folder:
        yield folder


@pytest.fixture
def home(tmp_path: Path) -> LinkHome:
    """Two stores that agree: one block in use, one available."""
    make_sites(tmp_path)
    for name in NODES:
        with closing(open_store(LinkHome(tmp_path).node(name), replace(ALICE_OWNER, node=name))) as store:
            deposit(store, 1)
            deposit(store, 2)
            store.begin_epoch(block(1))
    return LinkHome(tmp_path, LINK)


def hold_another(key: int, store: KeyStore) -> None:
    """Make block 3 available with the key that block `key` has elsewhere."""
    store.hold(block(3), secret(key, reserve_bits=1024, bits=4_000), 0, tags=True)
    store.release(block(3))


def at(home: LinkHome, name: str, do: Callable[[KeyStore], object]) -> None:
    with closing(KeyStore.of(home.node(name))) as store:
        do(store)


def test_two_stores_that_agree_have_no_fault(home: LinkHome) -> None:
    audit = Audit(home)
    assert audit.is_settled
    assert audit.is_latched()
    assert list(audit.settled_faults()) == []


def test_a_home_without_stores_has_nothing_against_it(tmp_path: Path) -> None:
    audit = Audit(LinkHome(tmp_path, LINK))
    assert not audit.is_latched()
    assert list(audit.faults()) == []


def test_a_block_that_is_available_on_one_side_and_never_was_on_the_other_is_seen(home: LinkHome) -> None:
    at(home, ALICE, lambda store: deposit(store, 3))
    assert list(Audit(home).faults()) == [f"{block(3)} is available at alice and not kept at bob"]


def test_a_block_that_is_available_on_one_side_and_refused_on_the_other_is_seen(home: LinkHome) -> None:
    at(home, BOB, lambda store: deposit(store, 3))
    at(home, ALICE, lambda store: store.hold(block(3), secret(3), 0, tags=True))
    assert list(Audit(home).faults()) == [], "pending is allowed"
    at(home, ALICE, lambda store: store.discard(block(3)))
    assert list(Audit(home).faults()) == [f"{block(3)} is available at bob and not kept at alice"]


def test_what_is_pending_in_the_end_is_seen(home: LinkHome) -> None:
    at(home, ALICE, lambda store: deposit(store, 3))
    at(home, BOB, lambda store: store.hold(block(3), secret(3), 0, tags=True))
    audit = Audit(home)
    assert not audit.is_settled
    assert list(audit.faults()) == []
    assert f"{block(3)} is still pending at bob" in list(audit.settled_faults())


def test_another_key_under_the_same_name_is_seen(home: LinkHome) -> None:
    for name, number in ((ALICE, 3), (BOB, 4)):
        at(home, name, partial(hold_another, number))
    faults = list(Audit(home).settled_faults())
    assert f"the material of {block(3)}/link-psk differs, or is at one side only" in faults


def test_a_part_that_was_used_twice_is_seen(home: LinkHome) -> None:
    change(
        home.node(BOB),
        "INSERT INTO ledger (block, entry, purpose, bits) VALUES (1, 'spent', 'link-psk', 256)",
    )
    assert list(Audit(home).faults()) == ["bob has used (1, 'link-psk') twice"]


# --- units for tags -------------------------------------------------------------------------------------


def unit(purpose: Purpose, index: int = 0, number: int = 2) -> UnitName:
    return UnitName(block(number), purpose, index)


def test_units_that_both_have_used_for_the_same_block_or_that_their_owner_has_burnt_are_no_fault(
    home: LinkHome,
) -> None:
    at(home, ALICE, lambda store: [store.units.take(OF_ALICE, "3") for _ in range(3)])
    at(home, BOB, lambda store: store.units.used(unit(TAGS_A, number=1), "3"))
    assert list(Audit(home).settled_faults()) == []


def test_a_unit_that_was_used_for_another_block_at_each_side_is_seen(home: LinkHome) -> None:
    at(home, BOB, lambda store: store.units.take(OF_BOB, "3"))
    at(home, ALICE, lambda store: store.units.used(unit(TAGS_B, number=1), "4"))
    assert list(Audit(home).faults()) == [
        f"bob has used {unit(TAGS_B, number=1)} for block 3, alice for block 4"
    ]


def test_a_unit_that_was_seen_used_and_that_its_owner_has_not_taken_is_seen(home: LinkHome) -> None:
    at(home, BOB, lambda store: store.units.used(unit(TAGS_A), "3"))
    assert list(Audit(home).faults()) == [f"bob has seen {unit(TAGS_A)} used, which alice has not taken"]


def test_a_unit_that_the_ledger_has_twice_is_seen(home: LinkHome) -> None:
    for _ in range(2):
        at(home, ALICE, lambda store: store.units.take(OF_ALICE, "3"))
    assert list(Audit(home).faults()) == []
    entry = "INSERT INTO ledger (block, entry, purpose, bits) VALUES (1, 'spent', ?, 256)"
    change(home.node(ALICE), entry, str(TAGS_A))
    assert list(Audit(home).faults()) == ["alice has used (1, 'tags-alice-to-bob') twice"]


def test_another_unit_under_the_same_name_is_seen_where_neither_has_used_it(home: LinkHome) -> None:
    for name, number in ((ALICE, 3), (BOB, 4)):
        at(home, name, partial(hold_another, number))
    at(home, ALICE, lambda store: store.units.take((RESERVE_A,), "5"))
    faults = list(Audit(home).settled_faults())
    assert f"the material of {block(3)}/{TAGS_A}/1 differs" in faults
    assert f"the material of {block(3)}/{RESERVE_A}/0 differs" not in faults
    assert f"the material of {block(3)}/{RESERVE_A}/1 differs" in faults


# --- journals -------------------------------------------------------------------------------------------


def epoch(number: int, session: str, key: str | None) -> EpochBegan:
    return EpochBegan(
        epoch=number,
        session=session,
        authenticated_by="tls-psk" if key else "mutual-tls",
        tls_version="TLSv1.3",
        key_id=key,
        peer="bob",
        peer_fingerprint=None,
    )


def opened(number: int) -> BlockOpened:
    return BlockOpened(block_id=str(block(number)), number=number, pulses=1)


def told(home: LinkHome, name: str, *events: Event) -> None:
    lines = [
        Entry.model_validate({"node": name, "time": float(at), "event": event}).model_dump_json()
        for at, event in enumerate(events)
    ]
    (home.node(name) / "journal.jsonl").write_text("\n".join(lines) + "\n")


FIRST, SECOND = f"{SESSION}/1", f"{SESSION}/2"


@pytest.mark.parametrize(
    ("events", "fault"),
    [
        ([epoch(0, "a", None), opened(1), epoch(1, "b", FIRST), opened(2), epoch(1, "c", FIRST)], None),
        ([epoch(0, "a", None), epoch(1, "b", FIRST), epoch(0, "c", None)], "a certificate has authenticated"),
        ([epoch(1, "b", FIRST), epoch(2, "c", FIRST)], "has served the epochs [1, 2]"),
        ([epoch(1, "b", FIRST), epoch(1, "b", FIRST)], "has used the session b twice"),
        ([epoch(2, "b", SECOND), epoch(1, "c", FIRST)], "the epochs of alice go back: [2, 1]"),
        ([opened(1), opened(2), opened(2)], "the number 2 was used for 2 blocks"),
    ],
    ids=["in order", "certificate after the latch", "key twice", "session twice", "back", "number twice"],
)
def test_journals_tell_what_went_against_the_rules(
    home: LinkHome, events: list[Event], fault: str | None
) -> None:
    told(home, ALICE, *events)
    found = list(journal_faults(home, NEVER))
    assert found == [] if fault is None else fault in "; ".join(found)


def test_a_certificate_after_a_latch_of_which_no_journal_tells_is_seen(
    home: LinkHome,
) -> None:
    told(home, ALICE, epoch(0, "a", None), epoch(0, "b", None))
    assert list(journal_faults(home, NEVER)) == []
    assert list(journal_faults(home, 0.5)) == ["a certificate has authenticated a line after the latch"]
