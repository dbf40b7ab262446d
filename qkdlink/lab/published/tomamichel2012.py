"""Table II of Tomamichel et al. 2012: the key rate of single photons, optimised at a given security rate.

Source: Tomamichel, Lim, Gisin, Renner, Nat. Commun. 3, 634 (2012). The table's robustness (how often an
honest link aborts) is not stated in a form that can be computed; the exact binomial tail and Hoeffding's
bound on it bracket every sensible choice.
"""

from collections.abc import Callable, Sequence
from math import exp, floor, sqrt

from scipy.stats import binom

from qkdlink.common.distillation.entropy import entropy_of_bound
from qkdlink.common.distillation.finite_key import single_photon_length
from qkdlink.deployment.planning.optimiser import cheapest

SECURITY_RATE = 1e-14
"""eps per secret bit; here shared equally by eps_sec and eps_cor."""
ERROR_CORRECTION_EFFICIENCY = 1.1

type Robustness = Callable[[int, float, float], float]
"""Test bits, tolerated and true error rate -> probability that an honest link aborts, or a bound on it."""

_ROUNDS = 30
_STARTS = tuple((share, margin) for share in (0.1, 0.3, 0.6) for margin in (0.003, 0.008, 0.015))


def exact_robustness(test_bits: int, tolerated_qber: float, qber: float) -> float:
    """Return the binomial tail."""
    return float(binom.sf(floor(tolerated_qber * test_bits), test_bits, qber))


def hoeffding_robustness(test_bits: int, tolerated_qber: float, qber: float) -> float:
    """Return Hoeffding's bound on the binomial tail."""
    return exp(-2 * test_bits * (tolerated_qber - qber) ** 2)


def optimal_rate(key_bits: int, qber: float, robustness: Robustness) -> float:
    """Return the best (1 - eps_rob) l / M, M = (sqrt n + sqrt k)^2 detected signals, over k and Q_tol."""

    def cost(free: Sequence[float]) -> float:
        share, margin = free
        if not (0.001 < share < 2.0 and 0.0 < margin < 0.1):
            return 1.0
        return -_rate(key_bits, round(share * key_bits), qber + margin, qber, robustness)

    return -cost(cheapest(cost, _STARTS, climb_from=3, tolerance=1e-7))


def _rate(key_bits: int, test_bits: int, tolerated_qber: float, qber: float, robustness: Robustness) -> float:
    signals = (sqrt(key_bits) + sqrt(test_bits)) ** 2
    kept = 1 - robustness(test_bits, tolerated_qber, qber)
    return kept * _self_consistent_bits(key_bits, test_bits, tolerated_qber) / signals


def _self_consistent_bits(key_bits: int, test_bits: int, tolerated_qber: float) -> float:
    """Solve l = length(eps = SECURITY_RATE l) from above."""
    leaked_bits = ERROR_CORRECTION_EFFICIENCY * key_bits * entropy_of_bound(tolerated_qber)
    bits = float(key_bits)
    for _ in range(_ROUNDS):
        eps = SECURITY_RATE * bits / 2
        length = single_photon_length(key_bits, test_bits, tolerated_qber, leaked_bits, eps, eps)
        if length.balance_bits < 1.0:
            return 0.0
        if bits - length.balance_bits < 1e-6 * bits:
            return length.balance_bits
        bits = length.balance_bits
    return bits
