import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from qkdlink.common.errors import ConfigurationError, LocalProtocolError
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.source import (
    PhotonStatistics,
    PulseSource,
    Source,
    choosable_basis_probability,
    choosable_probabilities,
)
from qkdlink.common.optics.states import bb84_polarisation, photon_numbers, polarisations
from qkdlink.common.randomness import ChoiceStream
from tests.support.slow_optics import prepare_slowly

FIBRE = Fibre(10, 0.2, 0.01)
THREE = Source((0.5, 0.1, 0.0), (0.625, 0.25, 0.125), 0.75)
FALSE_ALARM = 1e-6


class EveryChoice:
    """A stream in which each value of a pulse's first byte occurs 256 times, each time with another second byte."""

    def read(self, start: int, count: int):
        place = np.arange(start, start + count)
        return np.where(place < 2**33, place // 256, place % 256).astype(np.uint8)


def nature(seed: int = 1):
    return np.random.default_rng(seed)


def emit_frames(source: Source, sizes: list[int]):
    emitter = PulseSource(source, ChoiceStream(bytes(32)), nature())
    first, prepared, states = 0, [], []
    for size in sizes:
        record, train = emitter.emit(first, size, FIBRE)
        prepared.append(record)
        states.append(train.absorb())
        first += size
    return np.concatenate(prepared), np.concatenate(states)


def test_choices_have_exactly_the_stated_probabilities_and_are_independent():
    prepared, _ = PulseSource(THREE, EveryChoice(), nature()).emit(0, 2**16, FIBRE)
    counts = Counter(prepared.tolist())
    for intensity_class, share in enumerate(THREE.probabilities):
        for basis, basis_share in enumerate((0.75, 0.25)):
            for bit in (0, 1):
                cell = bit | basis << 1 | intensity_class << 2
                assert counts.pop(cell) == 2**16 * share * basis_share / 2
    assert not counts


def test_the_polarisation_that_flies_is_the_one_that_was_prepared():
    prepared, states = emit_frames(THREE, [4096])
    for record, polarisation in zip(prepared.tolist(), polarisations(states).tolist(), strict=True):
        assert polarisation == bb84_polarisation(record >> 1 & 1, record & 1)


@pytest.mark.parametrize("means", [(0.5, 0.1, 0.0), (1.0, 0.3, 2e-4)])
def test_photon_numbers_are_poissonian_in_each_class(means: tuple[float, ...]):
    source = Source(means, (0.5, 0.25, 0.25), 0.5)
    prepared, states = emit_frames(source, [2**21])
    for intensity_class, mean in enumerate(means):
        photons = photon_numbers(states[prepared >> 2 == intensity_class])
        if mean == 0:
            assert not photons.any()
            continue
        expected = len(photons) * stats.poisson.pmf(np.arange(32), mean)
        last = int(np.argmax(expected < 10))  # fewer are expected from here on: one common cell
        expected = np.append(expected[:last], len(photons) - expected[:last].sum())
        observed = np.bincount(np.minimum(photons, last), minlength=last + 1)
        # False alarm 1e-6 per class, fixed seed.
        assert stats.chisquare(observed, expected).pvalue > FALSE_ALARM


def test_photon_numbers_do_not_depend_on_bit_and_basis():
    prepared, states = emit_frames(Source((0.5,), (1.0,), 0.5), [2**20])
    table = np.zeros((4, 5), np.int64)
    np.add.at(table, (prepared & 3, np.minimum(photon_numbers(states), 4)), 1)
    assert stats.chi2_contingency(table).pvalue > FALSE_ALARM


def test_a_single_photon_source_emits_exactly_one():
    _, states = emit_frames(Source.single_photon(0.5), [2**16])
    assert (photon_numbers(states) == 1).all()


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(1, 60), min_size=1, max_size=8))
def test_the_size_of_frames_changes_nothing(sizes: list[int]):
    prepared, states = emit_frames(THREE, sizes)
    whole_prepared, whole_states = emit_frames(THREE, [sum(sizes)])
    np.testing.assert_array_equal(prepared, whole_prepared)
    np.testing.assert_array_equal(states, whole_states)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    key_basis=st.integers(1, 127),
    shares=st.lists(st.floats(0.001, 1), min_size=1, max_size=5),
)
def test_the_compiled_source_agrees_bit_for_bit_with_the_slow_one(
    seed: int, key_basis: int, shares: list[float]
):
    means = tuple(1.0 / 2**k for k in range(len(shares)))
    source = Source(means, choosable_probabilities(shares), key_basis / 128)
    key = seed.to_bytes(32)
    prepared, train = PulseSource(source, ChoiceStream(key), nature(seed)).emit(0, 500, FIBRE)
    slow_prepared, slow_states = prepare_slowly(source, ChoiceStream(key), nature(seed), 500)
    assert prepared.tolist() == slow_prepared
    assert train.absorb().tolist() == slow_states


