"""Questions about parities, and the parities themselves."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.bits import Bits
from common.distillation.reconciliation.schedule import MAX_PASSES
from common.kernels import kernel

type Positions = NDArray[np.uint32]
"""`uint32` positions in a permuted key."""


@dataclass(frozen=True, slots=True, eq=False)
class Questions:
    """Bob asks for the parity of each range [start, end) of the key as permuted for one pass."""

    pass_index: int
    starts: Positions
    """`uint32[m]`, ascending."""
    ends: Positions
    """`uint32[m]`, exclusive."""

    def check(self, key_length: int) -> None:
        """Raise ValueError unless the ranges ascend within the key, none empty, no two overlapping."""
        if not 0 <= self.pass_index < MAX_PASSES:
            raise ValueError(f"there is no pass {self.pass_index}")
        if self.starts.ndim != 1 or self.starts.shape != self.ends.shape or not len(self):
            raise ValueError("parity questions need one start and one end each, and at least one range")
        if not (np.all(self.starts < self.ends) and np.all(self.ends[:-1] <= self.starts[1:])):
            raise ValueError("the ranges of parity questions ascend, without overlap and none of them empty")
        if self.ends[-1] > key_length:
            raise ValueError(f"a range ends at {self.ends[-1]}, the key has {key_length} bits")

    def __len__(self) -> int:
        return len(self.starts)


def running_parities(bits: Bits) -> Bits:
    """Parity of the first k bits for k = 0..n: `uint8[n]` -> `uint8[n + 1]`; two of them give any range."""
    running = np.zeros(len(bits) + 1, np.uint8)
    np.bitwise_xor.accumulate(bits, out=running[1:])
    return running


@kernel
def range_parities(bits: Bits, starts: Positions, ends: Positions) -> Bits:
    """Parity of each range [start, end) of `bits`, as `uint8[m]`."""
    parities = np.zeros(starts.size, np.uint8)
    for index in range(starts.size):
        for bit in bits[starts[index] : ends[index]]:
            parities[index] ^= bit
    return parities
