"""Toeplitz hashing by floating-point Fourier transforms: for processors without carry-less multiplication.

T x is a piece of the linear convolution of seed and x. It is computed by float64 Fourier transforms of
slices (overlap-save), whose products are summed before the inverse transform. A slice product is a sum of
at most 2^18 zeros and ones; the rounding error of transforms of 2^19 points with such inputs is below 1e-7
(Percival 2003: |x| |y| ((1 + e)^3k (1 + e sqrt 5)^(3k+1) (1 + b)^3k - 1), k = 19, e = 2^-53, b
the error of the roots of unity), and sums over the slices stay below 1e-3 up to n = 1e10. So rounding to
the nearest integer is exact; the distance to it is checked at run time all the same, because libraries and
processors differ.

Source: Percival, "Rapid multiplication modulo the sum and difference of highly composite numbers", Math.
Comp. 72 (2003) 387.
"""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from qkdlink.common.bits import Bits

type _Spectrum = NDArray[np.complex128]

_LONGEST_SLICE = 2**18  # transforms of this size stay in the caches
_LARGEST_RESIDUAL = 0.125


def hashed_by_fourier(bits: Bits, seed: Bits, length: int) -> Bits:
    """Multiply the Toeplitz matrix of `seed` with `bits`: `uint8[n]`, `uint8[n + l - 1]` -> `uint8[l]`.

    Memory is about 32 bytes per bit of the result and 20 MB; time grows as n l from n = 2^18 upwards (1.8 s
    for n = 1e7 and l = n / 2 on one core). Raises ArithmeticError if the transforms are not as precise as
    they have to be.
    """
    size = min(_LONGEST_SLICE, 1 << max(len(bits) - 1, 1).bit_length())
    origin = len(bits) - 1
    rows = range(0, length, size)
    totals = np.zeros((len(rows), size + 1), np.complex128)
    windows = deque(_window(seed, origin + row, size) for row in rows)
    for column in range(0, len(bits), size):
        transformed = np.fft.rfft(bits[column : column + size], 2 * size)
        for row, window in enumerate(windows):
            totals[row] += window * transformed
        windows.rotate()  # the next slice of columns meets the same diagonals one slice of rows further down
        if windows:
            windows[0] = _window(seed, origin - column - size, size)
    hashed = [_parities(total, size) for total in totals]
    return np.concatenate(hashed)[:length] if hashed else np.empty(0, np.uint8)


def _window(seed: Bits, diagonal: int, size: int) -> _Spectrum:
    """Transform seed[diagonal - size : diagonal + size], zeros where there is no seed."""
    window = np.zeros(2 * size)
    first, last = max(diagonal - size, 0), min(diagonal + size, len(seed))
    if first < last:
        window[first - (diagonal - size) : last - (diagonal - size)] = seed[first:last]
    return np.fft.rfft(window)


def _parities(total: _Spectrum, size: int) -> Bits:
    """Transform back; the second half is free of wrapped-around products."""
    sums = np.fft.irfft(total, 2 * size)[size:]
    integers = np.rint(sums)
    if np.max(np.abs(sums - integers)) > _LARGEST_RESIDUAL:
        raise ArithmeticError("The Fourier transforms of the Toeplitz hash are too inexact on this machine.")
    return (integers.astype(np.int64) & 1).astype(np.uint8)
