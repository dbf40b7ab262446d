"""How many secret bits a block is worth: the bound that belongs to the agreed protocol.

Two monitors are no look at a number but part of the bound. Without `decoy-analysis` every detection passes for a single
photon; without `qber-per-basis` the error rate of both bases together passes for that of the test basis. Both are
mistakes that were made, and are here to be watched.
"""

from dataclasses import replace
from math import inf
from typing import assert_never

from qkdlink.common.distillation.decoy import ContradictoryCountsError
from qkdlink.common.distillation.estimation import starting_qber
from qkdlink.common.distillation.finite_key import (
    KeyLength,
    Statistics,
    one_decoy_outlook,
    single_photon_length,
    two_decoy_length,
)
from qkdlink.common.distillation.monitors import Monitor
from qkdlink.common.distillation.sampling import Sampling
from qkdlink.common.distillation.stages import Counts, Estimate
from qkdlink.common.protocol.parameters import LinkParameters, ProtocolName

LINK_SAMPLING = Sampling.EXACT
"""The printed formulas for sampling are no bounds with few test errors (`docs/security.md`, section 3)."""

_NO_KEY_PHASE_ERROR_RATE = 0.5


def secret_length(
    parameters: LinkParameters, estimate: Estimate, key_errors: Counts, leaked_bits: int
) -> KeyLength:
    """Length of the secret key by the finite-key bound of the agreed protocol; 0 where there is none."""
    if Monitor.QBER in parameters.monitors_off:
        estimate = _pooled(estimate, key_errors)
    return _length(parameters, estimate, key_errors, leaked_bits)


def best_case(parameters: LinkParameters, estimate: Estimate) -> KeyLength:
    """The length if reconciliation cost nothing and found as little as it can: without one there is no hope."""
    if Monitor.QBER in parameters.monitors_off:
        estimate = _pooled(estimate, (0,) * parameters.class_count)
    return _length(parameters, estimate, None, leaked_bits=0)


def decoy_length(
    protocol: ProtocolName, statistics: Statistics, leaked_bits: float, eps_sec: float, eps_cor: float
) -> KeyLength:
    """Length by the decoy bound of a link's protocol, with the sampling of links; also for expected counts.

    Without `key_errors` in the statistics it is the best that can become of the block. Counts that no source with
    these intensities gives make no key. ValueError where the protocol has no decoys, or other intensities.
    """
    match protocol:
        case ProtocolName.ONE_DECOY:
            bound = one_decoy_outlook
        case ProtocolName.TWO_DECOY:
            bound = two_decoy_length
        case ProtocolName.SINGLE_PHOTON:
            raise ValueError("single photons need no decoys")
        case _ as never:
            assert_never(never)
    try:
        return bound(statistics, leaked_bits, eps_sec, eps_cor, LINK_SAMPLING)
    except ContradictoryCountsError as error:
        return KeyLength(0, 0.0, _NO_KEY_PHASE_ERROR_RATE, -inf, str(error))


def _length(
    parameters: LinkParameters, estimate: Estimate, key_errors: Counts | None, leaked_bits: int
) -> KeyLength:
    """Look up the bound; `key_errors` is None before reconciliation."""
    if Monitor.DECOYS in parameters.monitors_off and estimate.qber_test is not None:
        return _single_photon(parameters, estimate, leaked_bits, estimate.qber_test)
    if parameters.protocol is ProtocolName.SINGLE_PHOTON:
        tolerated = parameters.tolerated_qber
        if tolerated is None or estimate.qber_test is None or estimate.qber_test > tolerated:
            return KeyLength(0, 0.0, _NO_KEY_PHASE_ERROR_RATE)
        return _single_photon(parameters, estimate, leaked_bits, tolerated)
    statistics = Statistics(
        intensities=parameters.intensities,
        probabilities=parameters.probabilities,
        key_detections=estimate.key_detections,
        key_errors=key_errors,
        test_detections=estimate.test_detections,
        test_errors=estimate.test_errors,
    )
    return decoy_length(parameters.protocol, statistics, leaked_bits, parameters.eps_sec, parameters.eps_cor)


def qber_is_tolerated(parameters: LinkParameters, estimate: Estimate) -> bool:
    """Whether the test basis passes the abort test that was fixed before light; decoy bounds need none."""
    if parameters.tolerated_qber is None or Monitor.QBER in parameters.monitors_off:
        return True
    return estimate.qber_test is not None and estimate.qber_test <= parameters.tolerated_qber


def reconciliation_qber(parameters: LinkParameters, estimate: Estimate) -> float:
    """Error rate from which reconciliation starts, 0..1; without `qber-per-basis` nobody asks the test basis."""
    if Monitor.QBER in parameters.monitors_off:
        return parameters.expected_qber
    return starting_qber(estimate, parameters.expected_qber)


def _single_photon(
    parameters: LinkParameters, estimate: Estimate, leaked_bits: int, qber: float
) -> KeyLength:
    return single_photon_length(
        key_bits=sum(estimate.key_detections),
        test_bits=sum(estimate.test_detections),
        tolerated_qber=qber,
        leaked_bits=leaked_bits,
        eps_sec=parameters.eps_sec,
        eps_cor=parameters.eps_cor,
        sampling=LINK_SAMPLING,
    )


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
