import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdlink.common.optics.detector import DetectorSettings
from qkdlink.common.optics.expectation import Expectation, expected_light, expected_statistics
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.presets import PRESETS, preset
from qkdlink.common.optics.source import PhotonStatistics, Source

THREE = Source((0.5, 0.1, 2e-4), (0.625, 0.25, 0.125), 0.75)
WALENTA = preset("lim-2014").detector


def expectation(
    detector: DetectorSettings, fibre: Fibre | None = None, source: Source = THREE
) -> Expectation:
    return expected_statistics(source, fibre or Fibre(10, 0.2, 0.01), detector, 0.75)


def test_without_memory_the_published_two_detector_formulas_hold():
    # Union form, and a coin for double clicks; mu = 0.5, 50 km, eta_Bob = 10 %, p_dc = 6e-7, e_d = 1 %.
    seen = expectation(DetectorSettings(0.1, 6e-7, 0, 0, 1e9), Fibre(50, 0.2, 0.01))
    assert seen.gains[0] == pytest.approx(4.98871e-3, abs=5e-9)
    assert seen.qber_key_by_class[0] == pytest.approx(0.010117, abs=1e-6)
    assert seen.gains == pytest.approx(
        [1 - (1 - 6e-7) ** 2 * math.exp(-0.01 * mu) for mu in THREE.intensities]
    )


def test_noise_turned_up_tells_the_union_form_from_the_sum_form():
    seen = expectation(DetectorSettings(0.5, 0.05, 0, 0, 1e9), Fibre(0, 0.2, 0.0))
    union = 1 - 0.95**2 * math.exp(-0.25)
    assert seen.gains[0] == pytest.approx(union)
    assert seen.gains[0] < 1 - 0.95**2 + 1 - math.exp(-0.25) - 0.02


def test_a_single_photon_yields_y_1():
    # Ma et al. 2005, Eqs. 6-9: Y_1 = Y_0 + eta - Y_0 eta; e_1 Y_1 = e_0 Y_0 + e_d eta, terms Y_0 eta aside.
    dark, eta, wrong = 1e-6, 0.05, 0.01
    seen = expectation(
        DetectorSettings(eta, dark, 0, 0, 1e9), Fibre(0, 0.2, wrong), Source.single_photon(0.75)
    )
    background = 1 - (1 - dark) ** 2
    assert seen.gain == pytest.approx(background + eta - background * eta, rel=1e-12)
    assert seen.qber_key * seen.gain == pytest.approx(background / 2 + wrong * eta, abs=background * eta)


@given(dead_gates=st.integers(0, 1000), efficiency=st.floats(1e-3, 1))
def test_dead_time_alone_gives_the_renewal_form(dead_gates: int, efficiency: float):
    awake = expectation(DetectorSettings(efficiency, 1e-6, 0, 0, 1e9))
    seen = expectation(DetectorSettings(efficiency, 1e-6, dead_gates, 0, 1e9))
    hidden = 1 / (1 + dead_gates * awake.gain)  # non-paralysable, counted in gates
    assert seen.gains == pytest.approx([gain * hidden for gain in awake.gains])
    assert seen.qber_key_by_class == pytest.approx(awake.qber_key_by_class)


def test_afterpulses_fall_into_the_class_of_the_gate_in_which_they_happen():
    silent = expectation(DetectorSettings(0.1, 6e-7, 0, 0, 1e9))
    seen = expectation(WALENTA)
    first_order = [d + 0.04 * (1 - d) * seen.gain for d in silent.gains]
    # What first order leaves out is that after a double click both detectors may afterpulse.
    assert seen.gains == pytest.approx(first_order, abs=0.04 * seen.double_clicks)
    published = silent.gains[2] * 1.04  # Lim et al. 2014 charge the class that caused them
    assert seen.gains[2] > 10 * published


def test_afterpulse_errors_are_random_bits():
    silent = expectation(DetectorSettings(0.1, 6e-7, 0, 0, 1e9))
    seen = expectation(WALENTA)
    for k in range(3):
        errors = silent.qber_key_by_class[k] * silent.gains[k] + 0.04 * seen.gain * (1 - silent.gains[k]) / 2
        assert seen.qber_key_by_class[k] * seen.gains[k] == pytest.approx(errors, rel=0.02)


def test_dead_time_and_afterpulses_without_light_follow_the_markov_chain():
    # With p_ap = 1 the first dark count starts a chain in which every live gate clicks.
    seen = expectation(DetectorSettings(0.0, 0.01, 3.0, 1.0, 1e9))
    assert seen.gain == pytest.approx(1 / 4)


def test_sifted_probabilities_count_both_parties_choices():
    seen = expectation(WALENTA)
    for k, probability in enumerate(THREE.probabilities):
        assert seen.sifted_key[k] == pytest.approx(probability * 0.75 * 0.75 * seen.gains[k])
        assert seen.sifted_test[k] == pytest.approx(probability * 0.25 * 0.25 * seen.gains[k])


def test_nothing_ever_clicks_in_perfect_darkness():
    seen = expectation(DetectorSettings(0.0, 0.0, 100.0, 0.1, 1e9))
    assert seen.gains == (0, 0, 0)
    assert seen.qber_key == seen.qber_test == seen.double_clicks == 0


@given(
    efficiency=st.floats(0, 1),
    dark=st.floats(0, 1),
    dead=st.floats(0, 200),
    afterpulse=st.floats(0, 1),
    length=st.floats(0, 500),
    misalignment=st.floats(0, 0.5),
    statistics=st.sampled_from(PhotonStatistics),
)
def test_every_expectation_is_a_probability(
    efficiency: float,
    dark: float,
    dead: float,
    afterpulse: float,
    length: float,
    misalignment: float,
    statistics: PhotonStatistics,
):
    single = statistics is PhotonStatistics.SINGLE_PHOTON
    seen = expected_light(
        (1.0,) if single else (0.51, 0.15),
        (1.0,) if single else (0.7, 0.3),
        0.9,
        0.9,
        Fibre(length, 0.2, misalignment),
        DetectorSettings(efficiency, dark, dead, afterpulse, 1e9),
        statistics,
    )
    for value in (*seen.gains, *seen.sifted_key, *seen.sifted_test, seen.gain, seen.double_clicks):
        assert 0 <= value <= 1 + 1e-12
    for rate in (*seen.qber_key_by_class, seen.qber_test):
        assert 0 <= rate <= 0.5 + 1e-12


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_an_expectation_a_key_could_come_from(name: str):
    chosen = preset(name)
    seen = expectation(chosen.detector, chosen.fibre())
    assert seen.gains[0] > 1e-3
    assert seen.qber_key_by_class[0] < 0.05
