"""Numba intrinsics that the generated modules are made of: some groups of cells, one step.

Memory. A vector is as many neighboring cells as fit into 32 bytes, a group one or several vectors that are computed
together. Potentials lie in rows of one array, in the order of the grid with a margin at both ends, so that a neighbor
is at a fixed distance; all else (states, parameters of cells) lies vector by vector, so that a step of a cell touches
one place of memory.
"""

import platform
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from einthoven.simulate.lanes import ELEMENTARY, Lanes, constants, write
from einthoven.simulate.program import Program

#: How the potential is found before the membrane acts: as it is, by Euler's method, or by the second stage of Heun's.
Diffusion = Literal["none", "euler", "heun"]

INT = ir.IntType(64)


class Shape(NamedTuple):
    """Of the computation.

    Parameters
    ----------
    bits
        Of a number: 64 or 32.
    ways
        Vectors in a group.
    n_offsets
        Half the number of neighbors on a grid; None for lists of neighbors.
    """

    bits: int
    ways: int
    n_offsets: int | None

    @property
    def lanes(self) -> int:
        """Cells in a vector."""
        return lanes_of(self.bits)

    @property
    def group(self) -> int:
        """Cells in a group."""
        return self.lanes * self.ways


def lanes_of(bits: int) -> int:
    """Cells in a vector."""
    return 256 // bits


def ways_of(program: Program) -> int:
    """Vectors computed together: several where there are too few elementary functions to alternate within one."""
    n = sum(i.op in ELEMENTARY for i in program.instructions)
    return 4 if n == 1 else 2 if n in (0, 2, 3) else 1


class Place(NamedTuple):
    """Where a vector of cells lies: in a row, and among all computed vectors."""

    p: Any
    c: Any


def integer(value: int) -> Any:
    """Constant place."""
    return ir.Constant(INT, value)


def places(builder: Any, shape: Shape, group: Any, first: Place) -> list[Place]:
    """Of the vectors of a group, counted from the first group of a call."""
    found = []
    for way in range(shape.ways):
        vector = builder.add(builder.mul(group, integer(shape.ways)), integer(way))
        c = builder.add(builder.mul(first.c, integer(shape.ways)), vector)
        found.append(Place(builder.add(first.p, builder.mul(vector, integer(shape.lanes))), c))
    return found


class Coupling(NamedTuple):
    """What a kernel is given of the coupling: pointers, length of a row with its margins, and of a margin."""

    weights: Any
    neighbors: Any
    offsets: Any
    length: Any
    margin: Any


def change(lanes: Lanes, shape: Shape, buffers: Any, row: Any, coupling: Coupling, place: Place) -> Callable:
    """Writer of ``start + sum of w (neighbor - x)`` for a vector of a row; takes x and start."""
    if shape.n_offsets is None:
        return lambda x, start: _by_lists(lanes, buffers, row, coupling, place, x, start)
    offsets = [lanes.builder.load(lanes.builder.gep(coupling.offsets, [integer(k)])) for k in range(shape.n_offsets)]
    return lambda x, start: _by_offsets(lanes, buffers, row, (coupling, offsets), place, x, start)


def _by_offsets(
    lanes: Lanes, buffers: Any, row: Any, coupling: tuple[Coupling, list[Any]], place: Place, x: Any, start: Any
) -> Any:
    """Neighbors at fixed distances; weight k of a cell leads to the neighbor ahead."""
    (weights, _, _, length, margin), offsets = coupling
    b, source = lanes.builder, lanes.builder.add(row, place.p)
    moves: list[tuple[Any, Any]] = []
    for k, offset in enumerate(offsets):
        at = b.add(b.add(margin, place.p), b.mul(length, integer(k)))
        for near, weight in ((b.add(source, offset), at), (b.sub(source, offset), b.sub(at, offset))):
            moves.append((lanes.load(weights, weight), b.fsub(lanes.load(buffers, near), x)))
    half = len(moves) // 2
    first, second = start, b.fmul(*moves[half])
    for weight, difference in moves[:half]:  # two chains: fewer operations than a tree of pairs, and neither waits long
        first = lanes.fma(weight, difference, first)
    for weight, difference in moves[half + 1 :]:
        second = lanes.fma(weight, difference, second)
    return b.fadd(first, second)


def _by_lists(lanes: Lanes, buffers: Any, row: Any, coupling: Coupling, place: Place, x: Any, start: Any) -> Any:
    """Listed neighbors: vector c has the slots offsets[c] to offsets[c + 1]."""
    weights, neighbors, pointers, _, _ = coupling
    b = lanes.builder
    first = b.load(b.gep(pointers, [place.c]))
    last = b.load(b.gep(pointers, [b.add(place.c, integer(1))]))
    total = cgutils.alloca_once_value(b, start)
    with cgutils.for_range_slice(b, first, last, integer(1)) as (slot, _):
        at = b.mul(slot, integer(lanes.n))
        found = ir.Constant(lanes.vector, ir.Undefined)
        for k in range(lanes.n):
            index = b.sext(b.load(b.gep(neighbors, [b.add(at, integer(k))])), INT)
            value = b.load(b.gep(buffers, [b.add(row, index)]))
            found = b.insert_element(found, value, ir.Constant(ir.IntType(32), k))
        b.store(lanes.fma(lanes.load(weights, at), b.fsub(found, x), b.load(total)), total)
    return b.load(total)