def test_long_frames_that_begin_anywhere_agree_with_the_slow_source_too():
    # longer than what the loops work on at a time, and not in step with the words that hold eight first bytes
    source = Source((1.0, 0.3, 0.0), choosable_probabilities([0.5, 0.3, 0.2]), 37 / 128)
    prepared, states = emit_frames(source, [4099, 5000])
    slow_prepared, slow_states = prepare_slowly(source, ChoiceStream(bytes(32)), nature(), 9099)
    assert prepared.tolist() == slow_prepared
    assert states.tolist() == slow_states


def test_a_pulse_is_emitted_once_and_none_is_left_out():
    emitter = PulseSource(THREE, ChoiceStream(bytes(32)), nature())
    emitter.emit(0, 10, FIBRE)
    for first in (0, 9, 11):
        with pytest.raises(LocalProtocolError, match="pulse 10 is next"):
            emitter.emit(first, 10, FIBRE)
    prepared, _ = emitter.emit(10, 10, FIBRE)
    assert prepared.tolist() == emit_frames(THREE, [20])[0][10:].tolist()


@pytest.mark.parametrize(("first", "count"), [(0, 0), (0, -1), (0, 2**32 + 1)])
def test_a_frame_that_cannot_be_is_refused(first: int, count: int):
    with pytest.raises(LocalProtocolError, match="cannot be emitted"):
        PulseSource(THREE, ChoiceStream(bytes(32)), nature()).emit(first, count, FIBRE)


@given(st.floats(0, 1))
def test_a_choosable_basis_probability_is_accepted_and_near(wanted: float):
    chosen = choosable_basis_probability(wanted)
    Source((0.5,), (1.0,), chosen)
    assert abs(chosen - wanted) <= (1 / 256 if 1 / 128 <= wanted <= 127 / 128 else 1 / 128)


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=64))
def test_choosable_class_probabilities_are_accepted_and_leave_no_class_out(wanted: list[float]):
    chosen = choosable_probabilities(wanted)
    Source(tuple(1 / (k + 1) for k in range(len(chosen))), chosen, 0.5)
    assert math.fsum(chosen) == 1
    assert min(chosen) >= 1 / 256


@given(st.lists(st.integers(1, 60), min_size=1, max_size=4))
def test_class_probabilities_already_on_the_grid_stay(shares: list[int]):
    probabilities = (*(share / 256 for share in shares), (256 - sum(shares)) / 256)
    assert choosable_probabilities(probabilities) == probabilities


@pytest.mark.parametrize("wanted", [[], [0.5, 0.0], [1.0, -1.0], [math.nan, 1.0], [math.inf], [1.0] * 65])
def test_impossible_class_probabilities_cannot_be_rounded(wanted: list[float]):
    with pytest.raises(ConfigurationError, match="positive numbers"):
        choosable_probabilities(wanted)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (((), (), 0.5), "a source has 1 to 64 intensities"),
        (((1.1, 0.1), (0.5, 0.5), 0.5), "mean photon numbers are 0 to 1"),
        (((0.5, -0.1), (0.5, 0.5), 0.5), "are impossible here"),
        (((math.nan,), (1.0,), 0.5), "are impossible here"),
        (((0.1, 0.5), (0.5, 0.5), 0.5), "not in descending order"),
        (((0.5, 0.5), (0.5, 0.5), 0.5), "not in descending order"),
        (((0.5, 0.1), (1.0,), 0.5), "2 intensities need as many probabilities"),
        (((0.5, 0.1), (0.7, 0.3), 0.5), "multiples of 1/256"),
        (((0.5, 0.1), (0.5, 0.25), 0.5), "sum to 1"),
        (((0.5, 0.1), (1.0, 0.0), 0.5), "cannot be chosen exactly"),
        (((0.5,), (1.0,), 0.9), "multiple of 1/128"),
        (((0.5,), (1.0,), 1.0), "between 0 and 1"),
        (((0.5,), (1.0,), math.nan), "cannot be chosen exactly"),
        (((0.5,), (1.0,), 0.5, PhotonStatistics.SINGLE_PHOTON), "one class, of intensity 1"),
    ],
)
def test_an_impossible_source_is_refused_in_one_sentence(arguments: tuple[Any, ...], sentence: str):
    with pytest.raises(ConfigurationError, match=sentence) as refusal:
        Source(*arguments)
    assert "\n" not in str(refusal.value)


def test_a_source_tells_nothing_of_its_secrets():
    assert (
        repr(PulseSource(THREE, ChoiceStream(bytes(32)), nature())) == "PulseSource(next pulse 0, redacted)"
    )
