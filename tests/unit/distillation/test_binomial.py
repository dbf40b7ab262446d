"""Binomial tails against whole numbers, and against another implementation where those are too many."""

from fractions import Fraction
from math import comb

import pytest
from scipy import stats

from qkdlink.common.distillation.binomial import above, most_hits


@pytest.mark.parametrize("trials", [1, 7, 60])
@pytest.mark.parametrize("probability", [0.0, 1e-9, 0.01, 0.5, 0.97, 1.0])
def test_small_tails_are_those_of_counting(trials: int, probability: float):
    p = Fraction(probability)
    terms = [comb(trials, k) * p**k * (1 - p) ** (trials - k) for k in range(trials + 1)]
    for hits in range(-1, trials + 1):
        assert above(hits, trials, probability) == pytest.approx(float(sum(terms[hits + 1 :])), rel=1e-12)


@pytest.mark.parametrize(
    ("trials", "probability"), [(20_000, 0.3), (10**6, 1e-5), (10**8, 0.02), (10**9, 0.5)]
)
def test_large_tails_agree_with_another_implementation(trials: int, probability: float):
    mean, deviation = trials * probability, (trials * probability * (1 - probability)) ** 0.5
    for distance in (-3.0, -0.1, 0.1, 4.0, 12.0):
        hits = max(0, round(mean + distance * deviation))
        expected = stats.binom.sf(hits, trials, probability)
        assert above(hits, trials, probability) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("trials", [1, 12, 1000, 50_000, 10**7])
@pytest.mark.parametrize("probability", [0.0, 1e-5, 0.011, 0.3, 0.5])
@pytest.mark.parametrize("failure", [5e-7, 0.01, 0.4])
def test_the_most_hits_are_the_quantile(trials: int, probability: float, failure: float):
    assert most_hits(trials, probability, failure) == stats.binom.isf(failure, trials, probability)
