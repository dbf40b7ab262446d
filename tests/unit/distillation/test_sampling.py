"""Exact sampling: rational arithmetic at small sizes, 60-digit decimals at large ones, and the figures it must give."""

from decimal import Decimal, localcontext
from fractions import Fraction
from functools import cache
from itertools import product
from math import comb, log
from unittest.mock import Mock

import pytest

from qkdlink.common.distillation import hypergeometric
from qkdlink.common.distillation.finite_key import Statistics, one_decoy_length
from qkdlink.common.distillation.hypergeometric import log_at_most, log_probability, most_marked
from qkdlink.common.distillation.sampling import Sampling, decoy_phase_error_rate, tolerated_phase_error_rate

FAILURE = 1e-9 / 21
FAILURES = (0.3, 0.01, 1e-4, 1e-9)
WORKED_EXAMPLE = Statistics(
    (0.51, 0.15), (0.7, 0.3), (8875913, 1124087), (185856, 26055), (165048, 20902), (3456, 484)
)


@cache
def at_most(hits: int, sample: int, marked: int, population: int) -> Fraction:
    ways = sum(comb(marked, j) * comb(population - marked, sample - j) for j in range(hits + 1))
    return Fraction(ways, comb(population, sample))


def most_by_counting(hits: int, sample: int, rest: int, failure: float) -> int:
    possible = range(hits, hits + rest + 1)
    return max(
        marked for marked in possible if at_most(hits, sample, marked, sample + rest) > Fraction(failure)
    )


def test_all_small_samples_give_what_counting_gives():
    for sample in range(1, 10):
        for rest in range(1, 10):
            for hits in range(sample + 1):
                for failure in FAILURES:
                    expected = most_by_counting(hits, sample, rest, failure)
                    found = most_marked(hits, sample, rest, log(failure))
                    assert found == expected, (hits, sample, rest, failure)


