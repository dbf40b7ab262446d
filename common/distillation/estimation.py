"""Parameter estimation: what the shown test bits say, per class; no bit of the key is sacrificed for it."""

from qkdlink.common.bits import Bits
from qkdlink.common.distillation.stages import Estimate, SiftedKey, count_classes

_PRIOR_WEIGHT = 200
"""How many test bits the expected error rate is worth when reconciliation chooses its first block sizes."""


def estimate(sifted: SiftedKey, peer_test_bits: Bits) -> Estimate:
    """Compare the test bits of both parties, class by class; ValueError if their numbers differ."""
    if len(peer_test_bits) != len(sifted.test_bits):
        raise ValueError(
            f"{len(peer_test_bits)} test bits were shown where {len(sifted.test_bits)} are known"
        )
    wrong = sifted.test_bits != peer_test_bits
    return Estimate(
        key_detections=sifted.key_detections,
        test_detections=sifted.test_detections,
        test_errors=count_classes(sifted.test_classes[wrong], sifted.class_count),
    )


def starting_qber(estimate: Estimate, expected_qber: float) -> float:
    """Error rate from which reconciliation starts, 0..1: the test basis, steadied by what the link expects.

    It is a function of this block alone (not of the block corrected before it), so that a seeded run does not depend
    on the order in which blocks end. A wrong start costs parities, never correctness.
    """
    errors, bits = sum(estimate.test_errors), sum(estimate.test_detections)
    return (errors + _PRIOR_WEIGHT * expected_qber) / (bits + _PRIOR_WEIGHT)
