"""What the emulated hardware shows, against `expected_statistics`, within five standard deviations.

Five standard deviations are a false alarm of 5.7e-7 per number; where dead time or afterpulses correlate
the counts, the deviation is the spread from frame to frame (1024 frames: 6.8e-7, Student's t). Seeds are
fixed.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from qkdlink.common.optics.detector import DetectorSettings, Receiver
from qkdlink.common.optics.expectation import Expectation, expected_light, expected_statistics
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.presets import preset
from qkdlink.common.optics.source import PulseSource, Source
from qkdlink.common.optics.states import Basis
from qkdlink.common.randomness import ChoiceStream

SIGMAS = 5
FRAMES = 1024
METROPOLITAN = Fibre(10, 0.2, 0.01)
THREE = Source((0.5, 0.125, 2e-4), (0.5, 0.25, 0.25), 0.5)
QUIET = DetectorSettings(0.5, 1e-4, 0.0, 0.0, 1e9)

type Deviations = Callable[[Counts, Counts, npt.ArrayLike], Counts]

type Counts = npt.NDArray[np.float64]
"""Counts per frame and intensity class: `float64[frames, classes]`."""


@dataclass
class Seen:
    """What was counted, per frame and class; index 0 of the pairs is the key basis, 1 the test basis."""

    emitted: Counts
    clicked: Counts
    sifted: tuple[Counts, Counts]
    errors: tuple[Counts, Counts]
    wrong_basis: int
    wrong_basis_errors: int
    double_clicks: int


def run(source: Source, fibre: Fibre, detector: DetectorSettings, bob_key: float, pulses: int) -> Seen:
    emitter = PulseSource(source, ChoiceStream(bytes(31) + b"A"), np.random.default_rng(20180601))
    receiver = Receiver(detector, bob_key, ChoiceStream(bytes(31) + b"B"), np.random.default_rng(20140207))
    shape = (FRAMES, source.class_count)
    seen = Seen(
        np.zeros(shape),
        np.zeros(shape),
        (np.zeros(shape), np.zeros(shape)),
        (np.zeros(shape), np.zeros(shape)),
        0,
        0,
        0,
    )
    size = pulses // FRAMES
    for frame in range(FRAMES):
        prepared, train = emitter.emit(frame * size, size, fibre)
        record = receiver.detect(train)
        at_clicks = prepared[record.gates - np.uint32(frame * size)]
        bits, bases, classes = at_clicks & 1, at_clicks >> 1 & 1, at_clicks >> 2
        wrong = bits != record.bits
        seen.emitted[frame] = np.bincount(prepared >> 2, minlength=source.class_count)
        seen.clicked[frame] = np.bincount(classes, minlength=source.class_count)
        for basis in Basis:
            agreed = (bases == basis) & (record.bases == basis)
            seen.sifted[basis][frame] = np.bincount(classes[agreed], minlength=source.class_count)
            seen.errors[basis][frame] = np.bincount(classes[agreed & wrong], minlength=source.class_count)
        differ = bases != record.bases
        seen.wrong_basis += int(differ.sum())
        seen.wrong_basis_errors += int((differ & wrong).sum())
        seen.double_clicks += record.double_clicks
    return seen


def binomial_deviations(counted: Counts, trials: Counts, probability: npt.ArrayLike) -> Counts:
    """Deviations of the totals in binomial standard deviations, per class; for detectors without memory."""
    n, p = trials.sum(axis=0), np.asarray(probability)
    deviations: Counts = (counted.sum(axis=0) - n * p) / np.sqrt(n * p * (1 - p))
    return deviations


def spread_deviations(counted: Counts, trials: Counts, probability: npt.ArrayLike) -> Counts:
    """Deviations of the totals in units of the spread from frame to frame, per class."""
    excess = counted - trials * np.asarray(probability)
    deviations: Counts = excess.sum(axis=0) / (excess.std(axis=0, ddof=1) * np.sqrt(len(excess)))
    return deviations


def assert_expected(seen: Seen, expected: Expectation, deviations: Deviations = binomial_deviations) -> None:
    assert np.abs(deviations(seen.clicked, seen.emitted, expected.gains)).max() < SIGMAS
    for basis, rates in ((0, expected.qber_key_by_class), (1, expected.qber_test_by_class)):
        assert seen.errors[basis].sum(axis=0).min() > 20
        assert np.abs(deviations(seen.errors[basis], seen.sifted[basis], rates)).max() < SIGMAS
    pulses = np.broadcast_to(seen.emitted.sum(axis=1, keepdims=True), seen.emitted.shape)
    for basis, shares in ((0, expected.sifted_key), (1, expected.sifted_test)):
        assert np.abs(deviations(seen.sifted[basis], pulses, shares)).max() < SIGMAS


def assert_wrong_basis_unbiased(seen: Seen) -> None:
    excess = seen.wrong_basis_errors - seen.wrong_basis / 2
    assert seen.wrong_basis > 1000
    assert abs(excess) < SIGMAS * np.sqrt(seen.wrong_basis) / 2


def test_without_memory_gains_and_errors_are_those_of_the_published_formulas():
    seen = run(THREE, METROPOLITAN, QUIET, 0.5, 2**22)
    expected = expected_statistics(THREE, METROPOLITAN, QUIET, 0.5)
    assert_expected(seen, expected)
    assert_wrong_basis_unbiased(seen)
    doubles = expected.double_clicks * 2**22
    assert abs(seen.double_clicks - doubles) < SIGMAS * np.sqrt(doubles)


def test_biased_bases_and_turned_up_noise_change_nothing_about_that():
    source = Source((1.0, 0.25), (0.75, 0.25), 112 / 128)
    fibre, detector = Fibre(1, 0.2, 0.05), DetectorSettings(0.9, 0.03, 0.0, 0.0, 1e9)
    seen = run(source, fibre, detector, 96 / 128, 2**22)
    assert_expected(seen, expected_statistics(source, fibre, detector, 96 / 128))
    assert_wrong_basis_unbiased(seen)


def test_a_single_photon_source_shows_the_gain_and_errors_of_one_photon():
    source = Source.single_photon(0.5)
    seen = run(source, METROPOLITAN, QUIET, 0.5, 2**21)
    assert_expected(seen, expected_statistics(source, METROPOLITAN, QUIET, 0.5))
    assert_wrong_basis_unbiased(seen)


def test_dead_time_thins_clicks_as_a_renewal_process():
    detector = DetectorSettings(0.5, 1e-3, 30.0, 0.0, 1e9)
    seen = run(THREE, METROPOLITAN, detector, 0.5, 2**24)
    assert_expected(seen, expected_statistics(THREE, METROPOLITAN, detector, 0.5), spread_deviations)
    assert_wrong_basis_unbiased(seen)


@pytest.mark.parametrize("dead_time_ns", [0.0, 7.0])
def test_afterpulses_show_the_gains_and_errors_of_the_markov_chain(dead_time_ns: float):
    detector = DetectorSettings(0.7, 1e-4, dead_time_ns, 0.3, 1e9)
    seen = run(THREE, METROPOLITAN, detector, 0.5, 2**23)
    assert_expected(seen, expected_statistics(THREE, METROPOLITAN, detector, 0.5), spread_deviations)
    assert_wrong_basis_unbiased(seen)


def test_lim_2014_shows_its_gains_and_errors_and_not_those_of_the_printed_model():
    chosen = preset("lim-2014")
    seen = run(THREE, chosen.fibre(), chosen.detector, 0.5, 2**22)
    expected = expected_statistics(THREE, chosen.fibre(), chosen.detector, 0.5)
    assert_expected(seen, expected, spread_deviations)
    silent = DetectorSettings(0.1, 6e-7, 0.0, 0.0, 1e9)
    printed = [
        gain * 1.04
        for gain in expected_light(
            THREE.intensities, THREE.probabilities, 0.5, 0.5, chosen.fibre(), silent
        ).gains
    ]
    assert abs(spread_deviations(seen.clicked, seen.emitted, printed)[2]) > SIGMAS


@pytest.mark.parametrize("dead_time_ns", [0.0, 3.0])
def test_afterpulses_do_not_care_what_light_is_in_their_gate(dead_time_ns: float):
    # Without dark counts every click in a vacuum gate is an afterpulse, and its bit is random.
    detector = DetectorSettings(0.5, 0.0, dead_time_ns, 0.2, 1e9)
    source = Source((0.5, 0.0), (0.75, 0.25), 0.5)
    seen = run(source, METROPOLITAN, detector, 0.5, 2**20)
    wrong, sifted = seen.errors[0][:, 1].sum(), seen.sifted[0][:, 1].sum()
    assert sifted > 500
    assert abs(wrong - sifted / 2) < SIGMAS * np.sqrt(sifted) / 2
