"""Zero-phase filters and baseline removal, recording in, recording out."""

from collections.abc import Sequence

import numpy as np

from einthoven.core import InputError, Recording
from einthoven.core.errors import some
from einthoven.signals.sampling import check_frames, sample_interval, sampling_rate_hz


def low_pass(recording: Recording, high_hz: float, *, order: int = 4) -> Recording:
    """Zero-phase Butterworth low-pass.

    The filter runs forwards and backwards: its gain is |H|^2, so 1/2 (-6 dB) at `high_hz`.

    Parameters
    ----------
    recording
        Uniformly sampled.
    high_hz
        Corner frequency, Hz; below half the sampling rate.
    order
        Order of one pass.

    Raises
    ------
    InputError
        If the corner is not between 0 and Nyquist's frequency, or the recording is not uniform or too short.
    """
    return _butterworth(recording, (high_hz,), "lowpass", order)


def high_pass(recording: Recording, low_hz: float, *, order: int = 2) -> Recording:
    """Zero-phase Butterworth high-pass; gain 1/2 at `low_hz`.

    Refuses a recording shorter than one period of the corner: there is no baseline to tell from the signal.

    Parameters and errors are those of `low_pass`.
    """
    return _butterworth(recording, (low_hz,), "highpass", order)


def band_pass(recording: Recording, low_hz: float, high_hz: float, *, order: int = 4) -> Recording:
    """Zero-phase Butterworth band-pass; gain 1/2 at both corners.

    Parameters and errors are those of `low_pass`; `low_hz` must be below `high_hz`.
    """
    if not low_hz < high_hz:
        raise InputError(f"a band-pass needs low_hz < high_hz; got {low_hz:g} and {high_hz:g} Hz.")
    return _butterworth(recording, (low_hz, high_hz), "bandpass", order)


def _butterworth(recording: Recording, corners: tuple[float, ...], kind: str, order: int) -> Recording:
    from scipy.signal import butter, sosfiltfilt

    rate = sampling_rate_hz(recording)
    for corner in corners:
        _check_corner(corner, rate)
    if order < 1:
        raise InputError(f"the order of a filter must be at least 1; got {order}.")
    sections = np.asarray(butter(order, np.squeeze(corners), btype=kind, fs=rate, output="sos"))
    # three periods of the slowest corner of reflected signal; at least three times the filter's length
    ring = int(np.ceil(3 * rate / min(corners)))
    least = 3 * (2 * len(sections) + 1)
    if kind != "lowpass":
        _check_period(recording, min(corners))
    check_frames(recording, least + 1, f"a filter of order {order}")
    pad = min(max(least, ring), recording.n_times - 1)
    return recording.with_values(sosfiltfilt(sections, recording.values, axis=1, padlen=pad))


def _check_corner(corner: float, rate: float) -> None:
    if not 0 < corner < rate / 2:
        raise InputError(
            f"a corner frequency must be between 0 and {rate / 2:g} Hz, half the sampling rate of {rate:g} Hz; got "
            f"{corner:g} Hz. Lower it, or sample faster."
        )


def _check_period(recording: Recording, corner: float) -> None:
    length = recording.n_times * sample_interval(recording)
    if length < 1000.0 / corner:
        raise InputError(
            f"the recording is too short ({length:g} ms) for a corner of {corner:g} Hz: it needs one period, "
            f"{1000.0 / corner:g} ms. Filter before cutting out the beat, or use subtract_level on its PQ segment."
        )


