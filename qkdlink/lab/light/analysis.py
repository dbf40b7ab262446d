"""What Alice and Bob make of a block's counts: as they have agreed, or with one part of it left out on purpose.

The careless ones exist so that an attack can be watched to succeed where nobody looks. Two of them are what becomes of
the bound when a monitor is turned off (`qkdlink.common.protocol.key_length`); no node can be told the last one.
"""

from enum import StrEnum
from math import floor, log2

from qkdlink.common.distillation.monitors import Monitor
from qkdlink.common.distillation.stages import Counts, Estimate
from qkdlink.common.protocol.key_length import qber_is_tolerated, reconciliation_qber, secret_length
from qkdlink.common.protocol.parameters import LinkParameters


class Analysis(StrEnum):
    """Which part is left out."""

    AS_AGREED = "as-agreed"
    WITHOUT_DECOYS = "without-decoys"
    """Every click is taken for that of a single photon, whatever the intensities say."""
    POOLED_ERRORS = "pooled-errors"
    """One error rate over both bases decides whether there is a key."""
    WITHOUT_ERRORS = "without-errors"
    """What was disclosed is removed, and nothing for what the error rate tells of Eve."""


_TURNED_OFF = {Analysis.WITHOUT_DECOYS: Monitor.DECOYS, Analysis.POOLED_ERRORS: Monitor.QBER}


def tolerates(analysis: Analysis, parameters: LinkParameters, estimate: Estimate) -> bool:
    """Whether the error rate of the test basis lets a block go on."""
    return analysis is Analysis.WITHOUT_ERRORS or qber_is_tolerated(_careless(analysis, parameters), estimate)


def allowed_bits(
    analysis: Analysis, parameters: LinkParameters, estimate: Estimate, key_errors: Counts, leaked_bits: int
) -> int:
    """Return the length, 0 or more, of the key that this analysis takes for secret."""
    if analysis is Analysis.WITHOUT_ERRORS:
        cost = leaked_bits + 1 - 2 * log2(parameters.eps_sec) - log2(parameters.eps_cor)
        return max(0, floor(sum(estimate.key_detections) - cost))
    return secret_length(
        _careless(analysis, parameters), estimate, key_errors, leaked_bits
    ).length.secret_bits


def starting_point(analysis: Analysis, parameters: LinkParameters, estimate: Estimate) -> float:
    """Error rate, 0..1, from which reconciliation starts."""
    return reconciliation_qber(_careless(analysis, parameters), estimate)


def _careless(analysis: Analysis, parameters: LinkParameters) -> LinkParameters:
    """Return the parameters of a link on which what this analysis leaves out is turned off."""
    if analysis not in _TURNED_OFF:
        return parameters
    off = {*parameters.monitors_off, _TURNED_OFF[analysis]}
    return parameters.model_copy(update={"monitors_off": tuple(sorted(off))})
