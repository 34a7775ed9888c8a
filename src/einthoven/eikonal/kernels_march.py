"""Compiled fast marching over upwind stencils, and the reverse pass over what it did.

Every node x has a stencil: weights w_i and neighbors at -e_i and +e_i. Its time T solves

    sum_i w_i ((T - min(T at -e_i, T at +e_i))_+)^2 = 1,

or, of second order, with (T - T_1) replaced by (3 T - 4 T_1 + T_2) / 2 where the node behind is known and not later.
Nodes are accepted in the order of their times; where walls hide a neighbor, the time along the axes to the nearest
cells, T_y + length, bounds T from above, so that whatever is connected through faces is reached.

What decided a node's time is kept as a code, `how`: see `SEED`, `UNREACHED`. Imported only by functions that use them.
"""

from typing import no_type_check

import numba
import numpy as np

from einthoven.eikonal.queue import ONE, longer, pop, push

#: `how` of a node that nothing reaches, of one that its stencil decides, with first differences only (at seeds, where
#: second ones would fall below the time of the straight way); links along axes are LINK + 2 axis + side, and seed
#: number k is SEED - k.
UNREACHED, STENCIL, FIRST_ORDER, LINK, SEED = -1, 0, 1, 2, -2


@numba.njit(cache=True)
@no_type_check
def _upwind(x, times, weights, near, far, second, t, w, slots, behind):
    """How the stencil of x decides its time, from those of `times` that are finite.

    Fills the first entries of `t` and `w` (effective times and weights, with sum w (T - t)^2 = 1), `slots` (place of
    the neighbor in `near`) and `behind` (the node behind it that is used too, or -1), sorted; returns how many take
    part, and the time.
    """
    count = 0
    for i in range(weights.shape[1]):
        weight = weights[x, i]
        if weight == 0.0:
            continue
        slot = 2 * i
        a, b = near[x, slot], near[x, slot + 1]
        early = times[np.uint64(a)] if a >= 0 else np.inf
        other = times[np.uint64(b)] if b >= 0 else np.inf
        if other < early:
            early = other
            slot += 1
        if early == np.inf:
            continue
        place = count
        while place > 0 and t[place - 1] > early:
            t[place], w[place], slots[place] = t[place - 1], w[place - 1], slots[place - 1]
            place -= 1
        t[place], w[place], slots[place] = early, weight, slot
        count += 1
    if count == 0:
        return 0, np.inf
    t0, s0, s1, s2, time, used = t[0], w[0], 0.0, 0.0, t[0] + 1.0 / np.sqrt(w[0]), 1
    while used < count and t[used] < time:
        late, weight = t[used] - t0, w[used]
        s0, s1, s2 = s0 + weight, s1 + weight * late, s2 + weight * late * late
        time = t0 + (s1 + np.sqrt(max(s1 * s1 - s0 * (s2 - 1.0), 0.0))) / s0
        used += 1
    for k in range(used):
        behind[k] = -1
    if second:
        time = _second_order(x, times, far, t, w, slots, behind, used, time)
    return used, time


@numba.njit(cache=True)
@no_type_check
def _second_order(x, times, far, t, w, slots, behind, used, time):
    """The time by second differences where the nodes behind allow them; t, w and `behind` change to what was used."""
    t0, latest = t[0], t[used - 1]
    s0, s1, s2, some = 0.0, 0.0, 0.0, False
    for k in range(used):
        late, weight = t[k] - t0, w[k]
        far_node = far[x, slots[k]]
        if far_node >= 0 and times[far_node] <= t[k]:
            late, weight = late + (t[k] - times[far_node]) / 3.0, 2.25 * weight
            behind[k] = far_node
            some = True
        s0, s1, s2 = s0 + weight, s1 + weight * late, s2 + weight * late * late
    root = s1 * s1 - s0 * (s2 - 1.0)
    accepted = some and root >= 0.0 and t0 + (s1 + np.sqrt(root)) / s0 >= latest
    for k in range(used):
        if not accepted:
            behind[k] = -1
        elif behind[k] >= 0:
            t[k] += (t[k] - times[behind[k]]) / 3.0
            w[k] *= 2.25
    return t0 + (s1 + np.sqrt(root)) / s0 if accepted else time


@numba.njit(cache=True)
@no_type_check
def _room(m):
    """Arrays for `_upwind`: t, w, slots, behind."""
    return np.empty(m), np.empty(m), np.empty(m, np.int64), np.empty(m, np.int64)


