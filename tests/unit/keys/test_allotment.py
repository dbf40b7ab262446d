"""The cut of a block's key: the published table, told again from its text, and what holds for every length."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.keys.allotment import LINK_PSK_BITS, RESERVE_TARGET_BITS, TAG_BITS, Purpose, cut

LENGTHS = st.integers(0, 400_000)
FIRST_BYTES = (LINK_PSK_BITS + 2 * TAG_BITS) // 8


def lengths(secret_bits: int, *, bootstrap: bool) -> dict[Purpose, int]:
    return {part.purpose: part.length for part in cut(secret_bits, bootstrap=bootstrap)}


@given(LENGTHS, st.booleans())
def test_parts_follow_each_other_without_gap_or_overlap_and_end_at_the_last_whole_byte(
    secret_bits: int, bootstrap: bool
) -> None:
    parts = cut(secret_bits, bootstrap=bootstrap)
    ends = [0, *(part.start + part.length for part in parts)]
    assert [part.start for part in parts] == ends[:-1]
    assert ends[-1] == secret_bits // 8
    assert all(part.length > 0 for part in parts)


@given(LENGTHS, st.booleans())
def test_the_order_of_the_parts_is_that_of_the_table(secret_bits: int, bootstrap: bool) -> None:
    order = list(Purpose)
    purposes = [order.index(part.purpose) for part in cut(secret_bits, bootstrap=bootstrap)]
    assert all(one < following for one, following in pairwise(purposes))


@given(st.binary(max_size=3000), st.booleans())
def test_parts_are_cut_out_of_the_key_bit_by_bit(material: bytes, bootstrap: bool) -> None:
    parts = cut(8 * len(material), bootstrap=bootstrap)
    assert b"".join(part.of(material) for part in parts) == material


@given(LENGTHS)
def test_of_a_bootstrap_block_everything_up_to_the_target_goes_to_the_reserve(secret_bits: int) -> None:
    found = lengths(secret_bits, bootstrap=True)
    left = max(0, secret_bits // 8 - FIRST_BYTES)
    reserve = found.get(Purpose.RESERVE_AT_ALICE, 0) + found.get(Purpose.RESERVE_AT_BOB, 0)
    if secret_bits // 8 >= FIRST_BYTES:
        assert reserve == min(left, RESERVE_TARGET_BITS // 8)


@given(st.integers(8 * FIRST_BYTES, 400_000))
def test_of_a_later_block_a_sixteenth_of_what_is_left_goes_to_the_reserve(secret_bits: int) -> None:
    found = lengths(secret_bits, bootstrap=False)
    reserve = found.get(Purpose.RESERVE_AT_ALICE, 0) + found.get(Purpose.RESERVE_AT_BOB, 0)
    assert reserve == (secret_bits // 8 - FIRST_BYTES) // 16


@given(LENGTHS, st.booleans())
def test_both_sides_get_the_same_share_to_within_a_byte(secret_bits: int, bootstrap: bool) -> None:
    found = lengths(secret_bits, bootstrap=bootstrap)
    for at_alice, at_bob in (
        (Purpose.RESERVE_AT_ALICE, Purpose.RESERVE_AT_BOB),
        (Purpose.APPLICATIONS_AT_ALICE, Purpose.APPLICATIONS_AT_BOB),
    ):
        assert found.get(at_bob, 0) - found.get(at_alice, 0) in (0, 1)


@pytest.mark.parametrize(
    ("secret_bits", "purposes"),
    [
        (LINK_PSK_BITS, [Purpose.LINK_PSK]),
        (LINK_PSK_BITS + TAG_BITS, [Purpose.LINK_PSK, Purpose.TAGS_ALICE_TO_BOB]),
        (
            LINK_PSK_BITS + 2 * TAG_BITS,
            [Purpose.LINK_PSK, Purpose.TAGS_ALICE_TO_BOB, Purpose.TAGS_BOB_TO_ALICE],
        ),
        (LINK_PSK_BITS + 2 * TAG_BITS + 7, list(Purpose)[:3]),
    ],
)
def test_a_short_key_serves_the_first_purposes_of_the_table(
    secret_bits: int, purposes: list[Purpose]
) -> None:
    assert [part.purpose for part in cut(secret_bits, bootstrap=True)] == purposes


def test_a_later_block_of_twenty_thousand_bits_is_cut_as_the_table_says() -> None:
    found = lengths(20_000, bootstrap=False)
    assert found == {
        Purpose.LINK_PSK: 32,
        Purpose.TAGS_ALICE_TO_BOB: 64,
        Purpose.TAGS_BOB_TO_ALICE: 64,
        Purpose.RESERVE_AT_ALICE: 73,  # (2500 - 160) // 16 = 146, halved
        Purpose.RESERVE_AT_BOB: 73,
        Purpose.APPLICATIONS_AT_ALICE: 1097,
        Purpose.APPLICATIONS_AT_BOB: 1097,
    }
