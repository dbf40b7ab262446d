"""How a kernel gets at vector instructions: functions that write them become functions that kernels call."""

from collections.abc import Callable, Sequence
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

from qkdlink.common.kernels.instructions import Vectors

type Emitter = tuple[Signature, Callable[..., ir.Value]]
type Words = NDArray[np.uint64]
"""Coefficient 64 i + j of a polynomial is bit j of word i."""


_DATA = 4  # where numba's structure of an array has the address of its elements


def emitted(emit: Callable[[Vectors, Sequence[ir.Value]], None]) -> Callable[..., None]:
    """Make what `emit` writes a function of compiled kernels: `function(lanes, (argument, ...))`.

    The length of `lanes` is the width of the vectors. Arrays arrive at `emit` as the addresses of their first
    elements, integers with 64 bits. Neither knows where an array ends.
    """

    @intrinsic
    def function(_typing: Context, lanes: types.UniTuple, passed: types.Tuple) -> Emitter:
        def generate(
            _context: BaseContext, builder: ir.IRBuilder, _signature: Signature, values: Sequence[ir.Value]
        ) -> ir.Value:
            arguments = []
            for place, kind in enumerate(passed.types):
                argument = builder.extract_value(values[1], place)
                if isinstance(kind, types.Array):
                    argument = builder.extract_value(argument, _DATA)
                arguments.append(argument)
            emit(Vectors(builder, len(lanes)), arguments)
            return ir.Constant(ir.IntType(8).as_pointer(), None)

        return types.void(lanes, passed), generate

    return cast("Callable[..., None]", function)


def at(vectors: Vectors, words: ir.Value, place: ir.Value | int) -> ir.Value:
    """Return the address of a word."""
    return vectors.builder.gep(words, [ir.IntType(64)(place) if isinstance(place, int) else place])


@emitted
def add(vectors: Vectors, arguments: Sequence[ir.Value]) -> None:
    """words, first, second, total, count: words[total + i] = words[first + i] ^ words[second + i]."""
    words, first, second, total, count = arguments
    builder, step = vectors.builder, ir.IntType(64)(vectors.width)
    addresses = [at(vectors, words, place) for place in (first, second, total)]
    with cgutils.for_range_slice(builder, step.type(0), count, step, step.type) as (i, _):
        one, other, result = (at(vectors, address, i) for address in addresses)
        vectors.store(vectors.sum(vectors.load(one), vectors.load(other)), result)
