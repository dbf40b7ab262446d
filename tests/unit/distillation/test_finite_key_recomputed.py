"""The three lengths computed a second time, in 50-digit decimals and straight from the printed formulas.

Nothing is shared with the code under test: other number type, other order, formulas as the papers print them
(with the corrections that the docstrings of `qkdlink.common.distillation` name).
"""

from decimal import ROUND_FLOOR, Decimal, localcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkdlink.common.distillation.finite_key import (
    KeyLength,
    Statistics,
    one_decoy_length,
    single_photon_length,
    two_decoy_length,
)

type Outcome = tuple[int, Decimal, Decimal]
"""Secret bits, single-photon events, phase error rate."""

ZERO, ONE, TWO, HALF = Decimal(0), Decimal(1), Decimal(2), Decimal("0.5")


def log2(x: Decimal) -> Decimal:
    return x.ln() / TWO.ln()


def h(x: Decimal) -> Decimal:
    x = min(x, HALF)
    return ZERO if x <= 0 else -(x * log2(x) + (1 - x) * log2(1 - x))


def gamma(a: Decimal, b: Decimal, c: Decimal, d: Decimal, terms: int) -> Decimal:
    inside = (c + d) * (1 - b) * b / (c * d * TWO.ln())
    return (inside * log2((c + d) * terms**2 / (c * d * (1 - b) * b * a**2))).sqrt()


class Printed:
    """One block, in decimals."""

    def __init__(self, statistics: Statistics, eps_sec: float, terms: int) -> None:
        self.mu = [Decimal(k) for k in statistics.intensities]
        self.p = [Decimal(p) for p in statistics.probabilities]
        self.eps = Decimal(eps_sec)
        self.terms = terms

    def tau(self, n: int) -> Decimal:
        powers = [ONE if n == 0 else k**n for k in self.mu]  # decimals leave 0^0 undefined
        return sum((p * (-k).exp() * x for k, p, x in zip(self.mu, self.p, powers, strict=True)), ZERO)

    def delta(self, counts: tuple[int, ...]) -> Decimal:
        return (Decimal(sum(counts)) / 2 * (self.terms / self.eps).ln()).sqrt()

    def plus(self, counts: tuple[int, ...], k: int) -> Decimal:
        return self.mu[k].exp() / self.p[k] * (counts[k] + self.delta(counts))

    def minus(self, counts: tuple[int, ...], k: int) -> Decimal:
        return self.mu[k].exp() / self.p[k] * (counts[k] - self.delta(counts))

    def phi(self, v: Decimal, s_test: Decimal, s_key: Decimal, gamma_terms: int) -> Decimal:
        b = max(v, ONE) / s_test
        if b >= HALF:
            return HALF
        return v / s_test + gamma(self.eps, b, s_key, s_test, gamma_terms)

    def length(
        self,
        s0: Decimal,
        s1: Decimal,
        s1_test: Decimal,
        v: Decimal,
        leaked: int,
        eps_cor: float,
        gamma_terms: int,
    ) -> Outcome:
        if s1 <= 0 or s1_test <= 0:
            return 0, max(s1, ZERO), HALF
        phi = self.phi(v, s1_test, s1, gamma_terms)
        bits = s0 + s1 - s1 * h(phi) - leaked - 6 * log2(self.terms / self.eps) - log2(2 / Decimal(eps_cor))
        whole = int(bits.to_integral_value(ROUND_FLOOR))
        return (whole, s1, phi) if whole > 0 else (0, s1, HALF)


def lim(statistics: Statistics, leaked: int, eps_sec: float, eps_cor: float) -> Outcome:
    block = Printed(statistics, eps_sec, 21)
    m1, m2, m3 = block.mu

    def vacuum(n: tuple[int, ...]) -> Decimal:
        numerator = m2 * block.minus(n, 2) - m3 * block.plus(n, 1)
        return max(ZERO, block.tau(0) * numerator / (m2 - m3))

    def single(n: tuple[int, ...]) -> Decimal:
        bracket = block.plus(n, 0) - vacuum(n) / block.tau(0)
        numerator = block.minus(n, 1) - block.plus(n, 2) - (m2**2 - m3**2) / m1**2 * bracket
        return block.tau(1) * m1 * numerator / (m1 * (m2 - m3) - m2**2 + m3**2)

    errors = statistics.test_errors
    v = max(ZERO, block.tau(1) * (block.plus(errors, 1) - block.minus(errors, 2)) / (m2 - m3))
    key, test = statistics.key_detections, statistics.test_detections
    return block.length(vacuum(key), single(key), single(test), v, leaked, eps_cor, 21)


def rusca(
    statistics: Statistics, leaked: int, eps_sec: float, eps_cor: float, gamma_terms: int = 19
) -> Outcome:
    block = Printed(statistics, eps_sec, 19)
    m1, m2 = block.mu

    def single(n: tuple[int, ...], m: tuple[int, ...]) -> Decimal:
        vacuum_at_most = 2 * (block.tau(0) * block.plus(m, 1) + block.delta(n))
        return (
            block.tau(1)
            * m1
            / (m2 * (m1 - m2))
            * (
                block.minus(n, 1)
                - (m2 / m1) ** 2 * block.plus(n, 0)
                - (m1**2 - m2**2) / m1**2 * (vacuum_at_most / block.tau(0))
            )
        )

    key, test, errors = statistics.key_detections, statistics.test_detections, statistics.test_errors
    s0 = max(ZERO, block.tau(0) / (m1 - m2) * (m1 * block.minus(key, 1) - m2 * block.plus(key, 0)))
    v = max(ZERO, block.tau(1) / (m1 - m2) * (block.plus(errors, 0) - block.minus(errors, 1)))
    return block.length(
        s0, single(key, statistics.key_errors), single(test, errors), v, leaked, eps_cor, gamma_terms
    )


