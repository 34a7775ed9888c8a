"""Stimulus (pacing) artifacts: find the spikes, bridge them."""

from collections.abc import Sequence

import numpy as np

from einthoven.core import InputError, Recording
from einthoven.core.errors import some

#: How many times steeper than its surroundings a spike must be. Measured: 17-31 on paced tank recordings, at most
#: 2.3 elsewhere in them and 1.6 in an unpaced recording.
STEEPNESS = 5.0


def stimulus_artifacts(
    recording: Recording, *, max_ms: float = 6.0, steepness: float = STEEPNESS
) -> tuple[tuple[float, float], ...]:
    """Return start and stop (ms) of every stimulus artifact, in order.

    The RMS slope over the leads is compared with its running median over a stretch more than twice as long as a
    spike: a QRS complex lifts the median as well, a spike does not.

    Parameters
    ----------
    recording
        Uniformly sampled, several leads, not low-pass filtered beforehand.
    max_ms
        Longest spike.
    steepness
        Ratio of slope to running median above which a frame belongs to a spike.

    Returns
    -------
    tuple of (start, stop)
        Times of the last frame before and the first after each spike; empty if there is none.
    """
    from scipy.ndimage import median_filter

    if recording.n_times < 16:
        return ()
    slope = np.sqrt((np.diff(recording.values, axis=1) ** 2).mean(axis=0))
    width = max(3, round((2 * max_ms + 1) / recording.dt) | 1)
    around = np.maximum(median_filter(slope, size=width), np.median(slope))
    steep = np.flatnonzero(slope > steepness * np.where(around > 0, around, np.inf))
    if not steep.size:
        return ()
    gap = max(2, round(max_ms / recording.dt))
    groups = np.split(steep, np.flatnonzero(np.diff(steep) > gap) + 1)
    return tuple((float(recording.times[g[0]]), float(recording.times[g[-1] + 1])) for g in groups)


def bridge_artifacts(recording: Recording, spans: Sequence[tuple[float, float]]) -> Recording:
    """Return the recording with straight lines across the given spans (ms), all sites alike.

    Parameters
    ----------
    recording
        Any quantity.
    spans
        As `stimulus_artifacts` returns them, perhaps found on other sites recorded at the same time.

    Raises
    ------
    InputError
        If a span lies outside the recording or covers all of it.
    """
    values = recording.values.copy()
    times = recording.times
    for start, stop in spans:
        inside = np.flatnonzero((times > start) & (times < stop))
        if start < times[0] or stop > times[-1] or inside.size >= recording.n_times - 2:
            raise InputError(
                f"cannot bridge {start:g}..{stop:g} ms: the recording spans {some((times[0], times[-1]))} ms; give "
                "spans inside it."
            )
        if inside.size:
            first, last = inside[0] - 1, inside[-1] + 1
            share = (times[inside] - times[first]) / (times[last] - times[first])
            step = values[:, [last]] - values[:, [first]]
            values[:, inside] = values[:, [first]] + step * share
    return recording.with_values(values)
