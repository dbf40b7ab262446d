"""What is marked among many: the places of set flags listed, and values selected by them, without a branch on any.

With AVX-512 sixteen places (`vpcompressd`) or sixty-four bytes (`vpcompressb`, VBMI2) are moved together by one
instruction, however many of them are marked. Without it few flags are looked for eight at a time, and everything else
is written one by one.

Source: Intel 64 and IA-32 Architectures Software Developer's Manual, vol. 2, VPCOMPRESSD and VPCOMPRESSB.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.base import BaseContext
from numba.core.typing.context import Context
from numba.core.typing.templates import Signature
from numba.extending import intrinsic
from numpy.typing import NDArray

from qkdlink.common.kernels.compiled import kernel, target

SPARE_PLACES, SPARE_BYTES = 16, 64
"""What is beyond those found may be overwritten: room for places, or for bytes, has so many more."""
_DENSE = 10
"""Where more than one flag in so many is set, every place is written rather than every flag looked for (measured)."""
_BYTE, _TOP_BYTE = np.uint64(8), np.uint64(56)
_ONE = np.uint64(1)
_BYTE_NUMBERS = np.uint64(0x0001020304050607)
"""A one in byte k, times this, has k in its highest byte."""
_LENGTH, _DATA = 2, 4  # where numba's structure of an array has the number of its elements, and their address
_INDEX = ir.IntType(64)

type Emitter = tuple[Signature, Callable[..., ir.Value]]


# --- on any processor ------------------------------------------------------------------------------------------------


@kernel
def list_marked_anywhere(flags: NDArray[np.uint8], start: int, places: NDArray[np.int32]) -> int:
    """Write `start` plus where `flags` (0 or 1, a multiple of 16) are 1 to `places`; return how many there are.

    Few flags are looked at eight together. Whether the first of them is there is no branch, since nobody could foresee
    it: where it is not, the next place overwrites. How many more there are is one, so that where flags are many, each
    place is written, and what is not flagged overwritten.
    """
    found = 0
    if _DENSE * _count_marked(flags) > len(flags):
        for i in range(len(flags)):
            places[found] = start + i
            found += int(flags[i])
        return found
    words = flags.view(np.uint64)
    for i in range(len(words)):
        word, place = words[i], start + 8 * i
        lowest = word & (~word + _ONE)
        places[found] = place + int((lowest * _BYTE_NUMBERS) >> _TOP_BYTE)
        found += int(word > 0)
        word ^= lowest
        while word:
            lowest = word & (~word + _ONE)
            places[found] = place + int((lowest * _BYTE_NUMBERS) >> _TOP_BYTE)
            found += 1
            word ^= lowest
    return found


@kernel
def _count_marked(flags: NDArray[np.uint8]) -> int:
    """Count the flags (0 or 1, a multiple of eight), at most 255 words of them at a time so that no byte overflows."""
    words, found = flags.view(np.uint64), 0
    for start in range(0, len(words), 255):
        sums = np.uint64(0)
        for word in words[start : start + 255]:
            sums += word
        for place in range(8):
            found += int((sums >> (_BYTE * np.uint64(place))) & np.uint64(255))
    return found


@kernel
def select_anywhere(values: NDArray[np.uint8], flags: NDArray[np.uint8], selected: NDArray[np.uint8]) -> int:
    """Write `values[flags == 1]` (flags are 0 or 1) to `selected`, and return how many they are."""
    found = 0
    for i in range(len(values)):
        selected[found] = values[i]
        found += int(flags[i])
    return found


# --- with AVX-512 ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Compression:
    """Writes the loop that moves what is marked together, one vector at a time."""

    builder: ir.IRBuilder
    lanes: int
    element: ir.IntType

    @property
    def vector(self) -> ir.VectorType:
        """The type of a vector of what is moved."""
        return ir.VectorType(self.element, self.lanes)

    def read(self, address: ir.Value, kind: ir.VectorType) -> ir.Value:
        """Load a vector from wherever it lies."""
        return self.builder.load(self.builder.bitcast(address, kind.as_pointer()), align=1)

    def loop(
        self,
        flags: ir.Value,
        count: ir.Value,
        moved: Callable[[ir.Value], ir.Value],
        target: ir.Value,
    ) -> ir.Value:
        """Move the elements of `moved(i)` that are flagged to `target`, for i in steps; return how many there were."""
        builder, marks = self.builder, ir.VectorType(ir.IntType(8), self.lanes)
        mask = ir.IntType(self.lanes)
        compress = builder.module.declare_intrinsic(
            f"llvm.x86.avx512.mask.compress.v{self.lanes}i{self.element.width}",
            fnty=ir.FunctionType(
                self.vector, [self.vector, self.vector, ir.VectorType(ir.IntType(1), self.lanes)]
            ),
        )
        count_ones = builder.module.declare_intrinsic(
            f"llvm.ctpop.i{self.lanes}", fnty=ir.FunctionType(mask, [mask])
        )
        found = builder.alloca(_INDEX)
        builder.store(_INDEX(0), found)
        with cgutils.for_range_slice(builder, _INDEX(0), count, _INDEX(self.lanes), _INDEX) as (i, _):
            loaded = self.read(builder.gep(flags, [i]), marks)
            marked = builder.icmp_unsigned("!=", loaded, ir.Constant(marks, [0] * self.lanes))
            values, so_far = moved(i), builder.load(found)
            room = builder.bitcast(builder.gep(target, [so_far]), self.vector.as_pointer())
            builder.store(builder.call(compress, [values, values, marked]), room, align=1)
            ones = builder.call(count_ones, [builder.bitcast(marked, mask)])
            more = ones if self.lanes == _INDEX.width else builder.zext(ones, _INDEX)
            builder.store(builder.add(so_far, more), found)
        return builder.load(found)

    def numbers_from(self, first: ir.Value) -> Callable[[ir.Value], ir.Value]:
        """Say how to make the vector first + i, first + i + 1, ... of an index i."""
        builder, counted = self.builder, ir.Constant(self.vector, list(range(self.lanes)))

        def numbers(i: ir.Value) -> ir.Value:
            one = builder.trunc(builder.add(first, i), self.element)
            one = builder.insert_element(ir.Constant(self.vector, ir.Undefined), one, ir.IntType(32)(0))
            zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
            return builder.add(builder.shuffle_vector(one, one, zeros), counted)

        return numbers


def _emitted(
    emit: Callable[[ir.IRBuilder, ir.Value, ir.Value, ir.Value, ir.Value], ir.Value],
) -> Callable[[NDArray[np.uint8], object, NDArray[np.generic]], int]:
    """Make what `emit` writes a function of compiled kernels: flags, what is moved, where to -> how many."""

    @intrinsic
    def function(_typing: Context, flags: types.Array, moved: types.Type, target: types.Array) -> Emitter:
        def generate(
            _context: BaseContext, builder: ir.IRBuilder, _signature: Signature, values: Sequence[ir.Value]
        ) -> ir.Value:
            data = [
                builder.extract_value(value, _DATA) if isinstance(kind, types.Array) else value
                for kind, value in zip((flags, moved, target), values, strict=True)
            ]
            return emit(builder, builder.extract_value(values[0], _LENGTH), *data)

        return types.int64(flags, moved, target), generate

    return cast("Callable[[NDArray[np.uint8], object, NDArray[np.generic]], int]", function)


@_emitted
def _list(
    builder: ir.IRBuilder, count: ir.Value, flags: ir.Value, start: ir.Value, places: ir.Value
) -> ir.Value:
    loop = _Compression(builder, SPARE_PLACES, ir.IntType(32))
    return loop.loop(flags, count, loop.numbers_from(start), places)


@_emitted
def _select(
    builder: ir.IRBuilder, count: ir.Value, flags: ir.Value, values: ir.Value, selected: ir.Value
) -> ir.Value:
    loop = _Compression(builder, SPARE_BYTES, ir.IntType(8))
    return loop.loop(flags, count, lambda i: loop.read(builder.gep(values, [i]), loop.vector), selected)


@kernel
def list_marked_at_once(flags: NDArray[np.uint8], start: int, places: NDArray[np.int32]) -> int:
    """Do as `list_marked_anywhere` does, sixteen flags at a time."""
    return _list(flags, start, places)


@kernel
def select_at_once(values: NDArray[np.uint8], flags: NDArray[np.uint8], selected: NDArray[np.uint8]) -> int:
    """Do as `select_anywhere` does, sixty-four values at a time."""
    whole = len(values) // SPARE_BYTES * SPARE_BYTES
    found = _select(flags[:whole], values[:whole], selected)
    return found + select_anywhere(values[whole:], flags[whole:], selected[found:])


# --- what the processor has ------------------------------------------------------------------------------------------


def compresses(*features: str) -> bool:
    """Whether the target that numba compiles for is an x86 that has these features, as LLVM calls them."""
    architecture, available = target()
    return architecture in {"x86_64", "amd64"} and available.issuperset(features)


lists_at_once = compresses("avx512f")
selects_at_once = compresses("avx512f", "avx512bw", "avx512vbmi2")
list_marked = list_marked_at_once if lists_at_once else list_marked_anywhere
select = select_at_once if selects_at_once else select_anywhere
