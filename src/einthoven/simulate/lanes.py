"""Programs as vector instructions: LLVM intermediate code that Numba compiles, several cells in one register.

Nothing is left to an auto-vectorizer: a group of cells is a vector, and every operation of the program one vector
operation. Exponentials and logarithms are computed here (argument reduction and minimax polynomials, evaluated with
explicit fused multiply-adds), without branches and without calls. Accuracy: exp, expm1, log, log1p, tanh within 3
units in the last place (float32: 4) wherever the result is a normal number; exp is 0 below exp(-708) (float32:
exp(-86.9)); `pow` is exp(y log x), so that its error grows with |y log x|. NaN stays NaN and overflow becomes infinity:
the only freedom given to the compiler is to fuse products into sums (the flag ``contract``), which it does alike for
every cell.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from llvmlite import ir

from einthoven.simulate.program import Instruction, Program

#: A function being written: yields vectors where it may alternate with others.
Stepwise = Generator[Any, Any, Any]

#: Operations written in several steps.
ELEMENTARY = {"exp", "expm1", "log", "log1p", "tanh", "pow"}

#: How many of them are written alternately.
IN_STEP = 4

#: What the compiler may do with sums and products.
FLAGS = ("contract",)

#: (exp(r) - 1 - r) / r^2 on |r| <= log(2) / 2, lowest order first; error of exp 1.2e-17 and 7.5e-9.
_EXP = {
    64: (
        0.5000000000000001, 0.16666666666666674, 0.04166666666662413, 0.008333333333322198, 0.001388888891721482,
        0.00019841269886625805, 2.480152129434e-05, 2.7557242292789278e-06, 2.76200891637639e-07, 2.511006749795799e-08,
    ),
    32: (0.5000000026954542, 0.16666576970142793, 0.04166637514965372, 0.008363181243424602, 0.0013941122407833263),
}  # fmt: skip

#: (log((1 + s) / (1 - s)) - 2 s) / s^3 in powers of s^2, for s^2 <= 0.0295; error of log 4.5e-18 and 2.7e-9.
_LOG = {
    64: (
        0.666666666666667, 0.39999999999898384, 0.28571428626426704, 0.22222211068364023, 0.18182893544023435,
        0.15331586175176995, 0.14618005713160087,
    ),
    32: (0.666666852766864, 0.3998871431506249, 0.2958225499966535),
}  # fmt: skip


class _Format(NamedTuple):
    """Numbers about a floating-point format."""

    mantissa: int
    bias: int
    log2_high: float
    log2_low: float
    highest: float
    lowest: float


_FORMATS = {
    64: _Format(52, 1023, 0.6931471803691238, 1.9082149292705877e-10, 710.0, -708.7),
    32: _Format(23, 127, 0.693145751953125, 1.4286068203094173e-06, 89.0, -87.6),
}


@dataclass(frozen=True)
class Lanes:
    """Writes vector operations.

    Parameters
    ----------
    builder
        Of the function being written.
    n
        Cells in a vector.
    bits
        64 or 32.
    table, known
        Array of vectors, and which constant each holds: an instruction takes its operand from there, while a constant
        in the code costs two more instructions.
    """

    builder: Any
    n: int
    bits: int
    table: Any = None
    known: Mapping[float, int] = field(default_factory=dict)

    @property
    def scalar(self) -> Any:
        """Type of one number."""
        return ir.DoubleType() if self.bits == 64 else ir.FloatType()

    @property
    def vector(self) -> Any:
        """Type of a vector of numbers."""
        return ir.VectorType(self.scalar, self.n)

    @property
    def whole(self) -> Any:
        """Type of a vector of integers of the same width."""
        return ir.VectorType(ir.IntType(self.bits), self.n)

    @property
    def format(self) -> _Format:
        """Numbers about the format."""
        return _FORMATS[self.bits]

    # -- constants, memory ------------------------------------------------------------------------------------------

    def constant(self, value: float) -> Any:
        """The same number in all lanes."""
        value = _rounded(value, self.bits)
        if value and value in self.known:
            return self.load_fixed(self.known[value])
        return ir.Constant(self.vector, [value] * self.n)

    def integer(self, value: int) -> Any:
        """The same integer in all lanes."""
        return ir.Constant(self.whole, [value] * self.n)

    def at(self, base: Any, place: Any) -> Any:
        """Pointer to the vector that begins at a place of an array."""
        pointer = self.builder.gep(base, [place], inbounds=True)
        return self.builder.bitcast(pointer, self.vector.as_pointer())

    def load(self, base: Any, place: Any) -> Any:
        """Vector that begins at a place."""
        return self.builder.load(self.at(base, place), align=self.bits // 8)

    def store(self, value: Any, base: Any, place: Any) -> None:
        """Write a vector."""
        self.builder.store(value, self.at(base, place), align=self.bits // 8)

    def narrowed(self, number: Any) -> Any:
        """A float64 in this format."""
        return number if self.bits == 64 else self.builder.fptrunc(number, self.scalar)

    def spread(self, number: Any) -> Any:
        """One number in all lanes."""
        first = self.builder.insert_element(
            ir.Constant(self.vector, ir.Undefined), number, ir.Constant(ir.IntType(32), 0)
        )
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.n), [0] * self.n)
        return self.builder.shuffle_vector(first, ir.Constant(self.vector, ir.Undefined), zeros)

    def load_fixed(self, number: int) -> Any:
        """Vector of that number in the table, which nobody writes."""
        value = self.load(self.table, ir.Constant(ir.IntType(64), number * self.n))
        value.set_metadata("invariant.load", self.builder.module.add_metadata([]))
        return value

    # -- arithmetic -------------------------------------------------------------------------------------------------

    def add(self, a: Any, b: Any) -> Any:
        """A + b."""
        return self.builder.fadd(a, b, flags=FLAGS)

    def sub(self, a: Any, b: Any) -> Any:
        """A - b."""
        return self.builder.fsub(a, b, flags=FLAGS)

    def mul(self, a: Any, b: Any) -> Any:
        """A b."""
        return self.builder.fmul(a, b, flags=FLAGS)

    def div(self, a: Any, b: Any) -> Any:
        """A / b."""
        return self.builder.fdiv(a, b)

    def neg(self, a: Any) -> Any:
        """-a."""
        return self.builder.fneg(a)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """A b + c with one rounding."""
        return self.call("fma", a, b, c)

    def abs(self, a: Any) -> Any:
        """|a|."""
        return self.call("fabs", a)

    def sqrt(self, a: Any) -> Any:
        """Square root."""
        return self.call("sqrt", a)

    def max(self, a: Any, b: Any) -> Any:
        """The larger; NaN if either is."""
        return self.call("maximum", a, b)

    def min(self, a: Any, b: Any) -> Any:
        """The smaller; NaN if either is."""
        return self.call("minimum", a, b)

    def lt(self, a: Any, b: Any) -> Any:
        """A < b."""
        return self.builder.fcmp_ordered("<", a, b)

    def le(self, a: Any, b: Any) -> Any:
        """A <= b."""
        return self.builder.fcmp_ordered("<=", a, b)

    def eq(self, a: Any, b: Any) -> Any:
        """A == b."""
        return self.builder.fcmp_ordered("==", a, b)

    def ne(self, a: Any, b: Any) -> Any:
        """A != b, true for NaN."""
        return self.builder.fcmp_unordered("!=", a, b)

    def select(self, which: Any, a: Any, b: Any) -> Any:
        """Where true a, else b."""
        return self.builder.select(which, a, b)

    def mask(self, flags: Any) -> Any:
        """True and false as integers with all bits set or none, which registers hold without conversion."""
        return self.builder.sext(flags, self.whole)

    def any(self, mask: Any) -> Any:
        """Whether any lane of a mask is set."""
        bits = self.builder.icmp_signed("<", mask, self.integer(0))
        bits = self.builder.bitcast(bits, ir.IntType(self.n))
        return self.builder.icmp_unsigned("!=", bits, ir.Constant(ir.IntType(self.n), 0))

    def call(self, name: str, *args: Any) -> Any:
        """One of LLVM's own functions on vectors."""
        full = f"llvm.{name}.v{self.n}f{self.bits}"
        kind = ir.FunctionType(self.vector, [self.vector] * len(args))
        module = self.builder.module
        function = module.globals.get(full) or ir.Function(module, kind, full)
        return self.builder.call(function, args)

    # -- elementary functions: generators, so that several can be written in step -----------------------------------

    def exp(self, x: Any) -> Stepwise:
        """exp(x) = 2^(n - 1) (2 + 2 (exp(r) - 1)), so that the power of two is a normal number up to the overflow."""
        scale, small = yield from self._reduced(x)
        two = self.constant(2.0)
        return self.builder.fmul(scale, self.fma(small, two, two))

    def expm1(self, x: Any) -> Stepwise:
        """exp(x) - 1 = 2^n (exp(r) - 1) + (2^n - 1)."""
        x = self._raised(x, self.constant(-60.0 if self.bits == 64 else -30.0))
        scale, small = yield from self._reduced(x)
        half = self.builder.fsub(scale, self.constant(0.5))
        return self.builder.fmul(self.fma(scale, small, half), self.constant(2.0))

    def tanh(self, x: Any) -> Stepwise:
        """-e / (2 + e) with e = exp(-2 |x|) - 1, and the sign of x."""
        e = yield from self.expm1(self.builder.fmul(self.abs(x), self.constant(-2.0)))
        size = self.builder.fdiv(e, self.builder.fsub(self.constant(-2.0), e))
        return self.call("copysign", size, x)

    def log(self, x: Any) -> Stepwise:
        """Logarithm: exponent and mantissa apart, the series of the inverse hyperbolic tangent for the mantissa."""
        b, f = self.builder, self.format
        tiny = self.lt(x, self.constant(2.0 ** (1 - f.bias)))
        lifted = b.select(tiny, b.fmul(x, self.constant(2.0 ** (f.mantissa + 2))), x)
        bits = b.bitcast(lifted, self.whole)
        shift = _pattern(2.0**0.5 / 2, self.bits)
        offset = b.sub(bits, self.integer(shift))
        exponent = self._to_float(b.ashr(offset, self.integer(f.mantissa)))
        exponent = b.select(tiny, b.fsub(exponent, self.constant(f.mantissa + 2.0)), exponent)
        mask = self.integer((1 << f.mantissa) - 1)
        mantissa = b.bitcast(b.add(b.and_(offset, mask), self.integer(shift)), self.vector)
        m = yield b.fsub(mantissa, self.constant(1.0))
        value = self._log_near_one(m, exponent)
        infinity = self.constant(float("inf"))
        value = b.select(self.eq(x, infinity), infinity, value)
        value = b.select(self.eq(x, self.constant(0.0)), self.constant(float("-inf")), value)
        nan = b.fcmp_unordered("<", x, self.constant(0.0))
        return b.select(nan, self.constant(float("nan")), value)

    def log1p(self, x: Any) -> Stepwise:
        """log(1 + x), corrected for the rounding of 1 + x."""
        b, one = self.builder, self.constant(1.0)
        u = b.fadd(one, x)
        plain = yield from self.log(u)
        value = b.fadd(plain, b.fdiv(b.fsub(x, b.fsub(u, one)), u))
        value = b.select(self.eq(u, one), x, value)
        edge = b.or_(self.eq(u, self.constant(0.0)), self.eq(u, self.constant(float("inf"))))
        return b.select(edge, plain, value)

    def pow(self, x: Any, y: Any) -> Stepwise:
        """x^y = exp(y log x) for x >= 0; 1 where y is 0."""
        logarithm = yield from self.log(x)
        value = yield from self.exp(self.builder.fmul(y, logarithm))
        return self.builder.select(self.eq(y, self.constant(0.0)), self.constant(1.0), value)

    def _raised(self, x: Any, low: Any) -> Any:
        """Raise x to a bound; NaN passes."""
        return self.builder.select(self.lt(x, low), low, x)

    def _reduced(self, x: Any) -> Stepwise:
        """2^(n - 1) and exp(r) - 1 with x = n log 2 + r; n is read from the bits of a sum with a large number."""
        b, f = self.builder, self.format
        high = self.constant(f.highest)
        x = self._raised(b.select(self.lt(high, x), high, x), self.constant(f.lowest))
        magic = self.constant(1.5 * 2.0**f.mantissa + f.bias - 1)
        shifted = yield self.fma(x, self.constant(1.4426950408889634), magic)
        n = b.fsub(shifted, magic)
        r = self.fma(n, self.constant(-f.log2_high), x)
        r = yield self.fma(n, self.constant(-f.log2_low), r)
        series = yield from self._horner(_EXP[self.bits], r)
        scale = b.bitcast(b.shl(b.bitcast(shifted, self.whole), self.integer(f.mantissa)), self.vector)
        return scale, self.fma(b.fmul(r, r), series, r)

    def _log_near_one(self, m: Any, exponent: Any) -> Any:
        """Exponent log 2 + log(1 + m): 2 s + s^3 R(s^2) with s = m / (2 + m), where 2 s = m - s m."""
        b, f = self.builder, self.format
        s = b.fdiv(m, b.fadd(self.constant(2.0), m))
        square = b.fmul(s, s)
        half = b.fmul(b.fmul(m, m), self.constant(0.5))
        series = self.constant(_LOG[self.bits][-1])
        for c in reversed(_LOG[self.bits][:-1]):
            series = self.fma(series, square, self.constant(c))
        rest = self.fma(s, b.fadd(half, b.fmul(square, series)), b.fmul(exponent, self.constant(f.log2_low)))
        return self.fma(exponent, self.constant(f.log2_high), b.fsub(m, b.fsub(half, rest)))

    def _horner(self, coefficients: Sequence[float], x: Any) -> Stepwise:
        value = self.constant(coefficients[-1])
        for k, c in enumerate(reversed(coefficients[:-1])):
            value = self.fma(value, x, self.constant(c))
            if k % 3 == 2:
                value = yield value
        return value

    def _to_float(self, whole: Any) -> Any:
        """Small integers as numbers, by the bits of a large number."""
        b, magic = self.builder, 1.5 * 2.0**self.format.mantissa
        bits = b.add(whole, self.integer(_pattern(magic, self.bits)))
        return b.fsub(b.bitcast(bits, self.vector), self.constant(magic))

    def in_step(self, tasks: Sequence[Stepwise]) -> list[Any]:
        """Write several elementary functions so that their instructions alternate.

        Each is a chain of instructions that wait for each other; a processor looks ahead over one or two of them only.
        """
        results: list[Any] = [None] * len(tasks)
        waiting = {k: next(task) for k, task in enumerate(tasks)}
        while waiting:
            fenced = dict(zip(waiting, self.fence(list(waiting.values())), strict=True))
            waiting = {}
            for k, value in fenced.items():
                try:
                    waiting[k] = tasks[k].send(value)
                except StopIteration as end:
                    results[k] = end.value
        return results

    def fence(self, values: Sequence[Any]) -> Sequence[Any]:
        """Hand on vectors so that all are computed before any is used: an empty instruction that takes them all."""
        if len(values) < 2 or not _has_wide_registers():
            return values
        kinds = [self.vector] * len(values)
        signature = ir.FunctionType(ir.LiteralStructType(kinds), kinds)
        constraints = ",".join(["=x"] * len(values) + [str(k) for k in range(len(values))])
        both = self.builder.call(ir.InlineAsm(signature, "", constraints), values)
        return [self.builder.extract_value(both, k) for k in range(len(values))]


