"""Compiled kernels of the search for early sites.

Imported only by functions that use them, so that importing the package stays cheap.
"""

from typing import no_type_check

import numba
import numpy as np

#: Columns of what a chain remembers of its best waves: log slowness, number of the table, gain.
SLOWNESS, TABLE, GAIN = 0, 1, 2


@numba.njit(cache=True, nogil=True, fastmath=True)
@no_type_check
def _activation(table, candidates, onsets, n_sites, slowness, times):
    """First arrival from all sites, in bins."""
    times[:] = np.float32(1e9)
    for k in range(n_sites):
        row, onset = table[candidates[k]], np.float32(onsets[k])
        for i in range(times.size):
            time = row[i] * slowness + onset
            if time < times[i]:
                times[i] = time


@numba.njit(cache=True, nogil=True, fastmath=True)
@no_type_check
def _binned(times, lead_field, bins):
    """Add every patch's lead field to the bins around its activation time."""
    bins[:] = 0
    last = bins.shape[0] - 2
    for i in range(times.size):
        place = max(times[i], np.float32(0))
        if place > last:
            continue
        b = int(place)
        share = place - np.float32(b)
        for k in range(bins.shape[1]):
            value = lead_field[i, k]
            bins[b, k] += value * (1 - share)
            bins[b + 1, k] += value * share


@numba.njit(cache=True, nogil=True, fastmath=True)
@no_type_check
def _products(upstroke, bins, data, ecg):
    """(ecg . ecg) and (ecg . data) of the ECG upstroke @ bins."""
    own, both = 0.0, 0.0
    for t in range(upstroke.shape[0]):
        ecg[:] = 0
        for b in range(bins.shape[0]):
            value = upstroke[t, b]
            if value != 0:
                for k in range(ecg.size):
                    ecg[k] += value * bins[b, k]
        for k in range(ecg.size):
            own += ecg[k] * ecg[k]
            both += ecg[k] * data[t, k]
    return own, both


@numba.njit(cache=True, nogil=True)
@no_type_check
def energy(wave, state, problem, work):
    """Return n / 2 log |g A - y|^2 / |y|^2 with the best gain g, and the gain.

    Added are a price per site and what is known of speeds and gain. wave: (candidates, onsets in bins); state: (number
    of sites, log slowness, table).
    """
    candidates, onsets = wave
    n_sites, slowness, table = state
    tables, lead_field, upstroke, data, numbers = problem
    size, n_data, price, speeds_spread, gain_spread, table_step = numbers
    times, bins, ecg = work
    _activation(tables[table], candidates, onsets, n_sites, np.float32(np.exp(slowness)), times)
    _binned(times, lead_field, bins)
    own, both = _products(upstroke, bins, data, ecg)
    # the gain that fits best, drawn to 1 as if the misfit were a fiftieth of the power
    pull = 0.02 * size / n_data / gain_spread**2
    gain = min(max((both + pull) / (own + pull), 0.2), 5.0)
    rest = max(size - 2 * gain * both + gain * gain * own, 1e-6 * size)
    total = 0.5 * n_data * np.log(rest / size) + price * n_sites
    total += 0.5 * (slowness / speeds_spread) ** 2 + 0.5 * (np.log(gain) / gain_spread) ** 2
    return total + 0.5 * (table_step * (table - tables.shape[0] // 2) / speeds_spread) ** 2, gain


@numba.njit(cache=True, nogil=True)
@no_type_check
def _propose(rng, wave, state, near, n_tables, limits, trial):
    """Fill `trial` with a changed wave and return its state; number of sites 0: nothing to try."""
    candidates, onsets = trial
    candidates[:], onsets[:] = wave[0], wave[1]
    n, slowness, table = state
    least, most, bins_per_ms = limits
    dice, k = rng.random(), rng.integers(0, n)
    if dice < 0.35:  # to a neighbor
        candidates[k] = near[candidates[k], rng.integers(0, near.shape[1])]
        if rng.random() < 0.5:
            onsets[k] += 3 * bins_per_ms * rng.standard_normal()
    elif dice < 0.5:  # anywhere
        candidates[k] = rng.integers(0, near.shape[0])
        onsets[k] += 6 * bins_per_ms * rng.standard_normal()
    elif dice < 0.7:  # in time
        onsets[k] += 4 * bins_per_ms * rng.standard_normal()
    elif dice < 0.75:  # all in time
        onsets[:n] += 3 * bins_per_ms * rng.standard_normal()
    elif dice < 0.8:
        slowness += 0.08 * rng.standard_normal()
    elif dice < 0.83:
        table = rng.integers(0, n_tables)
    elif dice < 0.915:  # one more
        if n == most:
            return 0, slowness, table
        candidates[n] = rng.integers(0, near.shape[0])
        onsets[n] = onsets[k] + 8 * bins_per_ms * rng.standard_normal()
        n += 1
    else:  # one less
        if n == least:
            return 0, slowness, table
        candidates[k : n - 1], onsets[k : n - 1] = wave[0][k + 1 : n], wave[1][k + 1 : n]
        n -= 1
    return n, slowness, table


@numba.njit(cache=True, nogil=True)
@no_type_check
def anneal(rng, n_steps, heat, numbers_of_sites, window, near, problem):
    """Metropolis steps that change sites, onsets, speeds and the number of sites, while it gets colder.

    heat: first and last temperature; numbers_of_sites: least, most; window: first and last onset and bins per ms.
    Returns by number of sites the best energy, candidates, onsets (bins) and (log slowness, table, gain).
    """
    least, most = numbers_of_sites
    first, last, bins_per_ms = window
    tables, lead_field, upstroke = problem[:3]
    work = (
        np.empty(tables.shape[2], np.float32),
        np.empty((upstroke.shape[1], lead_field.shape[1]), np.float32),
        np.empty(lead_field.shape[1], np.float32),
    )
    wave = (rng.integers(0, near.shape[0], most), first + 0.4 * (last - first) * rng.random(most))
    trial = (wave[0].copy(), wave[1].copy())
    state = (min(max(3, least), most), 0.0, tables.shape[0] // 2)
    now, gain = energy(wave, state, problem, work)
    best = np.full(most + 1, np.inf)
    sites, onsets = np.zeros((most + 1, most), np.int64), np.zeros((most + 1, most))
    others = np.zeros((most + 1, 3))
    for step in range(n_steps):
        new = _propose(rng, wave, state, near, tables.shape[0], (least, most, bins_per_ms), trial)
        n = new[0]
        if n == 0 or trial[1][:n].min() < first or trial[1][:n].max() > last:
            continue
        then, gain = energy(trial, new, problem, work)
        cold = heat[0] * (heat[1] / heat[0]) ** (step / max(n_steps - 1, 1))
        if then < now or rng.random() < np.exp((now - then) / cold):
            wave[0][:], wave[1][:] = trial[0], trial[1]
            state, now = new, then
            if now < best[n]:
                best[n] = now
                sites[n], onsets[n] = wave[0], wave[1]
                others[n, SLOWNESS], others[n, TABLE], others[n, GAIN] = state[1], state[2], gain
    return best, sites, onsets, others
