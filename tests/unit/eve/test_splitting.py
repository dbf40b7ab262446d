"""Splitting photon numbers and beams, and asking states what they are, within five standard deviations."""

from collections.abc import Callable
from math import exp, factorial

import numpy as np
import pytest

from qkdlink.common.distillation.monitors import Count, look_at_double_clicks, look_at_gains
from qkdlink.common.optics.adversary import NO_CONCLUSION, Bench, conclusive_probability
from qkdlink.common.optics.detector import DetectorSettings
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.presets import preset
from qkdlink.common.optics.source import Source
from qkdlink.common.optics.states import Basis
from qkdlink.eve.quantum_attacks.base import PublicLink
from qkdlink.eve.quantum_attacks.photon_number_splitting import PhotonNumberSplitting
from qkdlink.eve.quantum_attacks.state_discrimination import UnambiguousStateDiscrimination
from tests.support.line_with_eve import QUIET, assert_rate, live

GYS = preset("gys-2004")
AT_BOB = GYS.detector.efficiency
Y_0 = 1 - (1 - GYS.detector.dark_count_probability) ** 2
MU, NU = 0.48, 0.05
DECOYS = Source((MU, NU, 0.0), (0.5, 0.25, 0.25), 0.5)

type Yields = Callable[[float, int], float]
"""Probability of a click, by length of the line in km and number of photons sent."""


def photons(mean: float, number: int) -> float:
    return exp(-mean) * mean**number / factorial(number)


def gys(length_km: float) -> PublicLink:
    return PublicLink(DECOYS, GYS.fibre(length_km), GYS.detector, 0.5)


def honest_yield(length_km: float, number: int) -> float:
    return 1 - (1 - Y_0) * (1 - GYS.fibre(length_km).transmittance * AT_BOB) ** number


def attacked_yield(length_km: float, number: int) -> float:
    multiple, single = PhotonNumberSplitting().shares(gys(length_km))
    if number == 0:
        return Y_0
    clicks = single * AT_BOB if number == 1 else multiple * (1 - (1 - AT_BOB) ** (number - 1))
    return 1 - (1 - Y_0) * (1 - clicks)


def gain(yields: Yields, length_km: float, mean: float, least: int = 0) -> float:
    return sum(photons(mean, number) * yields(length_km, number) for number in range(least, 30))


def single_photon_yield_bound(yields: Yields, length_km: float) -> float:
    # Ma, Qi, Zhao, Lo, PRA 72, 012326 (2005), vacuum + weak decoy
    signal, weak = (gain(yields, length_km, mean) * exp(mean) for mean in (MU, NU))
    bound = weak - signal * NU**2 / MU**2 - (MU**2 - NU**2) / MU**2 * Y_0
    return MU / (MU * NU - NU**2) * bound


@pytest.mark.parametrize(
    ("length_km", "ratio", "honest_1", "honest_2", "attacked_2"),
    [(50, "0.128", "4.0e-03", "8.0e-03", "2.0e-02"), (100, "0.197", "3.5e-04", "7.2e-04", "1.8e-03")],
)
def test_the_numbers_of_photon_number_splitting(
    length_km: float, ratio: str, honest_1: str, honest_2: str, attacked_2: str
):
    assert PhotonNumberSplitting().shares(gys(length_km))[1] == 0
    assert gain(attacked_yield, length_km, MU) == pytest.approx(gain(honest_yield, length_km, MU))
    assert f"{gain(attacked_yield, length_km, NU) / gain(honest_yield, length_km, NU):.3f}" == ratio
    assert f"{single_photon_yield_bound(honest_yield, length_km):.1e}" == honest_1
    assert single_photon_yield_bound(attacked_yield, length_km) < 0
    assert f"{honest_yield(length_km, 2):.1e}" == honest_2
    assert f"{attacked_yield(length_km, 2):.1e}" == attacked_2


def test_splitting_keeps_the_signal_and_the_error_rate_and_tells_her_every_bit_but_the_decoy_drops():
    outcome = live("photon-number-splitting", DECOYS, GYS.fibre(50), GYS.detector, 2**25, frame=2**22)
    for counted, mean in zip(outcome.gains[:2], (MU, NU), strict=True):
        assert_rate(counted.events, counted.trials, gain(attacked_yield, 50, mean))
    for basis in Basis:
        assert_rate(*outcome.errors(basis), 0.033)
    knowledge, right = outcome.known(intensity=0)
    expected = gain(attacked_yield, 50, MU, least=2) / gain(attacked_yield, 50, MU)
    assert expected > 0.9985
    assert_rate(int(knowledge.certain.sum()), len(knowledge), expected)
    assert right >= knowledge.certain.sum()
    assert not look_at_gains(outcome.gains[:1]).alarm
    assert look_at_gains(outcome.gains).alarm