def test_small_probabilities_are_those_of_counting():
    for sample, rest in ((7, 9), (40, 25), (30, 300)):
        for marked in range(sample + rest + 1):
            for hits in range(min(sample, marked * sample // (sample + rest)) + 1):
                exact = at_most(hits, sample, marked, sample + rest)
                found = log_at_most(hits, sample, marked, sample + rest)
                assert found == pytest.approx(log(exact), rel=1e-12, abs=1e-12) if exact else found < -1e300


def test_more_events_and_fewer_errors_are_covered_in_all_small_cases():
    """The counts are bounds: any larger sample, any larger rest and any smaller number of errors must be paid for."""
    for failure in (0.01, 1e-4):
        raw = {
            (hits, sample, rest): Fraction(most_marked(hits, sample, rest, log(failure)) - hits, rest)
            for sample in range(1, 15)
            for rest in range(1, 15)
            for hits in range(sample + 1)
        }
        assert any(raw[h, s, r] < raw[h, s, r + 1] for h, s, r in raw if r < 14)  # what the + 1 is for
        for hits, sample, rest in raw:
            paid = Fraction(most_marked(hits, sample, rest, log(failure)) - hits + 1, rest)
            worst = max(rate for (h, s, r), rate in raw.items() if h <= hits and s >= sample and r >= rest)
            assert worst <= paid, (hits, sample, rest, failure)


def test_the_tail_is_computed_about_three_times(monkeypatch: pytest.MonkeyPatch):
    """A plan asks for hundreds of these."""
    computed = Mock(wraps=hypergeometric.log_probability)
    monkeypatch.setattr(hypergeometric, "log_probability", computed)
    asked = 0
    for sample, hits_per_sample in product((10**3, 10**4, 10**6, 10**9), (0.0, 0.001, 0.02, 0.1)):
        for rest in (sample // 3, sample, 7 * sample):
            most_marked(round(hits_per_sample * sample), sample, rest, 2 * log(FAILURE))
            asked += 1
    assert computed.call_count / asked < 3.0  # 2.6; 3.4 by the slope of the largest term alone


def stirling(n: int) -> Decimal:
    """ln n!, in decimals; for n >= 100 the last term kept is below 1e-40."""
    if n < 100:
        product = 1
        for factor in range(2, n + 1):
            product *= factor
        return Decimal(product).ln()
    x = Decimal(n)
    bernoulli = ((1, 6), (-1, 30), (1, 42), (-1, 30), (5, 66), (-691, 2730), (7, 6), (-3617, 510))
    bernoulli += ((43867, 798), (-174611, 330), (854513, 138))
    series = sum(
        (Decimal(b) / (c * 2 * k * (2 * k - 1)) / x ** (2 * k - 1) for k, (b, c) in enumerate(bernoulli, 1)),
        Decimal(0),
    )
    pi = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")
    return x * x.ln() - x + (2 * pi * x).ln() / 2 + series


def log_at_most_in_decimals(hits: int, sample: int, marked: int, population: int) -> tuple[float, float]:
    """ln P(X = hits) and ln P(X <= hits), term after term."""
    with localcontext(prec=60):
        room = population - sample - marked
        above = (marked, population - marked, sample, population - sample)
        below = (population, hits, marked - hits, sample - hits, room + hits)
        largest = sum(map(stirling, above), Decimal(0)) - sum(map(stirling, below), Decimal(0))
        with localcontext(prec=28):
            term, total = Decimal(1), Decimal(1)
            for j in range(hits, 0, -1):
                term *= Decimal(j * (room + j)) / ((marked - j + 1) * (sample - j + 1))
                total += term
                if term < total * Decimal("1e-22"):
                    break
        return float(largest), float(largest + total.ln())


@pytest.mark.parametrize(
    ("hits", "sample", "rest", "failure"),
    [
        (0, 10**6, 10**7, FAILURE**2),
        (3, 10**12, 10**9, 1e-40),
        (157, 4_981, 31_007, FAILURE**2),
        (10**6, 10**8, 10**9, 1e-40),
        (10**6, 10**12, 10**12, FAILURE**2),
        (10**8, 10**10, 10**10 + 1, 1e-40),  # in strides of 6 terms
        (10**9, 10**12, 10**10, FAILURE**2),
    ],
)
def test_large_samples_agree_with_decimals(hits: int, sample: int, rest: int, failure: float):
    marked = most_marked(hits, sample, rest, log(failure))
    population = sample + rest
    probability, possible = log_at_most_in_decimals(hits, sample, marked, population)
    assert log_probability(hits, sample, marked, population) == pytest.approx(probability, rel=1e-11)
    assert log_at_most(hits, sample, marked, population) == pytest.approx(possible, rel=1e-9)
    assert possible > log(failure)
    assert log_at_most_in_decimals(hits, sample, marked + 1, population)[1] <= log(failure)


@pytest.mark.parametrize(
    ("errors", "published", "exact", "with_the_unsquared_term"),
    [
        (0, 10.44, 49.7, 24.9),
        (1, 11.44, 53.8, 28.3),
        (5, 27.95, 66.2, 38.7),
        (12, 47.2, 83.4, 53.1),
        (25, 75.4, 110.0, 75.8),
        (50, 120.6, 154.1, 114.2),
        (300, 467.2, 499.2, 430.6),
    ],
)
def test_the_step_from_ten_thousand_to_a_hundred_thousand(
    errors: int, published: float, exact: float, with_the_unsquared_term: float
):
    """Recomputed twice elsewhere, in units of one over the test events, and without the + 1."""
    test, key = 10**4, 10**5
    one = Fraction(1, key)
    found = {name: decoy_phase_error_rate(name, key, test, errors, FAILURE) for name in Sampling}
    assert test * found[Sampling.PUBLISHED] == pytest.approx(published, abs=0.05)
    assert test * (found[Sampling.EXACT] - one) == pytest.approx(exact, abs=1e-9)
    loose = most_marked(errors, test, key, log(FAILURE)) - errors
    assert test * loose / key == pytest.approx(with_the_unsquared_term, abs=1e-9)


def test_the_worked_example_with_exact_sampling():
    assert one_decoy_length(WORKED_EXAMPLE, 1776924, 1e-9, 1e-15, Sampling.EXACT).secret_bits == 1450860
    faultless = Statistics(*(getattr(WORKED_EXAMPLE, f) for f in ("intensities", "probabilities",
        "key_detections", "key_errors", "test_detections")), (0, 0))  # fmt: skip
    rates = [one_decoy_length(faultless, 0, 1e-9, 1e-15, name).phase_error_rate for name in Sampling]
    assert rates == [pytest.approx(1.13e-4, abs=5e-7), pytest.approx(5.40e-4, abs=5e-7)]


@pytest.mark.parametrize(("with_one_more", "squared", "bits"), [
    (True, True, 1450860), (False, True, 1450863), (False, False, 1506896),
])  # fmt: skip
def test_what_the_square_and_the_one_more_are_worth(
    monkeypatch: pytest.MonkeyPatch, with_one_more: bool, squared: bool, bits: int
):
    def variant(hits: int, sample: int, rest: int, log_failure: float) -> int:
        found = most_marked(hits, sample, rest, log_failure if squared else log_failure / 2)
        return found if with_one_more else found - 1

    monkeypatch.setattr("qkdlink.common.distillation.sampling.most_marked", variant)
    assert one_decoy_length(WORKED_EXAMPLE, 1776924, 1e-9, 1e-15, Sampling.EXACT).secret_bits == bits


@pytest.mark.parametrize(
    ("test_events", "key_events", "errors"),
    [(0.9, 10, 0), (10, 0.9, 0), (10, 10, 10), (10, 10, 11), (1, 1, 0)],
)
def test_too_few_events_say_nothing(test_events: float, key_events: float, errors: float):
    assert decoy_phase_error_rate(Sampling.EXACT, key_events, test_events, errors, FAILURE) == 0.5


def test_every_test_that_passes_is_paid_for():
    """A test passes by `errors / bits <= tolerated`; 29 of 100 pass at 0.29, although 0.29 * 100 is below 29."""
    assert int(0.29 * 100) == 28
    exact = tolerated_phase_error_rate(Sampling.EXACT, 10_000, 100, 0.29, 0.1)
    assert exact == (most_marked(29, 100, 10_000, 2 * log(0.1 / 4)) - 29 + 1) / 10_000


def test_exact_sampling_gives_more_than_serfling_with_single_photons():
    rates = [tolerated_phase_error_rate(name, 10_000, 2_000, 0.0185, 1e-9) for name in Sampling]
    assert 0.0185 < rates[1] < rates[0]


@pytest.mark.parametrize("sampling", Sampling)
@pytest.mark.parametrize(
    ("key", "test", "tolerated"), [(10.0, 2.0, 0.02), (100.0, 1.0, 0.5), (1e5, 1e4, 1.0)]
)
def test_a_tolerated_phase_error_rate_is_a_rate_of_at_most_a_half(
    sampling: Sampling, key: float, test: float, tolerated: float
):
    assert tolerated_phase_error_rate(sampling, key, test, tolerated, 1e-9) == 0.5
