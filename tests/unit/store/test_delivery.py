"""A part is handed out once, for its purpose; applications' parts expire, the link's own never."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from common.errors import LocalProtocolError
from common.keys.allotment import Purpose, cut
from common.store.key_store import KeyStore
from tests.support.stores import block, contents, deposit, open_store, secret

BITS = 4_000
PARTS = {part.purpose: part for part in cut(BITS, bootstrap=False)}
DELIVERED = [purpose for purpose in Purpose if purpose is not Purpose.LINK_PSK]
APPLICATIONS = {Purpose.APPLICATIONS_AT_ALICE, Purpose.APPLICATIONS_AT_BOB}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KeyStore]:
    with closing(open_store(tmp_path / "alice")) as opened:
        yield opened


@pytest.mark.parametrize("purpose", DELIVERED)
def test_a_part_is_delivered_once_and_is_the_one_that_the_rule_cuts(
    store: KeyStore, purpose: Purpose
) -> None:
    made = deposit(store, 1, BITS)
    assert store.deliver(made, purpose) == PARTS[purpose].of(secret(1, BITS).material)
    assert store.deliver(made, purpose) is None
    assert store.balance().spent[purpose] == 8 * PARTS[purpose].length


def test_what_was_delivered_stays_delivered_after_a_restart(tmp_path: Path) -> None:
    with closing(open_store(tmp_path / "alice")) as store:
        made = deposit(store, 1, BITS)
        assert store.deliver(made, Purpose.RESERVE_AT_ALICE) is not None
    with closing(open_store(tmp_path / "alice")) as store:
        assert store.deliver(made, Purpose.RESERVE_AT_ALICE) is None
        assert store.material(made, Purpose.RESERVE_AT_ALICE) is None


def test_nothing_of_a_pending_or_unknown_block_is_delivered(store: KeyStore) -> None:
    store.hold(block(1), secret(1, BITS), 100, tags=True)
    assert store.deliver(block(1), Purpose.APPLICATIONS_AT_ALICE) is None
    assert store.deliver(block(2), Purpose.APPLICATIONS_AT_ALICE) is None


def test_a_link_psk_is_no_part_to_be_delivered(store: KeyStore) -> None:
    made = deposit(store, 1, BITS)
    with pytest.raises(LocalProtocolError, match="epochs alone"):
        store.deliver(made, Purpose.LINK_PSK)
    assert store.link_psks() == [made]


def test_delivery_moves_bits_from_available_to_spent_and_makes_none(store: KeyStore) -> None:
    made = deposit(store, 1, BITS)
    before = store.balance()
    store.deliver(made, Purpose.TAGS_ALICE_TO_BOB)
    after = store.balance()
    assert before.available_bits - after.available_bits == after.spent[Purpose.TAGS_ALICE_TO_BOB] == 512
    assert after.produced_bits == before.produced_bits


def test_applications_parts_expire_and_are_overwritten_and_the_links_own_never(
    store: KeyStore, tmp_path: Path
) -> None:
    made = deposit(store, 1, BITS)
    before = contents(tmp_path / "alice")
    assert store.expire(time.time() - 3600) == 0
    assert store.expire(time.time() + 1) == len(APPLICATIONS)
    assert contents(tmp_path / "alice") != before
    for purpose in DELIVERED:
        assert (store.deliver(made, purpose) is None) == (purpose in APPLICATIONS)
    assert store.link_psks() == [made]


def test_what_has_expired_is_counted_as_burnt(store: KeyStore) -> None:
    deposit(store, 1, BITS)
    store.expire(time.time() + 1)
    assert {purpose for purpose in store.balance().spent if "burnt" in purpose} == {
        f"{purpose} (burnt)" for purpose in APPLICATIONS
    }
