"""The claim of Rusca et al. 2018: up to blocks of 10^8 bits, one decoy beats two in almost all settings.

Source: Rusca, Boaron, Grünenfelder, Martin, Zbinden, APL 112, 171104 (2018), appendix B, for the model;
its figures are not tabulated, so what is computed again is the comparison that its abstract draws. The
two-decoy side is given a perfect vacuum, which favours it.
"""

from collections.abc import Sequence
from math import exp, isfinite

from qkdlink.common.distillation.finite_key import Statistics, one_decoy_length, two_decoy_length
from qkdlink.deployment.planning.optimiser import cheapest
from qkdlink.lab.published.blocks import Settings, expected_block

RECEIVER_EFFICIENCY = 0.5
DARK_COUNT_PROBABILITY = 1e-8
MISALIGNMENT = 0.01
CLOCK_HZ = 1e9
DEAD_TIME_S = 100e-9
ATTENUATION_DB_PER_KM = 0.2
EPS_SEC = 1e-9
EPS_COR = 1e-15

WORKED_EXAMPLE = Statistics(
    intensities=(0.51, 0.15),
    probabilities=(0.7, 0.3),
    key_detections=(8875913, 1124087),
    key_errors=(185856, 26055),
    test_detections=(165048, 20902),
    test_errors=(3456, 484),
)
"""Counts of a block of 10^7 bits whose length was verified elsewhere by interval arithmetic."""

WORKED_EXAMPLE_LEAKED_BITS = 1776924

_IMPOSSIBLE = 1e6
_ONE_DECOY_STARTS = tuple(
    (mu1, mu2, p1, bias)
    for mu1, mu2 in ((0.55, 0.18), (0.4, 0.12))
    for p1 in (0.25, 0.5, 0.75)
    for bias in (0.4, 0.7, 0.9)
)
_TWO_DECOY_STARTS = tuple(
    (mu1, mu2, p1, p2, bias)
    for mu1, mu2 in ((0.6, 0.28), (0.45, 0.15))
    for p1, p2 in ((0.2, 0.55), (0.4, 0.4), (0.7, 0.2))
    for bias in (0.4, 0.7, 0.9)
)


def one_decoy_rate(distance_km: float, key_bits: float) -> float:
    """Return the best one-decoy rate in secret bits per second for a block of `key_bits` (n_Z); 0 without."""

    def settings(free: Sequence[float]) -> Settings:
        mu1, mu2, p1, bias = free
        return Settings((mu1, mu2), (p1, 1 - p1), bias)

    def cost(free: Sequence[float]) -> float:
        return _cost(distance_km, key_bits, settings(free))

    return _rate(cost(cheapest(cost, _ONE_DECOY_STARTS, climb_from=2, tolerance=1e-4)))


def two_decoy_rate(distance_km: float, key_bits: float) -> float:
    """Return the best two-decoy rate, as `one_decoy_rate`; the third intensity is a perfect vacuum."""

    def settings(free: Sequence[float]) -> Settings:
        mu1, mu2, p1, p2, bias = free
        return Settings((mu1, mu2, 0.0), (p1, p2, 1 - p1 - p2), bias)

    def cost(free: Sequence[float]) -> float:
        return _cost(distance_km, key_bits, settings(free))

    return _rate(cost(cheapest(cost, _TWO_DECOY_STARTS, climb_from=2, tolerance=1e-4)))


def worked_example_bits() -> int:
    """Return the length of the worked example."""
    return one_decoy_length(WORKED_EXAMPLE, WORKED_EXAMPLE_LEAKED_BITS, EPS_SEC, EPS_COR).secret_bits


def _cost(distance_km: float, key_bits: float, settings: Settings) -> float:
    """Return minus the rate in bits per second; without a key, what is missing per bit of the block."""
    if not settings.are_possible:
        return _IMPOSSIBLE
    eta = 10 ** (-ATTENUATION_DB_PER_KM * distance_km / 10) * RECEIVER_EFFICIENCY
    light = [1 - exp(-eta * k) for k in settings.intensities]
    clicks = [signal + DARK_COUNT_PROBABILITY for signal in light]
    errors = [MISALIGNMENT * signal + DARK_COUNT_PROBABILITY / 2 for signal in light]
    mean = sum(p * click for p, click in zip(settings.probabilities, clicks, strict=True))
    alive = 1 / (1 + CLOCK_HZ * mean * DEAD_TIME_S)
    block = expected_block(
        settings, [alive * click for click in clicks], [alive * error for error in errors], key_bits
    )
    bound = one_decoy_length if len(settings.intensities) == 2 else two_decoy_length
    bits = bound(block.statistics, block.leaked_bits, EPS_SEC, EPS_COR).balance_bits
    if bits <= 0:
        return -bits / key_bits if isfinite(bits) else _IMPOSSIBLE / 2
    return -bits / block.pulses * CLOCK_HZ


def _rate(cost: float) -> float:
    return max(0.0, -cost)
