"""Privacy amplification: the whole verified key through one Toeplitz matrix."""

import numpy as np
import pytest

from qkdlink.common.bits import Bits, unpack
from qkdlink.common.distillation.amplification import amplification_seed_bits, amplify
from qkdlink.common.distillation.stages import VerifiedKey

N, SECRET = 3000, 1001


def verified(bits: Bits) -> VerifiedKey:
    return VerifiedKey(bits, (0,), 0)


def drawn(seed: int) -> tuple[Bits, bytes]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2, N, dtype=np.uint8), rng.bytes((amplification_seed_bits(N, SECRET) + 7) // 8)


def test_the_secret_key_is_the_product_with_the_matrix_of_the_seed() -> None:
    bits, seed = drawn(1)
    key = amplify(verified(bits), seed, SECRET)
    entries = np.unpackbits(np.frombuffer(seed, np.uint8))
    matrix = [[entries[i - j + N - 1] for j in range(N)] for i in range(SECRET)]
    assert key.secret_bits == SECRET
    assert len(key.material) == 126
    assert np.array_equal(unpack(key.material, SECRET), np.array(matrix, np.uint64) @ bits % 2)


def test_one_flipped_bit_changes_half_of_the_secret_key() -> None:
    # 40 flips of 1001 bits each: standard deviation 100; six of them are exceeded with 2e-9.
    changed = 0
    for flip in range(40):
        bits, seed = drawn(flip)
        first = amplify(verified(bits), seed, SECRET)
        bits[flip * 75] ^= 1
        changed += _distance(first.material, amplify(verified(bits), seed, SECRET).material)
    assert abs(changed - 20 * SECRET) < 600


def test_another_seed_gives_an_unrelated_key() -> None:
    bits, seed = drawn(2)
    distance = _distance(
        amplify(verified(bits), seed, SECRET).material, amplify(verified(bits), drawn(3)[1], SECRET).material
    )
    assert abs(distance - SECRET / 2) < 6 * 15.8  # standard deviation sqrt(1001) / 2; exceeded with 2e-9


def test_the_last_bit_of_a_long_block_reaches_its_first_secret_bits() -> None:
    n, secret = 600_000, 64
    rng = np.random.default_rng(4)
    seed = rng.bytes((amplification_seed_bits(n, secret) + 7) // 8)
    first, last = np.zeros(n, np.uint8), np.zeros(n, np.uint8)
    first[0] = last[-1] = 1
    entries = np.unpackbits(np.frombuffer(seed, np.uint8))
    assert np.array_equal(
        unpack(amplify(verified(first), seed, secret).material, secret), entries[n - 1 : n + 63]
    )
    assert np.array_equal(unpack(amplify(verified(last), seed, secret).material, secret), entries[:64])


def test_bits_that_fill_the_last_byte_of_the_seed_play_no_part() -> None:
    bits, seed = drawn(5)
    assert amplification_seed_bits(N, 1002) % 8 == 1
    longer = seed + b"\x80"
    keys = {amplify(verified(bits), longer[:-1] + bytes([end]), 1002).material for end in (0x80, 0xFF)}
    assert len(keys) == 1


def test_no_secret_bits_are_an_empty_key() -> None:
    key = amplify(verified(drawn(6)[0]), b"", 0)
    assert (key.material, key.secret_bits) == (b"", 0)


@pytest.mark.parametrize("secret_bits", [-1, N + 1])
def test_a_key_is_never_lengthened(secret_bits: int) -> None:
    bits, _ = drawn(7)
    with pytest.raises(ValueError, match="cannot be hashed"):
        amplify(verified(bits), bytes((amplification_seed_bits(N, secret_bits) + 7) // 8), secret_bits)


def test_a_seed_of_another_length_is_refused() -> None:
    bits, seed = drawn(8)
    with pytest.raises(ValueError, match="amplification seed has"):
        amplify(verified(bits), seed + b"\0", SECRET)


def test_a_secret_key_does_not_show_itself() -> None:
    bits, seed = drawn(9)
    assert "material" not in repr(amplify(verified(bits), seed, SECRET))


def _distance(first: bytes, second: bytes) -> int:
    return (int.from_bytes(first) ^ int.from_bytes(second)).bit_count()
