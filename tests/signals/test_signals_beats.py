import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einthoven.core import InputError, Recording
from einthoven.signals import (
    align_beats,
    average_beats,
    delineate,
    detect_beats,
    high_pass,
    low_pass,
    segment_beats,
    similar_beats,
)

TIMES = np.arange(0.0, 12000.0, 2.0)
LEADS = ("I", "II", "V1", "V5")
#: Center (ms after the R peak), width (ms) and amplitude per lead (mV): P, Q, R, S, T.
WAVES = (
    (-170.0, 22.0, (0.1, 0.15, 0.05, 0.1)),
    (-22.0, 7.0, (-0.1, -0.05, 0.0, -0.1)),
    (0.0, 9.0, (0.8, 1.1, 0.3, 1.4)),
    (24.0, 8.0, (-0.2, -0.1, -0.9, -0.2)),
    (280.0, 45.0, (0.25, 0.35, -0.1, 0.45)),
)


def ecg(peaks, *, times=TIMES, noise=0.0, drift=0.0, seed=0, shapes=WAVES):
    rng = np.random.default_rng(seed)
    values = noise * rng.normal(size=(len(LEADS), times.size)) + drift * np.sin(2 * np.pi * times / 7000)
    for peak in peaks:
        for center, width, amplitudes in shapes:
            values = values + np.outer(amplitudes, np.exp(-(((times - peak - center) / width) ** 2)))
    return Recording(values, times, LEADS, "ecg", "wilson")


@given(
    st.lists(st.floats(420.0, 1100.0), min_size=8, max_size=12),
    st.floats(0.0, 0.05),
    st.floats(0.0, 1.0),
    st.integers(0, 100),
)
@settings(max_examples=15)
def test_known_beats_are_found_where_they_are(intervals, noise, drift, seed):
    peaks = 400.0 + np.cumsum(intervals)
    peaks = peaks[peaks < TIMES[-1] - 400]
    found = detect_beats(ecg(peaks, noise=noise, drift=drift, seed=seed))
    assert len(found) == len(peaks)
    offset = found - peaks
    assert np.abs(offset).max() < 12.0  # the largest deflection of all leads together, near the R peak of each
    assert np.ptp(offset) < 6.0


def test_one_noisy_or_loud_lead_does_not_decide():
    peaks = np.arange(700.0, 11500.0, 800.0)
    clean = ecg(peaks, noise=0.01)
    values = clean.values.copy()
    values[0] = 5.0 * np.random.default_rng(1).normal(size=TIMES.size)
    np.testing.assert_allclose(detect_beats(clean.with_values(values)), peaks, atol=8.0)


def test_gain_and_order_of_leads_do_not_matter():
    source = ecg(np.arange(700.0, 11500.0, 800.0), noise=0.02)
    found = detect_beats(source)
    np.testing.assert_allclose(detect_beats(source.with_values(100 * source.values)), found, atol=1e-6)
    np.testing.assert_allclose(detect_beats(source.select(LEADS[::-1])), found, atol=1e-6)


def test_a_flat_recording_has_no_beats():
    assert detect_beats(ecg(())).size == 0


def test_segments_are_cut_at_fractions_of_a_sample_and_ends_left_out():
    peaks = np.array([100.0, 2000.7, 5000.0, 11900.0])
    source = Recording(np.sin(2 * np.pi * TIMES / 400)[None], TIMES, ("I",), "ecg")
    beats = segment_beats(source, peaks, before=200.0, after=300.0)
    np.testing.assert_array_equal(beats.peaks, [2000.7, 5000.0])
    assert len(beats) == 2
    assert beats.times[0] == -200.0
    assert beats.times[-1] == 300.0
    expected = np.sin(2 * np.pi * (2000.7 + beats.times) / 400)
    np.testing.assert_allclose(beats.values[0, 0], expected, atol=1e-6)
    np.testing.assert_array_equal(beats.beat(1).values, beats.values[1])


