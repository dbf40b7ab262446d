import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qkdlink.alice.settings import AliceSettings
from qkdlink.common.keys.allotment import LINK_PSK_BITS, RESERVE_BLOCKS, RESERVE_TARGET_BITS, TAG_BITS
from qkdlink.common.protocol.economy import Backoff, Economy, StarvationAlarm
from qkdlink.deployment.homes.home import ATTACKED

DAY_S = 86_400.0
FIRST_S, LONGEST_S = (
    AliceSettings.model_fields[name].default for name in ("backoff_first_s", "backoff_longest_s")
)


ORDINARY, ATTACKED_LINK = (
    Backoff(FIRST_S, LONGEST_S),
    Backoff(FIRST_S, LONGEST_S, ATTACKED["reserve_lasts_s"]),
)


def survived_s(backoff: Backoff, reserve_bits: int) -> tuple[float, list[float]]:
    """How long a link whose every block fails goes on, on a clock that only pauses advance, and these pauses.

    The bits are those of both sides; each failing block takes the tags of one block from either side.
    """
    clock_s, failures, pauses = 0.0, 0, []
    while (payable := reserve_bits // 2 // TAG_BITS) > 0:
        pause_s = backoff.pause_s(failures, payable)
        assert backoff.seconds_to_starvation(failures, payable) == pytest.approx(
            backoff.seconds_to_starvation(0, failures + payable) - clock_s
        )
        clock_s += pause_s
        pauses.append(pause_s)
        reserve_bits -= 2 * TAG_BITS
        failures += 1
    assert backoff.pause_s(failures, 0) == 0.0
    return clock_s, pauses


def test_the_pause_is_doubled_from_a_second_to_ten_minutes_and_a_key_ends_it():
    assert (FIRST_S, LONGEST_S) == (1.0, 600.0)
    made = [ORDINARY.pause_s(failures, 160) for failures in range(14)]
    assert made == [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600]
    assert ORDINARY.pause_s(10**9, None) == LONGEST_S


def test_the_reserve_outlasts_a_day_in_which_every_block_is_aborted():
    lasted_s, pauses = survived_s(ORDINARY, RESERVE_TARGET_BITS)
    assert lasted_s > DAY_S
    assert len(pauses) == RESERVE_BLOCKS
    assert ORDINARY.seconds_to_starvation(0, RESERVE_BLOCKS) == lasted_s


@pytest.mark.parametrize(
    ("reserve_bits", "lasts_s", "pauses_below_10_s"),
    [
        (RESERVE_TARGET_BITS, 5_400, 70),
        (RESERVE_TARGET_BITS // 2, 5_400, 30),
        (RESERVE_TARGET_BITS // 8, 5_400, 6),  # a key of the demonstration's size
        (14 * 2 * TAG_BITS, 2_823, 5),
        (3 * 2 * TAG_BITS, 3, 3),
        (0, 0, 0),
    ],
)
def test_of_an_attacked_link_the_first_pauses_are_short_and_the_reserve_lasts_ninety_minutes_if_it_can(
    reserve_bits: int, lasts_s: float, pauses_below_10_s: int
):
    lasted_s, pauses = survived_s(ATTACKED_LINK, reserve_bits)
    assert lasts_s <= lasted_s < lasts_s + 1
    assert pauses == sorted(pauses)
    assert sum(pause < 10 for pause in pauses) >= pauses_below_10_s
    doubled = [ORDINARY.pause_s(failures, 1) for failures in range(len(pauses))]
    assert all(pause <= most * (1 + 1e-9) for pause, most in zip(pauses, doubled, strict=True))


def test_where_tags_cost_nothing_an_attacked_link_makes_the_shortest_pause_however_many_blocks_fail():
    assert {ATTACKED_LINK.pause_s(failures, None) for failures in (1, 2, 1000, 10**9)} == {FIRST_S}


@given(
    payable=st.integers(0, 200),
    failures=st.integers(0, 2000),
    first_s=st.floats(0.0, 5.0),
    longest_s=st.floats(0.0, 700.0),
    lasts_s=st.none() | st.floats(0.1, 1e5),
)
@example(payable=1, failures=1, first_s=5e-324, longest_s=1.0, lasts_s=1.0)
@example(payable=200, failures=2000, first_s=5e-324, longest_s=700.0, lasts_s=1e5)
def test_the_time_to_starvation_is_the_sum_of_the_pauses_to_come(
    payable: int, failures: int, first_s: float, longest_s: float, lasts_s: float | None
):
    backoff = Backoff(first_s, longest_s, lasts_s)
    pauses = [backoff.pause_s(failures + more, payable - more) for more in range(payable)]
    assert backoff.seconds_to_starvation(failures, payable) == pytest.approx(sum(pauses))
    assert all(0 <= pause <= longest_s for pause in pauses)


def test_the_alarm_is_told_at_a_half_a_quarter_and_so_on_and_each_once():
    alarm = StarvationAlarm()
    told = [left for left in range(RESERVE_BLOCKS, -1, -1) if alarm.is_due(left)]
    assert told == [80, 40, 20, 10, 5, 2, 1, 0]


def test_after_a_key_the_alarm_begins_anew():
    alarm = StarvationAlarm()
    assert alarm.is_due(30)
    assert not alarm.is_due(29)
    alarm.succeeded()
    assert alarm.is_due(29)


def test_a_block_costs_its_link_psk_and_where_tags_are_cut_those_of_both_sides():
    assert Economy().upkeep_bits == LINK_PSK_BITS == 256
    assert Economy(pays_for_tags=True).upkeep_bits == LINK_PSK_BITS + 2 * TAG_BITS == 1280
