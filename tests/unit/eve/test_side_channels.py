"""Attacks on hardware: blinding, time shift, Trojan horse, jamming; within five standard deviations."""

from math import exp

import numpy as np
import pytest

from qkdlink.common.distillation.monitors import (
    Count,
    look_at_arrivals,
    look_at_double_clicks,
    look_at_gains,
    look_at_photocurrent,
    look_at_qber,
    look_at_random_efficiency,
    look_at_vacuum_gain,
    look_at_watchdog,
)
from qkdlink.common.optics.detector import DetectorSettings
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.outlet import Outlet
from qkdlink.common.optics.source import Source
from qkdlink.common.optics.states import Basis
from qkdlink.common.optics.watchful_receiver import DetectorFlaws
from tests.support.line_with_eve import Outcome, assert_rate, live

DECOYS = Source((0.48, 0.05, 0.0), (0.5, 0.25, 0.25), 0.5)
LINE = Fibre(50, 0.21, 0.033)
DETECTOR = DetectorSettings(0.3, 5e-6, 0.0, 0.0, 1e9)


def on_the_line(attack: str, switched_off: float = 0.0) -> Outcome:
    return live(attack, DECOYS, LINE, DETECTOR, 2**24, frame=2**22, switched_off=switched_off)


@pytest.fixture(scope="module")
def blinded() -> Outcome:
    return on_the_line("blinding")


def test_blinding_gives_her_the_whole_key_while_errors_and_gains_look_better_than_honest(blinded: Outcome):
    outcome = blinded
    for basis in Basis:
        errors, bits = outcome.errors(basis)
        assert bits > 5000
        assert errors == 0
        knowledge, right = outcome.known(basis)
        assert knowledge.known_fraction == 1
        assert right == bits
    assert not look_at_gains(outcome.gains[:2]).alarm
    keys, tests = (Count(*outcome.errors(basis), expected=0.033) for basis in Basis)
    assert not look_at_qber(keys, tests).alarm


def test_blinding_has_no_vacuum_clicks_and_no_double_clicks_and_draws_a_photocurrent(blinded: Outcome):
    outcome = blinded
    vacuum = outcome.gains[2]
    assert vacuum.events == outcome.record.double_clicks == 0
    assert look_at_vacuum_gain(vacuum).alarm
    assert look_at_double_clicks(outcome.doubles).alarm
    assert look_at_photocurrent(outcome.record.side.bright_gates).alarm
    assert outcome.record.side.bright_gates == 2**24


@pytest.mark.parametrize(("attack", "alarmed"), [("transparent", False), ("blinding", True)])
def test_triggers_click_where_bob_has_switched_his_detectors_off_and_photons_do_not(
    attack: str, alarmed: bool
):
    side = on_the_line(attack, switched_off=0.25).record.side
    dark = 1 - (1 - DETECTOR.dark_count_probability) ** 2
    off = Count(side.switched_off_clicks, side.switched_off_gates, dark)
    assert_rate(off.trials, 2**24, 0.25)
    assert bool(look_at_random_efficiency(off).alarm) == alarmed


def test_without_eve_no_monitor_is_alarmed():
    outcome = on_the_line("transparent")
    assert not look_at_gains(outcome.gains).alarm
    assert not look_at_vacuum_gain(outcome.gains[2]).alarm
    assert not look_at_double_clicks(outcome.doubles).alarm
    assert not look_at_photocurrent(outcome.record.side.bright_gates).alarm
    assert not look_at_arrivals(
        outcome.record.side.early, outcome.record.side.late, len(outcome.record)
    ).alarm


@pytest.mark.parametrize(("mismatch", "guess", "information"), [(0.5, 0.667, 0.082), (0.1, 0.909, 0.561)])
def test_a_shifted_click_points_to_the_better_detector(mismatch: float, guess: float, information: float):
    outcome = live("time-shift", fibre=Fibre(20, 0.2, 0.0), flaws=DetectorFlaws(mismatch))
    knowledge, right = outcome.known()
    assert_rate(right, len(knowledge), 1 / (1 + mismatch))
    assert knowledge.guess_probability == pytest.approx(guess, abs=5e-4)
    assert knowledge.information == pytest.approx(information, abs=5e-4)
    assert sum(outcome.errors(basis)[0] for basis in Basis) == 0


def test_a_time_shift_leaves_gain_and_balance_and_shows_in_the_times_of_arrival():
    outcome = live("time-shift", fibre=Fibre(20, 0.2, 0.0))
    record = outcome.record
    assert not look_at_gains(outcome.gains).alarm
    assert_rate(int(record.bits.sum()), len(record), 0.5)
    early, late = record.side.early, record.side.late
    assert sum(early) + sum(late) == len(record)
    assert_rate(early[0], sum(early), 2 / 3)
    assert_rate(late[1], sum(late), 2 / 3)
    assert look_at_arrivals(early, late, len(record)).alarm
    assert look_at_arrivals(
        early, late, len(record), shifted_share=1.0
    ).alarm  # the bits lean, whatever jitter there is


def test_a_time_shift_on_matched_detectors_tells_her_nothing():
    outcome = live("time-shift", fibre=Fibre(20, 0.2, 0.0), flaws=DetectorFlaws(1.0))
    knowledge, right = outcome.known()
    assert knowledge.unknown.all()
    assert_rate(right, len(knowledge), 0.5)


def test_reflections_tell_her_the_bits_and_bob_sees_what_he_sees_without_a_probe():
    outlet = Outlet(isolation_db=60.0, watchdog_photons=1e4)
    mu_out = 0.1
    probe = outlet.probe_for(mu_out)
    probed = live("trojan-horse", DECOYS, Fibre(10, 0.2, 0.01), DETECTOR, probe_photons=probe)
    alone = live([], DECOYS, Fibre(10, 0.2, 0.01), DETECTOR)
    np.testing.assert_array_equal(probed.record.gates, alone.record.gates)
    np.testing.assert_array_equal(probed.record.bits, alone.record.bits)
    knowledge, right = probed.known()
    assert_rate(int(knowledge.certain.sum()), len(knowledge), 1 - exp(-mu_out))
    assert right >= knowledge.certain.sum()
    assert look_at_watchdog(probe, outlet.watchdog_photons).alarm
    assert outlet.watchdog_barks(probe)
    assert not look_at_watchdog(outlet.probe_for(1e-3), outlet.watchdog_photons).alarm


def test_more_isolation_leaves_her_less():
    probe = Outlet(isolation_db=60.0).probe_for(0.1)
    assert Outlet(isolation_db=80.0).reflected(probe) == pytest.approx(0.001)


@pytest.mark.parametrize("fraction", [0.5, 1.0])
def test_noise_makes_half_of_its_bits_wrong_and_tells_her_nothing(fraction: float):
    outcome = live(f"jamming:fraction={fraction}")
    for basis in Basis:
        assert_rate(*outcome.errors(basis), fraction / 2)
    assert outcome.known()[0].unknown.all()


def test_darkness_makes_no_click():
    assert len(live("jamming:kind=darkness").record) == 0
