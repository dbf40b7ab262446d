"""The binary entropy, and the form of it that an upper bound on an error rate needs."""

from math import log2


def binary_entropy(rate: float) -> float:
    """h(x) = -x log2 x - (1-x) log2(1-x) in bits, with h(0) = h(1) = 0; ValueError outside 0..1."""
    if not 0.0 <= rate <= 1.0:
        raise ValueError(f"an error rate lies between 0 and 1, not at {rate}")
    if rate in (0.0, 1.0):
        return 0.0
    return -rate * log2(rate) - (1.0 - rate) * log2(1.0 - rate)


def entropy_of_bound(rate: float) -> float:
    """h(min(x, 1/2)) in bits, for an upper bound x >= 0 on an error rate.

    h falls again above 1/2: a bound of 0.9 says less than one of 0.5 and must not be rewarded for it.
    """
    return binary_entropy(min(rate, 0.5))
