"""What a link takes for the length of its key: the bound of its protocol, with exact sampling."""

import pytest

from qkdlink.common.distillation.finite_key import Statistics, single_photon_length
from qkdlink.common.distillation.sampling import Sampling
from qkdlink.common.distillation.stages import Estimate
from qkdlink.common.protocol.key_length import best_case, secret_length
from qkdlink.common.protocol.variants.one_decoy import ONE_DECOY
from qkdlink.common.protocol.variants.single_photon import SINGLE_PHOTON
from qkdlink.common.protocol.variants.variant import Terms
from tests.support.pair import small_block

WORKED_EXAMPLE = Statistics(
    (0.51, 0.15), (0.7, 0.3), (8875913, 1124087), (185856, 26055), (165048, 20902), (3456, 484)
)


def test_a_decoy_link_samples_exactly():
    found = ONE_DECOY.length(WORKED_EXAMPLE, Terms(1776924, 1e-9, 1e-15))
    assert found.secret_bits == 1450860
    with pytest.raises(ValueError, match="agreed before light"):
        SINGLE_PHOTON.length(WORKED_EXAMPLE, Terms(0, 1e-9, 1e-15))


def test_a_single_photon_link_samples_exactly():
    parameters = small_block()
    assert parameters.tolerated_qber is not None
    counted = Estimate((10_000,), (2_000,), (10,))
    exact = single_photon_length(10_000, 2_000, parameters.tolerated_qber, 900, 1e-9, 1e-15, Sampling.EXACT)
    assert secret_length(parameters, counted, (100,), 900).length == exact
    assert exact.secret_bits > 0


def test_counts_that_no_source_gives_make_no_key_and_say_why():
    parameters = small_block(ONE_DECOY.name)
    reversed_classes = Estimate((1_000, 9_000), (1_000, 9_000), (10, 90))
    for found in (
        best_case(parameters, reversed_classes).length,
        secret_length(parameters, reversed_classes, (9, 90), 0).length,
    ):
        assert (found.secret_bits, found.single_photon_events) == (0, 0.0)
        assert "no source with these intensities gives these counts" in found.contradiction