def _has_wide_registers() -> bool:
    """Whether the compiler is free to use the 32-byte registers of x86-64."""
    import platform

    from llvmlite import binding
    from numba.core import config

    free = config.CPU_NAME is None and config.CPU_FEATURES is None and config.ENABLE_AVX  # pyright: ignore
    return bool(
        free and platform.machine().lower() in ("x86_64", "amd64") and binding.get_host_cpu_features().get("avx")
    )


#: Operations that a program may hold, as written by `Lanes`.
_LOGICAL: dict[str, Callable] = {
    "and": lambda lanes, a, b: lanes.builder.and_(a, b),
    "or": lambda lanes, a, b: lanes.builder.or_(a, b),
    "not": lambda lanes, a: lanes.builder.not_(a),
}


def constants(program: Program, bits: int) -> list[float]:
    """Constants of a program and of the elementary functions, each once, as a table for `Lanes`."""
    f = _FORMATS[bits]
    found = [float(i.data or 0.0) for i in program.instructions if i.op == "const"]
    found += [f.highest, f.lowest, 1.4426950408889634, 1.5 * 2.0**f.mantissa + f.bias - 1, -f.log2_high, -f.log2_low]
    found += [*_EXP[bits], 1.0, 2.0, -2.0, 0.5, f.log2_high, f.log2_low, *_LOG[bits]]
    return list(dict.fromkeys(_rounded(x, bits) for x in found))


