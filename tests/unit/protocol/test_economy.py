import pytest
from hypothesis import given
from hypothesis import strategies as st

from alice.settings import AliceSettings
from common.keys.allotment import LINK_PSK_BITS, RESERVE_BLOCKS, TAG_BITS
from common.protocol.economy import Backoff, Economy, StarvationAlarm, seconds_to_starvation

DAY_S = 86_400.0
FIRST_S, LONGEST_S = (
    AliceSettings.model_fields[name].default for name in ("backoff_first_s", "backoff_longest_s")
)


def pauses(backoff: Backoff, failures: int) -> list[float]:
    made = []
    for _ in range(failures):
        backoff.failed()
        made.append(backoff.pause_s)
    return made


def test_the_pause_is_doubled_from_a_second_to_ten_minutes():
    assert (FIRST_S, LONGEST_S) == (1.0, 600.0)
    made = pauses(Backoff(FIRST_S, LONGEST_S), 13)
    assert made == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600]


def test_a_key_ends_the_pauses_and_the_next_failure_begins_anew():
    backoff = Backoff(FIRST_S, LONGEST_S)
    assert backoff.pause_s == 0
    pauses(backoff, 7)
    backoff.succeeded()
    assert backoff.pause_s == 0
    assert pauses(backoff, 2) == [1, 2]


def test_the_reserve_outlasts_a_day_in_which_every_block_is_aborted():
    backoff, passed_s = Backoff(FIRST_S, LONGEST_S), 0.0
    for _ in range(RESERVE_BLOCKS):
        passed_s += backoff.pause_s
        backoff.failed()
    assert passed_s > DAY_S
    assert seconds_to_starvation(RESERVE_BLOCKS, Backoff(FIRST_S, LONGEST_S)) == passed_s


@given(
    payable=st.integers(0, 200),
    failures=st.integers(0, 15),
    first_s=st.floats(0.0, 5.0),
    longest_s=st.floats(0.0, 700.0),
)
def test_the_time_to_starvation_is_the_sum_of_the_pauses_to_come(
    payable: int, failures: int, first_s: float, longest_s: float
):
    backoff = Backoff(first_s, longest_s)
    pauses(backoff, failures)
    told = seconds_to_starvation(payable, backoff)
    pause_s = backoff.pause_s
    total_s = 0.0
    for _ in range(payable):
        total_s += backoff.pause_s
        backoff.failed()
    assert told == pytest.approx(total_s)
    assert pause_s <= longest_s


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
