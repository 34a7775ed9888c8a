"""Compiled sums of a lead field over bins of activation time. Imported only by functions that use them."""

from typing import no_type_check

import numba


@numba.njit(cache=True, nogil=True)
@no_type_check
def to_bins(places, classes, upstroke, rest, bins_upstroke, bins_rest):
    """Add every node's row to the two bins around its time, and to those of the two classes around its duration.

    Parameters
    ----------
    places
        Shape (n,): time of each node in bins, a real number.
    classes
        Shape (n,): duration of each node in classes, a real number.
    upstroke, rest
        Shape (n, n_leads): rows.
    bins_upstroke, bins_rest
        Shapes (n_bins, n_leads) and (n_classes, n_bins, n_leads): added to.
    """
    n_leads, last = upstroke.shape[1], len(bins_rest) - 1
    for k in range(len(places)):
        i = int(places[k])
        f = places[k] - i
        for m in range(n_leads):
            bins_upstroke[i, m] += (1.0 - f) * upstroke[k, m]
            bins_upstroke[i + 1, m] += f * upstroke[k, m]
        if last < 0:
            continue
        j = int(classes[k])
        h = classes[k] - j
        above = min(j + 1, last)
        for m in range(n_leads):
            early, late = (1.0 - f) * rest[k, m], f * rest[k, m]
            bins_rest[j, i, m] += (1.0 - h) * early
            bins_rest[j, i + 1, m] += (1.0 - h) * late
            bins_rest[above, i, m] += h * early
            bins_rest[above, i + 1, m] += h * late


@numba.njit(cache=True, nogil=True)
@no_type_check
def changes_to_bins(places, classes, changes, upstroke, rest, bins_upstroke, bins_rest):
    """Add what `to_bins` would add more if the places changed by so little: its derivative along `changes`."""
    n_leads, last = upstroke.shape[1], len(bins_rest) - 1
    for k in range(len(places)):
        i = int(places[k])
        for m in range(n_leads):
            moved = changes[k] * upstroke[k, m]
            bins_upstroke[i, m] -= moved
            bins_upstroke[i + 1, m] += moved
        if last < 0:
            continue
        j = int(classes[k])
        h = classes[k] - j
        above = min(j + 1, last)
        for m in range(n_leads):
            moved = changes[k] * rest[k, m]
            bins_rest[j, i, m] -= (1.0 - h) * moved
            bins_rest[j, i + 1, m] += (1.0 - h) * moved
            bins_rest[above, i, m] -= h * moved
            bins_rest[above, i + 1, m] += h * moved


@numba.njit(cache=True, nogil=True)
@no_type_check
def from_bins(places, classes, upstroke, rest, of_upstroke, of_rest, out):
    """Fill `out` with derivatives by `places`, from those by the bins: the reverse of `to_bins`."""
    n_leads, last = upstroke.shape[1], len(of_rest) - 1
    for k in range(len(places)):
        i = int(places[k])
        total = 0.0
        for m in range(n_leads):
            total += upstroke[k, m] * (of_upstroke[i + 1, m] - of_upstroke[i, m])
        if last >= 0:
            j = int(classes[k])
            h = classes[k] - j
            above = min(j + 1, last)
            for m in range(n_leads):
                low = of_rest[j, i + 1, m] - of_rest[j, i, m]
                high = of_rest[above, i + 1, m] - of_rest[above, i, m]
                total += rest[k, m] * ((1.0 - h) * low + h * high)
        out[k] = total
