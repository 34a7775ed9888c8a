"""Straight-line arithmetic: built with common parts shared, split by what varies, evaluated, written as text."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

#: Where a value comes from, from constant to varying: what is below can be computed before the loop.
CONSTANT, SHARED, CELL, VARYING = range(4)

#: Operations that are inputs, with their level; ``data`` numbers them.
INPUTS = {"shared": SHARED, "cell": CELL, "v": VARYING, "state": VARYING}

#: What pays to be computed once per cell and kept, rather than again in every step.
_HEAVY = {"div", "exp", "expm1", "log", "log1p", "tanh", "sqrt", "pow"}


def _logistic(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


#: Meaning of every operation.
OPERATIONS: Mapping[str, Callable] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "neg": np.negative, "abs": np.abs,
    "max": np.maximum, "min": np.minimum, "exp": np.exp, "expm1": np.expm1, "log": np.log, "log1p": np.log1p,
    "tanh": np.tanh, "sqrt": np.sqrt, "pow": np.power, "lt": np.less, "le": np.less_equal, "eq": np.equal,
    "ne": np.not_equal, "and": np.logical_and, "or": np.logical_or, "not": np.logical_not, "select": np.where,
}  # fmt: skip

#: Operations whose result is true or false.
LOGICAL = {"lt", "le", "eq", "ne", "and", "or", "not"}


class Instruction(NamedTuple):
    """One operation; ``args`` are places of earlier instructions, ``data`` a constant's value or an input's number."""

    op: str
    args: tuple[int, ...] = ()
    data: float | int | None = None


@dataclass(frozen=True)
class Program:
    """Instructions in order, and the places of the results."""

    instructions: tuple[Instruction, ...]
    outputs: tuple[int, ...]

    def __str__(self) -> str:
        lines = [f"{k} {i.op}{''.join(f' {a}' for a in i.args)}{_data(i)}" for k, i in enumerate(self.instructions)]
        return "\n".join([*lines, "return " + " ".join(map(str, self.outputs))])

    @classmethod
    def parse(cls, text: str) -> "Program":
        """From what `str` gave."""
        *lines, last = text.strip().splitlines()
        return cls(tuple(_instruction(line) for line in lines), tuple(int(w) for w in last.split()[1:]))

    def inputs(self, op: str) -> int:
        """How many inputs of a kind are used."""
        return 1 + max((int(i.data or 0) for i in self.instructions if i.op == op), default=-1)

    def evaluate(self, inputs: Mapping[str, Sequence[Any] | np.ndarray]) -> list[Any]:
        """Results by NumPy; ``inputs`` holds for every kind of input its values by number (for v one array)."""
        values: list[Any] = []
        for op, args, data in self.instructions:
            if op == "const":
                values.append(np.float64(data))
            elif op in INPUTS:
                values.append(np.asarray(inputs["v"] if op == "v" else inputs[op][int(data or 0)]))
            else:
                values.append(OPERATIONS[op](*(values[a] for a in args)))
        return [values[k] for k in self.outputs]


def _data(instruction: Instruction) -> str:
    if instruction.op == "const":
        return f" = {float(instruction.data or 0.0).hex()}"
    return "" if instruction.data is None else f" #{instruction.data}"


def _instruction(line: str) -> Instruction:
    _, op, *words = line.split()
    if op == "const":
        return Instruction(op, (), float.fromhex(words[1]))
    if words and words[-1].startswith("#"):
        return Instruction(op, (), int(words[-1][1:]))
    return Instruction(op, tuple(map(int, words)))


@dataclass
class Builder:
    """Grows a program: equal instructions are made once, constants are folded, constant factors are gathered.

    Results agree with those of the unchanged arithmetic to a few roundings; NaN and infinity are kept.
    """

    instructions: list[Instruction] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)
    _known: dict[Instruction, int] = field(default_factory=dict)

    def constant(self, value: float) -> int:
        """Place of a number."""
        return self._place(Instruction("const", (), float(value)), CONSTANT)

    def input(self, op: str, number: int = 0) -> int:
        """Place of an input."""
        return self._place(Instruction(op, (), number), INPUTS[op])

    def apply(self, op: str, *args: int) -> int:
        """Place of an operation on earlier places."""
        if op == "div":
            return self._divide(*args)
        if op == "mul":
            return self._multiply(*args)
        if op == "add":
            return self._add(*args)
        if op == "sub":
            return self._subtract(*args)
        if op == "neg":
            return self._negate(args[0])
        if op == "exp":
            return self._new("exp", self._distributed(args[0]))
        if op == "select" and args[1] == args[2]:
            return args[1]
        return self._new(op, *args)

    def power(self, x: int, exponent: int) -> int:
        """X to a whole number by repeated squaring."""
        if exponent < 0:
            return self.apply("div", self.constant(1.0), self.power(x, -exponent))
        result = None
        while exponent:
            if exponent & 1:
                result = x if result is None else self.apply("mul", result, x)
            exponent >>= 1
            x = self.apply("mul", x, x) if exponent else x
        return self.constant(1.0) if result is None else result

    def program(self, outputs: Iterable[int]) -> Program:
        """What the outputs need, renumbered."""
        return _renumbered(self.instructions, tuple(outputs))

    def _new(self, op: str, *args: int) -> int:
        level = max(self.levels[a] for a in args)
        if level == CONSTANT and op not in LOGICAL:
            with np.errstate(all="ignore"):
                return self.constant(float(OPERATIONS[op](*(np.float64(self._data(a)) for a in args))))
        return self._place(Instruction(op, args), level)

    def _place(self, instruction: Instruction, level: int) -> int:
        if instruction.op == "const" and instruction.data == 0.0:
            instruction = instruction._replace(data=0.0)  # one zero: its sign would otherwise decide by hash
        if instruction not in self._known:
            self._known[instruction] = len(self.instructions)
            self.instructions.append(instruction)
            self.levels.append(level)
        return self._known[instruction]

    def _op(self, place: int) -> str:
        return self.instructions[place].op

    def _args(self, place: int) -> tuple[int, ...]:
        return self.instructions[place].args

    def _data(self, place: int) -> float:
        return float(self.instructions[place].data or 0.0)

    def _is(self, place: int, value: float) -> bool:
        return self._op(place) == "const" and self._data(place) == value

    def _fixed(self, place: int) -> bool:
        return self.levels[place] <= SHARED

    def _divide(self, a: int, b: int) -> int:
        if self._is(b, 1.0):
            return a
        if self.levels[b] < self.levels[a] and self.levels[b] <= CELL:
            return self._multiply(a, self._new("div", self.constant(1.0), b))
        return self._new("div", a, b)

    def _multiply(self, a: int, b: int) -> int:
        a, b = self._ordered(a, b)
        if self._is(a, 1.0):
            return b
        if self._is(a, -1.0):
            return self.apply("neg", b)
        if self._op(a) == "neg" and self._op(b) == "neg":
            return self._multiply(self._args(a)[0], self._args(b)[0])
        if self._fixed(a) and not self._fixed(b) and self._op(b) == "neg":
            return self._multiply(self._new("neg", a), self._args(b)[0])
        if self._fixed(a) and not self._fixed(b) and self._op(b) == "mul" and self._fixed(self._args(b)[0]):
            return self._multiply(self._multiply(a, self._args(b)[0]), self._args(b)[1])
        return self._new("mul", a, b)

    def _negate(self, a: int) -> int:
        op, args, _ = self.instructions[a]
        if op == "neg":
            return args[0]
        if op == "mul" and self._fixed(args[0]):
            return self._multiply(self._negate(args[0]), args[1])
        return self._new("neg", a)

    def _distributed(self, a: int) -> int:
        """C (x + d) as c x + c d where c and d are fixed: one operation less, and an exponential bears the rounding."""
        op, args, _ = self.instructions[a]
        if op != "mul" or not self._fixed(args[0]) or self._op(args[1]) not in ("add", "sub"):
            return a
        factor, (first, second) = args[0], self._args(args[1])
        if not self._fixed(first) and not self._fixed(second):
            return a
        return self.apply(self._op(args[1]), self._multiply(factor, first), self._multiply(factor, second))

    def _add(self, a: int, b: int) -> int:
        a, b = self._ordered(a, b)
        if self._is(a, 0.0):
            return b
        if self._op(b) == "neg":
            return self._subtract(a, self._args(b)[0])
        if self._op(a) == "neg":
            return self._subtract(b, self._args(a)[0])
        return self._new("add", a, b)

    def _subtract(self, a: int, b: int) -> int:
        if self._is(b, 0.0):
            return a
        if self._op(b) == "neg":
            return self._add(a, self._args(b)[0])
        return self._new("sub", a, b)

    def _ordered(self, a: int, b: int) -> tuple[int, int]:
        """The less varying first: sums and products do not depend on the order of two operands."""
        return (a, b) if (self.levels[a], a) <= (self.levels[b], b) else (b, a)


class Split(NamedTuple):
    """A program in three parts.

    ``shared`` and ``cell`` compute, from the given inputs, what does not vary in time: numbers, and one value per cell.
    ``varying`` takes these as its inputs ``shared`` and ``cell``.
    """

    shared: Program
    cell: Program
    varying: Program


def split(builder: Builder, outputs: Sequence[int]) -> Split:
    """Take out of a program everything that can be computed before the loop over cells and steps."""
    before, target = _computed_before(builder), Builder()
    mapped: dict[int, int] = {}
    stored: dict[str, list[int]] = {"shared": [], "cell": []}

    def keep(kind: Literal["shared", "cell"], place: int) -> int:
        if place not in stored[kind]:
            stored[kind].append(place)
        return target.input(kind, stored[kind].index(place))

    def moved(place: int) -> int:
        kind = before[place]
        return mapped[place] if kind is None else keep(kind, place)

    for place in _needed(builder.instructions, outputs):
        op, args, data = builder.instructions[place]
        if before[place] is None:
            level = builder.levels[place] if not args else VARYING
            mapped[place] = target._place(Instruction(op, tuple(map(moved, args)), data), level)
    results = [moved(k) for k in outputs]
    varying = _renumbered(target.instructions, tuple(results))
    return Split(builder.program(stored["shared"]), builder.program(stored["cell"]), varying)


def _computed_before(builder: Builder) -> list[Literal["shared", "cell"] | None]:
    """For every place whether it is an input of the varying part, and of which kind.

    Numbers made of numbers are; values of cells are where they need an expensive operation, else they cost less to
    compute again than to load. True and false are not stored.
    """
    found: list[Literal["shared", "cell"] | None] = []
    heavy: list[bool] = []
    for (op, args, _), level in zip(builder.instructions, builder.levels, strict=True):
        heavy.append(level == CELL and (op in _HEAVY or any(heavy[a] for a in args)))
        if level == SHARED and op not in LOGICAL:
            found.append("shared")
        elif level == CELL and op not in LOGICAL and (heavy[-1] or not args):
            found.append("cell")
        else:
            found.append(None)
    return found


def _needed(instructions: Sequence[Instruction], outputs: Iterable[int]) -> list[int]:
    """Places that the outputs depend on, in order."""
    found, stack = set(), list(outputs)
    while stack:
        place = stack.pop()
        if place not in found:
            found.add(place)
            stack.extend(instructions[place].args)
    return sorted(found)


def _renumbered(instructions: Sequence[Instruction], outputs: tuple[int, ...]) -> Program:
    places = _needed(instructions, outputs)
    new = {old: k for k, old in enumerate(places)}
    kept = (instructions[p]._replace(args=tuple(new[a] for a in instructions[p].args)) for p in places)
    return Program(tuple(kept), tuple(new[o] for o in outputs))
