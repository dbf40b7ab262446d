"""Intercept and resend, in its bases and at its strengths, within five standard deviations (5.7e-7 per number)."""

import numpy as np
import pytest

from qkdlink.common.distillation.monitors import Count, look_at_gains, look_at_qber
from qkdlink.common.optics.detector import DetectorSettings
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.source import Source
from qkdlink.common.optics.states import Basis
from tests.support.line_with_eve import assert_rate, live

MISALIGNED = Fibre(5, 0.2, 0.01)
GUESSED_HALFWAY = np.cos(np.pi / 8) ** 2


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 1.0])
def test_random_bases_cost_a_quarter_of_the_fraction_in_errors_and_give_half_of_it_in_bits(fraction: float):
    outcome = live(f"intercept-resend:fraction={fraction}", fibre=MISALIGNED)
    for basis in Basis:
        assert_rate(*outcome.errors(basis), 0.01 + fraction * (1 - 2 * 0.01) / 4)
    knowledge, right = outcome.known()
    assert_rate(int(knowledge.certain.sum()), len(knowledge), fraction / 2)
    assert_rate(right, len(knowledge), 0.5 + fraction / 4)
    assert knowledge.information == pytest.approx(knowledge.known_fraction)


def test_what_she_is_certain_of_is_right_and_the_rest_is_not_known_at_all():
    outcome = live("intercept-resend")
    knowledge, _ = outcome.known()
    right = knowledge.guesses == outcome.bits[outcome.matched]
    assert right[knowledge.certain].all()
    assert_rate(int(right[knowledge.unknown].sum()), int(knowledge.unknown.sum()), 0.5)
    assert (knowledge.certain ^ knowledge.unknown).all()


def test_before_the_announcement_three_of_four_guesses_are_right():
    outcome = live("intercept-resend")
    sifted = outcome.matched
    suspected = outcome.notes.suspected(outcome.record.gates[sifted], 0.5)
    assert_rate(int((suspected.guesses == outcome.bits[sifted]).sum()), len(suspected), 0.75)
    assert suspected.guess_probability == pytest.approx(0.75)


def test_in_one_basis_only_the_key_is_hers_and_a_pooled_error_rate_hides_it():
    q = 115 / 128
    outcome = live("intercept-resend:bases=key", source=Source.single_photon(q), pulses=2**21)
    key_errors, key_bits = outcome.errors(Basis.KEY)
    test_errors, test_bits = outcome.errors(Basis.TEST)
    assert key_errors == 0
    assert_rate(test_errors, test_bits, 0.5)
    assert outcome.known(Basis.KEY)[0].known_fraction == 1
    assert outcome.known(Basis.TEST)[0].known_fraction == 0
    pooled = 0.5 * (1 - q) ** 2 / (q**2 + (1 - q) ** 2)
    assert_rate(key_errors + test_errors, key_bits + test_bits, pooled)
    assert pooled < 0.007
    alarm = look_at_qber(Count(key_errors, key_bits, 0.01), Count(test_errors, test_bits, 0.01)).alarm
    assert alarm
    assert alarm.detail.startswith("the test basis")


def test_halfway_between_the_bases_she_guesses_every_bit_equally_well():
    outcome = live("breidbart", pulses=2**21, seed=3)
    for basis in Basis:
        assert_rate(*outcome.errors(basis), 0.25)
        knowledge, right = outcome.known(basis)
        assert_rate(right, len(knowledge), GUESSED_HALFWAY)
        assert knowledge.guess_probability == pytest.approx(GUESSED_HALFWAY)
        assert knowledge.information == pytest.approx(0.3991, abs=5e-5)
    assert knowledge.min_entropy_bits == pytest.approx(-len(knowledge) * np.log2(GUESSED_HALFWAY))


def test_as_many_photons_as_were_found_keep_every_gain_and_one_photon_does_not():
    decoys = Source((0.5, 0.1, 0.0), (0.5, 0.25, 0.25), 0.5)
    detector = DetectorSettings(0.5, 1e-4, 0.0, 0.0, 1e9)
    assert not look_at_gains(live("intercept-resend", decoys, MISALIGNED, detector).gains).alarm
    assert look_at_gains(
        live("intercept-resend:gain_matching=false", decoys, MISALIGNED, detector).gains
    ).alarm
