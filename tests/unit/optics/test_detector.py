import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkdlink.common.errors import ConfigurationError, LocalProtocolError
from qkdlink.common.optics.detector import DetectorSettings, Receiver, click_thresholds
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.pulses import PulseTrain
from qkdlink.common.optics.records import DetectionRecord
from qkdlink.common.optics.states import Basis, bb84_polarisation
from qkdlink.common.randomness import ChoiceStream
from tests.support.slow_optics import SlowReceiver
from tests.support.states import pulse_state

PERFECT = DetectorSettings(1.0, 0.0, 0.0, 0.0, 1e9)
HERE = Fibre(0, 0.2, 0.0)
CHOICES = ChoiceStream(bytes(32))

exaggerated = st.builds(
    DetectorSettings,
    efficiency=st.floats(0, 1),
    dark_count_probability=st.sampled_from([0.0, 0.01, 0.2]),
    dead_time_ns=st.sampled_from([0.0, 1.0, 2.5, 10.0]),
    afterpulse_probability=st.sampled_from([0.0, 0.3, 0.7]),
    clock_hz=st.just(1e9),
)
fibres = st.builds(Fibre, st.floats(0, 50), st.just(0.2), st.sampled_from([0.0, 0.03, 0.2]))


def nature(seed: int = 1):
    return np.random.default_rng(seed)


def measured(
    states: npt.ArrayLike,
    detector: DetectorSettings,
    fibre: Fibre = HERE,
    key_basis: float = 0.5,
    seed: int = 1,
    cuts: Sequence[int] = (),
):
    receiver = Receiver(detector, key_basis, CHOICES, nature(seed))
    frames = np.split(np.asarray(states, np.uint8), sorted(cuts))
    first, records = 0, []
    for frame in frames:
        records.append(receiver.detect(PulseTrain(frame.copy(), fibre, first)))
        first += len(frame)
    return DetectionRecord.joined(records)


def clicks(record: DetectionRecord):
    return list(zip(record.gates.tolist(), record.bases.tolist(), record.bits.tolist(), strict=True))


@settings(max_examples=60, deadline=None)
@given(
    detector=exaggerated,
    fibre=fibres,
    key_basis=st.integers(1, 127),
    seed=st.integers(0, 2**32),
    brightest=st.sampled_from([1, 3, 31]),
)
def test_the_compiled_detectors_agree_bit_for_bit_with_the_slow_ones(
    detector: DetectorSettings, fibre: Fibre, key_basis: int, seed: int, brightest: int
):
    world = nature(seed)
    states = (world.integers(0, 8, 400) | world.integers(0, brightest + 1, 400) << 3).astype(np.uint8)
    fast = measured(states, detector, fibre, key_basis / 128, seed)
    slow = SlowReceiver(detector, key_basis / 128)
    slow.detect(states.tolist(), fibre, CHOICES, nature(seed))
    assert clicks(fast) == slow.clicks
    assert fast.double_clicks == slow.double_clicks


@pytest.mark.parametrize(
    ("dead_time_ns", "afterpulse_probability"), [(0.0, 0.0), (0.0, 0.5), (3.0, 0.5), (5000.0, 0.5)]
)
@pytest.mark.parametrize("brightest", [0, 2, 31])
def test_long_frames_that_begin_anywhere_agree_with_the_slow_detectors_too(
    dead_time_ns: float, afterpulse_probability: float, brightest: int
):
    # longer than what the loops work on at a time, and not in step with the words that hold eight first bytes
    world = nature(5)
    states = (world.integers(0, 8, 12_000) | world.integers(0, brightest + 1, 12_000) << 3).astype(np.uint8)
    detector = DetectorSettings(0.02, 1e-3, dead_time_ns, afterpulse_probability, 1e9)
    fast = measured(states, detector, cuts=[4099, 5000])
    slow = SlowReceiver(detector, 0.5)
    slow.detect(states.tolist(), HERE, CHOICES, nature(1))
    assert clicks(fast) == slow.clicks
    assert fast.double_clicks == slow.double_clicks


@settings(max_examples=60, deadline=None)
@given(detector=exaggerated, cuts=st.lists(st.integers(1, 299), max_size=12, unique=True))
def test_the_size_of_frames_changes_nothing(detector: DetectorSettings, cuts: Sequence[int]):
    states = nature(7).integers(0, 32, 300)
    whole, split = measured(states, detector), measured(states, detector, cuts=cuts)
    assert clicks(whole) == clicks(split)
    assert whole.double_clicks == split.double_clicks


