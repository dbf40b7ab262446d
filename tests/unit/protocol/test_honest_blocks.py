"""No honest block is refused for its counts, however small it is."""

import numpy as np
import pytest

from qkdlink.common.distillation.finite_key import Statistics
from qkdlink.common.optics.expectation import expected_statistics
from qkdlink.common.optics.presets import preset
from qkdlink.common.optics.source import Source
from qkdlink.common.protocol.parameters import ProtocolName
from qkdlink.common.protocol.variants.catalogue import variant_named
from qkdlink.common.protocol.variants.one_decoy import ONE_DECOY
from qkdlink.common.protocol.variants.two_decoy import TWO_DECOY
from qkdlink.common.protocol.variants.variant import Terms

BLOCKS = 5_000
SEED = 2_410
ONE = ((0.6, 0.2), (0.375, 0.625), 0.703125)
TWO = ((0.5, 0.15, 2e-4), (0.25, 0.5, 0.25), 0.75)


@pytest.mark.parametrize(
    ("protocol", "device", "settings"),
    [(ONE_DECOY.name, "metropolitan", ONE), (TWO_DECOY.name, "lim-2014", TWO)],
)
def test_five_thousand_small_blocks_are_within_the_limits_of_their_own_bound(
    protocol: ProtocolName, device: str, settings: tuple[tuple[float, ...], tuple[float, ...], float]
):
    """From 1e3 to 1e7 pulses. A limit lies 6.8 standard deviations off (5e-12), 20 limits a block: 5e-7 in all."""
    intensities, probabilities, bias = settings
    hardware = preset(device)
    honest = expected_statistics(
        Source(intensities, probabilities, bias), hardware.fibre(), hardware.detector, bias
    )
    key, test = np.array(honest.sifted_key), np.array(honest.sifted_test)
    qber_key, qber_test = np.array(honest.qber_key_by_class), np.array(honest.qber_test_by_class)
    outcomes = np.concatenate(
        [key * (1 - qber_key), key * qber_key, test * (1 - qber_test), test * qber_test]
    )
    nature = np.random.default_rng(SEED)
    keys = 0
    for pulses in (10 ** nature.uniform(3, 7, BLOCKS)).astype(np.int64):
        counted = nature.multinomial(pulses, [*outcomes, 1 - outcomes.sum()])[:-1].reshape(4, -1)
        right_key, wrong_key, right_test, wrong_test = (tuple(map(int, row)) for row in counted)
        statistics = Statistics(
            intensities,
            probabilities,
            tuple(map(sum, zip(right_key, wrong_key, strict=True))),
            wrong_key,
            tuple(map(sum, zip(right_test, wrong_test, strict=True))),
            wrong_test,
        )
        length = variant_named(protocol).length(statistics, Terms(0, 1e-9, 1e-15))
        assert not length.contradiction, (pulses, statistics)
        keys += length.secret_bits > 0
    assert keys > BLOCKS / 20
