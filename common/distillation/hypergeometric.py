"""The hypergeometric tail in logarithms: how many marked items a population may hold, given a random sample of it.

Written for probabilities down to 1e-600 and populations up to 1e15. Differences of the logarithms of factorials lose
all their digits there. The formulas below use distances from the mean, which Python's whole numbers give exactly.
"""

from math import ceil, inf, isfinite, log, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qkdlink.common.distillation.factorials import deviance, stirling

_MOST_TERMS = 8192
"""A longer tail is summed in strides: an array of all its terms would cost memory and add no digit."""

_NEGLIGIBLE = 45.0
"""Terms below e^-45 of the largest one no longer change the sum."""

_NEWTON_STEPS = 20
"""Far more than Newton's method takes here; bisection follows."""


def log_probability(hits: int, sample: int, marked: int, population: int) -> float:
    """Return ln P(X = `hits`), X the marked items in a random `sample` of a `population` with `marked` of them.

    All arguments are >= 0, `sample` and `marked` at most `population`; -inf where the event is impossible.
    Source: Loader, "Fast and accurate computation of binomial probabilities" (2000), for four cells instead of two.
    """
    rest, unmarked = population - sample, population - marked
    cells = (hits, marked - hits, sample - hits, rest - marked + hits)
    margins = (marked, unmarked, sample, rest)
    if min(cells) < 0:
        return -inf
    if min(margins) == 0:
        return 0.0
    # All four cells lie equally far from their means, above or below; the numerator is exact.
    distance = (hits * population - marked * sample) / population
    means = [row * column / population for row in (sample, rest) for column in (marked, unmarked)]
    unlikeliness = sum(
        mean * deviance(sign * distance / mean) for sign, mean in zip((1, -1, -1, 1), means, strict=True)
    )
    return sum(map(stirling, margins)) - stirling(population) - sum(map(stirling, cells)) - unlikeliness


def log_at_most(hits: int, sample: int, marked: int, population: int) -> float:
    """Return ln P(X <= `hits`) for `hits` not above the mean of X; arguments as for `log_probability`."""
    largest = log_probability(hits, sample, marked, population)
    return largest + log(_tail(hits, sample, marked, population)) if isfinite(largest) else largest


def most_marked(hits: int, sample: int, rest: int, log_failure: float) -> int:
    """Return the largest K with ln P(X <= `hits`) > `log_failure`, X the marked items in the sample if K are in all.

    The population has `sample` + `rest` items, both >= 1; `hits` in 0..`sample`. The answer lies between `hits` and
    `hits` + `rest`. A `log_failure` above ln(1/2) is taken for ln(1/2): nothing up to the mean is excluded then.
    """
    population, log_failure = sample + rest, min(log_failure, log(0.5))
    # P(X <= hits) falls with K. The median is the mean, rounded up or down: up to the mean it is at least 1/2.
    low, high = min(hits * population // sample, hits + rest), hits + rest + 1
    guess = _normal_guess(hits, sample, rest, log_failure)
    for step in range(_NEWTON_STEPS + population.bit_length()):
        if high - low == 1:
            break
        marked = min(max(guess, low + 1), high - 1) if step < _NEWTON_STEPS else (low + high) // 2
        here, next_one = _log_at_most_with_one_more(hits, sample, marked, population)
        if here <= log_failure:
            high = marked
        elif next_one <= log_failure:
            return marked
        else:
            low = marked + 1
        slope = here - next_one
        # Newton's method on the root of -ln P, which is nearly straight in K.
        surplus = 2.0 * (sqrt(here * log_failure) + here)
        guess = marked + ceil(surplus / slope) - 1 if 0 < slope < inf else (low + high) // 2
    return low


def _log_at_most_with_one_more(hits: int, sample: int, marked: int, population: int) -> tuple[float, float]:
    """Return ln P(X <= `hits`) with `marked` and with `marked` + 1 marked items; the second costs nothing more.

    One more item takes the hits above `hits` where they were `hits` and it is among the unmarked ones in the sample.
    """
    largest = log_probability(hits, sample, marked, population)
    if not isfinite(largest):
        return largest, largest
    tail = _tail(hits, sample, marked, population)
    left = tail - (sample - hits) / (population - marked) if population > marked else 0.0
    return largest + log(tail), largest + log(left) if left > 0.0 else -inf


def _tail(hits: int, sample: int, marked: int, population: int) -> float:
    """Return P(X <= hits) / P(X = hits): the terms P(X = hits - i), i >= 0, over the first of them."""
    room = population - sample - marked  # may be negative
    last = min(hits, hits + room)
    if last == 0:
        return 1.0

    def ratio[T: (float, NDArray[np.floating[Any]])](x: T) -> T:
        """Return P(X = x - 1) / P(X = x); between whole numbers by the same formula."""
        return x / (marked - x + 1.0) * ((x + room) / (sample - x + 1.0))

    # The ratios fall from term to term, and their logarithm by at least `curvature`: so many terms matter.
    start, curvature = log(ratio(float(hits))), 1.0 / hits + 1.0 / (hits + room)
    terms = min(last, ceil((start + sqrt(start * start + 2.0 * _NEGLIGIBLE * curvature)) / curvature))
    if terms <= _MOST_TERMS:
        return 1.0 + float(np.cumprod(ratio(hits - np.arange(terms, dtype=np.float64))).sum())
    # Every `stride`-th term; Euler-Maclaurin makes the sum over all terms of it.
    stride = ceil(terms / _MOST_TERMS)
    middles = hits - stride * np.arange(_MOST_TERMS) - (stride - 1) / 2
    total = 1.0 + float(np.exp(np.cumsum(stride * np.log(ratio(middles)))).sum())
    return stride * total - (stride - 1) / 2 + (stride * stride - 1) / 12 * log(ratio(hits + 0.5))


def _normal_guess(hits: int, sample: int, rest: int, log_failure: float) -> int:
    """Return about the answer of `most_marked`: Wilson's score interval with the finite population's variance."""
    rate, population = hits / sample, sample + rest
    spread = -2.0 * log_failure * rest / population / sample
    upper = (rate + spread / 2 + sqrt(spread * rate * (1 - rate) + spread * spread / 4)) / (1 + spread)
    return round(upper * population)
