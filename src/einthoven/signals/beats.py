"""Beats: detection, segmentation, alignment, averaging, and the waves within one."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from einthoven.core import InputError, Recording
from einthoven.core.errors import some
from einthoven.signals.activation import peak_times
from einthoven.signals.filters import band_pass
from einthoven.signals.sampling import check_frames, sample_interval, sampling_rate_hz


def detect_beats(
    recording: Recording, *, band_hz: tuple[float, float] = (5.0, 30.0), refractory_ms: float = 250.0
) -> Float[np.ndarray, " n_beats"]:
    """Times of the R peaks, from all leads together.

    The leads are band-passed and scaled by their own typical peak (so that one loud or noisy lead
    does not decide), the root mean square over the leads of their slopes is averaged over 80 ms, and peaks above 0.3
    of the local height (median within 5 s, at least a third of the recording's) count. A peak within 400 ms of a
    steeper one and less than half as steep is a T wave. Times are those of the largest band-passed RMS potential of
    the median beat, aligned with each beat by cross-correlation.

    Parameters
    ----------
    recording
        Leads of at least one second, uniformly sampled.
    band_hz
        Where the QRS complex has its energy; the upper corner is lowered to 0.4 of the sampling rate if needed.
    refractory_ms
        Shortest interval between beats, ms.

    Returns
    -------
    ndarray
        Shape (n_beats,), ms, increasing, refined by a parabola; empty if nothing moves.

    Raises
    ------
    InputError
        If the recording is not uniform, or shorter than a second.

    Notes
    -----
    After Pan and Tompkins 1985 (doi:10.1109/TBME.1985.325532), on the RMS of all leads.
    """
    from scipy.ndimage import uniform_filter1d
    from scipy.signal import find_peaks

    dt = sample_interval(recording)
    check_frames(recording, int(np.ceil(1000.0 / dt)), "beat detection (one second)")
    high = min(band_hz[1], 0.4 * sampling_rate_hz(recording))
    wave = band_pass(recording, band_hz[0], high, order=2).values
    scale = _lead_scale(wave, round(1000.0 / dt))
    wave = scale * wave
    if not wave.any():
        return np.empty(0)
    steep = np.sqrt((np.gradient(wave, dt, axis=1) ** 2).mean(axis=0))
    activity = uniform_filter1d(steep, max(round(80.0 / dt), 1), mode="nearest")
    peaks, _ = find_peaks(activity, distance=max(round(refractory_ms / dt), 1))
    if peaks.size == 0:
        return np.empty(0)
    peaks = _tall(peaks, activity, dt)
    peaks = _without_t_waves(peaks, activity, dt)
    # the peak itself in a wider band: a narrow one rings behind the QRS complex
    wide = (0.4 * band_hz[0], min(2 * high, 0.45 * sampling_rate_hz(recording)))
    sharp = scale * band_pass(recording, *wide, order=2).values
    strength = np.sqrt((sharp**2).mean(axis=0))
    found = _refined(peaks, strength, recording.times, max(round(60.0 / dt), 1))
    return _same_deflection(found, recording.with_values(sharp))


def _same_deflection(peaks: np.ndarray, wave: Recording) -> np.ndarray:
    """Move every peak to the same deflection of the QRS complex, the largest of the median beat."""
    half = 80.0
    inside = (peaks - half >= wave.times[0]) & (peaks + half <= wave.times[-1])
    if inside.sum() < 3:
        return peaks
    beats = align_beats(segment_beats(wave, peaks[inside], before=half, after=half), max_shift_ms=60.0)
    median = np.sqrt((np.median(beats.values, axis=0) ** 2).mean(axis=0))[None]
    moved = peaks.copy()
    moved[inside] = beats.peaks + peak_times(median, beats.times)[0]
    return np.unique(moved)


def _lead_scale(wave: np.ndarray, per_second: int) -> np.ndarray:
    """Factors, shape (n_sites, 1), that scale leads by their typical peak: what one second in ten exceeds."""
    parts = np.array_split(np.abs(wave), max(wave.shape[1] // per_second, 1), axis=1)
    height = np.percentile([p.max(axis=1) for p in parts], 90, axis=0)
    live = height > 1e-6 * height.max() if height.size and height.max() > 0 else np.zeros(len(height), dtype=bool)
    noise = np.median(np.abs(wave), axis=1)
    # a lead without distinct peaks says nothing: those of white noise are about 4.5 times its median
    weight = np.where(live, np.clip(height / np.where(noise > 0, noise, np.inf) - 4.8, 0.05, 1.0), 0.0)
    weight = np.where(live & (noise == 0), 1.0, weight)
    return (weight / np.where(live, height, 1.0))[:, None]


def _tall(peaks: np.ndarray, activity: np.ndarray, dt: float) -> np.ndarray:
    heights = activity[peaks]
    # the local height: the median of the highest peak of each 1.5 s within 5 s
    width = max(round(1500.0 / dt), 1)
    top = np.array([activity[s : s + width].max() for s in range(0, max(len(activity) - width // 2, 1), width)])
    reach = 3
    level = np.array([np.median(top[max(i - reach, 0) : i + reach + 1]) for i in range(len(top))])
    # in a pause the local height is that of the noise: never go below a tenth of the height of beats anywhere
    level = np.maximum(level, np.percentile(top, 90) / 3)
    return peaks[heights > 0.3 * level[np.minimum(peaks // width, len(level) - 1)]]


def _without_t_waves(peaks: np.ndarray, activity: np.ndarray, dt: float) -> np.ndarray:
    kept: list[int] = []
    for peak in peaks.tolist():
        if kept and (peak - kept[-1]) * dt < 400.0:
            if activity[peak] < 0.5 * activity[kept[-1]]:
                continue
            if activity[kept[-1]] < 0.5 * activity[peak]:
                kept[-1] = peak
                continue
        kept.append(peak)
    return np.array(kept, dtype=int)


def _refined(peaks: np.ndarray, strength: np.ndarray, times: np.ndarray, reach: int) -> np.ndarray:
    """Times of the largest strength near each peak, by a parabola."""
    found = []
    for peak in peaks:
        low = max(peak - reach, 0)
        k = low + int(strength[low : peak + reach + 1].argmax())
        shift = 0.0
        if 0 < k < len(strength) - 1:
            left, top, right = strength[k - 1 : k + 2]
            curvature = left - 2 * top + right
            shift = float(np.clip(0.5 * (left - right) / curvature, -0.5, 0.5)) if curvature < 0 else 0.0
        found.append(times[k] + shift * (times[1] - times[0]))
    return np.unique(found)


@dataclass(frozen=True, eq=False)
class Beats:
    """Beats cut out of a recording.

    Parameters
    ----------
    values
        Shape (n_beats, n_sites, n_times), mV.
    times
        ms relative to each beat's peak, shape (n_times,).
    peaks
        ms in the recording, shape (n_beats,).
    source
        The recording (for names, quantity and reference).
    """

    values: Float[np.ndarray, "n_beats n_sites n_times"]
    times: Float[np.ndarray, " n_times"]
    peaks: Float[np.ndarray, " n_beats"]
    source: Recording

    def __len__(self) -> int:
        return len(self.peaks)

    def beat(self, k: int) -> Recording:
        """Return one beat as a recording, time zero at its peak."""
        return Recording(self.values[k], self.times, self.source.sites, self.source.quantity, self.source.reference)

    def select(self, keep: Bool[np.ndarray, " n_beats"]) -> "Beats":
        """Return the beats marked True."""
        return Beats(self.values[keep], self.times, self.peaks[keep], self.source)


def segment_beats(
    recording: Recording, peaks: Float[np.ndarray, " n_beats"], *, before: float = 250.0, after: float = 450.0
) -> Beats:
    """Cut out peak - before .. peak + after; beats that reach beyond the recording are left out.

    Values between samples are interpolated by a cubic spline, so that peaks need not fall on samples.

    Parameters
    ----------
    recording
        Uniformly sampled.
    peaks
        ms.
    before, after
        ms, positive.

    Returns
    -------
    Beats
        With the peaks that were used.

    Raises
    ------
    InputError
        If no beat fits.
    """
    from scipy.interpolate import make_interp_spline

    dt = sample_interval(recording)
    first, last = (np.floor(span / dt + 1e-6) for span in (before, after))  # multiples of dt stay what they are
    times = np.arange(-first, last + 1) * dt
    slack = 1e-9 * max(abs(recording.times[-1]), 1.0)
    whole = (peaks + times[0] >= recording.times[0] - slack) & (peaks + times[-1] <= recording.times[-1] + slack)
    if not whole.any():
        raise InputError(
            f"no beat fits: none of the {len(peaks)} peaks has {before:g} ms before and {after:g} ms after it within "
            f"{recording.times[0]:g}..{recording.times[-1]:g} ms. Shorten the window."
        )
    used = peaks[whole]
    check_frames(recording, 4, "cutting out beats")
    spline = make_interp_spline(recording.times, recording.values, k=3, axis=1)
    at = np.clip(used[:, None] + times, recording.times[0], recording.times[-1])
    return Beats(np.moveaxis(spline(at), 0, 1), times, used, recording)


def align_beats(beats: Beats, *, max_shift_ms: float = 30.0, rounds: int = 3) -> Beats:
    """Shift the peaks so that every beat correlates best with the median beat, all leads together.

    Parameters
    ----------
    beats
        From `segment_beats`.
    max_shift_ms
        Largest shift, ms.
    rounds
        How often the median beat is renewed.

    Returns
    -------
    Beats
        Cut anew at the shifted peaks (fractions of a sample, by a parabola); the order stays.
    """
    before, after = -beats.times[0], beats.times[-1]
    clock = beats.source.times
    low = np.maximum(beats.peaks - max_shift_ms, clock[0] + before)
    high = np.minimum(beats.peaks + max_shift_ms, clock[-1] - after)
    for _ in range(rounds):
        template = np.median(beats.values, axis=0)
        shift = np.array([_shift(b, template, beats, max_shift_ms) for b in beats.values])
        shift -= np.median(shift)
        if np.abs(shift).max() < 1e-3:
            break
        moved = np.clip(beats.peaks + shift, low, np.maximum(high, low))
        beats = segment_beats(beats.source, moved, before=before, after=after)
    return beats


def _shift(values: np.ndarray, template: np.ndarray, beats: Beats, limit: float) -> float:
    """Delay of a beat after the template, ms."""
    dt = float(beats.times[1] - beats.times[0])
    reach = min(max(round(limit / dt), 1), values.shape[1] // 2)
    size = 1 << int(np.ceil(np.log2(2 * values.shape[1])))
    a = values - values.mean(axis=1, keepdims=True)
    b = template - template.mean(axis=1, keepdims=True)
    product = np.fft.irfft((np.fft.rfft(a, size) * np.fft.rfft(b, size).conj()).sum(axis=0), size)
    near = product[np.arange(-reach, reach + 1)]
    k = int(near.argmax())
    if not 0 < k < len(near) - 1:
        return 0.0
    curvature = near[k - 1] - 2 * near[k] + near[k + 1]
    fraction = 0.5 * (near[k - 1] - near[k + 1]) / curvature if curvature < 0 else 0.0
    return (k - reach + fraction) * dt


def similar_beats(beats: Beats, *, min_correlation: float = 0.9) -> Bool[np.ndarray, " n_beats"]:
    """Which beats look like the median beat.

    A beat is kept if its correlation with the median beat over all leads is at least `min_correlation` and its
    norm is within a factor of two.

    Returns
    -------
    ndarray
        Shape (n_beats,).
    """
    centered = beats.values - beats.values.mean(axis=2, keepdims=True)
    template = np.median(centered, axis=0)
    norms = np.sqrt((centered**2).sum(axis=(1, 2)))
    size = float(np.sqrt((template**2).sum()))
    agreement = (centered * template).sum(axis=(1, 2)) / np.where(norms > 0, norms * size, np.inf)
    return (agreement >= min_correlation) & (norms < 2 * size) & (norms > 0.5 * size)


@dataclass(frozen=True, eq=False)
class AverageBeat:
    """The mean of the beats that look alike.

    Parameters
    ----------
    beat
        Time zero at the R peak.
    standard_error
        Of the mean, shape (n_sites, n_times), mV; NaN for a single beat.
    peaks
        Of the beats averaged, ms.
    rejected
        Peaks of those left out, ms.
    """

    beat: Recording
    standard_error: Float[np.ndarray, "n_sites n_times"]
    peaks: Float[np.ndarray, " n_used"]
    rejected: Float[np.ndarray, " n_rejected"]

    def __repr__(self) -> str:
        return f"AverageBeat(of {len(self.peaks)}, {len(self.rejected)} rejected, {self.beat!r})"


def average_beats(
    recording: Recording,
    peaks: Float[np.ndarray, " n_beats"] | None = None,
    *,
    before: float = 250.0,
    after: float = 450.0,
    min_correlation: float = 0.9,
) -> AverageBeat:
    """Detect, cut, align, reject and average.

    Parameters
    ----------
    recording
        Filtered leads.
    peaks
        R peaks, ms; detected if not given.
    before, after
        Window around the peak, ms.
    min_correlation
        As in `similar_beats`.

    Returns
    -------
    AverageBeat
        The mean and what it was made of.

    Raises
    ------
    InputError
        If there is no beat, or none agrees with the median beat.
    """
    if peaks is None:
        peaks = detect_beats(recording)
    if len(peaks) == 0:
        raise InputError("no beat was found in the recording; give the times of the R peaks.")
    beats = align_beats(segment_beats(recording, peaks, before=before, after=after))
    keep = similar_beats(beats, min_correlation=min_correlation)
    if not keep.any():
        raise InputError(
            f"none of the {len(beats)} beats (at {some(f'{p:.0f}' for p in beats.peaks)} ms) correlates with their "
            f"median by {min_correlation:g}; lower min_correlation or select beats of one kind."
        )
    used = beats.select(keep)
    mean = Recording(used.values.mean(axis=0), used.times, recording.sites, recording.quantity, recording.reference)
    n = len(used)
    error = used.values.std(axis=0, ddof=1) / np.sqrt(n) if n > 1 else np.full(mean.values.shape, np.nan)
    return AverageBeat(mean, error, used.peaks, beats.peaks[~keep])


@dataclass(frozen=True)
class Waves:
    """Fiducial times of one beat, ms; NaN where not found, as then are the intervals made of them.

    Parameters
    ----------
    qrs_onset, qrs_peak, qrs_offset
        Of the QRS complex.
    t_peak, t_end
        Of the T wave.
    """

    qrs_onset: float
    qrs_peak: float
    qrs_offset: float
    t_peak: float
    t_end: float

    @property
    def qrs_duration(self) -> float:
        """Offset minus onset, ms."""
        return self.qrs_offset - self.qrs_onset

    @property
    def qt(self) -> float:
        """T end minus QRS onset, ms."""
        return self.t_end - self.qrs_onset


def delineate(beat: Recording, *, qrs_peak: float | None = None) -> Waves:
    """Estimate QRS onset and offset and the end of the T wave of one beat, all leads together.

    Onset and offset: where the RMS slope over the leads leaves and returns to the level of its quiet parts for at
    least 12 ms, searched from the steepest part of the QRS complex outwards, 150 ms before it and 180 ms behind it; NaN
    where there is no such quiet part. T peak: largest RMS potential (against the level before the QRS complex) after
    the offset, so none where onset or offset is missing. T end: the largest trapezium area on the RMS potential behind
    the T peak (Vazquez-Seisdedos et al. 2011, doi:10.1186/1475-925X-10-80).

    Parameters
    ----------
    beat
        One beat, uniformly sampled, filtered.
    qrs_peak
        Where the QRS complex is, ms; default: the steepest RMS slope.

    Returns
    -------
    Waves
        Times in the beat's own clock.

    Raises
    ------
    InputError
        If the beat is not uniformly sampled or shorter than 200 ms, or `qrs_peak` lies outside of it.
    """
    from scipy.ndimage import gaussian_filter1d

    dt = sample_interval(beat)
    check_frames(beat, int(np.ceil(200.0 / dt)), "delineation (200 ms)")
    if qrs_peak is not None and not beat.times[0] <= qrs_peak <= beat.times[-1]:
        raise InputError(
            f"the QRS complex at {qrs_peak:g} ms lies outside the beat, {beat.times[0]:g}..{beat.times[-1]:g} ms; give "
            "its time in the beat's own clock."
        )
    smooth = gaussian_filter1d(beat.values, 2.0 / dt, axis=1, mode="nearest")
    steep = np.sqrt((np.gradient(smooth, dt, axis=1) ** 2).mean(axis=0))
    if not steep.any():
        return Waves(*[float("nan")] * 5)
    near = np.ones(beat.n_times, dtype=bool) if qrs_peak is None else np.abs(beat.times - qrs_peak) <= 80.0
    center = int(np.where(near, steep, -1.0).argmax())
    before, after = steep[: center + 1][::-1][: round(150 / dt)], steep[center:][: round(180 / dt)]
    back, ahead = (_first_quiet(side, steep[center], dt) for side in (before, after))
    start = center - (len(before) - 1 if back is None else back)
    stop = center + (len(after) - 1 if ahead is None else ahead)
    level = np.median(smooth[:, max(start - round(20 / dt), 0) : start + 1], axis=1, keepdims=True)
    power = np.sqrt(((smooth - level) ** 2).mean(axis=0))
    peak = start + int(power[start : stop + 1].argmax())
    t_peak, t_end = (None, None) if back is None or ahead is None else _t_wave(power, stop, dt)
    found = (None if back is None else start, peak, None if ahead is None else stop, t_peak, t_end)
    return Waves(*(float("nan") if k is None else float(beat.times[k]) for k in found))


def _threshold(side: np.ndarray, top: float) -> float:
    """Level of the quiet part plus 5 % of the way to the top."""
    quiet = float(np.percentile(side, 25)) if side.size else 0.0
    return quiet + 0.05 * max(top - quiet, 0.0)


def _first_quiet(side: np.ndarray, top: float, dt: float) -> int | None:
    """First frame from which the slope stays below the threshold for 12 ms; None if there is none."""
    low = side < _threshold(side, top)
    width = max(round(12.0 / dt), 1)
    run = np.convolve(low, np.ones(width), mode="full")[: len(low)]
    done = np.flatnonzero(run >= width)
    return int(done[0]) - width + 1 if done.size else None


def _t_wave(power: np.ndarray, offset: int, dt: float) -> tuple[int | None, int | None]:
    start = offset + round(40.0 / dt)
    if start >= len(power) - 3:
        return None, None
    peak = start + int(power[start:].argmax())
    if not start < peak < len(power) - round(20.0 / dt):
        return None, None
    # steepest descent behind the peak, then the trapezium of largest area up to the end of the search
    last = min(peak + round(250.0 / dt), len(power) - 1)
    fall = peak + int(np.gradient(power)[peak : last + 1].argmin())
    k = np.arange(fall, last + 1)
    area = 0.5 * (power[fall] - power[k]) * (2 * last - fall - k)
    return peak, fall + int(area.argmax())
