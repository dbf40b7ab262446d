"""Monitors: how often they cry without need, and that they cry when they must."""

import numpy as np
import pytest
from scipy import stats

from qkdlink.common.distillation.monitors import (
    FALSE_ALARM,
    Count,
    Monitor,
    look_at_arrivals,
    look_at_double_clicks,
    look_at_gains,
    look_at_photocurrent,
    look_at_qber,
    look_at_random_efficiency,
    look_at_vacuum_gain,
    look_at_watchdog,
    lower_tail,
    two_sided_tail,
    upper_tail,
)

TRIALS = 20_000


@pytest.mark.parametrize("expected", [0.0, 1e-3, 0.3, 1.0])
@pytest.mark.parametrize("events", [0, 1, 17, 6000, TRIALS])
def test_tails_are_those_of_the_binomial_distribution(expected: float, events: int):
    count = Count(events, TRIALS, expected)
    assert upper_tail(count) == pytest.approx(stats.binom.sf(events - 1, TRIALS, expected), rel=1e-9)
    assert lower_tail(count) == pytest.approx(stats.binom.cdf(events, TRIALS, expected), rel=1e-9)


def probability_of_alarm(alarmed, expected: float, trials: int = TRIALS) -> float:  # noqa: ANN001
    """Sum the honest probabilities of every count that raises the alarm."""
    spread = 12 * np.sqrt(trials * expected) + 20
    low = max(0, int(trials * expected - spread))
    events = np.arange(low, int(trials * expected + spread))
    cries = [bool(alarmed(Count(int(k), trials, expected))) for k in events]
    return float(stats.binom.pmf(events, trials, expected)[cries].sum())


@pytest.mark.parametrize("expected", [1e-5, 1e-3, 0.05])
@pytest.mark.parametrize(
    "alarmed",
    [
        lambda count: look_at_vacuum_gain(count).alarm,
        lambda count: look_at_double_clicks(count).alarm,
        lambda count: look_at_random_efficiency(count).alarm,
        lambda count: look_at_gains([count]).alarm,
    ],
)
def test_an_honest_link_raises_an_alarm_at_most_once_in_a_million_blocks(alarmed, expected: float):  # noqa: ANN001
    assert probability_of_alarm(alarmed, expected) <= FALSE_ALARM


def test_several_tests_of_one_monitor_share_its_false_alarms():
    calm = Count(1000, TRIALS, 0.05)
    of_one_class = probability_of_alarm(lambda count: look_at_gains([count, calm, calm]).alarm, 0.05)
    assert 0 < of_one_class <= FALSE_ALARM / 3
    of_one_basis = probability_of_alarm(lambda count: look_at_qber(count, calm).alarm, 0.05)
    assert 0 < of_one_basis <= FALSE_ALARM / 2


def test_gains_are_tested_from_both_sides_and_class_by_class():
    calm, low, high = (Count(events, TRIALS, 0.05) for events in (1000, 800, 1200))
    assert look_at_gains([calm, calm]).alarm is None
    for odd in (low, high):
        alarm = look_at_gains([calm, odd]).alarm
        assert alarm
        assert alarm.monitor is Monitor.GAIN
        assert alarm.detail.startswith("intensity class 1")


def test_afterpulses_spread_counts_and_are_allowed_to():
    odd = Count(1170, TRIALS, 0.05)
    assert look_at_gains([odd]).alarm
    assert look_at_gains([odd], dispersion=1.5).alarm is None
    assert two_sided_tail(odd, 1.5) > two_sided_tail(odd)


def test_an_error_rate_is_refused_from_above_only_and_in_either_basis():
    calm, good, bad = (Count(events, TRIALS, 0.02) for events in (400, 100, 700))
    assert look_at_qber(calm, good).alarm is None
    for pair, basis in (((bad, calm), "key"), ((calm, bad), "test")):
        alarm = look_at_qber(*pair).alarm
        assert alarm
        assert alarm.detail == f"the {basis} basis shows 3.50% errors, 2.00% are expected"


def test_missing_dark_counts_and_missing_double_clicks_are_alarms():
    assert look_at_vacuum_gain(Count(0, 10**6, 2e-5)).alarm
    assert not look_at_vacuum_gain(
        Count(0, 10**5, 2e-5)
    ).alarm  # two clicks were expected; none is no surprise
    assert look_at_double_clicks(Count(0, 10**6, 2e-5)).alarm


def test_clicks_of_detectors_that_are_off_are_alarms_and_their_dark_counts_are_not():
    assert look_at_random_efficiency(Count(50, 10**5, 1e-4)).alarm
    assert not look_at_random_efficiency(Count(10, 10**5, 1e-4)).alarm
    assert not look_at_random_efficiency(Count(0, 10**6, 1e-4)).alarm


def test_one_bright_gate_is_enough():
    assert look_at_photocurrent(0).alarm is None
    alarm = look_at_photocurrent(1).alarm
    assert alarm
    assert alarm.monitor is Monitor.PHOTOCURRENT


def test_shifted_clicks_are_allowed_as_far_as_jitter_makes_them_and_as_long_as_they_are_balanced():
    assert look_at_arrivals((0, 0), (0, 0), 1000).alarm is None
    assert look_at_arrivals((1, 0), (0, 0), 1000).alarm
    assert look_at_arrivals((50, 50), (50, 50), 10_000, shifted_share=0.02).alarm is None
    leaning = look_at_arrivals((100, 20), (20, 100), 10_000, shifted_share=0.024).alarm
    assert leaning
    assert leaning.detail == "16.67% of the early bits are 1, half are expected"


def test_a_probe_is_seen_from_its_threshold_on():
    assert look_at_watchdog(0.0, 1e3).alarm is None
    assert look_at_watchdog(999.0, 1e3).alarm is None
    assert look_at_watchdog(1e3, 1e3).alarm


def test_a_monitor_without_a_trial_is_silent():
    nothing = Count(0, 0, 0.1)
    assert nothing.rate == 0
    assert look_at_gains([nothing]).alarm is None
    assert look_at_qber(nothing, nothing).alarm is None
