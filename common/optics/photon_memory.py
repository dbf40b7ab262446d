"""A quantum memory: light that is kept until it is known in which basis to measure it."""

from typing import final

import numpy as np
from numpy.typing import NDArray

from qkdlink.common.errors import LocalProtocolError
from qkdlink.common.optics.detector import COSINES
from qkdlink.common.optics.loops import thresholds
from qkdlink.common.optics.records import Gates
from qkdlink.common.optics.side_loops import draws
from qkdlink.common.optics.states import POLARISATIONS, Basis, States, bb84_polarisation, polarisations

NO_OUTCOME = np.uint8(2)
"""What the memory tells of a pulse of which it holds no photon, or one that was measured in the other basis."""

_TO_DETECTOR_1 = thresholds([(1 - cosine) / 2 for cosine in COSINES])
_ANALYSERS = np.array([bb84_polarisation(basis, 0) for basis in Basis], np.uint8)


@final
class QuantumMemory:
    """Photons of one frame. Each pulse is measured once, in one basis; asked again, it tells the same."""

    __slots__ = ("_bases", "_lane", "_outcomes", "_pulses", "_states")

    def __init__(self, pulses: Gates, states: States, lane: np.uint64) -> None:
        self._pulses = pulses
        self._states = states
        self._lane = lane
        self._bases: NDArray[np.uint8] = np.full(len(pulses), NO_OUTCOME)
        self._outcomes: NDArray[np.uint8] = np.full(len(pulses), NO_OUTCOME)

    def __len__(self) -> int:
        return len(self._pulses)

    def __repr__(self) -> str:
        return f"QuantumMemory({len(self)} pulses, unseen)"

    def __reduce__(self) -> str:
        raise LocalProtocolError("light cannot be copied or pickled, and stored light is light")

    def measure(self, pulses: Gates, bases: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Measure `pulses` (`uint32[n]`, none twice) in `bases` (`uint8[n]` of `Basis`).

        Returns the bit of each, or `NO_OUTCOME`: `uint8[n]`.
        """
        told = np.full(len(pulses), NO_OUTCOME)
        if not len(self):
            return told
        places = np.minimum(np.searchsorted(self._pulses, pulses), len(self) - 1)
        held = np.flatnonzero(self._pulses[places] == pulses)
        at, asked = places[held], bases[held]
        fresh = self._bases[at] == NO_OUTCOME
        self._look(at[fresh], asked[fresh])
        told[held] = np.where(self._bases[at] == asked, self._outcomes[at], NO_OUTCOME)
        return told

    def _look(self, at: NDArray[np.int64], bases: NDArray[np.uint8]) -> None:
        angles = (polarisations(self._states[at]) - _ANALYSERS[bases]) % np.uint8(POLARISATIONS)
        self._bases[at] = bases
        self._outcomes[at] = draws(self._lane, self._pulses[at]) < _TO_DETECTOR_1[angles]
