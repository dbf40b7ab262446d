"""The cut of a block's key: the published table, told again from its text, and what holds for every length."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdlink.common.keys.allotment import (
    APPLICATIONS,
    LINK_PSK_BITS,
    OF_ALICE,
    OF_BOB,
    RESERVE_TARGET_BITS,
    TAG_BITS,
    UNIT_BITS,
    Purpose,
    cut,
    upkeep_bits,
)

LENGTHS = st.integers(0, 400_000)
ASKED = st.integers(0, 2 * RESERVE_TARGET_BITS)
FIRST_BYTES = (LINK_PSK_BITS + 2 * TAG_BITS) // 8


def lengths(secret_bits: int, *, tags: bool, reserve_bits: int = 0) -> dict[Purpose, int]:
    return {part.purpose: part.length for part in cut(secret_bits, tags=tags, reserve_bits=reserve_bits)}


@given(LENGTHS, st.booleans(), ASKED)
def test_parts_follow_each_other_without_gap_or_overlap_and_end_at_the_last_whole_byte(
    secret_bits: int, tags: bool, reserve_bits: int
) -> None:
    parts = cut(secret_bits, tags=tags, reserve_bits=reserve_bits)
    ends = [0, *(part.start + part.length for part in parts)]
    assert [part.start for part in parts] == ends[:-1]
    assert ends[-1] == secret_bits // 8
    assert all(part.length > 0 for part in parts)


@given(LENGTHS, st.booleans(), ASKED)
def test_the_order_of_the_parts_is_that_of_the_table(secret_bits: int, tags: bool, reserve_bits: int) -> None:
    order = list(Purpose)
    parts = cut(secret_bits, tags=tags, reserve_bits=reserve_bits)
    purposes = [order.index(part.purpose) for part in parts]
    assert all(one < following for one, following in pairwise(purposes))


@given(st.binary(max_size=3000), st.booleans(), ASKED)
def test_parts_are_cut_out_of_the_key_bit_by_bit(material: bytes, tags: bool, reserve_bits: int) -> None:
    parts = cut(8 * len(material), tags=tags, reserve_bits=reserve_bits)
    assert b"".join(part.of(material) for part in parts) == material


@given(LENGTHS, st.booleans(), ASKED)
def test_what_tags_are_paid_with_comes_in_whole_units_and_in_equal_shares(
    secret_bits: int, tags: bool, reserve_bits: int
) -> None:
    found = lengths(secret_bits, tags=tags, reserve_bits=reserve_bits)
    for purpose in (*OF_ALICE, *OF_BOB):
        assert 8 * found.get(purpose, 0) % UNIT_BITS == 0
    assert found.get(Purpose.RESERVE_AT_ALICE) == found.get(Purpose.RESERVE_AT_BOB)
    assert found.get(APPLICATIONS[1], 0) - found.get(APPLICATIONS[0], 0) in (0, 1)


@given(LENGTHS, st.booleans(), ASKED)
def test_the_reserve_gets_what_was_asked_for_it_as_far_as_the_key_goes_in_pairs_of_units(
    secret_bits: int, tags: bool, reserve_bits: int
) -> None:
    found = lengths(secret_bits, tags=tags, reserve_bits=reserve_bits)
    first = sum(found.get(purpose, 0) for purpose in list(Purpose)[:3])
    could = min(8 * (secret_bits // 8 - first), reserve_bits)
    given_bits = 16 * found.get(Purpose.RESERVE_AT_ALICE, 0)
    assert given_bits <= could
    assert could - given_bits < 2 * UNIT_BITS


@given(LENGTHS, ASKED)
def test_without_tags_to_pay_for_no_part_is_cut_for_them(secret_bits: int, reserve_bits: int) -> None:
    found = lengths(secret_bits, tags=False, reserve_bits=reserve_bits)
    assert not {Purpose.TAGS_ALICE_TO_BOB, Purpose.TAGS_BOB_TO_ALICE} & set(found)


@pytest.mark.parametrize(
    ("secret_bits", "purposes"),
    [
        (LINK_PSK_BITS, [Purpose.LINK_PSK]),
        (LINK_PSK_BITS + TAG_BITS, [Purpose.LINK_PSK, Purpose.TAGS_ALICE_TO_BOB]),
        (LINK_PSK_BITS + 2 * TAG_BITS, list(Purpose)[:3]),
        (LINK_PSK_BITS + 2 * TAG_BITS + 7, list(Purpose)[:3]),
        (LINK_PSK_BITS + 2 * TAG_BITS + 2 * UNIT_BITS, list(Purpose)[:5]),
        (LINK_PSK_BITS + 2 * TAG_BITS + 2 * UNIT_BITS - 1, [*list(Purpose)[:3], *APPLICATIONS]),
    ],
)
def test_a_short_key_serves_the_first_purposes_of_the_table(
    secret_bits: int, purposes: list[Purpose]
) -> None:
    parts = cut(secret_bits, tags=True, reserve_bits=RESERVE_TARGET_BITS)
    assert [part.purpose for part in parts] == purposes


def test_a_block_of_twenty_thousand_bits_is_cut_as_the_table_says() -> None:
    assert lengths(20_000, tags=True, reserve_bits=2_000) == {
        Purpose.LINK_PSK: 32,
        Purpose.TAGS_ALICE_TO_BOB: 64,
        Purpose.TAGS_BOB_TO_ALICE: 64,
        Purpose.RESERVE_AT_ALICE: 96,  # 2000 bits hold three pairs of units of 32 bytes
        Purpose.RESERVE_AT_BOB: 96,
        Purpose.APPLICATIONS_AT_ALICE: 1074,  # (2500 - 160 - 192) / 2
        Purpose.APPLICATIONS_AT_BOB: 1074,
    }


@pytest.mark.parametrize("tags", [True, False])
def test_a_key_that_covers_its_upkeep_exactly_leaves_nothing_over(tags: bool) -> None:
    parts = cut(upkeep_bits(tags=tags), tags=tags)
    assert {part.purpose for part in parts} == set(list(Purpose)[: 3 if tags else 1])
    assert upkeep_bits(tags=True) - upkeep_bits(tags=False) == 2 * TAG_BITS
