"""What one pulse of light is: a polarisation on a great circle and a number of photons, in one byte.

The polarisation index counts steps of 22.5 degrees from 0 to 7, so that the Breidbart states between the two
BB84 bases exist (an index and that plus 4 are orthogonal). It fills the low three bits, the photon number
the high five. The intensity that prepared the pulse is no part of it: the source is phase-randomised, so
what flies is a Fock state (Lo, Ma and Chen 2005), and nobody can read the intensity off it.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

type States = NDArray[np.uint8]
"""One byte per pulse, as above."""

POLARISATIONS = 8
"""Directions on the great circle, 22.5 degrees apart in polarisation angle."""

PHOTON_NUMBERS = 32
"""A byte holds 0 to 31 photons. More (at intensity 1 with probability 1.5e-36) count as 31."""


class Basis(IntEnum):
    """The two bases of BB84: the majority basis makes the key, the other is for testing."""

    KEY = 0
    TEST = 1


def bb84_polarisation(basis: Basis, bit: int) -> int:
    """Return the polarisation index of a BB84 state: KEY is 0 and 90 degrees, TEST is 45 and 135 degrees."""
    return 2 * basis + 4 * bit


def photon_numbers(states: States) -> NDArray[np.uint8]:
    """Photon number of each pulse: `uint8[n]` -> `uint8[n]`, 0..31."""
    return states >> np.uint8(3)


def polarisations(states: States) -> NDArray[np.uint8]:
    """Polarisation index of each pulse: `uint8[n]` -> `uint8[n]`, 0..7."""
    return states & np.uint8(POLARISATIONS - 1)
