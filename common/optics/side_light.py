"""What else can fly with a train of pulses: an arrival time, light far too bright for a receiver, reflections.

Honest light has none of it, so an honest train carries no side light at all. Where there is some it is one byte per
pulse: two bits for the arrival within the gate, one for bright light, five for the photons that came back from Alice's
modulators when somebody shone a probe into them (they have the pulse's polarisation). Like light, it is opaque and
can be taken out once.

Sources: Qi, Fung, Lo, Ma, Quantum Inf. Comput. 7, 73 (2007) (arrival); Lydersen et al., Nat. Photonics 4, 686 (2010)
(bright light); Gisin, Fasel, Kraus, Zbinden, Ribordy, Phys. Rev. A 73, 022320 (2006) (reflections).
"""

from enum import IntEnum
from typing import final

import numpy as np
from numpy.typing import NDArray

from qkdlink.common.errors import LocalProtocolError

type Manners = NDArray[np.uint8]
"""One byte per pulse, as above; 0 is honest light."""

BRIGHT = 4
"""Flag: the gate is flooded, the detectors are blind, and the pulse's photon number is a power (`POWER_STEPS`)."""

REFLECTED_SHIFT = 3
"""The bits from here on count reflected photons, 0..31."""

RECEIVED = 7
"""Mask of what a receiver can notice: arrival and bright light. Reflections go nowhere but to who asked for them."""

POWER_STEPS = 8
"""A bright pulse of `n` has n/8 of the power that a blinded detector needs to click."""


class Arrival(IntEnum):
    """When within its gate a pulse arrives."""

    ON_TIME = 0
    EARLY = 1
    """Detector 0 still sees well, detector 1 badly."""
    LATE = 2
    """The other way round. The two bits could say 3 as well, which counts as on time."""


@final
class SideLight:
    """The side light of one train; it goes where the train goes."""

    __slots__ = ("_manners",)

    def __init__(self, manners: Manners) -> None:
        self._manners: Manners | None = manners

    def __repr__(self) -> str:
        return "SideLight(unseen)"

    def __reduce__(self) -> str:
        raise LocalProtocolError(
            "light cannot be copied or pickled: only qkdlink.common.optics.seal may put it into bytes"
        )

    def absorb(self) -> Manners:
        """Take it out (`uint8[n]`, read-only), for the optics floor only; LocalProtocolError the second time."""
        manners, self._manners = self._manners, None
        if manners is None:
            raise LocalProtocolError("this light has been measured or sealed already: it exists once")
        manners.flags.writeable = False
        return manners
