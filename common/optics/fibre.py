"""The medium a pulse is launched into: it travels with the light, which crosses whatever it is in."""

import math
from dataclasses import dataclass

from qkdlink.common.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Fibre:
    """An optical fibre from the sender to the receiver, whose optics are aligned through it."""

    length_km: float
    attenuation_db_per_km: float
    misalignment: float
    """Probability 0..0.5 that a photon measured in its own basis goes to the wrong detector."""

    def __post_init__(self) -> None:
        if not 0 <= self.length_km < math.inf:
            raise ConfigurationError(f"a fibre's length cannot be {self.length_km} km: it is 0 or more")
        if not 0 <= self.attenuation_db_per_km < math.inf:
            raise ConfigurationError(
                f"a fibre's attenuation cannot be {self.attenuation_db_per_km} dB/km: it is 0 or more"
            )
        if not 0 <= self.misalignment <= 0.5:
            raise ConfigurationError(
                f"a misalignment cannot be {self.misalignment}: it is an error probability from 0 to 0.5"
            )
        if not self.transmittance > 0:
            raise ConfigurationError(
                f"a fibre of {self.length_km} km at {self.attenuation_db_per_km} dB/km lets no photon through:"
                " make it shorter"
            )

    @property
    def transmittance(self) -> float:
        """Probability 0..1 that a photon arrives: 10^(-attenuation * length / 10)."""
        return math.pow(10, -self.attenuation_db_per_km * self.length_km / 10)
