"""Toeplitz hashing by Fourier transforms: exact, or a refusal."""

import numpy as np
import pytest

from qkdlink.common.bits import Bits
from qkdlink.common.distillation import fourier
from qkdlink.common.distillation.fourier import hashed_by_fourier


def drawn(n: int, length: int) -> tuple[Bits, Bits]:
    rng = np.random.default_rng(1)
    return rng.integers(0, 2, n, dtype=np.uint8), rng.integers(0, 2, n + length - 1, dtype=np.uint8)


@pytest.mark.parametrize("size", [1, 2, 8, 16])
@pytest.mark.parametrize(
    ("n", "length"), [(1, 1), (16, 16), (17, 16), (33, 32), (50, 1), (64, 33), (100, 99)]
)
def test_slices_make_no_difference(monkeypatch: pytest.MonkeyPatch, size: int, n: int, length: int) -> None:
    bits, seed = drawn(n, length)
    whole = hashed_by_fourier(bits, seed, length)
    monkeypatch.setattr(fourier, "_LONGEST_SLICE", size)
    assert np.array_equal(hashed_by_fourier(bits, seed, length), whole)


def test_an_inexact_transform_raises_instead_of_returning_a_wrong_bit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exact = np.fft.irfft
    monkeypatch.setattr(np.fft, "irfft", lambda spectrum, points: exact(spectrum, points) + 0.2)
    with pytest.raises(ArithmeticError, match="inexact"):
        hashed_by_fourier(*drawn(100, 50), 50)