def tomamichel(n: int, k: int, qber: float, leaked: int, eps_sec: float, eps_cor: float) -> Outcome:
    if n == 0 or k == 0:
        return 0, Decimal(n), HALF
    mu = (Decimal(n + k) / (n * k) * (k + 1) / k * (4 / Decimal(eps_sec)).ln()).sqrt()
    phi = Decimal(qber) + mu
    bits = n * (1 - h(phi)) - leaked - log2(2 / (Decimal(eps_sec) ** 2 * Decimal(eps_cor)))
    whole = int(bits.to_integral_value(ROUND_FLOOR))
    return (whole, Decimal(n), phi) if whole > 0 else (0, Decimal(n), HALF)


def agree(ours: KeyLength, printed: Outcome) -> None:
    bits, events, phi = printed
    assert ours.secret_bits == bits
    assert ours.single_photon_events == pytest.approx(float(max(events, ZERO)), rel=1e-9, abs=1e-6)
    assert ours.phase_error_rate == pytest.approx(float(min(phi, HALF)), rel=1e-9)


EPSILONS = st.sampled_from([1e-15, 1e-12, 1e-10, 1e-9, 1e-6, 1e-3])


@st.composite
def blocks(draw: st.DrawFn, class_count: int) -> Statistics:
    """A link of any length and quality, its counts off their means by a few per cent."""
    weakest = draw(st.sampled_from([0.0, 2e-4, 1e-3, 0.01]))
    weaker = draw(st.floats(0.08, 0.25))
    strongest = draw(st.floats(0.35, 0.8))
    intensities = (strongest, weaker) if class_count == 2 else (strongest, weaker, weakest)
    weights = [draw(st.floats(0.1, 1.0)) for _ in intensities]
    probabilities = tuple(weight / sum(weights) for weight in weights)
    pulses, transmittance = 10 ** draw(st.floats(5, 10)), 10 ** draw(st.floats(-2.5, -0.3))
    bias, qber, dark = draw(st.floats(0.3, 0.95)), draw(st.floats(0, 0.06)), 10 ** draw(st.floats(-8, -5))

    def counts(share: float) -> tuple[tuple[int, ...], tuple[int, ...]]:
        detections, errors = [], []
        for k, p in zip(intensities, probabilities, strict=True):
            light = pulses * p * share * transmittance * k * draw(st.floats(0.99, 1.01))
            noise = pulses * p * share * dark
            detections.append(int(light + noise))
            errors.append(min(detections[-1], int(light * qber + noise / 2)))
        return tuple(detections), tuple(errors)

    key_detections, key_errors = counts(bias**2)
    test_detections, test_errors = counts((1 - bias) ** 2)
    return Statistics(intensities, probabilities, key_detections, key_errors, test_detections, test_errors)


def leak(statistics: Statistics) -> int:
    return round(0.08 * sum(statistics.key_detections))


def test_the_worked_example_and_its_conservative_reading():
    example = Statistics(
        (0.51, 0.15), (0.7, 0.3), (8875913, 1124087), (185856, 26055), (165048, 20902), (3456, 484)
    )
    with localcontext(prec=50):
        assert rusca(example, 1776924, 1e-9, 1e-15)[0] == 1464719
        assert rusca(example, 1776924, 1e-9, 1e-15, gamma_terms=21)[0] == 1464306
        agree(one_decoy_length(example, 1776924, 1e-9, 1e-15), rusca(example, 1776924, 1e-9, 1e-15))


@given(blocks(2), EPSILONS, EPSILONS)
@settings(max_examples=150)
def test_one_decoy_length_equals_the_printed_formula_to_the_bit(
    statistics: Statistics, eps_sec: float, eps_cor: float
):
    with localcontext(prec=50):
        printed = rusca(statistics, leak(statistics), eps_sec, eps_cor)
    agree(one_decoy_length(statistics, leak(statistics), eps_sec, eps_cor), printed)


@given(blocks(3), EPSILONS, EPSILONS)
@settings(max_examples=150)
def test_two_decoy_length_equals_the_printed_formula_to_the_bit(
    statistics: Statistics, eps_sec: float, eps_cor: float
):
    with localcontext(prec=50):
        printed = lim(statistics, leak(statistics), eps_sec, eps_cor)
    agree(two_decoy_length(statistics, leak(statistics), eps_sec, eps_cor), printed)


@given(
    st.integers(0, 10**8), st.integers(0, 10**8), st.floats(0, 0.11), st.floats(0, 0.3), EPSILONS, EPSILONS
)
def test_single_photon_length_equals_the_printed_formula_to_the_bit(
    key: int, test: int, qber: float, share: float, eps_sec: float, eps_cor: float
):
    leaked = round(share * key)
    with localcontext(prec=50):
        printed = tomamichel(key, test, qber, leaked, eps_sec, eps_cor)
    agree(single_photon_length(key, test, qber, leaked, eps_sec, eps_cor), printed)


def test_the_random_blocks_above_are_not_all_without_a_key():
    """A comparison of zeros would prove nothing."""
    good = Statistics((0.5, 0.15), (0.7, 0.3), (700000, 90000), (7000, 900), (180000, 23000), (1800, 230))
    assert one_decoy_length(good, leak(good), 1e-9, 1e-15).secret_bits > 10_000
