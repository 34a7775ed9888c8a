"""The compiled loop over steps and groups of cells, the same for every model, scheme and tissue.

What does differ, the sweep over some groups, is called by its address (`einthoven.simulate.kernels_module`), so that
this file is compiled once for float64 and once for float32.
"""

import os
from typing import Any, no_type_check

# GNU's OpenMP lets idle threads spin for milliseconds, which stops everything where other programs want the processors
# too: let them sleep after some ten microseconds, unless the user has said otherwise.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from einthoven.simulate.conjugate_gradients import solve_signature
from einthoven.simulate.kernels import step_signature

#: Groups of cells between two looks at the potentials that were just computed.
BLOCK = 64

#: With fewer blocks the implicit solver stays in one thread.
FEW_BLOCKS = 8


# -- calls by address -------------------------------------------------------------------------------------------------


def _bits(array: Any) -> int:
    return 64 if array.dtype == types.float64 else 32


def _data(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """Pointer to the numbers of an array."""
    return context.make_array(kind)(context, builder, value).data


def _members(context: Any, builder: Any, kind: Any, value: Any) -> list[Any]:
    """Members of a tuple, arrays as pointers."""
    found = []
    for k, member in enumerate(kind.types):
        part = builder.extract_value(value, k)
        found.append(_data(context, builder, member, part) if isinstance(member, types.Array) else part)
    return found


def _call(context: Any, builder: Any, signature: Any, address: Any, arguments: list[Any]) -> Any:
    kinds = [context.get_value_type(kind) for kind in signature.args]
    returned = ir.VoidType() if signature.return_type == types.void else context.get_value_type(signature.return_type)
    function = builder.inttoptr(address, ir.FunctionType(returned, kinds).as_pointer())
    return builder.call(function, arguments)


@intrinsic
@no_type_check
def _step(typing, address, buffers, coupling, membrane, rows, p, c, n, limit):
    """Call a sweep: coupling is (weights, neighbors, offsets, length, margin), membrane (shared, cells, states)."""
    del typing
    i = types.int64

    def emit(context, builder, signature, args):
        kinds = signature.args
        parts = [_data(context, builder, kinds[1], args[1])]
        for k in (2, 3, 4):
            parts += _members(context, builder, kinds[k], args[k])
        return _call(context, builder, step_signature(_bits(kinds[1])), args[0], [*parts, *args[5:]])

    return i(i, buffers, coupling, membrane, types.UniTuple(i, 3), i, i, i, types.float64), emit


@intrinsic
@no_type_check
def _solve_part(typing, address, buffers, coupling, diagonals, rows, number, p, c, n, sums):
    """Call an operation of the implicit solver; its two sums are written to the array `sums`."""
    del typing
    i = types.int64

    def emit(context, builder, signature, args):
        kinds = signature.args
        parts = [_data(context, builder, kinds[1], args[1])]
        for k in (2, 3):
            parts += _members(context, builder, kinds[k], args[k])
        parts += [_data(context, builder, kinds[4], args[4]), *args[5:9], _data(context, builder, kinds[9], args[9])]
        _call(context, builder, solve_signature(_bits(kinds[1])), args[0], parts)
        return context.get_dummy_value()

    return types.void(i, buffers, coupling, diagonals, rows, types.float64, i, i, i, sums), emit


# -- pulses and crossings ---------------------------------------------------------------------------------------------


@numba.njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def drive(step, buffers, old, pulses, saved):
    """Add the current pulses that are on to the potentials in row `old`; returns how many pulses are on.

    What the nodes held before is kept in `saved`, so that `release` can bring it back.
    """
    start, stop, pointers, places, values, clamp, before, _ = pulses
    n_on = 0
    for k in range(len(start)):
        if start[k] <= step < stop[k]:
            n_on += 1
            if not clamp[k]:
                for i in range(pointers[k], pointers[k + 1]):
                    at = old + places[i]
                    saved[i] = buffers[at]
                    buffers[at] += before * values[k]
    return n_on


@numba.njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def release(step, buffers, old, new, pulses, saved):
    """Add what is left of the current pulses to row `new`, then set its clamps; take the pulses out of row `old`."""
    start, stop, pointers, places, values, clamp, _, after = pulses
    if after > 0.0:
        for k in range(len(start)):
            if start[k] <= step < stop[k] and not clamp[k]:
                for i in range(pointers[k], pointers[k + 1]):
                    buffers[new + places[i]] += after * values[k]
    for k in range(len(start)):
        if start[k] <= step < stop[k] and clamp[k]:
            for i in range(pointers[k], pointers[k + 1]):
                buffers[new + places[i]] = values[k]
    for k in range(len(start) - 1, -1, -1):
        if start[k] <= step < stop[k] and not clamp[k]:
            for i in range(pointers[k + 1] - 1, pointers[k] - 1, -1):
                buffers[old + places[i]] = saved[i]


@numba.njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _crossed(buffers, old, new, n, rise, fall):
    """Whether any of n cells changed sides of either level."""
    before, after = buffers[old : old + n], buffers[new : new + n]
    found = False
    for i in range(n):
        a, b = before[i], after[i]
        found |= ((a < rise) != (b < rise)) | ((a <= fall) != (b <= fall))
    return found


@numba.njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def record(step, dt, buffers, old, new, nodes, watch):
    """Note the time of every cell of a group that crossed a level; `nodes` are its positions, -1 for none."""
    rise_level, fall_level, rise, fall, n_rise, n_fall = watch
    for lane in range(len(nodes)):
        i = nodes[lane]
        if i < 0:
            continue
        before, after = buffers[old + lane], buffers[new + lane]
        if n_rise[i] <= n_fall[i]:
            if before < rise_level <= after:
                if n_rise[i] < len(rise):
                    rise[n_rise[i], i] = (step + (rise_level - before) / (after - before)) * dt
                n_rise[i] += 1
        elif before > fall_level >= after:
            if n_fall[i] < len(fall):
                fall[n_fall[i], i] = (step + (fall_level - before) / (after - before)) * dt
            n_fall[i] += 1


# -- sweeps -----------------------------------------------------------------------------------------------------------


@numba.njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _run_of(counts, group):
    """Number of the run that holds a group."""
    low, high = 0, len(counts) - 1
    while high - low > 1:
        middle = (low + high) // 2
        if counts[middle] <= group:
            low = middle
        else:
            high = middle
    return low


@numba.njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def sweep(address, look, watched, lo, hi, rows, memory, layout, step, dt, limit, watch):
    """Groups lo to hi: a step unless the address is 0, then a look for blow-up and crossings.

    ``rows`` is where the step's start and the sweep's source, base and target begin. Returns the group of a blow-up, or
    -1.
    """
    buffers, weights, neighbors, offsets, length, margin, shared, cells, states = memory
    coupling, membrane = (weights, neighbors, offsets, length, margin), (shared, cells, states)
    firsts, counts, nodes, lanes, ways = layout
    old, source, base, target = rows
    size = lanes * ways
    r = _run_of(counts, lo)
    c = lo
    while c < hi:
        end = min(hi, counts[r + 1])
        start = firsts[r] - counts[r]
        while c < end:
            n = min(end - c, BLOCK)
            p = (start + c) * size
            bad = 0
            if address != 0:
                bad = _step(address, buffers, coupling, membrane, (source, base, target), p, c, n, limit)
            if bad != 0 and look:
                return c
            if watched and _crossed(buffers, old + p, target + p, n * size, watch[0], watch[1]):
                for i in range(n):
                    at = p + i * size
                    if _crossed(buffers, old + at, target + at, size, watch[0], watch[1]):
                        group = nodes[(c + i) * size : (c + i + 1) * size]
                        record(step, dt, buffers, old + at, target + at, group, watch)
            c += n
        r += 1
    return -1


@numba.njit(cache=True, nogil=True, error_model="numpy", parallel=True)
@no_type_check
def _swept_by_threads(address, look, watched, bounds, rows, memory, layout, step, dt, limit, watch, found):
    for t in numba.prange(len(bounds) - 1):
        lo, hi = bounds[t], bounds[t + 1]
        found[t] = sweep(address, look, watched, lo, hi, rows, memory, layout, step, dt, limit, watch)


# -- implicit diffusion -----------------------------------------------------------------------------------------------


@numba.njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _part(address, block, rows, number, memory, layout, diagonals, sums):
    """One of the operations on the groups of a block; its sums go to the block's place."""
    buffers, weights, neighbors, offsets, length, margin = memory[:6]
    coupling = (weights, neighbors, offsets, length, margin)
    firsts, counts, _, lanes, ways = layout
    c, hi = block * BLOCK, min((block + 1) * BLOCK, counts[-1])
    r = _run_of(counts, c)
    first, second, two = 0.0, 0.0, np.zeros(2)
    while c < hi:
        n = min(hi, counts[r + 1]) - c
        p = (firsts[r] - counts[r] + c) * (lanes * ways)
        _solve_part(address, buffers, coupling, diagonals, rows, number, p, c, n, two)
        first, second = first + two[0], second + two[1]
        c += n
        r += 1
    sums[block, 0], sums[block, 1] = first, second


@numba.njit(cache=True, nogil=True, error_model="numpy", parallel=True)
@no_type_check
def _parts_by_threads(address, rows, number, memory, layout, diagonals, sums):
    for k in numba.prange(len(sums)):
        _part(address, k, rows, number, memory, layout, diagonals, sums)


@numba.njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _everywhere(address, rows, number, memory, layout, diagonals, sums):
    """The two sums of an operation, added block by block so that they do not depend on the threads."""
    if len(sums) < FEW_BLOCKS:
        for k in range(len(sums)):
            _part(address, k, rows, number, memory, layout, diagonals, sums)
    else:
        _parts_by_threads(address, rows, number, memory, layout, diagonals, sums)
    first, second = 0.0, 0.0
    for k in range(len(sums)):
        first, second = first + sums[k, 0], second + sums[k, 1]
    return first, second


@numba.njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _solve(source, target, where, memory, layout, implicit):
    """Implicit diffusion from row to row; NaN ends it, and is found afterwards."""
    addresses, theta, tolerance, n_most, diagonals, sums, taken = implicit
    n = len(where)
    rows = np.array([source, target, where[n - 3], where[n - 2], where[n - 1]])
    energy, size = _everywhere(addresses[0], rows, theta, memory, layout, diagonals, sums)
    limit = tolerance * tolerance * size
    rest = np.inf if energy > 0.0 else 0.0
    k = 0
    while rest > limit and k < n_most:
        bend = _everywhere(addresses[1], rows, theta, memory, layout, diagonals, sums)[0]
        new, rest = _everywhere(addresses[2], rows, energy / bend, memory, layout, diagonals, sums)
        _everywhere(addresses[3], rows, new / energy, memory, layout, diagonals, sums)
        energy = new
        k += 1
    taken[0] += k
    taken[1] = max(taken[1], np.int64(rest > limit))


# -- steps ------------------------------------------------------------------------------------------------------------


@numba.njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def advance(
    n_steps, first_step, dt, plan, memory, layout, pulses, saved, limit, watched, watch, bounds, found, implicit
):
    """Take steps; returns how many were taken without a blow-up, after which `found` holds the group of one or -1.

    ``plan`` holds for every sweep of a step its address (-1 for implicit diffusion) and the numbers of its rows, and
    where the rows begin; ``implicit`` is what the solver of implicit diffusion needs, or None.
    """
    addresses, sources, bases, targets, where = plan
    buffers = memory[0]
    for s in range(n_steps):
        step = first_step + s
        old, new = where[0], where[1]
        n_on = drive(step, buffers, old, pulses, saved)
        for k in range(len(addresses)):
            rows = (old, where[sources[k]], where[bases[k]], where[targets[k]])
            at, last = addresses[k], k == len(addresses) - 1
            mark = watched and last and n_on == 0
            if implicit is not None:  # noqa: SIM102 - alone, so that explicit steps are compiled without the solver
                if at == -1:
                    _solve(rows[1], rows[3], where, memory, layout, implicit)
                    continue
            if len(found) == 1:
                lo, hi = bounds[0], bounds[1]
                found[0] = sweep(at, last, mark, lo, hi, rows, memory, layout, step, dt, limit, watch)
            else:
                _swept_by_threads(at, last, mark, bounds, rows, memory, layout, step, dt, limit, watch, found)
        for group in found:
            if group >= 0:
                return s
        if n_on:
            release(step, buffers, old, new, pulses, saved)
            if watched:
                rows = (old, old, old, new)
                sweep(0, False, True, bounds[0], bounds[-1], rows, memory, layout, step, dt, limit, watch)
        where[0], where[1] = new, old
    return n_steps
