"""From the errors of the test basis to the phase error rate of the key basis: the step of random sampling.

Every length rests on it. The papers print a closed formula for it. The exact answer is the tail of the hypergeometric
distribution: the largest number of errors that both bases may hold together without making so few errors in the test
basis too improbable. An entropic-uncertainty proof needs that probability below the *square* of the smoothing term.
"""

from enum import StrEnum
from math import ceil, floor, log, log2, sqrt

from qkdlink.common.distillation.hypergeometric import most_marked


class Sampling(StrEnum):
    """How a length goes from the test basis to the key basis."""

    PUBLISHED = "published"
    """By the formula that the paper prints, so that its figures come out to the bit."""
    EXACT = "exact"
    """By the hypergeometric tail; what links use."""


def decoy_phase_error_rate(
    sampling: Sampling, key_events: float, test_events: float, test_errors: float, failure: float
) -> float:
    """Bound from above, 0..0.5, the phase error rate of the single photons of the key basis.

    `key_events` > 0 and `test_events` > 0 are lower bounds on the single photons of both bases, `test_errors` >= 0 an
    upper bound on their errors in the test basis; `failure` = eps_sec / 21 (or 19) in (0, 1).
    """
    if sampling is Sampling.EXACT:
        return exact_rate(ceil(test_errors), floor(test_events), floor(key_events), failure)
    return _published_rate(key_events, test_events, test_errors, failure)


def tolerated_phase_error_rate(
    sampling: Sampling, key_bits: float, test_bits: float, tolerated_qber: float, eps_sec: float
) -> float:
    """Bound from above, 0..0.5, the error rate of `key_bits` if at most `tolerated_qber` of `test_bits` erred.

    Both numbers > 0, the tolerated rate 0..1, `eps_sec` in (0, 1). Source: Tomamichel et al.
    (2012); Serfling's inequality there bounds the probability by (eps_sec / 4)^2.
    """
    if sampling is Sampling.EXACT:
        return exact_rate(
            _tolerated_errors(tolerated_qber, floor(test_bits)),
            floor(test_bits),
            floor(key_bits),
            eps_sec / 4,
        )
    return min(0.5, tolerated_qber + single_photon_deviation(key_bits, test_bits, eps_sec))


def exact_rate(test_errors: int, test_events: int, key_events: int, failure: float) -> float:
    """Bound from above, 0..0.5, the error rate of `key_events`, next to a random sample of `test_events` others.

    The largest K for which at most `test_errors` of K errors fall into the test basis with a probability above
    `failure` squared; then (K - test_errors + 1) / `key_events`. The numbers of events are themselves lower bounds,
    and (K - test_errors) / `key_events` may grow with the number of events: the + 1 covers that. It covers fewer
    errors and more events of either basis in every small case (`tests/unit/distillation/test_sampling.py`), which is
    a check and no proof. 0.5 where either basis has no events.
    Source: Mannalath, Zapatero, Curty, arXiv:2410.04095, for the tail; the form is derived here.
    """
    if test_events < 1 or key_events < 1 or test_errors >= test_events:
        return 0.5
    errors = most_marked(test_errors, test_events, key_events, 2.0 * log(failure))
    return min(0.5, (errors - test_errors + 1) / key_events)


def sampling_deviation(failure: float, rate: float, key_events: float, test_events: float) -> float:
    """gamma: how far an error rate may lie above the `rate` of a random sample of other events.

    `failure` = eps_sec / 21 (or 19) in (0, 1), `rate` in (0, 1), both numbers of events > 0. Zero where the
    events are so many and `failure` so large that the logarithm turns negative. Source: Lim et al. (2014),
    Eq. (5); "log 2" under the root is the natural logarithm of 2.
    """
    variance = (1.0 - rate) * rate
    both = (key_events + test_events) / key_events / test_events
    # Summed, not multiplied: the square of a very small failure probability is no longer a double.
    logarithm = log2(both / variance) - 2.0 * log2(failure)
    return sqrt(max(0.0, both * variance / log(2.0) * logarithm))


def single_photon_deviation(key_bits: float, test_bits: float, eps_sec: float) -> float:
    """mu: how far the key basis may err above the test basis; both counts > 0, `eps_sec` in (0, 1).

    Source: Tomamichel et al. (2012), from Serfling's inequality.
    """
    return sqrt(
        (key_bits + test_bits)
        / (key_bits * test_bits)
        * ((test_bits + 1) / test_bits)
        * (log(4.0) - log(eps_sec))
    )


def _published_rate(key_events: float, test_events: float, test_errors: float, failure: float) -> float:
    rate = test_errors / test_events
    # Without errors gamma is undefined. One error instead of none reproduces figures; it is no bound.
    sampled = max(test_errors, 1.0) / test_events
    if sampled >= 0.5:
        return 0.5
    return min(0.5, rate + sampling_deviation(failure, sampled, key_events, test_events))


def _tolerated_errors(tolerated_qber: float, test_bits: int) -> int:
    """Return the most errors that pass the test as it is made: errors / bits <= tolerated, in doubles."""
    errors = floor(tolerated_qber * test_bits)
    return errors + 1 if test_bits and (errors + 1) / test_bits <= tolerated_qber else errors
