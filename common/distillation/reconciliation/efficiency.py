"""What reconciliation discloses: measured against Shannon's limit, and limited."""

from math import ceil, sqrt

from qkdlink.common.distillation.entropy import binary_entropy, entropy_of_bound

_BUDGET_RATE_FACTOR = 3
_BUDGET_DEVIATIONS = 7
_BUDGET_EFFICIENCY = 1.3
_BUDGET_OVERHEAD_BITS = 200
_LOWEST_RATE = 1e-4


def efficiency(leaked_bits: int, key_length: int, qber: float) -> float | None:
    """f = leaked / (n h(q)), where 1 is Shannon's limit; None where that limit is zero bits (q = 0 or 1)."""
    limit = key_length * binary_entropy(qber)
    return leaked_bits / limit if limit else None


def parity_budget(key_length: int, expected_qber: float) -> int:
    """Return how many parities Alice answers for a block at most, for an expected error rate of 0..1.

    An honest run stays below it as long as the true rate is at most three times the expected one: then the
    key has at most e = 3 n q + 7 sqrt(3 n q) + 20 errors (Chernoff: exceeded with probability below 1e-9), and
    for e errors Cascade disclosed less than 1.15 n h(e/n) + n/500 + 150 bits in every run measured, from 5 to
    1e5 bits, up to 15 % errors and up to three times as many as expected; the largest share of the budget
    that any of them took was 83 %. A run that would need more could not pay for itself: it is stopped.
    """
    rate = _BUDGET_RATE_FACTOR * max(expected_qber, _LOWEST_RATE)
    errors = rate * key_length
    errors += _BUDGET_DEVIATIONS * sqrt(errors) + 20
    return ceil(
        _BUDGET_EFFICIENCY * key_length * entropy_of_bound(errors / key_length) + _BUDGET_OVERHEAD_BITS
    )