@numba.njit(cache=True, nogil=True)
@no_type_check
def march(weights, near, far, second, starts, users, axes, lengths, seeds, seed_times, times, how, order):
    """Times of arrival from seeds; returns the number of nodes reached.

    Parameters
    ----------
    weights, near, far
        Stencils: (n, m), (n, 2 m), and (n, 2 m) or empty where `second` is false.
    second
        Whether second differences are used where they can be.
    starts, users
        Which nodes have a node in their stencil or next to it along an axis (`list_users`).
    axes, lengths
        Neighbors along the axes (n, 2 d), and times to them (n, d), 0 where the stencil is complete; both empty where
        no cell is blocked.
    seeds, seed_times
        Shape (n_seeds,): nodes (-1: none) and their times.
    times, how, order
        Shape (n,), filled; `times` must hold infinity and `how` `UNREACHED`.
    """
    n = len(times)
    trial = np.full(n, np.inf)
    keys, items, size = np.empty(4096), np.empty(4096, np.uint32), 0
    t, w, slots, behind = _room(weights.shape[1])
    linked = len(axes) > 0
    for k in range(len(seeds)):
        x = seeds[k]
        if x >= 0 and seed_times[k] < trial[x]:
            if size + 1 > len(keys):
                keys, items = longer(keys), longer(items)
            trial[x], how[x] = seed_times[k], SEED - k
            push(keys, items, size, trial[x], x)
            size += 1
    first, start = how.copy(), trial.copy()
    count = 0
    while size > 0:
        key = keys[0]
        y = np.uint64(items[0])
        size -= 1
        pop(keys, items, size)
        if times[y] != np.inf or key != trial[y]:
            continue
        times[y] = key
        order[count] = y
        count += 1
        while size + starts[y + ONE] - starts[y] > len(keys):
            keys, items = longer(keys), longer(items)
        for u in range(starts[y], starts[y + ONE]):
            x = np.uint64(users[u])
            if times[x] != np.inf:
                continue
            seeded = start[x] != np.inf
            _, time = _upwind(x, times, weights, near, far, second and not seeded, t, w, slots, behind)
            code = FIRST_ORDER if seeded else STENCIL
            if linked and lengths[x, 0] > 0.0:
                for s in range(axes.shape[1]):
                    other = axes[x, s]
                    if other >= 0 and times[other] + lengths[x, s >> 1] < time:
                        time, code = times[other] + lengths[x, s >> 1], LINK + s
            if start[x] <= time:
                time, code = start[x], first[x]
            if time != trial[x]:
                trial[x] = time
                push(keys, items, size, time, x)
                size += 1
            how[x] = code
    return count


@numba.njit(cache=True, nogil=True)
@no_type_check
def parents(weights, near, far, second, axes, times, how, order, nodes, shares, by_weights, by_lengths):
    """What decided every node: its time as a function of others' times, of weights and of axis times, to first order.

    Parameters
    ----------
    weights, near, far, second, axes, times, how
        As given to and left by `march`.
    order
        The nodes reached, early to late.
    nodes, shares
        Shape (n, 2 m), `nodes` holding -1; filled with parents and the derivatives of the time by theirs.
    by_weights, by_lengths
        Shapes (n, m), (n, d) or empty, holding 0; filled with the derivatives by the node's own weights and axis times.
    """
    m = weights.shape[1]
    known = np.full(len(times), np.inf)
    t, w, slots, behind = _room(m)
    for x in order:
        code = how[x]
        if code >= LINK:
            nodes[x, 0], shares[x, 0] = axes[x, code - LINK], 1.0
            by_lengths[x, (code - LINK) >> 1] = 1.0
        elif code > SEED:
            used, time = _upwind(x, known, weights, near, far, second and code == STENCIL, t, w, slots, behind)
            total, place = 0.0, 0
            for j in range(used):
                total += w[j] * (time - t[j])
            for j in range(used):
                late, which = time - t[j], slots[j] >> 1
                share = w[j] * late / total
                by_weights[x, which] = -0.5 * late * late * w[j] / (total * weights[x, which])
                nodes[x, place], shares[x, place] = near[x, slots[j]], share
                place += 1
                if behind[j] >= 0:  # the effective time is (4 T_1 - T_2) / 3
                    shares[x, place - 1] = share * 4.0 / 3.0
                    nodes[x, place], shares[x, place] = behind[j], -share / 3.0
                    place += 1
            for j in range(m):  # weights that are zero could grow
                if weights[x, j] == 0.0:
                    a, b = near[x, 2 * j], near[x, 2 * j + 1]
                    early = min(known[a] if a >= 0 else np.inf, known[b] if b >= 0 else np.inf)
                    if early < time:
                        by_weights[x, j] = -0.5 * (time - early) ** 2 / total
        known[x] = times[x]
