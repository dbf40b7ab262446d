"""Alice's outlet seen from outside: a probe shone into it comes back with her settings, unless somebody watches.

The probe crosses isolators and attenuators twice and is modulated in between, so that every reflected photon has the
polarisation of the pulse that is being prepared. What comes back has a Poissonian number of photons of mean mu_out =
mu_in * 10^(-isolation / 10), and the same for every intensity. A watchdog in front of the isolators sees the probe.

Sources: Gisin, Fasel, Kraus, Zbinden, Ribordy, Phys. Rev. A 73, 022320 (2006); Lucamarini et al., Phys. Rev. X 5,
031030 (2015).
"""

import math
from dataclasses import dataclass

import numpy as np

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.optics.loops import thresholds
from qkdlink.common.optics.pulses import PulseTrain
from qkdlink.common.optics.side_light import REFLECTED_SHIFT, SideLight
from qkdlink.common.optics.side_loops import draws
from qkdlink.common.optics.states import PHOTON_NUMBERS

_BRIGHTEST_REFLECTION = 16.0
"""Mean photon number above which more tells nothing more; a pulse has room for 31."""


@dataclass(frozen=True, slots=True)
class Outlet:
    """How Alice's device meets light from outside."""

    isolation_db: float = 60.0
    """Loss of a probe on its way in and out again, 0 or more."""
    watchdog_photons: float = math.inf
    """Mean photon number per pulse of incoming light from which on the watchdog barks; infinite: there is none."""

    def __post_init__(self) -> None:
        if not 0 <= self.isolation_db < math.inf or not self.watchdog_photons > 0:
            raise ConfigurationError(
                "an outlet has an isolation of 0 dB or more and a watchdog threshold above 0"
            )

    def reflected(self, probe_photons: float) -> float:
        """mu_out: mean number of photons that come back per pulse for a probe of `probe_photons` per pulse."""
        return probe_photons * math.pow(10, -self.isolation_db / 10)

    def probe_for(self, reflected_photons: float) -> float:
        """mu_in: the probe per pulse that brings back `reflected_photons` per pulse, mean numbers both."""
        return reflected_photons * math.pow(10, self.isolation_db / 10)

    def watchdog_barks(self, probe_photons: float) -> bool:
        """Whether the watchdog sees a probe of this mean photon number per pulse."""
        return probe_photons >= self.watchdog_photons

    def emit(self, train: PulseTrain, probe_photons: float, lane: np.uint64) -> PulseTrain:
        """Let Alice's light out while a probe shines in: the reflections fly with it. Without a probe, unchanged.

        `lane` is the key of a block's reflections (`lane_keys`): how many photons come back is a function of it, the
        probe and the number of the pulse, whatever frames it is cut into.
        """
        mean = min(self.reflected(probe_photons), _BRIGHTEST_REFLECTION)
        if not mean:
            return train
        medium, first, states = train.medium, train.first_pulse, train.absorb()
        pulses = np.arange(first, first + len(states), dtype=np.uint32)
        chances = draws(lane, pulses)
        photons = PHOTON_NUMBERS - 1 - np.searchsorted(_ascending_tails(mean), chances, side="right")
        return PulseTrain(
            states, medium, first, SideLight(photons.astype(np.uint8) << np.uint8(REFLECTED_SHIFT))
        )


def _ascending_tails(mean: float) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """Thresholds of more than 30, 29, ... 0 photons."""
    term, terms = math.exp(-mean), []
    for photons in range(1, 4 * PHOTON_NUMBERS):
        term *= mean / photons
        terms.append(term)
    tails = [min(math.fsum(reversed(terms[n:])), 1.0) for n in range(PHOTON_NUMBERS - 1)]
    return np.array(thresholds(reversed(tails)))
