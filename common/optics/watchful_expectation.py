"""What a watchful receiver must show of an honest link, gates switched off at random included.

A gate that is switched off is a gate without light: the exact statistics of `expectation` with one more intensity, 0,
that has the probability of switching off. Dead time and afterpulses that cross from one kind of gate to the other are
then counted as they happen.
"""

from dataclasses import dataclass

from qkdlink.common.optics.detector import DetectorSettings
from qkdlink.common.optics.expectation import expected_light
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.source import Source


@dataclass(frozen=True, slots=True)
class WatchfulExpectation:
    """Expected statistics of a long block; tuples are per intensity class, strongest first."""

    gains: tuple[float, ...]
    """Clicks that count over emitted pulses of a class; pulses that met a switched-off gate are emitted, too."""
    switched_off_gain: float
    """Clicks over gates that were switched off."""
    double_clicks: float
    """Gates in which both detectors clicked, over emitted pulses."""
    qber: float
    """Errors over sifted bits, the same in both bases."""
    dispersion: float
    """Largest variance of any of these counts over the binomial one, >= 1."""


def watchful_expectation(
    source: Source,
    fibre: Fibre,
    detector: DetectorSettings,
    receiver_key_basis_probability: float,
    switched_off_probability: float,
) -> WatchfulExpectation:
    """Return what a long block shows without Eve: exact for the emulated model, but for two numbers.

    `double_clicks` includes those in switched-off gates, which take two dark counts or afterpulses and are not counted:
    a share p_ap^2 of the switched-off gates' part. `dispersion` is a bound: each click starts an avalanche of
    afterpulses of geometric length, in other gates, which is a compound Poisson count whose variance is
    (1 + p_ap) / (1 - p_ap) times its mean. Dead time makes counts more regular, never less.
    """
    on = 1 - switched_off_probability
    shown = expected_light(
        (*source.intensities, 0.0),
        (*(on * probability for probability in source.probabilities), switched_off_probability),
        source.key_basis_probability,
        receiver_key_basis_probability,
        fibre,
        detector,
        source.statistics,
    )
    weights = [p * gain for p, gain in zip(source.probabilities, shown.gains, strict=False)]
    errors = [weight * e for weight, e in zip(weights, shown.qber_key_by_class, strict=False)]
    afterpulse = detector.afterpulse_probability
    return WatchfulExpectation(
        gains=tuple(on * gain for gain in shown.gains[:-1]),
        switched_off_gain=shown.gains[-1],
        double_clicks=shown.double_clicks,
        qber=sum(errors) / sum(weights) if sum(weights) else 0.0,
        dispersion=(1 + afterpulse) / max(1 - afterpulse, 1e-3),
    )
