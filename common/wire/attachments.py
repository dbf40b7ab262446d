"""Arrays as attachments: compact, with one encoding each, and checked before they are believed."""

import numpy as np
from numpy.typing import NDArray

from qkdlink.common.bits import pack, unpack
from qkdlink.common.kernels.compiled import kernel

_LONGEST_GAP_BYTES = 5
"""Seven bits per byte: five bytes carry every gap of a block of up to 2**32 pulses."""

_ROW = 64
"""Gaps that are looked at together."""
_PIECE = 2**16
"""Gates that are written at a time: what is written is still in the second cache when it is copied."""


def encode_gates(gates: NDArray[np.uint32]) -> bytes:
    """Write ascending gate numbers as gaps (first gate, then distance minus one), seven bits per byte, lowest first.

    The highest bit of a byte says that the gap goes on in the next one (LEB128).
    """
    room, previous, pieces = np.empty(_LONGEST_GAP_BYTES * _PIECE, np.uint8), -1, []
    for begin in range(0, len(gates), _PIECE):
        piece = gates[begin : begin + _PIECE]
        pieces.append(room[: _write_gaps(piece, previous, room)].tobytes())
        previous = int(piece[-1])
    return b"".join(pieces)


class GateReader:
    """Reads what `encode_gates` wrote piece by piece, so that nobody has to keep four bytes of every gate."""

    def __init__(self, data: bytes, count: int, pulses: int) -> None:
        """Announce `count` gate numbers below `pulses`; ValueError if `data` cannot name them."""
        if count > len(data) or count > pulses or (data and not count):
            raise ValueError(f"{len(data)} bytes cannot name {count} gates of {pulses}")
        self._data = np.frombuffer(data, np.uint8)
        self._left = count
        self._pulses = pulses
        self._used = 0
        self._previous = -1

    def read(self, most: int) -> NDArray[np.uint32]:
        """Return the next gate numbers, `most` or as many as are left: `uint32[n]`, ascending, none when all are read.

        Raises ValueError unless `data` is exactly their one encoding, at the latest with the last of them.
        """
        gates = np.empty(min(most, self._left), np.uint32)
        used = _read_gaps(self._data[self._used :], gates, self._previous, self._pulses)
        self._left -= len(gates)
        self._used += used
        if used < 0 or (not self._left and self._used != len(self._data)):
            raise ValueError("the gate numbers are malformed, out of range or followed by something else")
        self._previous = int(gates[-1]) if len(gates) else self._previous
        return gates


def decode_gates(data: bytes, count: int, pulses: int) -> NDArray[np.uint32]:
    """Read `count` gate numbers below `pulses`; ValueError unless `data` is exactly their one encoding."""
    return GateReader(data, count, pulses).read(count)


@kernel
def _write_gaps(gates: NDArray[np.uint32], previous: int, out: NDArray[np.uint8]) -> int:
    """Write the gaps between gates, the first behind `previous`; return the bytes used.

    Most gaps are short: where a row of them are a byte each, they are written together, or else again one by one.
    """
    used = 0
    for start in range(0, len(gates), _ROW):
        row = gates[start : start + _ROW]
        if start and len(row) == _ROW:
            before, place = gates[start - 1 : start + _ROW - 1], out[used : used + _ROW]
            longest = np.uint32(0)
            for k in range(_ROW):
                gap = np.uint32(row[k] - before[k]) - np.uint32(1)
                place[k] = np.uint8(gap)
                longest |= gap
            if longest < 128:
                used += _ROW
                previous = int(row[-1])
                continue
        for gate in row:
            gap_left = int(gate) - previous - 1
            previous = int(gate)
            while gap_left >= 128:
                out[used] = (gap_left & 127) | 128
                gap_left >>= 7
                used += 1
            out[used] = gap_left
            used += 1
    return used


@kernel
def _read_gaps(data: NDArray[np.uint8], gates: NDArray[np.uint32], previous: int, pulses: int) -> int:
    """Read as many gates as there is room for, the first behind `previous`; return the bytes used, -1 if malformed.

    Most gaps are short: where eight bytes are a gap each, they are eight additions.
    """
    used, index = 0, 0
    while index < len(gates):
        if index + 8 <= len(gates) and used + 8 <= len(data) and _are_short(data, used):
            for k in range(8):
                previous += int(data[used + k]) + 1
                gates[index + k] = previous
            used += 8
            index += 8
        else:
            gap, length = _read_gap(data, used)
            previous += gap + 1
            if length == 0:
                return -1
            gates[index] = previous
            used += length
            index += 1
        if previous >= pulses:
            return -1
    return used


@kernel
def _are_short(data: NDArray[np.uint8], place: int) -> bool:
    """Whether each of the eight bytes from `place` on is a gap."""
    together = np.uint8(0)
    for k in range(8):
        together |= data[place + k]
    return bool(together < 128)


@kernel
def _read_gap(data: NDArray[np.uint8], place: int) -> tuple[int, int]:
    """Read one gap; return it and its length in bytes, 0 if it is malformed."""
    gap = 0
    for length in range(min(_LONGEST_GAP_BYTES, len(data) - place)):
        byte = int(data[place + length])
        gap |= (byte & 127) << (7 * length)
        if byte < 128:
            if byte == 0 and length > 0:  # a longer way to write the same number
                return 0, 0
            return gap, length + 1
    return 0, 0


def class_planes(class_count: int) -> int:
    """Bits that name one of `class_count` classes."""
    return (class_count - 1).bit_length()


def encode_classes(classes: NDArray[np.uint8], class_count: int) -> bytes:
    """Write `uint8[n]` class numbers as `class_planes` packed bit planes, lowest first."""
    return b"".join(
        pack((classes >> np.uint8(plane)) & np.uint8(1)) for plane in range(class_planes(class_count))
    )


def decode_classes(data: bytes, count: int, class_count: int) -> NDArray[np.uint8]:
    """Read `count` class numbers below `class_count`; ValueError on anything else."""
    planes = class_planes(class_count)
    size = (count + 7) // 8
    if len(data) != planes * size:
        raise ValueError(f"{count} classes need {planes * size} bytes, not {len(data)}")
    classes = unpack(data[:size], count) if planes else np.zeros(count, np.uint8)
    for plane in range(1, planes):
        classes |= unpack(data[plane * size : (plane + 1) * size], count) << np.uint8(plane)
    if count and class_count < 2**planes and int(classes.max()) >= class_count:
        raise ValueError(f"there are only {class_count} intensity classes")
    return classes
