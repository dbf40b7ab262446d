"""What Alice and Bob make of a block's counts: as they have agreed, or with one part of it left out on purpose.

The careless ones exist so that an attack can be watched to succeed where nobody looks; no node can be told to use them.
"""

from enum import StrEnum
from math import floor, log2

from common.distillation.finite_key import single_photon_length
from common.distillation.stages import Counts, Estimate
from common.protocol.key_length import qber_is_tolerated, reconciliation_qber, secret_length
from common.protocol.parameters import LinkParameters


class Analysis(StrEnum):
    """Which part is left out."""

    AS_AGREED = "as-agreed"
    WITHOUT_DECOYS = "without-decoys"
    """Every click is taken for that of a single photon, whatever the intensities say."""
    POOLED_ERRORS = "pooled-errors"
    """One error rate over both bases decides whether there is a key."""
    WITHOUT_ERRORS = "without-errors"
    """What was disclosed is removed, and nothing for what the error rate tells of Eve."""


def tolerates(analysis: Analysis, parameters: LinkParameters, estimate: Estimate, key_errors: int) -> bool:
    """Whether the error rate lets a block go on; `key_errors` are those of the key basis, all classes."""
    match analysis:
        case Analysis.AS_AGREED:
            return qber_is_tolerated(parameters, estimate)
        case Analysis.POOLED_ERRORS if parameters.tolerated_qber is not None:
            return _pooled(estimate, key_errors) <= parameters.tolerated_qber
        case _:
            return True


def allowed_bits(
    analysis: Analysis, parameters: LinkParameters, estimate: Estimate, key_errors: Counts, leaked_bits: int
) -> int:
    """Return the length, 0 or more, of the key that this analysis takes for secret."""
    match analysis:
        case Analysis.AS_AGREED:
            return secret_length(parameters, estimate, key_errors, leaked_bits).secret_bits
        case Analysis.WITHOUT_DECOYS:
            return _of_single_photons(parameters, estimate, estimate.qber_test or 0.0, leaked_bits)
        case Analysis.POOLED_ERRORS:
            pooled = _pooled(estimate, sum(key_errors))
            return _of_single_photons(parameters, estimate, parameters.tolerated_qber or pooled, leaked_bits)
        case Analysis.WITHOUT_ERRORS:
            cost = leaked_bits + 1 - 2 * log2(parameters.eps_sec) - log2(parameters.eps_cor)
            return max(0, floor(sum(estimate.key_detections) - cost))


def starting_point(
    analysis: Analysis, parameters: LinkParameters, estimate: Estimate, key_errors: int
) -> float:
    """Error rate from which reconciliation starts: of the test basis, or of both where they are pooled."""
    if analysis is Analysis.POOLED_ERRORS:
        return max(_pooled(estimate, key_errors), parameters.expected_qber)
    return reconciliation_qber(parameters, estimate)


def _pooled(estimate: Estimate, key_errors: int) -> float:
    bits = sum(estimate.key_detections) + sum(estimate.test_detections)
    return (key_errors + sum(estimate.test_errors)) / bits if bits else 0.0


def _of_single_photons(parameters: LinkParameters, estimate: Estimate, qber: float, leaked_bits: int) -> int:
    return single_photon_length(
        sum(estimate.key_detections),
        sum(estimate.test_detections),
        qber,
        leaked_bits,
        parameters.eps_sec,
        parameters.eps_cor,
    ).secret_bits
