"""How many secret bits a block is worth: the bound that belongs to the agreed protocol."""

from typing import assert_never

from common.distillation.finite_key import (
    KeyLength,
    Statistics,
    one_decoy_length,
    single_photon_length,
    two_decoy_length,
)
from common.distillation.stages import Counts, Estimate
from common.protocol.parameters import LinkParameters, ProtocolName


def secret_length(
    parameters: LinkParameters, estimate: Estimate, key_errors: Counts, leaked_bits: int
) -> KeyLength:
    """Length of the secret key by the finite-key bound of the agreed protocol; 0 where there is none."""
    match parameters.protocol:
        case ProtocolName.SINGLE_PHOTON:
            return _single_photon(parameters, estimate, leaked_bits)
        case ProtocolName.ONE_DECOY:
            bound = one_decoy_length
        case ProtocolName.TWO_DECOY:
            bound = two_decoy_length
        case _ as never:
            assert_never(never)
    statistics = Statistics(
        intensities=parameters.intensities,
        probabilities=parameters.probabilities,
        key_detections=estimate.key_detections,
        key_errors=key_errors,
        test_detections=estimate.test_detections,
        test_errors=estimate.test_errors,
    )
    return bound(statistics, leaked_bits, parameters.eps_sec, parameters.eps_cor)


def best_case(parameters: LinkParameters, estimate: Estimate) -> KeyLength:
    """The length if reconciliation cost nothing and found nothing: a block that has none even so is hopeless."""
    return secret_length(parameters, estimate, (0,) * parameters.class_count, leaked_bits=0)


def qber_is_tolerated(parameters: LinkParameters, estimate: Estimate) -> bool:
    """Whether the test basis passes the abort test that was fixed before light; decoy bounds need none."""
    if parameters.tolerated_qber is None:
        return True
    return estimate.qber_test is not None and estimate.qber_test <= parameters.tolerated_qber


def _single_photon(parameters: LinkParameters, estimate: Estimate, leaked_bits: int) -> KeyLength:
    if parameters.tolerated_qber is None or not qber_is_tolerated(parameters, estimate):
        return KeyLength(secret_bits=0, single_photon_events=0.0, phase_error_rate=0.5)
    return single_photon_length(
        key_bits=sum(estimate.key_detections),
        test_bits=sum(estimate.test_detections),
        tolerated_qber=parameters.tolerated_qber,
        leaked_bits=leaked_bits,
        eps_sec=parameters.eps_sec,
        eps_cor=parameters.eps_cor,
    )
