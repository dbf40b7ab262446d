"""A part is handed out once, for its purpose; applications' parts expire, the link's own never."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from qkdlink.common.errors import ConfigurationError, LocalProtocolError
from qkdlink.common.keys.allotment import APPLICATIONS, Purpose, cut
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.store.key_store import KeyStore
from tests.support.stores import block, contents, deposit, open_store, secret

BITS, RESERVE_BITS = 4_000, 1_024
PARTS = {part.purpose: part for part in cut(BITS, tags=True, reserve_bits=RESERVE_BITS)}
OF_THE_LINK = [purpose for purpose in Purpose if purpose not in APPLICATIONS]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KeyStore]:
    with closing(open_store(tmp_path / "alice")) as opened:
        yield opened


def deposited(store: KeyStore, number: int = 1) -> BlockId:
    return deposit(store, number, BITS, reserve_bits=RESERVE_BITS)


@pytest.mark.parametrize("purpose", APPLICATIONS)
def test_a_part_is_delivered_once_and_is_the_one_that_the_rule_cuts(
    store: KeyStore, purpose: Purpose
) -> None:
    made = deposited(store)
    assert store.deliver(made, purpose) == PARTS[purpose].of(secret(1, BITS).material)
    assert store.deliver(made, purpose) is None
    assert store.balance().spent[purpose] == 8 * PARTS[purpose].length


def test_what_was_delivered_stays_delivered_after_a_restart(tmp_path: Path) -> None:
    with closing(open_store(tmp_path / "alice")) as store:
        made = deposited(store)
        assert store.deliver(made, Purpose.APPLICATIONS_AT_ALICE) is not None
    with closing(open_store(tmp_path / "alice")) as store:
        assert store.deliver(made, Purpose.APPLICATIONS_AT_ALICE) is None
        assert store.material(made, Purpose.APPLICATIONS_AT_ALICE) is None


def test_nothing_of_a_pending_or_unknown_block_is_delivered(store: KeyStore) -> None:
    store.hold(block(1), secret(1, BITS), 100, tags=True)
    assert store.deliver(block(1), Purpose.APPLICATIONS_AT_ALICE) is None
    assert store.deliver(block(2), Purpose.APPLICATIONS_AT_ALICE) is None


@pytest.mark.parametrize("purpose", OF_THE_LINK)
def test_what_is_the_links_own_is_no_part_to_be_delivered(store: KeyStore, purpose: Purpose) -> None:
    made = deposited(store)
    before = store.balance()
    with pytest.raises(LocalProtocolError, match=f"{purpose} is for the link alone"):
        store.deliver(made, purpose)
    assert store.balance() == before
    assert store.material(made, purpose) == PARTS[purpose].of(secret(1, BITS).material)


def test_delivery_moves_bits_from_available_to_spent_and_makes_none(store: KeyStore) -> None:
    made = deposited(store)
    before = store.balance()
    store.deliver(made, Purpose.APPLICATIONS_AT_BOB)
    after = store.balance()
    delivered = 8 * PARTS[Purpose.APPLICATIONS_AT_BOB].length
    assert before.available_bits - after.available_bits == delivered
    assert after.spent == {Purpose.APPLICATIONS_AT_BOB: delivered}
    assert after.produced_bits == before.produced_bits


def test_applications_parts_expire_and_are_overwritten_and_the_links_own_never(
    store: KeyStore, tmp_path: Path
) -> None:
    made = deposited(store)
    before = contents(tmp_path / "alice")
    assert store.expire(time.time() - 3600) == 0
    assert store.expire(time.time() + 1) == len(APPLICATIONS)
    assert contents(tmp_path / "alice") != before
    for purpose in APPLICATIONS:
        assert store.deliver(made, purpose) is None
    for purpose in OF_THE_LINK:
        assert store.material(made, purpose) == PARTS[purpose].of(secret(1, BITS).material)
    assert store.link_psks() == [made]


def test_what_has_expired_is_counted_as_burnt(store: KeyStore) -> None:
    deposited(store)
    store.expire(time.time() + 1)
    assert {purpose for purpose in store.balance().spent if "burnt" in purpose} == {
        f"{purpose} (burnt)" for purpose in APPLICATIONS
    }


def test_a_block_made_with_monitors_turned_off_is_for_no_application(store: KeyStore) -> None:
    store.leave_unwatched()
    made = deposit(store, 1, BITS)
    with pytest.raises(ConfigurationError, match="monitors turned off"):
        store.deliver(made, Purpose.APPLICATIONS_AT_ALICE)
