"""What a watchful receiver shows of an honest link, against what is expected of it, within five standard deviations.

Five standard deviations are a false alarm of 5.7e-7 per number; counts with memory are divided by their dispersion.
"""

import numpy as np
import pytest

from qkdlink.common.distillation.monitors import Count, two_sided_tail
from qkdlink.common.optics.detector import DetectorSettings
from qkdlink.common.optics.expectation import expected_statistics
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.source import Source
from qkdlink.common.optics.states import Basis
from qkdlink.common.optics.watchful_expectation import watchful_expectation
from tests.support.line_with_eve import live

LINE = Fibre(10, 0.2, 0.02)
DECOYS = Source((0.5, 0.1, 0.0), (0.5, 0.25, 0.25), 0.75)
FALSE_ALARM = 5.7e-7
MEMORY = DetectorSettings(0.5, 1e-3, 10.0, 0.04, 1e9)


@pytest.mark.parametrize("source", [DECOYS, Source.single_photon(0.75)])
@pytest.mark.parametrize("detector", [DetectorSettings(0.5, 1e-3, 0.0, 0.0, 1e9), MEMORY])
@pytest.mark.parametrize("switched_off", [0.0, 0.25])
def test_gains_and_clicks_of_switched_off_gates_are_expected(
    source: Source, detector: DetectorSettings, switched_off: float
):
    outcome = live([], source, LINE, detector, 2**21, switched_off=switched_off)
    expected = watchful_expectation(source, LINE, detector, source.key_basis_probability, switched_off)
    side = outcome.record.side
    counts = [
        *(
            Count(gain.events, gain.trials, wanted)
            for gain, wanted in zip(outcome.gains, expected.gains, strict=True)
        ),
        *(Count(*outcome.errors(basis), expected.qber) for basis in Basis),
        Count(side.switched_off_clicks, side.switched_off_gates, expected.switched_off_gain),
        Count(outcome.record.double_clicks, 2**21, expected.double_clicks),
    ]
    assert min(two_sided_tail(count, expected.dispersion) for count in counts) > FALSE_ALARM


def test_without_switched_off_gates_it_is_the_expectation_of_the_plain_receiver():
    watched = watchful_expectation(DECOYS, LINE, MEMORY, 0.75, 0.0)
    plain = expected_statistics(DECOYS, LINE, MEMORY, 0.75)
    assert watched.gains == pytest.approx(plain.gains, rel=1e-12)
    assert watched.qber == pytest.approx(plain.qber_key, rel=1e-12)
    assert watched.double_clicks == pytest.approx(plain.double_clicks, rel=1e-12)
    assert watched.dispersion == pytest.approx(1.04 / 0.96)


def test_afterpulses_spread_counts_no_wider_than_the_dispersion_says():
    detector = DetectorSettings(0.3, 1e-3, 0.0, 0.2, 1e9)
    frames, size = 256, 2**13
    outcome = live([], DECOYS, LINE, detector, frames * size)
    counts = np.bincount(outcome.record.gates // size, minlength=frames)
    gain = len(outcome.record) / (frames * size)
    seen = counts.var(ddof=1) / (size * gain * (1 - gain))
    allowed = watchful_expectation(DECOYS, LINE, detector, 0.75, 0.0).dispersion
    deviation = np.sqrt(2 / frames)  # relative, of a variance of normal counts
    assert 1 < seen < allowed * (1 + 5 * deviation)


def test_a_line_that_never_clicks_has_no_errors():
    dark = DetectorSettings(0.0, 0.0, 0.0, 0.0, 1e9)
    assert watchful_expectation(DECOYS, LINE, dark, 0.75, 0.0).qber == 0
