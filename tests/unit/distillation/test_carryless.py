"""Carry-less multiplication: every instruction set that this processor has comes to the bits of the definition."""

import llvmlite.binding as llvm
import numpy as np
import pytest
from llvmlite import ir

from common.bits import Bits, pack, unpack
from common.distillation.carryless.instructions import (
    INSTRUCTION_SETS,
    InstructionSet,
    Vectors,
    available_instruction_sets,
)
from common.distillation.carryless.karatsuba import LEAF_WORDS, emit_leaf, middle_product
from common.distillation.universal_hash import packed_toeplitz, toeplitz_seed_bits

HERE = [pytest.param(instructions, id=instructions.name) for instructions in available_instruction_sets()]
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


def carryless_product(first: int, second: int) -> int:
    product = 0
    while second:
        product ^= first * (second & -second)
        second &= second - 1
    return product


@pytest.mark.parametrize("instructions", HERE)
@pytest.mark.parametrize(("n", "length"), SHAPES)
def test_every_row_is_that_of_the_definition(instructions: InstructionSet, n: int, length: int) -> None:
    bits, seed = drawn(n, length)
    entries = np.unpackbits(seed)[: n + length - 1]
    backwards = bits[::-1]
    expected = [np.count_nonzero(entries[i : i + n] & backwards) % 2 for i in range(length)]
    assert packed_toeplitz(bits, seed, length, instructions) == pack(np.array(expected, np.uint8))


@pytest.mark.parametrize("instructions", HERE)
@pytest.mark.parametrize(("n", "length"), [(1_000_000, 400_000), (3_000_000, 2_200_000)])
def test_random_rows_of_large_matrices_are_those_of_the_definition(
    instructions: InstructionSet, n: int, length: int
) -> None:
    bits, seed = drawn(n, length)
    hashed = unpack(packed_toeplitz(bits, seed, length, instructions), length)
    entries, backwards = np.unpackbits(seed), bits[::-1].copy()
    for row in [0, length - 1, 2**20 - 1, 2**20, *np.random.default_rng(2).integers(0, length, 100)]:
        if row < length:
            assert hashed[row] == np.count_nonzero(entries[row : row + n] & backwards) % 2


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
    product = carryless_product(as_number(words[: 2 * m]), as_number(words[2 * m : 3 * m]))
    middle_product(instructions.lanes, words, m, 0, 2 * m, 3 * m, 4 * m)
    assert as_number(words[3 * m : 4 * m]) == product >> 64 * m & 2 ** (64 * m) - 1


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
