"""Carry-less multiplication: every instruction set that this processor has comes to the bits of the definition."""

import operator
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import reduce
from itertools import pairwise

import llvmlite.binding as llvm
import numpy as np
import pytest
from llvmlite import ir

from qkdlink.common.bits import Bits, pack, unpack
from qkdlink.common.distillation.carryless.blocks import (
    PackedBits,
    hashed_by_karatsuba,
    hashed_by_transforms,
    transforms_are_cheaper,
)
from qkdlink.common.distillation.carryless.conversion import POINTS, additions
from qkdlink.common.distillation.carryless.field import (
    cantor_basis,
    divided,
    even_points,
    multiplied,
    product,
)
from qkdlink.common.distillation.carryless.karatsuba import LEAF_WORDS, emit_leaf, middle_product
from qkdlink.common.distillation.carryless.transform import constants, transform, transform_back
from qkdlink.common.distillation.universal_hash import packed_toeplitz, toeplitz_seed_bits
from qkdlink.common.kernels.compiled import cache_folder
from qkdlink.common.kernels.instructions import (
    INSTRUCTION_SETS,
    InstructionSet,
    Vectors,
    available_instruction_sets,
)

METHODS = [
    pytest.param(method, instructions, id=f"{method.__name__}-{instructions.name}")
    for method in (hashed_by_karatsuba, hashed_by_transforms)
    for instructions in available_instruction_sets()
]
HERE = [pytest.param(instructions, id=instructions.name) for instructions in available_instruction_sets()]
type Method = Callable[[PackedBits, int, PackedBits, int, InstructionSet], bytes]
LARGE_SHAPES = [(1_000_000, 400_000), (3_000_000, 2_200_000)]
SHAPES = [
    (1, 1),
    (63, 1),
    (64, 64),
    (65, 33),
    (1024, 1024),
    (1025, 1025),
    (3000, 1001),
    (9000, 8999),
    (70000, 9),
]


def drawn(n: int, length: int) -> tuple[Bits, Bits]:
    rng = np.random.default_rng(n)
    return (
        rng.integers(0, 2, n, dtype=np.uint8),
        np.packbits(rng.integers(0, 2, toeplitz_seed_bits(n, length), dtype=np.uint8)),
    )


def as_number(words: np.ndarray[tuple[int], np.dtype[np.uint64]]) -> int:
    return int.from_bytes(words.astype("<u8").tobytes(), "little")


@pytest.mark.parametrize(("method", "instructions"), METHODS)
@pytest.mark.parametrize(("n", "length"), SHAPES)
def test_every_row_is_that_of_the_definition(
    method: Method, instructions: InstructionSet, n: int, length: int
) -> None:
    bits, seed = drawn(n, length)
    entries, backwards = np.unpackbits(seed), bits[::-1]
    expected = [np.count_nonzero(entries[i : i + n] & backwards) % 2 for i in range(length)]
    hashed = method(np.packbits(bits), n, seed, length, instructions)
    assert hashed == pack(np.array(expected, np.uint8))


@pytest.mark.parametrize(("method", "instructions"), METHODS)
@pytest.mark.parametrize(("n", "length"), LARGE_SHAPES)
def test_random_rows_of_large_matrices_are_those_of_the_definition(
    method: Method, instructions: InstructionSet, n: int, length: int
) -> None:
    bits, seed = drawn(n, length)
    hashed = unpack(method(np.packbits(bits), n, seed, length, instructions), length)
    entries, backwards = np.unpackbits(seed), bits[::-1].copy()
    ends = [*range(33), *range(2**20 - 33, 2**20 + 33), *range(length - 33, length)]
    for row in [*ends, *np.random.default_rng(2).integers(0, length, 60)]:
        if row < length:
            assert hashed[row] == np.count_nonzero(entries[row : row + n] & backwards) % 2


def test_a_group_of_columns_after_the_first_needs_fewer_new_windows_and_comes_to_the_same_bits() -> None:
    n, length = 18 * 2**20 + 5, 2**20 + 7
    bits, seed = drawn(n, length)
    key, widest = np.packbits(bits), available_instruction_sets()[0]
    by_transforms, by_karatsuba = (
        method(key, n, seed, length, widest) for method in (hashed_by_transforms, hashed_by_karatsuba)
    )
    assert by_transforms == by_karatsuba


def test_the_largest_carry_wraps_around_and_is_put_right() -> None:
    n = length = 2**20
    bits, seed = np.ones(n, np.uint8), np.full(2**18, 0xFF, np.uint8)
    for instructions in available_instruction_sets():
        assert hashed_by_transforms(np.packbits(bits), n, seed, length, instructions) == bytes(2**17)


@pytest.mark.parametrize("instructions", [None, *HERE])
@pytest.mark.parametrize("length", [1, 2, 7, 8, 9])
def test_the_filling_of_the_seed_plays_no_part(instructions: InstructionSet | None, length: int) -> None:
    bits, seed = drawn(120, length)
    filled = seed.copy()
    filled[-1] |= (1 << -(119 + length) % 8) - 1
    assert packed_toeplitz(bits, seed, length, instructions) == packed_toeplitz(
        bits, filled, length, instructions
    )


@pytest.mark.parametrize("instructions", HERE)
@pytest.mark.parametrize("m", [16, 32, 128])
def test_middle_products_are_the_middle_of_the_product(instructions: InstructionSet, m: int) -> None:
    words = np.random.default_rng(m).integers(0, 2**64, 9 * m, dtype=np.uint64)
    whole = product(as_number(words[: 2 * m]), as_number(words[2 * m : 3 * m]))
    middle_product(instructions.lanes, words, m, 0, 2 * m, 3 * m, 4 * m)
    assert as_number(words[3 * m : 4 * m]) == whole >> 64 * m & 2 ** (64 * m) - 1


