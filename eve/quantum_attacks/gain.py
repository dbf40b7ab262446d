"""Gain matching: how much of her light Eve passes so that Bob's signal clicks as often as he expects.

All numbers are for the strongest intensity, per touched pulse, and leave dark counts out: what light must click with
probability C so that the gain is 1 - (1 - Y_0)(1 - C), with or without her.
"""

from collections.abc import Sequence
from math import exp, factorial

from qkdlink.common.optics.source import PhotonStatistics, Source
from qkdlink.common.optics.states import PHOTON_NUMBERS


def signal_photons(source: Source) -> tuple[float, ...]:
    """Probability of 0..31 photons in a pulse of the strongest intensity."""
    if source.statistics is PhotonStatistics.SINGLE_PHOTON:
        return (0.0, 1.0) + (0.0,) * (PHOTON_NUMBERS - 2)
    mean = source.intensities[0]
    return tuple(exp(-mean) * mean**photons / factorial(photons) for photons in range(PHOTON_NUMBERS))


def detected(photons: int, efficiency: float) -> float:
    """Probability that at least one of these photons is detected."""
    return 1 - (1 - efficiency) ** photons


def expected_light_clicks(source: Source, efficiency: float) -> float:
    """C of the honest link; `efficiency` is that of fibre and receiver together."""
    return sum(p * detected(photons, efficiency) for photons, p in enumerate(signal_photons(source)))


def shares_to_pass(wanted: float, clicks: Sequence[float]) -> tuple[float, ...]:
    """Which share 0..1 of each kind of light to pass, the first kinds first, to click with probability `wanted`.

    `clicks` is what each kind adds if all of it passes. Where all together is too little, all passes.
    """
    shares = []
    for click in clicks:
        share = min(1.0, wanted / click) if click else 0.0
        wanted -= share * click
        shares.append(max(share, 0.0))
    return tuple(shares)
