"""Light in flight: a train of pulses that nobody can look at, and that can be used once.

A message can be copied and light cannot; a `PulseTrain` behaves like light. Its content can be taken out
once, by the optics floor (a detector, a seal), and afterwards it is dark. That is a rule of this emulator's
interface, not a property of Python: code that reaches around the interface can break it.
"""

from typing import final

import numpy as np
from numpy.typing import NDArray

from qkdlink.common.errors import LocalProtocolError
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.side_light import SideLight
from qkdlink.common.optics.states import States


@final
class PulseTrain:
    """Consecutive pulses of one block, from `first_pulse` on, launched into `medium`."""

    __slots__ = ("_count", "_first_pulse", "_medium", "_side", "_states")

    def __init__(
        self, states: States, medium: Fibre, first_pulse: int, side: SideLight | None = None
    ) -> None:
        self._states: NDArray[np.uint8] | None = states
        self._count = len(states)
        self._medium = medium
        self._first_pulse = first_pulse
        self._side = side

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"PulseTrain({self._count} pulses from {self._first_pulse}, unseen)"

    def __reduce__(self) -> str:
        raise LocalProtocolError(
            "light cannot be copied or pickled: only qkdlink.common.optics.seal may put it into bytes"
        )

    @property
    def medium(self) -> Fibre:
        """The fibre that this light was launched into."""
        return self._medium

    @property
    def first_pulse(self) -> int:
        """Index in the block of the first pulse."""
        return self._first_pulse

    @property
    def side(self) -> SideLight | None:
        """What else flies with these pulses, opaque like them; None with honest light."""
        return self._side

    @property
    def is_dark(self) -> bool:
        """Whether it has been measured, sealed or put through an instrument already, which whoever did it knows."""
        return self._states is None

    def absorb(self) -> States:
        """Take the states out (`uint8[n]`, read-only), for the optics floor only; the train is dark then.

        Raises LocalProtocolError the second time: light is measured once.
        """
        states, self._states = self._states, None
        if states is None:
            raise LocalProtocolError("this light has been measured or sealed already: it exists once")
        states.flags.writeable = False
        return states