@pytest.mark.parametrize("instructions", INSTRUCTION_SETS, ids=lambda instructions: instructions.name)
def test_every_instruction_set_compiles_for_its_processors(instructions: InstructionSet) -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    (architecture,) = instructions.architectures & {"x86_64", "aarch64"}
    mnemonic = "pmull" if architecture == "aarch64" else "pclmul"
    assert mnemonic in assembly_of_a_leaf(instructions, f"{architecture}-unknown-linux-gnu")


def assembly_of_a_leaf(instructions: InstructionSet, triple: str) -> str:
    module = ir.Module()
    module.triple = triple
    words = ir.IntType(64).as_pointer()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [words] * 3), "leaf")
    builder = ir.IRBuilder(function.append_basic_block())
    emit_leaf(Vectors(builder, instructions.width), *function.args)
    builder.ret_void()
    features = ",".join(f"+{feature}" for feature in sorted(instructions.features))
    machine = llvm.Target.from_triple(triple).create_target_machine(features=features)
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    return str(machine.emit_assembly(parsed))


def test_a_leaf_has_whole_vectors_of_every_width() -> None:
    assert all(LEAF_WORDS % instructions.width == 0 for instructions in INSTRUCTION_SETS)


def test_large_matrices_are_left_to_transforms_and_small_or_narrow_ones_to_karatsuba() -> None:
    assert transforms_are_cheaper(2**20, 2**19)
    assert transforms_are_cheaper(2**26, 2**25)
    assert not transforms_are_cheaper(2**17, 2**16)
    assert not transforms_are_cheaper(2**26, 256)


def test_the_basis_is_cantors() -> None:
    basis = cantor_basis(64)
    assert basis[0] == 1
    for before, element in pairwise(basis):
        assert multiplied(element, element) ^ element == before


def test_floors_are_those_of_the_points() -> None:
    points, floors = even_points(15)
    for place in (0, 1, 2, 77, 2**15 - 1):
        assert int(points[place]) == point(2 * place)
        assert int(floors[place]) == divided(int(points[place]) << 64)[0]


def test_conversion_leads_to_products_of_vanishing_polynomials() -> None:
    # At point t, product e of those s[i] whose bit is set in e is the product of the points t >> i.
    rng = np.random.default_rng(6)
    coefficients = [int(c) for c in rng.integers(0, 2**64, 16, dtype=np.uint64)]
    converted = coefficients.copy()
    for target, source in additions(4):
        converted[target] ^= converted[source]
    for t in (0, 1, 2, 19, 40_000):
        assert value(coefficients, point(t)) == sum_of(
            multiplied(c, product_of(point(t >> i) for i in range(4) if e >> i & 1))
            for e, c in enumerate(converted)
        )


@pytest.mark.parametrize("instructions", HERE)
def test_values_are_those_of_the_polynomial(instructions: InstructionSet) -> None:
    width = instructions.width
    points = constants(width)
    first, last = np.zeros((2, POINTS), np.uint64)
    first[[0, 1, 255, 4097]] = 1, 2**63 + 5, 7, 11
    last[-1] = 3
    transform(instructions.lanes, first, 0, points)
    transform(instructions.lanes, last, 0, points)
    for t in (0, 1, width, width**2 + 1, 12_345, POINTS - 1):
        square, row, column = t // width**2, t // width % width, t % width
        place = square * width**2 + column * width + row
        x = point(t)
        expected = [1, multiplied(2**63 + 5, x), multiplied(7, power(x, 255)), multiplied(11, power(x, 4097))]
        assert int(first[place]) == sum_of(expected)
        assert int(last[place]) == multiplied(3, power(x, POINTS - 1))


@pytest.mark.parametrize("instructions", HERE)
def test_the_way_back_ends_where_the_way_began(instructions: InstructionSet) -> None:
    before = np.random.default_rng(7).integers(0, 2**64, 3 * POINTS, dtype=np.uint64)
    words = before.copy()
    transform(instructions.lanes, words, POINTS, constants(instructions.width))
    assert not np.array_equal(words, before)
    transform_back(instructions.lanes, words, POINTS, constants(instructions.width))
    assert np.array_equal(words, before)


def point(t: int) -> int:
    return sum_of(element for i, element in enumerate(cantor_basis(16)) if t >> i & 1)


def sum_of(elements: Iterable[int]) -> int:
    return reduce(operator.xor, elements, 0)


def product_of(elements: Iterable[int]) -> int:
    return reduce(multiplied, elements, 1)


def power(base: int, exponent: int) -> int:
    return (
        product_of([power(multiplied(base, base), exponent // 2), *[base] * (exponent % 2)])
        if exponent
        else 1
    )


def value(coefficients: list[int], x: int) -> int:
    return sum_of(multiplied(c, power(x, e)) for e, c in enumerate(coefficients))


ONE_HASH = """
import numpy as np
from qkdlink.common.distillation.carryless import blocks
from qkdlink.common.distillation.carryless.blocks import hashed_by_karatsuba
from qkdlink.common.kernels.instructions import available_instruction_sets
hashed_by_karatsuba(np.ones(8, np.uint8), 64, np.ones(16, np.uint8), 64, available_instruction_sets()[0])
print(sum(blocks._multiply_blocks.stats.cache_hits.values()))
"""


@pytest.mark.skipif(not HERE, reason="no carry-less multiplication here")
@pytest.mark.skipif(cache_folder(middle_product) is None, reason="no cache can be written here")
def test_a_second_process_finds_compiled_kernels_in_the_cache() -> None:
    hashed_by_karatsuba(np.ones(8, np.uint8), 64, np.ones(16, np.uint8), 64, available_instruction_sets()[0])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", ONE_HASH]
    found = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    assert int(found) == 1