def test_without_gain_matching_the_signal_itself_gives_her_away():
    outcome = live("photon-number-splitting:gain_matching=false", DECOYS, GYS.fibre(50), GYS.detector, 2**22)
    assert look_at_gains(outcome.gains[:1]).alarm


def test_at_10_km_the_weak_decoy_rises_and_the_two_sided_gain_test_sees_it_at_1e8_pulses():
    rise = gain(attacked_yield, 10, NU) / gain(honest_yield, 10, NU)
    assert f"{rise:.3f}" == "1.058"
    assert f"{PhotonNumberSplitting().shares(gys(10))[1]:.2f}" == "0.66"
    pulses = (50_000_000, 25_000_000, 25_000_000)
    honest, attacked = (
        [
            Count(round(n * gain(yields, 10, mean)), n, gain(honest_yield, 10, mean))
            for n, mean in zip(pulses, DECOYS.intensities, strict=True)
        ]
        for yields in (honest_yield, attacked_yield)
    )
    assert not look_at_gains(honest).alarm
    assert look_at_gains(attacked).alarm


def test_half_of_the_pulses_split_give_her_half_of_the_signal():
    outcome = live(
        "photon-number-splitting:fraction=0.5", DECOYS, GYS.fibre(50), GYS.detector, 2**24, frame=2**22
    )
    signal, weak = outcome.gains[:2]
    assert_rate(signal.events, signal.trials, gain(honest_yield, 50, MU))
    mixed = (gain(honest_yield, 50, NU) + gain(attacked_yield, 50, NU)) / 2
    assert_rate(weak.events, weak.trials, mixed)


def test_tapping_the_loss_tells_her_what_holds_a_photon_and_shows_nothing():
    mu, fibre = 0.5, Fibre(100, 0.2, 0.0)
    source = Source((mu,), (1.0,), 0.5)
    outcome = live("beam-splitting", source, fibre, QUIET, 2**23, frame=2**22)
    knowledge, right = outcome.known()
    expected = 1 - exp(-mu * (1 - 0.01))
    assert expected == pytest.approx(0.390, abs=5e-4)
    assert_rate(int(knowledge.certain.sum()), len(knowledge), expected)
    assert_rate(right, len(knowledge), (1 + expected) / 2)
    assert sum(outcome.errors(basis)[0] for basis in Basis) == 0
    assert not look_at_gains(outcome.gains).alarm
    assert not look_at_double_clicks(outcome.doubles).alarm


def test_nothing_is_known_of_stored_light_before_the_announcement():
    outcome = live("beam-splitting", Source((0.5,), (1.0,), 0.5), Fibre(20, 0.2, 0.0))
    assert outcome.notes.suspected(outcome.record.gates, 0.5).unknown.all()


@pytest.mark.parametrize(
    ("number", "conclusive"),
    list(zip(range(1, 9), (0, 0, 0.5, 0.5, 0.75, 0.75, 0.875, 0.875), strict=True)),
)
def test_a_state_tells_what_it_is_as_often_as_its_copies_allow_and_never_wrongly(
    number: int, conclusive: float
):
    count = 2**17
    states = np.tile(np.array([0, 2, 4, 6], np.uint8), count // 4)
    bench = Bench(np.random.default_rng(number))
    light = bench.prepare((states, np.full(count, number, np.uint8)), Fibre(0, 0.2, 0.0), 0)
    told = bench.discriminate(light)
    assert ((told == states) | (told == NO_CONCLUSION)).all()
    assert_rate(int((told != NO_CONCLUSION).sum()), count, conclusive)


def test_discrimination_keeps_the_signal_and_tells_her_every_bit_but_the_decoy_drops():
    outcome = live(
        "unambiguous-state-discrimination", DECOYS, GYS.fibre(100), GYS.detector, 2**24, frame=2**22
    )
    share, rest_share = UnambiguousStateDiscrimination().shares(gys(100))
    assert 0 < share < 1
    assert rest_share == 0
    signal = outcome.gains[0]
    assert_rate(signal.events, signal.trials, signal.expected)
    knowledge, right = outcome.known(intensity=0)
    known = sum(
        photons(MU, n)
        * conclusive_probability(n)
        * (share * (1 - (1 - Y_0) * (1 - AT_BOB) ** n) + (1 - share) * Y_0)
        for n in range(3, 30)
    )
    assert known / signal.expected > 0.98
    assert_rate(int(knowledge.certain.sum()), len(knowledge), known / signal.expected)
    assert right >= knowledge.certain.sum()
    assert look_at_gains(outcome.gains).alarm


def test_without_loss_to_hide_in_discrimination_cannot_keep_the_signal():
    link = PublicLink(DECOYS, Fibre(0, 0.2, 0.0), DetectorSettings(1.0, 0.0, 0.0, 0.0, 1e9), 0.5)
    assert UnambiguousStateDiscrimination().shares(link) == (1.0, 1.0)