def write(lanes: Lanes, program: Program, ways: int, inputs: Callable[[str, int, int], Any]) -> list[list[Any]]:
    """Write a program for several vectors at once.

    Elementary functions are written level by level, `IN_STEP` of them at a time.

    Parameters
    ----------
    lanes
        Writes operations.
    program
        What to write.
    ways
        Number of vectors.
    inputs
        Vector of an input by kind, number, and which of the vectors.

    Returns
    -------
    list
        For every output its vectors.
    """
    levels = _levels(program)
    values: list[list[Any]] = [[] for _ in levels]
    for level in range(max(levels, default=0) + 1):
        here = [k for k in range(len(levels)) if levels[k] == level]
        later = [(k, way) for k in here if program.instructions[k].op in ELEMENTARY for way in range(ways)]
        for k in here:
            op, args, data = program.instructions[k]
            if op in ELEMENTARY:
                values[k] = [None] * ways
            elif op == "const":
                values[k] = [lanes.constant(float(data or 0.0))] * ways
            elif not args:
                values[k] = [inputs(op, int(data or 0), way) for way in range(ways)]
            else:
                make = _LOGICAL.get(op) or getattr(Lanes, op)
                values[k] = [make(lanes, *(values[a][way] for a in args)) for way in range(ways)]
        for start in range(0, len(later), IN_STEP):
            batch = later[start : start + IN_STEP]
            tasks = [_task(lanes, program.instructions[k], values, way) for k, way in batch]
            for (k, way), value in zip(batch, lanes.in_step(tasks), strict=True):
                values[k][way] = value
    return [values[k] for k in program.outputs]


def _task(lanes: Lanes, instruction: Instruction, values: list[list[Any]], way: int) -> Stepwise:
    return getattr(lanes, instruction.op)(*(values[a][way] for a in instruction.args))


def _levels(program: Program) -> list[int]:
    """How many elementary functions lie before every instruction, one after another."""
    levels: list[int] = []
    for _, args, _ in program.instructions:
        levels.append(max((levels[a] + (program.instructions[a].op in ELEMENTARY) for a in args), default=0))
    return levels


def _pattern(value: float, bits: int) -> int:
    """Bits of a number, as an integer."""
    import struct

    kinds = ("<d", "<q") if bits == 64 else ("<f", "<i")
    return int(struct.unpack(kinds[1], struct.pack(kinds[0], value))[0])


def _rounded(value: float, bits: int) -> float:
    """To float32 if so asked; llvmlite wants constants that are exact."""
    import numpy as np

    return float(np.float32(value)) if bits == 32 else value
