"""The tails of the binomial distribution.

Written here, since `scipy.special` takes a quarter of a second to be imported, in every process of a link.
"""

from math import exp, sqrt
from statistics import NormalDist

from qkdlink.common.distillation.factorials import deviance, stirling

_MOST_TERMS = 10**6
"""Far more than the fraction needs: about the square root of the trials."""
_NEGLIGIBLE = 1e-16
_SMALLEST = 1e-300


def above(hits: float, trials: float, probability: float) -> float:
    """Return P(X > `hits`) for X hits in `trials` with `probability` 0..1 each; between whole numbers smoothly.

    `hits` >= -1, 1 for -1 and 0 from `trials` on.
    """
    if hits <= -1 or probability >= 1.0:
        return 1.0 if hits < trials else 0.0
    return 0.0 if hits >= trials or probability <= 0.0 else _beta(hits + 1, trials - hits, probability)


def most_hits(trials: int, probability: float, failure: float) -> int:
    """Return the smallest number that more hits exceed with at most the probability `failure`, in (0, 1/2)."""
    # From where the search starts: Cornish and Fisher's expansion, with the skewness.
    normal, mean = -NormalDist().inv_cdf(failure), trials * probability
    skewed = (normal * normal - 1) * (1 - 2 * probability) / 6
    hits = min(trials, round(mean + normal * sqrt(mean * (1 - probability)) + skewed))
    while hits > 0 and above(hits - 1, trials, probability) <= failure:
        hits -= 1
    while above(hits, trials, probability) > failure:
        hits += 1
    return hits


def _beta(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b), a and b > 0, x in (0, 1).

    Source: the continued fraction of DLMF 8.17.22, by Lentz's method.
    """
    if x > (a + 1) / (a + b + 2):
        return 1.0 - _beta(b, a, 1.0 - x)
    c, d = 1.0, 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, _MOST_TERMS):
        change = 1.0
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 / _away_from_zero(1.0 + numerator * d)
            c = _away_from_zero(1.0 + numerator / c)
            change *= c * d
        fraction *= change
        if abs(change - 1.0) < _NEGLIGIBLE * 4:
            break
    mean, rest = x * (a + b), (1.0 - x) * (a + b)
    logarithm = stirling(a + b) - stirling(a) - stirling(b)
    logarithm -= mean * deviance((a - mean) / mean) + rest * deviance((b - rest) / rest)
    return exp(logarithm) * b / (a + b) * fraction


def _away_from_zero(number: float) -> float:
    return number if abs(number) > _SMALLEST else _SMALLEST
