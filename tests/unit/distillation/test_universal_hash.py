"""Toeplitz hashing: exactly its definition, whatever the size."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkdlink.common.bits import Bits
from qkdlink.common.distillation.universal_hash import toeplitz, toeplitz_seed_bits


def by_definition(bits: Bits, seed: Bits, length: int) -> list[int]:
    n = len(bits)
    return [sum(int(seed[i - j + n - 1]) & int(bits[j]) for j in range(n)) % 2 for i in range(length)]


def drawn(n: int, length: int, seed: int = 1) -> tuple[Bits, Bits]:
    rng = np.random.default_rng(seed)
    return (
        rng.integers(0, 2, n, dtype=np.uint8),
        rng.integers(0, 2, toeplitz_seed_bits(n, length), dtype=np.uint8),
    )


@settings(deadline=None)
@given(data=st.data(), n=st.integers(1, 60))
def test_every_bit_is_that_of_the_definition(data: st.DataObject, n: int) -> None:
    length = data.draw(st.integers(0, n))
    bits, seed = drawn(n, length, data.draw(st.integers(0, 2**32)))
    assert toeplitz(bits, seed, length).tolist() == by_definition(bits, seed, length)


def test_a_matrix_written_by_hand() -> None:
    # seed = 1 0 1 1 (n = 3, l = 2): rows are seed[2], seed[1], seed[0] and seed[3], seed[2], seed[1].
    seed = np.array([1, 0, 1, 1], np.uint8)
    columns = [toeplitz(np.eye(3, dtype=np.uint8)[j], seed, 2).tolist() for j in range(3)]
    assert columns == [[1, 1], [0, 1], [1, 0]]


def test_random_rows_at_a_million_bits_are_those_of_the_definition() -> None:
    n, length = 1_000_000, 400_000
    bits, seed = drawn(n, length)
    hashed = toeplitz(bits, seed, length)
    rows = np.random.default_rng(2).integers(0, length, 200)
    for row in [0, length - 1, 2**18 - 1, 2**18, *rows]:
        assert hashed[row] == np.count_nonzero(seed[row : row + n][::-1] & bits) % 2


def test_all_ones_the_largest_sums_are_exact() -> None:
    n, length = 700_000, 300_000
    ones = np.ones(n, np.uint8)
    seed = np.ones(toeplitz_seed_bits(n, length), np.uint8)
    assert not toeplitz(ones, seed, length).any()
    seed[n - 1] = 0  # the diagonal
    assert toeplitz(ones, seed, length).all()


def test_hashing_is_linear() -> None:
    first, seed = drawn(5_000, 2_000, 3)
    second, _ = drawn(5_000, 2_000, 4)
    assert np.array_equal(
        toeplitz(first ^ second, seed, 2_000), toeplitz(first, seed, 2_000) ^ toeplitz(second, seed, 2_000)
    )


def test_two_keys_collide_with_probability_2_to_the_minus_length() -> None:
    # 16384 draws, 4 bits: 1024 expected, standard deviation 31; six of them are exceeded with 2e-9.
    rng = np.random.default_rng(5)
    difference = np.array([0, 0, 1, 0, 1, 1, 0, 0, 0, 1], np.uint8)
    seeds = rng.integers(0, 2, (16384, 13), dtype=np.uint8)
    collisions = sum(not toeplitz(difference, seed, 4).any() for seed in seeds)
    assert abs(collisions - 1024) < 6 * 31


@pytest.mark.parametrize(("n", "length", "seed_bits"), [(10, 11, 20), (10, -1, 8), (10, 5, 13), (10, 5, 15)])
def test_impossible_sizes_are_refused(n: int, length: int, seed_bits: int) -> None:
    with pytest.raises(ValueError, match=r"cannot be hashed|seed has"):
        toeplitz(np.zeros(n, np.uint8), np.zeros(seed_bits, np.uint8), length)
