"""Conjugate gradients for implicit diffusion: intrinsics that work on some groups of cells.

(I - theta h A) x = (I + (1 - theta) h A) v, preconditioned by the diagonal, starting at x = v. A is symmetric in the
inner product with the nodes' volumes m, <x, y> = sum m x y, which is the one used throughout. Sums are taken in
float64.

All intrinsics are called ``f(buffers, coupling ..., inverse, mass, rows, number, p, c, n, sums)`` and write two sums;
``coupling`` is five arguments (`einthoven.simulate.kernels.Coupling`), ``inverse`` and ``mass`` lie over a row:
1 / (1 + theta h sum w), and m (0 without a node); ``rows`` is where the rows of v, x, r, p and q begin.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from einthoven.simulate.kernels import Coupling, Place, Shape, change, integer, number_of, places
from einthoven.simulate.lanes import Lanes


class _Vector(NamedTuple):
    """One vector of cells: what reads and writes the rows there."""

    lanes: Lanes
    read: Callable[[int], Any]
    write: Callable[[int, Any], None]
    coupled: Callable[[int], Any]  # h A of a row
    scale: Any
    mass: Any


#: Numbers of the rows.
V, X, R, P, Q = range(5)


def solve_signature(bits: int) -> Any:
    """Of the functions made here, as C sees them."""
    i, numbers = types.int64, types.CPointer(number_of(bits))
    coupling = (numbers, types.CPointer(types.int32), types.CPointer(i), i, i)
    tail = (types.CPointer(i), types.float64, i, i, i, types.CPointer(types.float64))
    return types.void(numbers, *coupling, numbers, numbers, *tail)


def begin(shape: Shape) -> Callable:
    """X = v, r = h A v, p = r / diagonal; sums of r p and of the squared right-hand side; the number is theta."""

    def body(at: _Vector, theta: Any) -> tuple[Any, Any]:
        b, v = at.lanes.builder, at.read(V)
        r = at.coupled(V)
        p = b.fmul(r, at.scale)
        right = b.fadd(v, b.fmul(b.fsub(at.lanes.constant(1.0), theta), r))
        for row, value in ((X, v), (R, r), (P, p)):
            at.write(row, value)
        return b.fmul(r, p), b.fmul(right, right)

    return _loop(shape, body)


def apply(shape: Shape) -> Callable:
    """Q = p - theta h A p; sum of p q; the number is theta."""

    def body(at: _Vector, theta: Any) -> tuple[Any, Any]:
        b, p = at.lanes.builder, at.read(P)
        q = b.fsub(p, b.fmul(theta, at.coupled(P)))
        at.write(Q, q)
        return b.fmul(p, q), at.lanes.constant(0.0)

    return _loop(shape, body)


def move(shape: Shape) -> Callable:
    """X += a p, r -= a q; sums of r r / diagonal and of r r; the number is a."""

    def body(at: _Vector, a: Any) -> tuple[Any, Any]:
        b = at.lanes.builder
        at.write(X, b.fadd(at.read(X), b.fmul(a, at.read(P))))
        r = b.fsub(at.read(R), b.fmul(a, at.read(Q)))
        at.write(R, r)
        square = b.fmul(r, r)
        return b.fmul(square, at.scale), square

    return _loop(shape, body)


def turn(shape: Shape) -> Callable:
    """P = r / diagonal + b p; the number is b."""

    def body(at: _Vector, factor: Any) -> tuple[Any, Any]:
        b = at.lanes.builder
        at.write(P, b.fadd(b.fmul(at.read(R), at.scale), b.fmul(factor, at.read(P))))
        return at.lanes.constant(0.0), at.lanes.constant(0.0)

    return _loop(shape, body)


def _loop(shape: Shape, body: Callable[[_Vector, Any], tuple[Any, Any]]) -> Callable:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        del signature
        buffers, coupling, (inverse, mass) = args[0], Coupling(*args[1:6]), args[6:8]
        rows = [builder.load(builder.gep(args[8], [integer(k)])) for k in range(5)]
        p, c, n, out = args[10:]
        lanes = Lanes(builder, shape.lanes, shape.bits)
        number = lanes.spread(lanes.narrowed(args[9]))
        wide = ir.VectorType(ir.DoubleType(), shape.lanes)
        sums = [cgutils.alloca_once_value(builder, ir.Constant(wide, [0.0] * shape.lanes)) for _ in range(2)]
        with cgutils.for_range(builder, n) as loop:
            for place in places(builder, shape, loop.index, Place(p, c)):

                def read(row: int, place: Place = place) -> Any:
                    return lanes.load(buffers, builder.add(rows[row], place.p))

                def write(row: int, value: Any, place: Place = place) -> None:
                    lanes.store(value, buffers, builder.add(rows[row], place.p))

                def coupled(row: int, place: Place = place) -> Any:
                    x = lanes.load(buffers, builder.add(rows[row], place.p))
                    return change(lanes, shape, buffers, rows[row], coupling, place)(x, lanes.constant(0.0))

                at = _Vector(lanes, read, write, coupled, lanes.load(inverse, place.p), lanes.load(mass, place.p))
                for total, term in zip(sums, body(at, number), strict=True):
                    weighted = _widened(builder, builder.fmul(at.mass, term), wide, shape.bits)
                    builder.store(builder.fadd(builder.load(total), weighted), total)
        for k, total in enumerate(sums):
            builder.store(_sum_of_lanes(builder, builder.load(total), shape.lanes), builder.gep(out, [integer(k)]))
        return context.get_dummy_value()

    @intrinsic
    def function(
        typing, buffers, weights, neighbors, offsets, length, margin, inverse, mass, rows, number, p, c, n, sums
    ):
        del typing, buffers, weights, neighbors, offsets, length, margin, inverse, mass, rows, number, p, c, n, sums
        return solve_signature(shape.bits), emit

    return function


def _widened(builder: Any, vector: Any, wide: Any, bits: int) -> Any:
    return vector if bits == 64 else builder.fpext(vector, wide)


def _sum_of_lanes(builder: Any, vector: Any, n: int) -> Any:
    total = builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))
    for k in range(1, n):
        total = builder.fadd(total, builder.extract_element(vector, ir.Constant(ir.IntType(32), k)))
    return total
