"""Numba intrinsics that the generated modules are made of: some groups of cells, one step.

Memory. A vector is as many neighboring cells as fit into 32 bytes, a group one or several vectors that are computed
together. Potentials lie in rows of one array, in the order of the grid with a margin at both ends, so that a neighbor is at a
fixed distance; all else (states, parameters of cells) lies vector by vector, so that a step of a cell touches one place of
memory.
"""

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
    return 4 if n == 1 else 2 if n in (2, 3) else 1


class Place(NamedTuple):
    """Where a vector of cells lies: in a row, and among all computed vectors."""

    p: Any
    c: Any


def integer(value: int) -> Any:
    """Constant place."""
    return ir.Constant(INT, value)


def data_of(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """Pointer to the numbers of an array; anything else as it is."""
    return context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value


def parts_of(context: Any, builder: Any, kind: Any, value: Any) -> list[Any]:
    """Members of a tuple, arrays as pointers."""
    members = (builder.extract_value(value, k) for k in range(len(kind.types)))
    return [data_of(context, builder, t, m) for t, m in zip(kind.types, members, strict=True)]


def places(builder: Any, shape: Shape, group: Any, first: Place) -> list[Place]:
    """Of the vectors of a group, counted from the first group of a call."""
    found = []
    for way in range(shape.ways):
        vector = builder.add(builder.mul(group, integer(shape.ways)), integer(way))
        c = builder.add(builder.mul(first.c, integer(shape.ways)), vector)
        found.append(Place(builder.add(first.p, builder.mul(vector, integer(shape.lanes))), c))
    return found


def change(lanes: Lanes, shape: Shape, buffers: Any, row: Any, coupling: list[Any], place: Place) -> Callable:
    """Writer of ``start + sum of w (neighbor - x)`` for a vector of a row; takes x and start."""
    if shape.n_offsets is None:
        return lambda x, start: _by_lists(lanes, buffers, row, coupling, place, x, start)
    return lambda x, start: _by_offsets(lanes, buffers, row, coupling, place, x, start)


def _by_offsets(lanes: Lanes, buffers: Any, row: Any, coupling: list[Any], place: Place, x: Any, start: Any) -> Any:
    """``coupling`` is (weights, length of a row, margin, offsets ...)."""
    weights, length, margin, *offsets = coupling
    b, source = lanes.builder, lanes.builder.add(row, place.p)
    terms = [start]
    for k, offset in enumerate(offsets):
        at = b.add(b.add(margin, place.p), b.mul(length, integer(k)))
        ahead = b.fsub(lanes.load(buffers, b.add(source, offset)), x)
        behind = b.fsub(lanes.load(buffers, b.sub(source, offset)), x)
        pair = b.fmul(lanes.load(weights, at), ahead)
        terms.append(lanes.fma(lanes.load(weights, b.sub(at, offset)), behind, pair))
    while len(terms) > 1:  # a tree: fewer additions wait for each other
        terms = [b.fadd(*terms[k : k + 2]) if k + 1 < len(terms) else terms[k] for k in range(0, len(terms), 2)]
    return terms[0]


def _by_lists(lanes: Lanes, buffers: Any, row: Any, coupling: list[Any], place: Place, x: Any, start: Any) -> Any:
    """``coupling`` is (weights, neighbors, pointers): vector c has the slots pointers[c] to pointers[c + 1]."""
    weights, neighbors, pointers = coupling
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


def step(shape: Shape, diffusion: Diffusion, text: str | None) -> Callable:
    """``step(buffers, source, base, target, coupling, shared, cells, states, p, c, n, limit)``: one sweep over n groups.

    ``source``, ``base`` and ``target`` are where rows begin; ``p`` is the place of the first group in a row, ``c`` its number
    among the groups that are computed. True if any new |v| is above ``limit`` or NaN.

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
        kinds = signature.args
        buffers, shared, cells, states = (data_of(context, builder, kinds[k], args[k]) for k in (0, 5, 6, 7))
        source, base, target = args[1:4]
        coupling = parts_of(context, builder, kinds[4], args[4])
        lanes = Lanes(builder, shape.lanes, shape.bits, shared, known)
        limit, found = lanes.spread(args[11]), cgutils.alloca_once_value(builder, lanes.integer(0))

        def diffused(place: Place) -> Any:
            v, add = lanes.load(buffers, builder.add(source, place.p)), None
            if diffusion != "none":
                add = change(lanes, shape, buffers, source, coupling, place)
            if diffusion == "heun":
                start = builder.fadd(v, lanes.load(buffers, builder.add(base, place.p)))
                return builder.fmul(lanes.constant(0.5), add(v, start))
            return v if add is None else add(v, v)

        with cgutils.for_range(builder, args[10]) as loop:
            here = places(builder, shape, loop.index, Place(args[8], args[9]))
            v = [diffused(place) for place in here]
            v = v if program is None else _membrane(lanes, program, here, v, (cells, states))
            for value, place in zip(v, here, strict=True):
                lanes.store(value, buffers, builder.add(target, place.p))
                outside = lanes.mask(builder.fcmp_unordered(">", lanes.abs(value), limit))
                builder.store(builder.or_(builder.load(found), outside), found)
        return lanes.any(builder.load(found))

    @intrinsic
    def function(typing, buffers, source, base, target, coupling, shared, cells, states, p, c, n, limit):
        del typing
        i = types.int64
        return types.boolean(buffers, i, i, i, coupling, shared, cells, states, i, i, i, buffers.dtype), emit

    return function


def _membrane(lanes: Lanes, program: Program, here: list[Place], v: list[Any], arrays: tuple[Any, Any]) -> list[Any]:
    """Write the membrane's step for some vectors; returns the new potentials, stores the new states."""
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


def crossed(shape: Shape) -> Callable:
    """``crossed(buffers, old, new, n, rise, fall)``: whether any cell of n groups changed sides of either level."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        lanes = Lanes(builder, shape.lanes, shape.bits)
        buffers = data_of(context, builder, signature.args[0], args[0])
        rise, fall = lanes.spread(args[4]), lanes.spread(args[5])
        found = cgutils.alloca_once_value(builder, lanes.integer(0))
        with cgutils.for_range(builder, builder.mul(args[3], integer(shape.ways))) as loop:
            place = builder.mul(loop.index, integer(lanes.n))
            before, after = (lanes.load(buffers, builder.add(args[k], place)) for k in (1, 2))
            rose = builder.xor(lanes.mask(lanes.lt(before, rise)), lanes.mask(lanes.lt(after, rise)))
            fell = builder.xor(lanes.mask(lanes.le(before, fall)), lanes.mask(lanes.le(after, fall)))
            builder.store(builder.or_(builder.load(found), builder.or_(rose, fell)), found)
        return lanes.any(builder.load(found))

    @intrinsic
    def function(typing, buffers, old, new, n, rise, fall):
        del typing
        kinds = (buffers, types.int64, types.int64, types.int64, buffers.dtype, buffers.dtype)
        return types.boolean(*kinds), emit

    return function
