"""Which frames an operator is calibrated on, and which are held out to judge it."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from einthoven.core import InputError, Recording

#: Fewest frames to calibrate or to judge on.
LEAST_FRAMES = 30

#: Before the QRS complex this much is taken with it, behind it nothing, ms.
GAP = 10.0

#: Where no end of the T wave is found, it is taken to be over this long after the QRS complex, ms.
BEHIND = 250.0


class Split(NamedTuple):
    """Frames to calibrate on and frames held out.

    Parameters
    ----------
    name
        ``"first half -> second half"``.
    fit, test
        Positions of frames in the recording; none is in both.
    """

    name: str
    fit: Int[np.ndarray, " n_fit"]
    test: Int[np.ndarray, " n_test"]


def splits(
    recording: Recording, fit: tuple[float, float] | None, test: tuple[float, float] | None
) -> tuple[Split, ...]:
    """What is asked for, or halves both ways and, where it is found, QRS complex and ST segment with T wave both ways.

    Raises
    ------
    InputError
        If windows overlap, lie outside of the recording or hold too few frames.
    """
    if fit is None:
        if test is not None:
            raise InputError("--test needs --fit: say which frames to calibrate on, or leave both out.")
        return _by_default(recording)
    chosen = _within(recording, fit, "--fit")
    if test is None:
        held = np.setdiff1d(np.arange(recording.n_times), chosen)
        _enough(held, "the frames outside of --fit")
        return (Split(f"{_span(fit)} -> all others", chosen, held),)
    held = _within(recording, test, "--test")
    shared = np.intersect1d(chosen, held)
    if shared.size:
        raise InputError(
            f"--fit {_span(fit)} and --test {_span(test)} share {len(shared)} frames; a calibration is judged on "
            "frames that it has not seen. Give windows that do not overlap."
        )
    return (Split(f"{_span(fit)} -> {_span(test)}", chosen, held),)


def _by_default(recording: Recording) -> tuple[Split, ...]:
    frames = np.arange(recording.n_times)
    _enough(frames[: len(frames) // 2], "half of the recording")
    pairs = [("first half", frames[: len(frames) // 2], "second half", frames[len(frames) // 2 :])]
    waves = _waves(recording)
    if waves is not None:
        pairs.append(("QRS", waves[0], "ST-T", waves[1]))
    found = []
    for one, first, other, second in pairs:
        found += [Split(f"{one} -> {other}", first, second), Split(f"{other} -> {one}", second, first)]
    return tuple(found)


def _waves(recording: Recording) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " m"]] | None:
    """Frames of the QRS complex and of what follows, as the leads alone show them; None where it is not found."""
    from einthoven.signals.beats import delineate

    try:
        waves = delineate(recording)
    except InputError:
        return None
    if not np.isfinite([waves.qrs_onset, waves.qrs_offset]).all():
        return None
    t = recording.times
    qrs = np.flatnonzero((t >= waves.qrs_onset - GAP) & (t <= waves.qrs_offset))
    end = waves.t_end if np.isfinite(waves.t_end) else waves.qrs_offset + BEHIND
    behind = np.flatnonzero((t > waves.qrs_offset + GAP) & (t <= end))
    return (qrs, behind) if min(len(qrs), len(behind)) >= LEAST_FRAMES else None


def _within(recording: Recording, window: tuple[float, float], option: str) -> Int[np.ndarray, " n"]:
    first, last = float(recording.times[0]), float(recording.times[-1])
    if not first <= window[0] < window[1] <= last:
        raise InputError(f"{option} {_span(window)} must lie within the recording, {first:g} to {last:g} ms.")
    frames = np.flatnonzero((recording.times >= window[0]) & (recording.times <= window[1]))
    _enough(frames, f"{option} {_span(window)}")
    return frames


def _enough(frames: Int[np.ndarray, " n"], what: str) -> None:
    if len(frames) < LEAST_FRAMES:
        raise InputError(f"{what}: holds {len(frames)} frames; calibrating and judging need {LEAST_FRAMES} or more.")


def _span(window: tuple[float, float]) -> str:
    return f"{window[0]:g}:{window[1]:g}"
