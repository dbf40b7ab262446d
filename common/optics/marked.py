"""Where flags are set: the places of few or many marked pulses, listed as fast as the processor lets us.

With AVX-512 sixteen flags become sixteen places in one instruction, however many are set (`vpcompressd`). Without it
few flags are looked for eight at a time, and many written one by one.

What is emitted here becomes part of compiled kernels, and numba's cache of those does not notice changes in this file:
empty it after one.

Source: Intel 64 and IA-32 Architectures Software Developer's Manual, vol. 2, VPCOMPRESSD.
"""

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.base import BaseContext
from numba.core.registry import cpu_target
from numba.core.typing.context import Context
from numba.core.typing.templates import Signature
from numba.extending import intrinsic
from numpy.typing import NDArray

from common.kernels import kernel

SPARE_PLACES = 16
"""Places beyond those found that may be overwritten: the room for them has so many more."""
_DENSE = 10
"""Where more than one flag in so many is set, every place is written rather than every flag looked for (measured)."""
_LANES = 16
_BYTE, _TOP_BYTE = np.uint64(8), np.uint64(56)
_ONE = np.uint64(1)
_BYTE_NUMBERS = np.uint64(0x0001020304050607)
"""A one in byte k, times this, has k in its highest byte."""
_LENGTH, _DATA = 2, 4  # where numba's structure of an array has the number of its elements, and their address
_INDEX, _PLACE = ir.IntType(64), ir.IntType(32)

type Emitter = tuple[Signature, Callable[..., ir.Value]]


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


def _emitted() -> Callable[[NDArray[np.uint8], int, NDArray[np.int32]], int]:
    """Make what `_emit` writes a function of compiled kernels."""

    @intrinsic
    def compress(_typing: Context, flags: types.Array, start: types.Integer, places: types.Array) -> Emitter:
        def generate(
            _context: BaseContext, builder: ir.IRBuilder, _signature: Signature, values: Sequence[ir.Value]
        ) -> ir.Value:
            first = builder.trunc(values[1], _PLACE)
            return _emit(
                builder,
                builder.extract_value(values[0], _DATA),
                builder.extract_value(values[0], _LENGTH),
                first,
                builder.extract_value(values[2], _DATA),
            )

        return types.int64(flags, start, places), generate

    return cast("Callable[[NDArray[np.uint8], int, NDArray[np.int32]], int]", compress)


def _emit(
    builder: ir.IRBuilder, flags: ir.Value, count: ir.Value, start: ir.Value, places: ir.Value
) -> ir.Value:
    """Write the loop over sixteen flags at a time; its result is how many places were found."""
    numbers, marks = ir.VectorType(_PLACE, _LANES), ir.VectorType(ir.IntType(1), _LANES)
    some_flags = ir.VectorType(ir.IntType(8), _LANES)
    compress = builder.module.declare_intrinsic(
        "llvm.x86.avx512.mask.compress.v16i32", fnty=ir.FunctionType(numbers, [numbers, numbers, marks])
    )
    mask = ir.IntType(_LANES)
    count_ones = builder.module.declare_intrinsic("llvm.ctpop.i16", fnty=ir.FunctionType(mask, [mask]))
    first = builder.insert_element(ir.Constant(numbers, ir.Undefined), start, _PLACE(0))
    first = builder.shuffle_vector(first, first, ir.Constant(numbers, [0] * _LANES))
    here, found = builder.alloca(numbers), builder.alloca(_INDEX)
    builder.store(builder.add(first, ir.Constant(numbers, list(range(_LANES)))), here)
    builder.store(_INDEX(0), found)
    with cgutils.for_range_slice(builder, _INDEX(0), count, _INDEX(_LANES), _INDEX) as (i, _):
        some = builder.load(builder.bitcast(builder.gep(flags, [i]), some_flags.as_pointer()), align=1)
        marked = builder.icmp_unsigned("!=", some, ir.Constant(some_flags, [0] * _LANES))
        now, so_far = builder.load(here), builder.load(found)
        room = builder.bitcast(builder.gep(places, [so_far]), numbers.as_pointer())
        builder.store(builder.call(compress, [now, now, marked]), room, align=4)
        more = builder.zext(builder.call(count_ones, [builder.bitcast(marked, mask)]), _INDEX)
        builder.store(builder.add(so_far, more), found)
        builder.store(builder.add(now, ir.Constant(numbers, [_LANES] * _LANES)), here)
    return builder.load(found)


_compress = _emitted()


@kernel
def list_marked_at_once(flags: NDArray[np.uint8], start: int, places: NDArray[np.int32]) -> int:
    """Do as `list_marked_anywhere` does, sixteen flags at a time, where the processor has AVX-512."""
    return _compress(flags, start, places)


def compresses() -> bool:
    """Whether the target that numba compiles for has the instruction."""
    triple, _, features = cpu_target.target_context.codegen().magic_tuple()
    return triple.split("-")[0] in {"x86_64", "amd64"} and "+avx512f" in features.split(",")


list_marked = list_marked_at_once if compresses() else list_marked_anywhere
