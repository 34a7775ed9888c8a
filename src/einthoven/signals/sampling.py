"""Sampling of a recording: rate, uniformity, length."""

import numpy as np

from einthoven.core import InputError, Recording


def sample_interval(recording: Recording) -> float:
    """Return the time step of a uniformly sampled recording, ms.

    Raises
    ------
    InputError
        If there are fewer than two frames, or the steps differ by more than 1 %.
    """
    check_frames(recording, 2, "a sampling rate")
    steps = np.diff(recording.times)
    off = np.flatnonzero(np.abs(steps - recording.dt) > 0.01 * recording.dt)
    if off.size:
        k = int(off[0])
        raise InputError(
            f"the recording must be sampled uniformly; the step after {recording.times[k]:g} ms is {steps[k]:g} ms, "
            f"the median {recording.dt:g} ms ({off.size} steps differ). Resample it first."
        )
    return (recording.times[-1] - recording.times[0]) / (recording.n_times - 1)


def sampling_rate_hz(recording: Recording) -> float:
    """Return the sampling rate of a uniformly sampled recording, Hz."""
    return 1000.0 / sample_interval(recording)


def check_frames(recording: Recording, least: int, what: str) -> None:
    """Raise `InputError` if the recording has fewer than `least` frames."""
    if recording.n_times < least:
        raise InputError(f"{what} needs at least {least} frames; the recording has {recording.n_times}.")