def test_alignment_undoes_jitter_of_the_peaks():
    true = np.arange(700.0, 11000.0, 900.0)
    jitter = np.random.default_rng(4).uniform(-15, 15, len(true))
    aligned = align_beats(segment_beats(ecg(true, noise=0.01), true + jitter))
    moved = aligned.peaks - true
    assert np.ptp(jitter) > 20
    assert np.ptp(moved) < 0.5
    assert abs(np.median(moved)) < 8.0


def test_odd_beats_are_rejected_and_the_mean_has_less_noise():
    peaks = np.arange(700.0, 11500.0, 700.0)
    odd = peaks[4]
    wide = tuple((c, 3 * w, tuple(-1.5 * a for a in amplitudes)) for c, w, amplitudes in WAVES[1:4])
    normal = ecg(np.delete(peaks, 4), noise=0.05)
    source = normal.with_values(normal.values + ecg((odd,), shapes=wide).values)
    average = average_beats(source, peaks)
    assert len(average.rejected) == 1
    assert abs(average.rejected[0] - odd) < 30
    assert len(average.peaks) == len(peaks) - 1
    clean = ecg((0.0,), times=average.beat.times)
    error = (average.beat.values - clean.values).std()
    assert error == pytest.approx(0.05 / np.sqrt(len(average.peaks)), rel=0.35)
    assert np.median(average.standard_error) == pytest.approx(0.05 / np.sqrt(len(average.peaks)), rel=0.15)
    assert "rejected" in repr(average)


def test_similar_beats_need_shape_and_size():
    beats = segment_beats(ecg(np.arange(700.0, 9000.0, 800.0)), np.arange(700.0, 9000.0, 800.0))
    values = beats.values.copy()
    values[2] *= 3.0
    values[5] *= -1.0
    keep = similar_beats(type(beats)(values, beats.times, beats.peaks, beats.source))
    assert np.flatnonzero(~keep).tolist() == [2, 5]


def test_waves_of_a_known_beat():
    beat = ecg((0.0,), times=np.arange(-300.0, 500.0), noise=0.003)
    waves = delineate(beat)
    # the Q wave begins about 2.3 widths before its center, the S wave ends as much after it
    assert waves.qrs_onset == pytest.approx(-22 - 2.3 * 7, abs=8)
    assert waves.qrs_offset == pytest.approx(24 + 2.3 * 8, abs=8)
    assert waves.qrs_peak == pytest.approx(0.0, abs=4)
    assert waves.t_peak == pytest.approx(280.0, abs=6)
    # a tangent at the steepest point of a Gaussian meets zero sqrt(2) widths behind the peak; its foot is at two
    assert 280 + 1.4 * 45 < waves.t_end < 280 + 2.4 * 45
    assert waves.qrs_duration == waves.qrs_offset - waves.qrs_onset
    assert waves.qt == waves.t_end - waves.qrs_onset


@given(st.floats(0.01, 100.0), st.floats(-1000.0, 1000.0))
@settings(max_examples=15)
def test_waves_follow_the_clock_and_not_the_gain(gain, shift):
    beat = ecg((0.0,), times=np.arange(-300.0, 500.0), noise=0.003)
    before = delineate(beat)
    after = delineate(Recording(gain * beat.values, beat.times + shift, LEADS, "ecg"))
    for name in ("qrs_onset", "qrs_peak", "qrs_offset", "t_peak", "t_end"):
        assert getattr(after, name) == pytest.approx(getattr(before, name) + shift, abs=1e-6)


def test_waves_that_are_not_there_are_nan():
    still = delineate(ecg((), times=np.arange(0.0, 400.0)))
    assert np.isnan(still.qrs_onset)
    cut = delineate(ecg((0.0,), times=np.arange(-200.0, 60.0)))
    assert np.isnan(cut.t_end)
    assert np.isfinite(cut.qrs_offset)


