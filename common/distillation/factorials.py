"""What probabilities of large counts are made of, without differences of logarithms of factorials.

Source: Loader, "Fast and accurate computation of binomial probabilities" (2000).
"""

from math import lgamma, log, log1p, pi

_DEVIANCE_SERIES = tuple(1 / (n * (n - 1)) for n in range(12, 1, -1))
"""Coefficients from the last to the first; the series alternates, and 11 terms are enough up to 0.05."""


def deviance(excess: float) -> float:
    """Return (1 + t) ln(1 + t) - t for t >= -1."""
    if excess <= -1.0:
        return 1.0
    if abs(excess) > 0.05:
        return (1.0 + excess) * log1p(excess) - excess
    series = 0.0  # the two terms cancel for small t
    for coefficient in _DEVIANCE_SERIES:
        series = coefficient - excess * series
    return excess * excess * series


def stirling(n: float) -> float:
    """Return ln n! - (n ln n - n) for n >= 0."""
    if n == 0:
        return 0.0
    if n < 16:
        return lgamma(n + 1.0) - n * log(n) + n
    inverse = 1.0 / n
    square = inverse * inverse
    series = inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square / 1680)))
    return 0.5 * log(2.0 * pi * n) + series
