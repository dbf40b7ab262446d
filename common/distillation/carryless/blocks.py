"""A Toeplitz matrix in square blocks: bits become polynomials, blocks middle products, and sums of those bits again.

A bit string is read backwards, so that coefficient t of a polynomial is the bit that is t places before the
last. With blocks of S bits, R rows and C columns of them, the windows of the seed

    G[t] = seed[n - 1 + R S - t],  t = 0 .. (R + C) S - 1

and the key X[t] = bits[C S - 1 - t], block i of the hash, read backwards too, is the sum over j of the middle
products of G[(i + C - 1 - j) S :][: 2S] and X[j S :][: S]. What lies outside of seed and key is zero.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qkdlink.common.distillation.carryless.karatsuba import LEAF_WORDS, middle_product
from qkdlink.common.distillation.carryless.spectra import BLOCK_BITS, Chunks, middle_products
from qkdlink.common.kernels.compiled import kernel
from qkdlink.common.kernels.emission import Words, add
from qkdlink.common.kernels.instructions import InstructionSet, Lanes

# Measured: what a transform, and a sum of products over the points, take in smallest blocks of Karatsuba's.
_LEAVES_PER_TRANSFORM = 10_000
_LEAVES_PER_SUM = 500

type PackedBits = NDArray[np.uint8]
"""Eight bits per byte, the first bit highest."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """How a matrix of `rows` times `columns` square blocks of 64 `words` bits each covers another."""

    rows: int
    columns: int
    words: int

    @property
    def leaves(self) -> int:
        """Smallest blocks that Karatsuba's method comes down to."""
        doublings = (self.words // LEAF_WORDS).bit_length() - 1
        return self.rows * self.columns * int(3**doublings)


def cheapest_blocks(key_length: int, length: int) -> Blocks:
    """Choose the size of blocks that makes the least work for n columns and l rows, both at least 1."""
    key_words, hash_words = -(-key_length // 64), -(-length // 64)
    sizes = (LEAF_WORDS << doubled for doubled in range(max(hash_words, LEAF_WORDS).bit_length()))
    candidates = (Blocks(-(-hash_words // words), -(-key_words // words), words) for words in sizes)
    return min(candidates, key=lambda blocks: blocks.leaves)


def transforms_are_cheaper(key_length: int, length: int) -> bool:
    """Tell whether blocks of 2^20 bits by Fourier transforms take less time than Karatsuba's method."""
    blocks = _transformed_blocks(key_length, length)
    transforms = 2 * (blocks.rows + blocks.columns) - 1
    work = transforms * _LEAVES_PER_TRANSFORM + blocks.rows * blocks.columns * _LEAVES_PER_SUM
    return work < cheapest_blocks(key_length, length).leaves


def hashed_by_karatsuba(
    key: PackedBits, key_length: int, seed: PackedBits, length: int, instructions: InstructionSet
) -> bytes:
    """Multiply the Toeplitz matrix of `seed` with n packed bits: l >= 1 packed bits, the filling zero.

    Bits of `seed` beyond n + l - 1 play no part, the filling of `key` has to be zero.
    """
    blocks = cheapest_blocks(key_length, length)
    m, rows, columns = blocks.words, blocks.rows, blocks.columns
    keys, hashes = (rows + columns) * m, (rows + 2 * columns) * m
    words = np.empty(hashes + (rows + 6) * m, np.uint64)
    words[:keys] = read(seed, key_length - 1 + 64 * rows * m, keys)
    words[keys:hashes] = read(key, 64 * columns * m - 1, columns * m)
    words[hashes : hashes + rows * m] = 0
    _multiply_blocks(instructions.lanes, words, m, rows, columns)
    return packed_from(words[hashes : hashes + rows * m], length)


def hashed_by_transforms(
    key: PackedBits, key_length: int, seed: PackedBits, length: int, instructions: InstructionSet
) -> bytes:
    """Multiply as `hashed_by_karatsuba` does, in a time that hardly more than doubles with the length."""
    blocks = _transformed_blocks(key_length, length)
    last = key_length - 1 + blocks.rows * BLOCK_BITS

    def window(d: int) -> Chunks:
        return read(seed, last - d * BLOCK_BITS, 2 * blocks.words).view(np.uint32)

    def key_block(j: int) -> Chunks:
        return read(key, (blocks.columns - j) * BLOCK_BITS - 1, blocks.words).view(np.uint32)

    products = middle_products(instructions.lanes, window, key_block, blocks.rows, blocks.columns)
    return packed_from(products, length)


def _transformed_blocks(key_length: int, length: int) -> Blocks:
    return Blocks(-(-length // BLOCK_BITS), -(-key_length // BLOCK_BITS), BLOCK_BITS // 64)


@kernel
def _multiply_blocks(lanes: Lanes, words: Words, m: int, rows: int, columns: int) -> None:
    keys, hashes = (rows + columns) * m, (rows + 2 * columns) * m
    product = hashes + rows * m
    for i in range(rows):
        for j in range(columns):
            window = (i + columns - 1 - j) * m
            middle_product(lanes, words, m, window, keys + j * m, product, product + m)
            add(lanes, (words, hashes + i * m, product, hashes + i * m, m))


def read(packed: PackedBits, last: int, count: int) -> Words:
    """Read `count` words backwards from bit `last`: bit 0 of word 0 is that bit; zeros stand before and after."""
    first = max(last + 1 - 64 * count, 0) // 8
    needed = packed[first : last // 8 + 1]
    stream = np.zeros(-(-len(needed) // 8), ">u8")
    stream.view(np.uint8)[: len(needed)] = needed
    backwards = np.empty(count, np.uint64)
    _read_backwards(stream.byteswap(inplace=True).view(np.uint64), last - 8 * first, backwards)
    return backwards


def packed_from(backwards: Words, length: int) -> bytes:
    """Turn words that hold bits backwards into the first `length` bits, packed, the filling zero."""
    packed = backwards[::-1].astype(">u8").view(np.uint8)[: -(-length // 8)]
    packed[-1] &= 0xFF << (-length % 8) & 0xFF
    return packed.tobytes()


@kernel
def _read_backwards(stream: Words, last: int, backwards: Words) -> None:
    """Fill words with the bits from place `last` back to the start, bit 0 of a word being the latest."""
    for q in range(len(backwards)):
        place = last - 64 * q - 63
        index, shift = place >> 6, np.uint64(place & 63)
        word = np.uint64(0)
        if 0 <= index < len(stream):
            word = stream[index] << shift
        if 0 <= index + 1 < len(stream):
            word |= (stream[index + 1] >> np.uint64(1)) >> (np.uint64(63) - shift)
        backwards[q] = word