@pytest.mark.parametrize(
    ("times", "missing", "found"),
    [
        (np.arange(-300.0, 20.0), ("qrs_offset", "qrs_duration", "t_peak", "t_end", "qt"), ("qrs_onset", "qrs_peak")),
        (np.arange(-10.0, 500.0), ("qrs_onset", "qrs_duration", "t_peak", "t_end", "qt"), ("qrs_peak", "qrs_offset")),
    ],
)
def test_a_qrs_complex_that_is_cut_off_has_no_limit_on_that_side(times, missing, found):
    waves = delineate(ecg((0.0,), times=times))
    assert all(np.isnan(getattr(waves, name)) for name in missing)
    assert all(np.isfinite(getattr(waves, name)) for name in found)


def test_potentials_that_never_rest_have_neither_onset_nor_offset():
    times = np.arange(0.0, 800.0)
    waves = delineate(Recording(np.sin(times / 8)[None], times, ("a",), "ecg"))
    assert np.isnan([waves.qrs_onset, waves.qrs_offset, waves.t_peak, waves.t_end]).all()


def test_a_measured_recording(data_dir):
    """PTB s0010_re: 38.4 s of sinus rhythm at about 81 beats per minute."""
    raw = np.fromfile(data_dir / "ptb_12lead" / "s0010_re.dat", dtype="<i2").reshape(-1, 12).T / 2000.0
    names = ("i", "ii", "iii", "avr", "avl", "avf", "v1", "v2", "v3", "v4", "v5", "v6")
    record = Recording(raw, np.arange(raw.shape[1]) * 1.0, names, "ecg", "wilson")
    peaks = detect_beats(record)
    # what the detector found when it was written; checked by eye on plots of part of the record only
    assert len(peaks) == 52
    intervals = np.diff(peaks)
    assert intervals.min() > 700
    assert intervals.max() < 770
    average = average_beats(low_pass(high_pass(record, 0.5), 100.0), peaks)
    assert len(average.peaks) == 51  # the last is cut by the end of the record
    assert average.rejected.size == 0
    waves = delineate(average.beat)
    assert 90 < waves.qrs_duration < 140
    assert 380 < waves.qt < 460
    # Einthoven's law holds in the average as it does in the record: the processing is linear
    i, ii, iii = average.beat.values[:3]
    np.testing.assert_allclose(i + iii, ii, atol=2e-3)


def test_messages():
    source = ecg(np.arange(700.0, 11500.0, 800.0))
    with pytest.raises(InputError, match=r"beat detection \(one second\) needs at least 500 frames; .* has 100"):
        detect_beats(source.window(0.0, 198.0))
    with pytest.raises(InputError, match="no beat fits: none of the 1 peaks has 250 ms before and 450 ms after"):
        segment_beats(source, np.array([50.0]))
    with pytest.raises(InputError, match="no beat was found in the recording"):
        average_beats(ecg(()))
    with pytest.raises(InputError, match=r"delineation \(200 ms\) needs at least 100 frames; the recording has 50"):
        delineate(source.window(0.0, 98.0))
    mixed = source.with_values(np.random.default_rng(0).normal(size=source.values.shape))
    with pytest.raises(InputError, match=r"none of the 4 beats \(at 1000, .* correlates with their median by 0.9"):
        average_beats(mixed, np.array([1000.0, 3000.0, 5000.0, 7000.0]))


@pytest.mark.parametrize("rate_hz", [257.0, 360.0])
def test_cutting_again_by_the_ends_of_a_beat_keeps_every_frame(rate_hz):
    times = np.arange(4000) * 1000 / rate_hz
    source = Recording(np.sin(times / 60)[None], times, ("I",), "ecg")
    for frames in range(20, 400):
        span = frames * (times[1] - times[0])
        assert len(segment_beats(source, np.array([times[2000]]), before=span, after=span).times) == 2 * frames + 1


def test_a_qrs_complex_outside_the_beat_is_refused():
    beat = ecg(np.array([700.0])).window(300.0, 1200.0)
    assert np.isfinite(delineate(beat, qrs_peak=700.0).qrs_peak)
    with pytest.raises(InputError, match=r"QRS complex at 0 ms lies outside the beat, 300\.\.1200 ms"):
        delineate(beat, qrs_peak=0.0)
