"""The verification tag: equal for equal keys, different for others but for eps_cor."""

from fractions import Fraction

import numpy as np
import pytest

from qkdlink.common.bits import Bits, pack
from qkdlink.common.distillation.verification import (
    surplus_leak_bits,
    verification_seed_bytes,
    verification_tag,
    verification_tag_bits,
)

EPS_COR = 1e-15
PRIME = 2**127 - 1


def drawn(length: int, eps_cor: float = EPS_COR, seed: int = 1) -> tuple[Bits, bytes]:
    rng = np.random.default_rng(seed)
    return (
        rng.integers(0, 2, length, dtype=np.uint8),
        rng.bytes(verification_seed_bytes(length, eps_cor)),
    )


def tag_by_definition(bits: Bits, seed: bytes, eps_cor: float) -> str:
    data = pack(bits)
    pieces = [int.from_bytes(data[start : start + 15]) for start in range(0, len(data), 15)]
    point = int.from_bytes(seed[:16]) % 2**127
    digest = sum(piece * pow(point, power, PRIME) for power, piece in enumerate(reversed(pieces))) % PRIME
    entries = [int(bit) for bit in f"{int.from_bytes(seed[16:]):b}".zfill(8 * len(seed))[::-1]]
    inputs = [digest >> column & 1 for column in range(127)]
    return "".join(
        str(sum(entries[row + column] * inputs[column] for column in range(127)) % 2)
        for row in range(verification_tag_bits(len(bits), eps_cor))
    )


@pytest.mark.parametrize("length", [1, 8, 119, 120, 121, 1000, 12345])
def test_the_tag_is_that_of_the_definition(length: int) -> None:
    bits, seed = drawn(length)
    tag = verification_tag(bits, seed, EPS_COR)
    assert "".join(f"{byte:08b}" for byte in tag)[:50] == tag_by_definition(bits, seed, EPS_COR)
    assert len(tag) == 7


@pytest.mark.parametrize("length", [120, 121, 1200, 1201])
@pytest.mark.parametrize(
    "point", [0, 1, PRIME, PRIME - 1, PRIME - 2, 2**126, 2**127 - 2**32, 2**96 - 1, 2**127]
)
@pytest.mark.parametrize("bit", [0, 1])
def test_the_tag_is_that_of_the_definition_where_carries_run_furthest(
    length: int, point: int, bit: int
) -> None:
    _, seed = drawn(length)
    bits, seed = np.full(length, bit, np.uint8), point.to_bytes(16) + seed[16:]
    tag = verification_tag(bits, seed, EPS_COR)
    assert "".join(f"{byte:08b}" for byte in tag)[:50] == tag_by_definition(bits, seed, EPS_COR)


def test_every_single_flip_is_detected() -> None:
    bits, seed = drawn(500)
    tag = verification_tag(bits, seed, EPS_COR)
    for position in range(500):
        flipped = bits.copy()
        flipped[position] ^= 1
        assert verification_tag(flipped, seed, EPS_COR) != tag


def test_exchanged_pieces_are_detected() -> None:
    bits, seed = drawn(240)
    assert verification_tag(np.roll(bits, 120), seed, EPS_COR) != verification_tag(bits, seed, EPS_COR)


def test_different_seeds_give_different_tags() -> None:
    bits, _ = drawn(1000)
    tags = {verification_tag(bits, drawn(1000, seed=seed)[1], EPS_COR) for seed in range(1000)}
    assert len(tags) == 1000  # 5e5 pairs at 2^-50: a coincidence has probability 4e-10


def test_every_part_of_the_seed_counts() -> None:
    bits, seed = drawn(1000)
    tag = verification_tag(bits, seed, EPS_COR)
    for position in range(len(seed)):
        changed = bytearray(seed)
        changed[position] ^= 1
        assert verification_tag(bits, bytes(changed), EPS_COR) != tag


def test_short_tags_collide_as_often_as_they_may() -> None:
    # 8192 seeds, 4 bits: 512 collisions expected, standard deviation 22; six of them are exceeded with 2e-9.
    eps_cor, rng = 0.07, np.random.default_rng(2)
    bits, _ = drawn(1000)
    other = bits ^ (rng.random(1000) < 0.01)
    seed_bytes = verification_seed_bytes(1000, eps_cor)
    assert verification_tag_bits(1000, eps_cor) == 4
    seeds = [rng.bytes(seed_bytes) for _ in range(8192)]
    collisions = sum(
        verification_tag(bits, seed, eps_cor) == verification_tag(other, seed, eps_cor) for seed in seeds
    )
    assert abs(collisions - 512) < 6 * 22


@pytest.mark.parametrize("length", [1, 120, 121, 10**5, 10**7, 10**9])
@pytest.mark.parametrize("eps_cor", [0.5, 1e-3, 2.0**-50, 1e-15, 1e-20])
def test_the_tag_is_the_shortest_that_keeps_the_bound(length: int, eps_cor: float) -> None:
    tag_bits = verification_tag_bits(length, eps_cor)
    polynomial = Fraction(-(-length // 120), 2**127)
    assert polynomial + Fraction(1, 2**tag_bits) <= Fraction(eps_cor)
    assert tag_bits == 1 or polynomial + Fraction(2, 2**tag_bits) > Fraction(eps_cor)


def test_the_usual_tag_has_fifty_bits_and_costs_nothing_beyond_the_key_length_formula() -> None:
    assert verification_tag_bits(10**7, EPS_COR) == 50
    assert verification_seed_bytes(10**7, EPS_COR) == 16 + 22
    assert surplus_leak_bits(50, EPS_COR) == 0


def test_a_longer_tag_costs_what_the_key_length_formula_does_not_pay() -> None:
    assert surplus_leak_bits(64, EPS_COR) == 14  # 64 - log2(2e15) = 13.17
    assert surplus_leak_bits(51, 2.0**-50) == 0
    assert surplus_leak_bits(52, 2.0**-50) == 1


@pytest.mark.parametrize("eps_cor", [0.0, 1.0, -0.1, float("nan"), 1e-37, 1e-300])
def test_an_impossible_eps_cor_is_refused(eps_cor: float) -> None:
    with pytest.raises(ValueError, match=r"between 0 and 1|no tag can verify"):
        verification_tag_bits(10**6, eps_cor)


def test_a_seed_of_another_length_is_refused() -> None:
    bits, seed = drawn(100)
    with pytest.raises(ValueError, match="seed has 37 bytes, 100 bits need 38"):
        verification_tag(bits, seed[:-1], EPS_COR)
