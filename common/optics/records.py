"""What each party's hardware told it about a block of light: what was prepared, what was detected."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from qkdlink.common.bits import Bits
from qkdlink.common.errors import LocalProtocolError
from qkdlink.common.optics.loops import count_from, look_up

type Prepared = NDArray[np.uint8]
"""One byte per pulse: bit 0 is the key bit, bit 1 the basis (`Basis`), the bits above the class."""

type Gates = NDArray[np.uint32]
"""Indices of gates (pulses) in a block, ascending."""

MOST_PULSES = 2**32
"""A gate's index has 32 bits."""


class PreparationRecord:
    """Alice's record of one block: every bit, basis and intensity class that she prepared."""

    def __init__(self, pulses: int, class_count: int) -> None:
        if not 0 < pulses <= MOST_PULSES:
            raise LocalProtocolError(f"a block has 1 to {MOST_PULSES} pulses, not {pulses}")
        self._prepared: Prepared = np.empty(pulses, np.uint8)
        self._counts = np.zeros(class_count, np.int64)
        self._recorded = 0
        self.probe_photons = 0.0
        """Mean photon number per pulse of the brightest light that shone into the outlet meanwhile."""

    def __repr__(self) -> str:
        return f"PreparationRecord({self._recorded} of {len(self._prepared)} pulses, redacted)"

    def append(self, prepared: Prepared) -> None:
        """Add the next frame: `uint8[n]` as `PulseSource.emit` returned it.

        Raises LocalProtocolError where it exceeds the block.
        """
        end = self._recorded + len(prepared)
        if end > len(self._prepared):
            raise LocalProtocolError(f"{end} pulses do not fit into a block of {len(self._prepared)}")
        place = self._prepared[self._recorded : end]
        if not np.shares_memory(place, prepared):
            place[:] = prepared
        self._counts += _by_class(prepared, len(self._counts))
        self._recorded = end

    def room(self, count: int) -> Prepared:
        """Return where the next `count` pulses belong, to be prepared right there and then appended."""
        return self._prepared[self._recorded : self._recorded + count]

    @property
    def complete(self) -> bool:
        """Whether every pulse of the block has been recorded."""
        return self._recorded == len(self._prepared)

    @property
    def emitted(self) -> tuple[int, ...]:
        """Pulses emitted so far, per intensity class, strongest first."""
        return tuple(self._counts.tolist())

    def prepared_at(self, gates: Gates) -> Prepared:
        """Return what was prepared for the pulses at `gates`: `uint8[n]`.

        Raises ValueError where a gate lies beyond the recorded pulses.
        """
        if len(gates) and not int(gates.max()) < self._recorded:
            raise ValueError(f"a gate lies outside the {self._recorded} pulses that were emitted")
        found = np.empty(len(gates), np.uint8)
        look_up(self._prepared, gates, found)
        return found

    def at(self, gates: Gates) -> tuple[Bits, NDArray[np.uint8], NDArray[np.uint8]]:
        """Return bits, bases and intensity classes of the pulses at `gates`: three `uint8[n]`; ValueError likewise."""
        found = self.prepared_at(gates)
        return found & np.uint8(1), (found >> np.uint8(1)) & np.uint8(1), found >> np.uint8(2)


