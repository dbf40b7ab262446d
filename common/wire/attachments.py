"""Arrays as attachments: compact, with one encoding each, and checked before they are believed."""

import numpy as np
from numpy.typing import NDArray

from common.bits import pack, unpack
from common.kernels import kernel

_LONGEST_GAP_BYTES = 5
"""Seven bits per byte: five bytes carry every gap of a block of up to 2**32 pulses."""


def encode_gates(gates: NDArray[np.uint32]) -> bytes:
    """Write ascending gate numbers as gaps (first gate, then distance minus one), seven bits per byte, lowest first.

    The highest bit of a byte says that the gap goes on in the next one (LEB128).
    """
    out = np.empty(_LONGEST_GAP_BYTES * len(gates), np.uint8)
    used = _write_gaps(gates, out)
    return out[:used].tobytes()


def decode_gates(data: bytes, count: int, pulses: int) -> NDArray[np.uint32]:
    """Read `count` gate numbers below `pulses`; ValueError unless `data` is exactly their one encoding."""
    if count > len(data) or count > pulses:
        raise ValueError(f"{len(data)} bytes cannot name {count} gates of {pulses}")
    gates = np.empty(count, np.uint32)
    used = _read_gaps(np.frombuffer(data, np.uint8), gates, pulses)
    if used != len(data):
        raise ValueError("the gate numbers are malformed, out of range or followed by something else")
    return gates


@kernel
def _write_gaps(gates: NDArray[np.uint32], out: NDArray[np.uint8]) -> int:
    used = 0
    previous = -1
    for index in range(len(gates)):
        gate = int(gates[index])
        gap = gate - previous - 1
        previous = gate
        while gap >= 128:
            out[used] = (gap & 127) | 128
            gap >>= 7
            used += 1
        out[used] = gap
        used += 1
    return used


@kernel
def _read_gaps(data: NDArray[np.uint8], gates: NDArray[np.uint32], pulses: int) -> int:
    used = 0
    previous = -1
    for index in range(len(gates)):
        gap = 0
        shift = 0
        while True:
            if used == len(data) or shift == 35:
                return -1
            byte = int(data[used])
            used += 1
            gap |= (byte & 127) << shift
            if byte < 128:
                if byte == 0 and shift > 0:  # a longer way to write the same number
                    return -1
                break
            shift += 7
        previous += gap + 1
        if previous >= pulses:
            return -1
        gates[index] = previous
    return used


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
    classes = np.zeros(count, np.uint8)
    for plane in range(planes):
        classes |= unpack(data[plane * size : (plane + 1) * size], count) << np.uint8(plane)
    if count and int(classes.max()) >= class_count:
        raise ValueError(f"there are only {class_count} intensity classes")
    return classes