def test_bobs_choices_depend_on_the_gate_alone():
    states = np.full(4000, pulse_state(0, 3))
    often = measured(states, DetectorSettings(1.0, 0.1, 0.0, 0.2, 1e9))
    rarely = measured(states, DetectorSettings(0.1, 0.0, 7.0, 0.0, 1e9), seed=2)
    basis_at = dict(zip(often.gates.tolist(), often.bases.tolist(), strict=True))
    assert len(rarely) > 100
    assert all(basis_at[gate] == basis for gate, basis, _ in clicks(rarely))


def test_bases_and_coins_have_exactly_the_stated_probabilities():
    class EveryChoice:
        def read(self, start: int, count: int):
            return np.arange(start, start + count).astype(np.uint8)

    blinding = DetectorSettings(0.0, 1.0, 0.0, 0.0, 1e9)  # both detectors click in every gate
    record = Receiver(blinding, 96 / 128, EveryChoice(), nature()).detect(
        PulseTrain(np.zeros(256, np.uint8), HERE, 0)
    )
    assert record.double_clicks == len(record) == 256
    assert [np.sum((record.bases == basis) & (record.bits == bit)) for basis in (0, 1) for bit in (0, 1)] == [
        96,
        96,
        32,
        32,
    ]


@pytest.mark.parametrize("basis", list(Basis))
@pytest.mark.parametrize("bit", [0, 1])
def test_perfect_light_in_the_right_basis_is_read_without_error(basis: Basis, bit: int):
    record = measured(np.full(2000, pulse_state(bb84_polarisation(basis, bit), 1)), PERFECT)
    assert len(record) == 2000
    assert (record.bits[record.bases == basis] == bit).all()
    assert record.double_clicks == 0


@pytest.mark.parametrize("basis", list(Basis))
@pytest.mark.parametrize("misalignment", [0.0, 0.05, 0.5])
def test_the_wrong_basis_reads_nothing_at_all(basis: Basis, misalignment: float):
    table = click_thresholds(Fibre(3, 0.2, misalignment), DetectorSettings(0.3, 1e-6, 0, 0, 1e9))
    for bit in (0, 1):
        for photons in range(32):
            both, only_0, only_1 = (
                int(t) for t in table[1 - basis, pulse_state(bb84_polarisation(basis, bit), photons)]
            )
            assert abs((only_0 - both) - (only_1 - only_0)) <= 2**14  # doubles of 53 bits, times 2^64


@pytest.mark.parametrize("angle", range(8))
def test_one_photon_obeys_maluss_law(angle: int):
    table = click_thresholds(Fibre(0, 0.2, 0.02), DetectorSettings(1.0, 0, 0, 0, 1e9))
    both, only_0, only_1 = (int(t) / 2**64 for t in table[0, pulse_state(angle, 1)])
    assert both == 0
    assert only_1 == pytest.approx(1, abs=1e-15)
    assert only_0 == pytest.approx((1 + 0.96 * math.cos(math.radians(45 * angle))) / 2, abs=1e-15)


@given(
    detector=exaggerated,
    fibre=fibres,
    photons=st.integers(0, 31),
    angle=st.integers(0, 7),
    basis=st.sampled_from(list(Basis)),
)
def test_many_photons_click_as_independent_photons_do(
    detector: DetectorSettings, fibre: Fibre, photons: int, angle: int, basis: Basis
):
    both, only_0, only_1 = (
        int(t) / 2**64 for t in click_thresholds(fibre, detector)[basis, pulse_state(angle, photons)]
    )
    seen, dark = fibre.transmittance * detector.efficiency, detector.dark_count_probability
    to_0 = seen * (1 + (1 - 2 * fibre.misalignment) * math.cos(math.radians(45 * (angle - 2 * basis)))) / 2
    silent_0 = (1 - dark) * (1 - to_0) ** photons
    silent_1 = (1 - dark) * (1 - (seen - to_0)) ** photons
    silent = (1 - dark) ** 2 * (1 - seen) ** photons
    assert only_1 == pytest.approx(1 - silent, abs=1e-13)
    assert only_0 - both == pytest.approx(silent_1 - silent, abs=1e-13)
    assert only_1 - only_0 == pytest.approx(silent_0 - silent, abs=1e-13)


def test_small_dark_count_probabilities_keep_all_their_digits():
    table = click_thresholds(HERE, DetectorSettings(0.5, 1e-8, 0, 0, 1e9))
    both, only_0, only_1 = (int(t) / 2**64 for t in table[0, 0])
    assert only_1 == pytest.approx(2e-8 - 1e-16, rel=1e-12)
    assert only_0 - both == pytest.approx(1e-8 - 1e-16, rel=1e-10)