@dataclass(frozen=True, slots=True)
class SideCounts:
    """What Bob's monitors saw of a block beside its clicks; all 0 with honest light and monitors that are off."""

    bright_gates: int = 0
    """Gates in which the detectors drew a photocurrent that no single photon makes."""
    switched_off_gates: int = 0
    """Gates for which Bob had turned the efficiency to 0, in secret and at random."""
    switched_off_clicks: int = 0
    """Clicks in those gates; they are in no other count and in no key."""
    early: tuple[int, int] = (0, 0)
    """Clicks early in their gate, by the bit that they gave; neither early nor late is on time."""
    late: tuple[int, int] = (0, 0)

    def __add__(self, other: Self) -> Self:
        return type(self)(
            self.bright_gates + other.bright_gates,
            self.switched_off_gates + other.switched_off_gates,
            self.switched_off_clicks + other.switched_off_clicks,
            (self.early[0] + other.early[0], self.early[1] + other.early[1]),
            (self.late[0] + other.late[0], self.late[1] + other.late[1]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class DetectionRecord:
    """Bob's record of one block, or of one frame of it: the gates in which a detector clicked."""

    gates: Gates
    bases: NDArray[np.uint8] = field(repr=False)
    """Bob's basis in each of these gates: `uint8[n]` of `Basis`."""
    bits: Bits = field(repr=False)
    """What he read: the detector that clicked, or his coin where both did."""
    double_clicks: int
    side: SideCounts = SideCounts()

    def __len__(self) -> int:
        return len(self.gates)

    def __repr__(self) -> str:
        return f"DetectionRecord({len(self)} detections, {self.double_clicks} double clicks, redacted)"

    @classmethod
    def joined(cls, frames: Sequence[Self]) -> Self:
        """Join the records of a block's frames, given in order."""
        if not frames:
            raise LocalProtocolError("a block has at least one frame of light")
        return cls(
            gates=np.concatenate([frame.gates for frame in frames]),
            bases=np.concatenate([frame.bases for frame in frames]),
            bits=np.concatenate([frame.bits for frame in frames]),
            double_clicks=sum(frame.double_clicks for frame in frames),
            side=sum((frame.side for frame in frames), SideCounts()),
        )


class DetectionLog:
    """Bob's record while it grows: what is detected is written where it will stay until the block is over."""

    def __init__(self, pulses: int = 0) -> None:
        """Expect a block of `pulses`; 0 if nobody knows."""
        self._pulses = pulses
        self._gates: Gates = np.empty(0, np.uint32)
        self._bases: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._bits: Bits = np.empty(0, np.uint8)
        self._clicks = 0
        self._pieces = self._measured = 0
        self._double_clicks = 0
        self._side = SideCounts()

    def __repr__(self) -> str:
        return f"DetectionLog({self._clicks} detections so far, redacted)"

    def room(self, gates: int) -> tuple[Gates, NDArray[np.uint8], NDArray[np.uint8]]:
        """Return where the clicks of the next `gates` gates belong, as many as there can be: gates, bases and bits."""
        end = self._clicks + gates
        if end > len(self._gates):
            self._grow(gates)
        return (
            self._gates[self._clicks : end],
            self._bases[self._clicks : end],
            self._bits[self._clicks : end],
        )

    def add(self, gates: int, clicks: int, double_clicks: int, side: SideCounts | None = None) -> None:
        """Keep the first `clicks` places of the room for these `gates`."""
        self._pieces += 1
        self._measured += gates
        self._clicks += clicks
        self._double_clicks += double_clicks
        if side is not None:
            self._side += side

    def record(self) -> DetectionRecord:
        """Return everything so far; LocalProtocolError if nothing was measured."""
        if not self._pieces:
            raise LocalProtocolError("a block has at least one frame of light")
        return DetectionRecord(
            self._gates[: self._clicks],
            self._bases[: self._clicks],
            self._bits[: self._clicks],
            self._double_clicks,
            self._side,
        )

    def _grow(self, gates: int) -> None:
        """Make room for what the rest of the block should bring at the rate so far, a quarter more, and this."""
        expected = self._clicks * max(self._pulses, self._measured) // max(self._measured, 1)
        room = max(expected + 10 * math.isqrt(expected), self._clicks + self._clicks // 4) + gates
        self._gates = _in_room(self._gates, self._clicks, room)
        self._bases = _in_room(self._bases, self._clicks, room)
        self._bits = _in_room(self._bits, self._clicks, room)


def _in_room[T: np.generic](values: NDArray[T], used: int, room: int) -> NDArray[T]:
    larger = np.empty(room, values.dtype)
    larger[:used] = values[:used]
    return larger


def _by_class(prepared: Prepared, class_count: int) -> NDArray[np.int64]:
    """Count the pulses of each class: `int64[class_count]`. Comparing bytes is cheaper than a counter for each."""
    at_least = [len(prepared)]
    at_least += [count_from(prepared, np.uint8(4 * each)) for each in range(1, class_count)]
    return -np.diff([*at_least, 0])
