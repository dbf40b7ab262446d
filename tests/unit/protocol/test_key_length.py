"""What a link takes for the length of its key: the bound of its protocol, with exact sampling."""

import pytest

from qkdlink.common.distillation.finite_key import Statistics, single_photon_length
from qkdlink.common.distillation.sampling import Sampling
from qkdlink.common.distillation.stages import Estimate
from qkdlink.common.protocol.key_length import best_case, decoy_length, secret_length
from qkdlink.common.protocol.parameters import ProtocolName
from tests.support.pair import small_block

WORKED_EXAMPLE = Statistics(
    (0.51, 0.15), (0.7, 0.3), (8875913, 1124087), (185856, 26055), (165048, 20902), (3456, 484)
)


def test_a_decoy_link_samples_exactly():
    found = decoy_length(ProtocolName.ONE_DECOY, WORKED_EXAMPLE, 1776924, 1e-9, 1e-15)
    assert found.secret_bits == 1450860
    with pytest.raises(ValueError, match="no decoys"):
        decoy_length(ProtocolName.SINGLE_PHOTON, WORKED_EXAMPLE, 0, 1e-9, 1e-15)


def test_a_single_photon_link_samples_exactly():
    parameters = small_block()
    assert parameters.tolerated_qber is not None
    counted = Estimate((10_000,), (2_000,), (10,))
    exact = single_photon_length(10_000, 2_000, parameters.tolerated_qber, 900, 1e-9, 1e-15, Sampling.EXACT)
    assert secret_length(parameters, counted, (100,), 900) == exact
    assert exact.secret_bits > 0


def test_counts_that_no_source_gives_make_no_key_and_say_why():
    parameters = small_block(ProtocolName.ONE_DECOY)
    reversed_classes = Estimate((1_000, 9_000), (1_000, 9_000), (10, 90))
    for found in (
        best_case(parameters, reversed_classes),
        secret_length(parameters, reversed_classes, (9, 90), 0),
    ):
        assert (found.secret_bits, found.single_photon_events) == (0, 0.0)
        assert "no source with these intensities gives these counts" in found.contradiction