def notch(recording: Recording, mains_hz: float = 50.0, *, harmonics: int = 3, quality: float = 30.0) -> Recording:
    """Remove mains interference and its multiples, zero-phase.

    Parameters
    ----------
    recording
        Uniformly sampled.
    mains_hz
        50 or 60 Hz.
    harmonics
        How many multiples to remove, the fundamental included; those beyond Nyquist's frequency do not exist
        and are left out.
    quality
        Center frequency over width of one pass.

    Raises
    ------
    InputError
        If `mains_hz` is not between 0 and Nyquist's frequency, or the recording is not uniform or too short.
    """
    from scipy.signal import filtfilt, iirnotch

    rate = sampling_rate_hz(recording)
    _check_corner(mains_hz, rate)
    if harmonics < 1 or not quality > 0:
        raise InputError(
            f"a notch needs at least one harmonic and a positive quality; got "
            f"{harmonics} harmonics, quality {quality:g}."
        )
    _check_period(recording, mains_hz / 5)
    values = recording.values
    for multiple in range(1, harmonics + 1):
        if multiple * mains_hz < rate / 2:
            b, a = iirnotch(multiple * mains_hz, quality * multiple, fs=rate)
            # Gustafsson's initial states: no reflected signal, whose phase would be wrong for a sinusoid
            values = filtfilt(b, a, values, axis=1, method="gust")
    return recording.with_values(values)


def remove_baseline_spline(recording: Recording, knots: Sequence[float], *, half_width: float = 5.0) -> Recording:
    """Subtract the cubic spline through isoelectric points.

    Outside the first and last knot the baseline keeps its value there.

    Parameters
    ----------
    recording
        Any sampling.
    knots
        Times of isoelectric points (PQ segments), ms, increasing, at least two.
    half_width
        The level at a knot is the mean within +- this, ms.

    Raises
    ------
    InputError
        If knots are fewer than two, not increasing, or outside the recording.
    """
    from scipy.interpolate import CubicSpline

    times = np.asarray(knots, dtype=np.float64)
    if times.size < 2 or (np.diff(times) <= 0).any():
        raise InputError(
            f"a spline baseline needs at least two increasing knots (ms); got {some(times)}. For one isoelectric "
            "segment use subtract_level."
        )
    outside = times[(times < recording.times[0]) | (times > recording.times[-1])]
    if outside.size:
        raise InputError(
            f"knots {some(outside)} ms lie outside the recording, {recording.times[0]:g}..{recording.times[-1]:g} ms."
        )
    levels = np.stack([_level(recording, t - half_width, t + half_width, nearest=t) for t in times], axis=1)
    spline = CubicSpline(times, levels, axis=1, bc_type="natural" if times.size < 4 else "not-a-knot")
    return recording.with_values(recording.values - spline(np.clip(recording.times, times[0], times[-1])))


def _level(recording: Recording, start: float, stop: float, *, nearest: float) -> np.ndarray:
    inside = (recording.times >= start) & (recording.times <= stop)
    if not inside.any():
        inside = np.arange(recording.n_times) == np.abs(recording.times - nearest).argmin()
    return recording.values[:, inside].mean(axis=1)


def remove_baseline_median(recording: Recording, *, windows: tuple[float, float] = (200.0, 600.0)) -> Recording:
    """Subtract a moving median of a moving median.

    The first window removes QRS complex and P wave, the second the T wave; what is left is the baseline
    (de Chazal et al. 2004, doi:10.1109/TBME.2004.827359). Ends are reflected.

    Parameters
    ----------
    recording
        Uniformly sampled, longer than the longer window.
    windows
        Widths, ms.

    Raises
    ------
    InputError
        If the recording is not uniform or shorter than a window.
    """
    from scipy.ndimage import median_filter

    dt = sample_interval(recording)
    baseline = recording.values
    for width in windows:
        size = 2 * int(width / dt / 2) + 1
        if size > recording.n_times:
            raise InputError(
                f"the recording ({recording.n_times * dt:g} ms) is shorter than the median's window of {width:g} ms. "
                "Filter before cutting out the beat, or use subtract_level on its PQ segment."
            )
        baseline = median_filter(baseline, size=(1, size), mode="reflect")
    return recording.with_values(recording.values - baseline)


def subtract_level(recording: Recording, start: float, stop: float) -> Recording:
    """Subtract from every lead its mean within start..stop (ms): the PQ level of a single beat.

    Raises
    ------
    InputError
        If the window holds no frame.
    """
    return recording.with_values(recording.values - recording.window(start, stop).values.mean(axis=1, keepdims=True))
