"""Carry-less multiplication: which instruction the processor has, and vectors of products in LLVM's language.

An element of a vector is a polynomial over GF(2) of degree below 64, the coefficient of z^i in bit i. A
product has degree below 127, so that a multiplication of two vectors is two: of the even lanes and of the odd
ones, each product in two lanes, the low half first.

Sources: Intel 64 and IA-32 Architectures Software Developer's Manual, vol. 2, PCLMULQDQ; Arm Architecture
Reference Manual for A-profile, PMULL.
"""

from dataclasses import dataclass

from llvmlite import ir

from qkdlink.common.kernels.compiled import target

type Lanes = tuple[tuple[()], ...]
"""As many nothings as a vector has elements: a tuple's length is part of its type, so kernels are compiled for it."""

_WORD = ir.IntType(64)
_INDEX = ir.IntType(32)


@dataclass(frozen=True, slots=True)
class InstructionSet:
    """An instruction that multiplies vectors of 64-bit polynomials."""

    name: str
    width: int
    """64-bit elements of a vector."""
    architectures: frozenset[str]
    features: frozenset[str]
    """What LLVM calls the features that it needs."""

    @property
    def lanes(self) -> Lanes:
        """The argument that makes a kernel be compiled for this width."""
        return ((),) * self.width


_X86 = frozenset({"x86_64", "amd64"})
INSTRUCTION_SETS = (
    InstructionSet("VPCLMULQDQ-512", 8, _X86, frozenset({"vpclmulqdq", "avx512f", "avx512vl"})),
    InstructionSet("VPCLMULQDQ-256", 4, _X86, frozenset({"vpclmulqdq", "avx2"})),
    InstructionSet("PCLMULQDQ", 2, _X86, frozenset({"pclmul", "sse4.1"})),
    InstructionSet("PMULL", 2, frozenset({"aarch64", "arm64"}), frozenset({"neon", "aes"})),
)
"""Widest first."""


def available_instruction_sets() -> tuple[InstructionSet, ...]:
    """Return those that kernels may use here, widest first, perhaps none."""
    architecture, features = target()
    return tuple(
        candidate
        for candidate in INSTRUCTION_SETS
        if architecture in candidate.architectures and candidate.features <= features
    )


@dataclass(frozen=True, slots=True)
class Vectors:
    """Writes operations on vectors of `width` polynomials at the place where `builder` stands."""

    builder: ir.IRBuilder
    width: int

    @property
    def type(self) -> ir.VectorType:
        """The type of a vector."""
        return ir.VectorType(_WORD, self.width)

    def load(self, address: ir.Value) -> ir.Value:
        """Read `width` words at `address`, which needs the alignment of one word only."""
        return self.builder.load(self.builder.bitcast(address, self.type.as_pointer()), align=8)

    def store(self, vector: ir.Value, address: ir.Value) -> None:
        """Write `width` words to `address`, which needs the alignment of one word only."""
        self.builder.store(vector, self.builder.bitcast(address, self.type.as_pointer()), align=8)

    def repeat(self, word: ir.Value) -> ir.Value:
        """Put one word into every element."""
        one = self.builder.insert_element(ir.Constant(self.type, ir.Undefined), word, _INDEX(0))
        return self.shuffle(one, one, [0] * self.width)

    def shuffle(self, first: ir.Value, second: ir.Value, chosen: list[int]) -> ir.Value:
        """Choose elements; those of `second` are counted on from `width`."""
        mask = ir.Constant(ir.VectorType(_INDEX, len(chosen)), chosen)
        return self.builder.shuffle_vector(first, second, mask)

    def transposed(self, rows: list[ir.Value]) -> list[ir.Value]:
        """Exchange rows and columns of a square, half of the distance at a time."""
        lanes = range(self.width)
        step = self.width // 2
        while step:
            for row in (row for row in lanes if not row & step):
                first, second = rows[row], rows[row + step]
                rows[row] = self.shuffle(
                    first, second, [lane + (self.width - step if lane & step else 0) for lane in lanes]
                )
                rows[row + step] = self.shuffle(
                    first, second, [lane + (self.width if lane & step else step) for lane in lanes]
                )
            step //= 2
        return rows

    def shifted_left(self, vector: ir.Value, count: int) -> ir.Value:
        """Multiply each element by z^count, and forget what passes z^63."""
        return self.builder.shl(vector, ir.Constant(self.type, [count] * self.width))

    def shifted_right(self, vector: ir.Value, count: int) -> ir.Value:
        """Divide each element by z^count, and forget the remainder."""
        return self.builder.lshr(vector, ir.Constant(self.type, [count] * self.width))

    def sum(self, *vectors: ir.Value) -> ir.Value:
        """Add polynomials: exclusive or."""
        total = vectors[0]
        for vector in vectors[1:]:
            total = self.builder.xor(total, vector)
        return total

    def products(self, first: ir.Value, second: ir.Value) -> tuple[ir.Value, ir.Value]:
        """Multiply elements at equal places: the products of the even places, and those of the odd ones."""
        return self._multiplied(first, second, 0), self._multiplied(first, second, 1)

    def low_halves(self, even: ir.Value, odd: ir.Value) -> ir.Value:
        """Of each product the coefficients of z^0 to z^63, in order of places."""
        return self.shuffle(
            even, odd, [lane - lane % 2 + lane % 2 * self.width for lane in range(self.width)]
        )

    def high_halves(self, even: ir.Value, odd: ir.Value) -> ir.Value:
        """Of each product the coefficients from z^64 on, in order of places."""
        return self.shuffle(
            even, odd, [lane - lane % 2 + 1 + lane % 2 * self.width for lane in range(self.width)]
        )

    def _multiplied(self, first: ir.Value, second: ir.Value, half: int) -> ir.Value:
        """Multiply the even places (`half` 0) or the odd ones (1)."""
        if self.builder.module.triple.split("-")[0] in _X86:
            return self._multiplied_on_x86(first, second, half)
        return self._multiplied_on_arm(first, second, half)

    def _multiplied_on_x86(self, first: ir.Value, second: ir.Value, half: int) -> ir.Value:
        name = "llvm.x86.pclmulqdq" + {2: "", 4: ".256", 8: ".512"}[self.width]
        chooser = ir.IntType(8)
        declared = ir.FunctionType(self.type, [self.type, self.type, chooser])
        function = self.builder.module.declare_intrinsic(name, fnty=declared)
        return self.builder.call(function, [first, second, chooser(0x11 * half)])

    def _multiplied_on_arm(self, first: ir.Value, second: ir.Value, half: int) -> ir.Value:
        declared = ir.FunctionType(ir.VectorType(ir.IntType(8), 16), [_WORD, _WORD])
        function = self.builder.module.declare_intrinsic("llvm.aarch64.neon.pmull64", fnty=declared)
        factors = [self.builder.extract_element(vector, _INDEX(half)) for vector in (first, second)]
        return self.builder.bitcast(self.builder.call(function, factors), self.type)