def test_both_detectors_are_dead_for_the_stated_gates_after_a_click():
    bright = np.full(1000, pulse_state(0, 31))
    for dead_time_ns, period in ((0.0, 1), (0.1, 2), (1.0, 2), (99.5, 101), (100.0, 101)):
        record = measured(bright, DetectorSettings(1.0, 0.0, dead_time_ns, 0.0, 1e9))
        assert record.gates.tolist() == list(range(0, 1000, period))


def test_dead_time_is_counted_in_gates_of_the_clock():
    assert DetectorSettings(0.5, 0, 100.0, 0, 1e9).dead_gates == 100
    assert DetectorSettings(0.5, 0, 100.0, 0, 2.5e9).dead_gates == 250
    assert DetectorSettings(0.5, 0, 100.0, 0, 2e6).dead_gates == 1
    assert DetectorSettings(0.5, 0, 0.0, 0, 1e9).dead_gates == 0


def test_an_afterpulse_comes_in_the_first_live_gate_from_the_detector_that_clicked():
    flash = np.zeros(50, np.uint8)
    flash[3] = pulse_state(bb84_polarisation(Basis.KEY, 1), 31)
    record = measured(flash, DetectorSettings(1.0, 0.0, 2.0, 1.0, 1e9), key_basis=127 / 128)
    assert record.gates.tolist() == list(range(3, 50, 3))
    assert record.bits.tolist() == [1] * len(record)


def test_a_missing_or_repeated_frame_is_never_taken_for_attenuation():
    receiver = Receiver(PERFECT, 0.5, CHOICES, nature())
    receiver.detect(PulseTrain(np.zeros(10, np.uint8), HERE, 0))
    for first in (0, 9, 11, 20):
        with pytest.raises(LocalProtocolError, match="gate 10 is next"):
            receiver.detect(PulseTrain(np.zeros(10, np.uint8), HERE, first))
    assert len(receiver.detect(PulseTrain(np.full(10, 8, np.uint8), HERE, 10))) == 10


def test_light_crosses_the_fibre_that_it_was_launched_into():
    receiver = Receiver(PERFECT, 0.5, CHOICES, nature())
    single = np.full(1000, pulse_state(0, 1), np.uint8)
    assert len(receiver.detect(PulseTrain(single.copy(), HERE, 0))) == 1000
    assert len(receiver.detect(PulseTrain(single.copy(), Fibre(1e4, 0.2, 0.0), 1000))) == 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"efficiency": 1.01}, "a detector efficiency cannot be 1.01"),
        ({"efficiency": math.nan}, "a detector efficiency cannot be nan"),
        ({"dark_count_probability": -1e-9}, "a dark count probability cannot be -1e-09"),
        ({"afterpulse_probability": 2}, "an afterpulse probability cannot be 2"),
        ({"dead_time_ns": -1.0}, "a dead time cannot be -1.0 ns"),
        ({"dead_time_ns": math.inf}, "a dead time cannot be inf ns"),
        ({"clock_hz": 0.0}, "a clock cannot run at 0.0 Hz"),
        (
            {"dead_time_ns": 2.0**32 + 1},
            "a dead time of 4.29497e\\+09 ns is longer than any block at 1e\\+09 Hz",
        ),
        ({"dead_time_ns": 1e30}, "a block has 4294967296 gates at most"),
        ({"dead_time_ns": 1.0, "clock_hz": 1e30}, "a block has 4294967296 gates at most"),
        ({"dead_time_ns": 1e300, "clock_hz": 1e300}, "a block has 4294967296 gates at most"),
    ],
)
def test_an_impossible_detector_is_refused_in_one_sentence(change: dict[str, float], sentence: str):
    with pytest.raises(ConfigurationError, match=sentence):
        DetectorSettings(
            **{
                "efficiency": 0.5,
                "dark_count_probability": 0,
                "dead_time_ns": 0,
                "afterpulse_probability": 0,
                "clock_hz": 1e9,
            }
            | change
        )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((-1, 0.2, 0.01), "a fibre's length cannot be -1 km"),
        ((math.nan, 0.2, 0.01), "length cannot be nan km"),
        ((1, -0.2, 0.01), "attenuation cannot be -0.2 dB/km"),
        ((1, 0.2, 0.6), "a misalignment cannot be 0.6"),
        ((20_000, 0.2, 0.01), "lets no photon through: make it shorter"),
    ],
)
def test_an_impossible_fibre_is_refused_in_one_sentence(arguments: tuple[Any, ...], sentence: str):
    with pytest.raises(ConfigurationError, match=sentence):
        Fibre(*arguments)


def test_a_receiver_refuses_a_basis_probability_that_cannot_be_chosen():
    with pytest.raises(ConfigurationError, match="multiple of 1/128"):
        Receiver(PERFECT, 0.9, CHOICES, nature())
