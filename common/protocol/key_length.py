"""How many secret bits a block is worth: the bound that belongs to the agreed protocol.

Two monitors are no look at a number but part of the bound. Without `decoy-analysis` every detection passes for a single
photon; without `qber-per-basis` the error rate of both bases together passes for that of the test basis. Both are
mistakes that were made, and are here to be watched.
"""

from dataclasses import dataclass, replace

from qkdlink.common.distillation.estimation import starting_qber
from qkdlink.common.distillation.finite_key import KeyLength, Statistics
from qkdlink.common.distillation.monitors import Monitor
from qkdlink.common.distillation.stages import Counts, Estimate
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.protocol.variants.single_photon import SINGLE_PHOTON
from qkdlink.common.protocol.variants.variant import NO_KEY, Bound, Terms


@dataclass(frozen=True, slots=True)
class Reckoning:
    """A length with everything that it was computed from."""

    bound: Bound
    statistics: Statistics
    """Errors of the test basis as they were charged: pooled where `qber-per-basis` is turned off."""
    terms: Terms
    length: KeyLength


def secret_length(
    parameters: LinkParameters, estimate: Estimate, key_errors: Counts, leaked_bits: int
) -> Reckoning:
    """Length of the secret key by the finite-key bound of the agreed protocol; 0 where there is none."""
    if Monitor.QBER in parameters.monitors_off:
        estimate = _pooled(estimate, key_errors)
    return _reckon(parameters, estimate, key_errors, leaked_bits)


def best_case(parameters: LinkParameters, estimate: Estimate) -> Reckoning:
    """The length if reconciliation cost nothing and found as little as it can: without one there is no hope."""
    if Monitor.QBER in parameters.monitors_off:
        estimate = _pooled(estimate, (0,) * parameters.class_count)
    return _reckon(parameters, estimate, None, leaked_bits=0)


def _reckon(
    parameters: LinkParameters, estimate: Estimate, key_errors: Counts | None, leaked_bits: int
) -> Reckoning:
    """Ask the bound; `key_errors` is None before reconciliation."""
    statistics = Statistics(
        intensities=parameters.intensities,
        probabilities=parameters.probabilities,
        key_detections=estimate.key_detections,
        key_errors=key_errors,
        test_detections=estimate.test_detections,
        test_errors=estimate.test_errors,
    )
    variant = parameters.variant
    terms = Terms(leaked_bits, parameters.eps_sec, parameters.eps_cor, parameters.tolerated_qber)
    if Monitor.DECOYS in parameters.monitors_off and estimate.qber_test is not None:
        variant, terms = SINGLE_PHOTON, replace(terms, tolerated_qber=estimate.qber_test)
    elif not _is_tolerated(parameters, estimate):
        return Reckoning(variant.bound, statistics, terms, NO_KEY)
    return Reckoning(variant.bound, statistics, terms, variant.length(statistics, terms))


def qber_is_tolerated(parameters: LinkParameters, estimate: Estimate) -> bool:
    """Whether the test basis passes the abort test that was fixed before light; decoy bounds need none."""
    return Monitor.QBER in parameters.monitors_off or _is_tolerated(parameters, estimate)


def reconciliation_qber(parameters: LinkParameters, estimate: Estimate) -> float:
    """Error rate from which reconciliation starts, 0..1; without `qber-per-basis` nobody asks the test basis."""
    if Monitor.QBER in parameters.monitors_off:
        return parameters.expected_qber
    return starting_qber(estimate, parameters.expected_qber)


def _is_tolerated(parameters: LinkParameters, estimate: Estimate) -> bool:
    if parameters.tolerated_qber is None:
        return True
    return estimate.qber_test is not None and estimate.qber_test <= parameters.tolerated_qber


def _pooled(estimate: Estimate, key_errors: Counts) -> Estimate:
    """Spread the errors of both bases over both, class by class."""
    shares = zip(
        estimate.test_errors, key_errors, estimate.test_detections, estimate.key_detections, strict=True
    )
    pooled = tuple(
        round((in_test + in_key) * test / (test + key)) if test + key else 0
        for in_test, in_key, test, key in shares
    )
    return replace(estimate, test_errors=pooled)
