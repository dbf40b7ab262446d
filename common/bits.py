"""Bit strings: one `uint8` per bit while they are worked on, eight bits per byte when they are stored or sent."""

import numpy as np
from numpy.typing import NDArray

type Bits = NDArray[np.uint8]
"""One-dimensional array of zeros and ones."""


def pack(bits: Bits) -> bytes:
    """Eight bits per byte, the first bit highest, the last byte filled with zeros (`ceil(n / 8)` bytes)."""
    return np.packbits(bits).tobytes()


def unpack(data: bytes | memoryview, count: int) -> Bits:
    """Read the first `count` bits of `data`, the inverse of `pack`.

    Raises ValueError unless `data` has exactly `ceil(count / 8)` bytes and its filling is zero, so that every
    bit string has one encoding only.
    """
    check_packed(data, count)
    return np.unpackbits(np.frombuffer(data, np.uint8), count=count)


def check_packed(data: bytes | memoryview, count: int) -> None:
    """Raise ValueError unless `data` is what `pack` makes of some `count` bits."""
    if len(data) != (count + 7) // 8:
        raise ValueError(f"{count} bits need {(count + 7) // 8} bytes, not {len(data)}")
    if count % 8 and data[-1] & (255 >> count % 8):
        raise ValueError(f"the filling after bit {count} is not zero")