def number_of(bits: int) -> Any:
    """Numba's type of a number."""
    return types.float64 if bits == 64 else types.float32


def step_signature(bits: int) -> Any:
    """Of the functions that `step` makes, as C sees them: the same for every model, scheme and tissue."""
    i, numbers = types.int64, types.CPointer(number_of(bits))
    coupling = (numbers, types.CPointer(types.int32), types.CPointer(i), i, i)
    return i(numbers, *coupling, numbers, numbers, numbers, i, i, i, i, i, i, types.float64)


def step(shape: Shape, diffusion: Diffusion, text: str | None) -> Callable:
    """``step(buffers, coupling ..., shared, cells, states, source, base, target, p, c, n, limit)``, on n groups.

    ``coupling`` is five arguments, see `Coupling`; ``source``, ``base`` and ``target`` are where rows begin; ``p`` is
    the place of the first group in a row, ``c`` its number among the groups that are computed. 1 if any new |v| is
    above ``limit`` or NaN, else 0.

    Parameters
    ----------
    shape
        Of the computation.
    diffusion
        Which potential the membrane sees.
    text
        The membrane's program; None for diffusion alone.
    """
    program = None if text is None else Program.parse(text)
    known = {}
    if program is not None:
        known = {x: k + program.inputs("shared") for k, x in enumerate(constants(program, shape.bits))}

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        del context, signature
        buffers, coupling, (shared, cells, states) = args[0], Coupling(*args[1:6]), args[6:9]
        source, base, target, p, c, n = args[9:15]
        lanes = Lanes(builder, shape.lanes, shape.bits, shared, known)
        limit, found = lanes.spread(lanes.narrowed(args[15])), cgutils.alloca_once_value(builder, lanes.integer(0))

        def diffused(place: Place) -> Any:
            v = lanes.load(buffers, builder.add(source, place.p))
            if diffusion == "none":
                return v
            add = change(lanes, shape, buffers, source, coupling, place)
            if diffusion == "euler":
                return add(v, v)
            start = builder.fadd(v, lanes.load(buffers, builder.add(base, place.p)))
            return builder.fmul(lanes.constant(0.5), add(v, start))

        restore = _without_subnormals(builder)
        with cgutils.for_range(builder, n) as loop:
            here = places(builder, shape, loop.index, Place(p, c))
            v = [diffused(place) for place in here]
            v = v if program is None else _membrane(lanes, program, here, v, (cells, states))
            for value, place in zip(v, here, strict=True):
                lanes.store(value, buffers, builder.add(target, place.p))
                outside = lanes.mask(builder.fcmp_unordered(">", lanes.abs(value), limit))
                builder.store(builder.or_(builder.load(found), outside), found)
        restore()
        return builder.zext(lanes.any(builder.load(found)), INT)

    @intrinsic
    def function(
        typing, buffers, weights, neighbors, offsets, length, margin, shared, cells, states, source, base, target, p, c,
        n, limit,
    ):  # fmt: skip
        del typing, weights, neighbors, offsets, length, margin, shared, cells, states, source, base, target, p, c, n
        return step_signature(64 if buffers.dtype == types.float64 else 32), emit

    return function


def _without_subnormals(builder: Any) -> Callable[[], None]:
    """Count numbers too small for a full mantissa as zero, which processors are slow with; returns how to end that."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return lambda: None
    word = ir.IntType(32)
    old, new = cgutils.alloca_once(builder, word), cgutils.alloca_once(builder, word)
    kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer()])
    store, load = (cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.sse.{n}mxcsr") for n in ("st", "ld"))

    def at(pointer: Any) -> list[Any]:
        return [builder.bitcast(pointer, ir.IntType(8).as_pointer())]

    builder.call(store, at(old))
    builder.store(builder.or_(builder.load(old), ir.Constant(word, 0x8040)), new)
    builder.call(load, at(new))
    return lambda: builder.call(load, at(old))


def _membrane(lanes: Lanes, program: Program, here: list[Place], v: list[Any], arrays: tuple[Any, Any]) -> list[Any]:
    """Write the membrane's step of some vectors; returns the new potentials, stores the new states."""
    b, (cells, states) = lanes.builder, arrays
    n_states, n_cells = len(program.outputs) - 1, program.inputs("cell")

    def at(count: int, k: int, way: int) -> Any:
        return b.add(b.mul(here[way].c, integer(count * lanes.n)), integer(k * lanes.n))

    def inputs(kind: str, k: int, way: int) -> Any:
        if kind == "v":
            return v[way]
        if kind == "shared":
            return lanes.load_fixed(k)
        if kind == "cell":
            return lanes.load(cells, at(n_cells, k, way))
        return lanes.load(states, at(n_states, k, way))

    new, *changed = write(lanes, program, len(here), inputs)
    for k, values in enumerate(changed):
        for way, value in enumerate(values):
            lanes.store(value, states, at(n_states, k, way))
    return new
