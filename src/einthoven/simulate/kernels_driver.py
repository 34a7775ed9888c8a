"""Parts of the compiled loop that do not depend on model and tissue: pulses, crossings, runs of groups."""

from typing import no_type_check

import numba


@numba.njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def drive(step, dt, buffers, old, pulses, saved):
    """Add the current pulses that are on to the potentials in row `old`; returns how many pulses are on.

    What the nodes held before is kept in `saved`, so that `release` can bring it back.
    """
    start, stop, pointers, places, values, clamp = pulses
    n_on = 0
    for k in range(len(start)):
        if start[k] <= step < stop[k]:
            n_on += 1
            if not clamp[k]:
                for i in range(pointers[k], pointers[k + 1]):
                    at = old + places[i]
                    saved[i] = buffers[at]
                    buffers[at] += dt * values[k]
    return n_on


@numba.njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def release(step, buffers, old, new, pulses, saved):
    """Set the clamped potentials in row `new`, and take the current pulses out of row `old` again."""
    start, stop, pointers, places, values, clamp = pulses
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
