import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einthoven.core import InputError, Recording
from einthoven.signals import (
    band_pass,
    high_pass,
    low_pass,
    notch,
    remove_baseline_median,
    remove_baseline_spline,
    sample_interval,
    sampling_rate_hz,
    subtract_level,
)

RATE = 500.0
TIMES = np.arange(5000) * 1000 / RATE
MIDDLE = slice(1500, 3500)
FILTERS = [
    lambda r: low_pass(r, 40.0),
    lambda r: high_pass(r, 1.0),
    lambda r: band_pass(r, 1.0, 40.0),
    lambda r: notch(r, 50.0),
]


def recording(*rows, times=TIMES):
    return Recording(np.array(rows), times, tuple(f"V{k + 1}" for k in range(len(rows))), "bsp")


def tone(hz, phase=0.3, times=TIMES):
    return np.sin(2 * np.pi * hz * times / 1000 + phase)


def gain(filtered, original):
    """Complex gain is real for a zero-phase filter: projection on the tone, and what is left beside it."""
    a, b = filtered[MIDDLE], original[MIDDLE]
    factor = (a @ b) / (b @ b)
    return factor, np.abs(a - factor * b).max()


def butterworth(hz, corner, order):
    """|H|^2 of the bilinear transform of a Butterworth low-pass, exact at every frequency."""
    ratio = np.tan(np.pi * hz / RATE) / np.tan(np.pi * corner / RATE)
    return 1 / (1 + ratio ** (2 * order))


@pytest.mark.parametrize("hz", [5.0, 30.0, 40.0, 60.0])
def test_low_pass_gain_is_that_of_butterworth_squared_without_phase(hz):
    factor, rest = gain(low_pass(recording(tone(hz)), 40.0, order=3).values[0], tone(hz))
    assert factor == pytest.approx(butterworth(hz, 40.0, 3), abs=1e-6)
    assert rest < 1e-6


@pytest.mark.parametrize("hz", [0.5, 2.0, 8.0])
def test_high_pass_gain_is_one_minus_that_of_the_low_pass(hz):
    factor, rest = gain(high_pass(recording(tone(hz)), 2.0, order=2).values[0], tone(hz))
    assert factor == pytest.approx(1 - butterworth(hz, 2.0, 2), abs=1e-5)
    assert rest < 1e-4


def test_band_pass_halves_both_corners_and_keeps_the_middle():
    for hz, expected in ((1.0, 0.5), (40.0, 0.5), (8.0, 1.0)):
        factor, rest = gain(band_pass(recording(tone(hz)), 1.0, 40.0).values[0], tone(hz))
        assert factor == pytest.approx(expected, abs=2e-3)
        assert rest < 5e-3


def test_notch_removes_mains_and_harmonics_and_leaves_the_rest():
    wanted = tone(7.0)
    noisy = wanted + 0.5 * tone(50.0) + 0.2 * tone(100.0, 1.0) + 0.1 * tone(150.0, 2.0)
    cleaned = notch(recording(noisy), 50.0, harmonics=3).values[0]
    assert np.abs(cleaned - wanted)[MIDDLE].max() < 2e-3
    only_first = notch(recording(noisy), 50.0, harmonics=1).values[0]
    assert np.abs(only_first - wanted)[MIDDLE].max() > 0.2


def test_harmonics_beyond_nyquist_are_left_out():
    np.testing.assert_array_equal(
        notch(recording(tone(7.0)), 60.0, harmonics=4).values, notch(recording(tone(7.0)), 60.0, harmonics=40).values
    )


@given(st.integers(0, 2**31), st.floats(-5, 5), st.sampled_from(FILTERS))
@settings(max_examples=20)
def test_filters_are_linear_and_treat_every_lead_alone(seed, factor, filtered):
    a, b = np.random.default_rng(seed).normal(size=(2, 3, 1200))
    times = TIMES[:1200]
    one, two = filtered(recording(*a, times=times)), filtered(recording(*b, times=times))
    both = filtered(recording(*(a + factor * b), times=times))
    np.testing.assert_allclose(both.values, one.values + factor * two.values, atol=1e-9)
    np.testing.assert_allclose(filtered(recording(a[1], times=times)).values[0], one.values[1], atol=1e-12)


@given(st.integers(0, 2**31), st.sampled_from(FILTERS))
@settings(max_examples=20)
def test_filters_commute_with_time_reversal(seed, filtered):
    # zero phase; the ends differ by how far the reflected signal reaches
    values = np.random.default_rng(seed).normal(size=5000)
    forward = filtered(recording(values)).values[0]
    backward = filtered(recording(values[::-1])).values[0][::-1]
    np.testing.assert_allclose(forward[MIDDLE], backward[MIDDLE], atol=1e-4)


def test_filters_keep_sites_times_reference_and_input():
    source = Recording(np.stack([tone(3.0), tone(9.0)]), TIMES, ("I", "II"), "ecg", "wilson")
    before = source.values.copy()
    for filtered in FILTERS:
        out = filtered(source)
        assert (out.sites, out.quantity, out.reference) == (source.sites, source.quantity, source.reference)
        np.testing.assert_array_equal(out.times, source.times)
        np.testing.assert_array_equal(source.values, before)


def test_the_spline_baseline_restores_a_beat_on_a_drift():
    drift = 0.8 * tone(0.1) + 0.1
    beat = np.zeros_like(TIMES)
    peaks = np.arange(500.0, 10000.0, 800.0)
    for peak in peaks:
        beat += np.exp(-(((TIMES - peak) / 15) ** 2)) + 0.3 * np.exp(-(((TIMES - peak - 250) / 50) ** 2))
    knots = peaks - 90.0
    cleaned = remove_baseline_spline(recording(beat + drift), tuple(knots)).values[0]
    inside = (knots[0] < TIMES) & (knots[-1] > TIMES)
    assert np.abs(cleaned - beat)[inside].max() < 2e-3  # h^4 f''''/384 is 1e-4 inside, larger at the first knot


def test_the_spline_baseline_is_exact_for_a_cubic_and_constant_outside():
    t = TIMES / 1000
    drift = 0.02 * (t - 3) ** 3 - 0.1 * t + 0.4
    cleaned = remove_baseline_spline(recording(drift), (1000.0, 3000.0, 5000.0, 8000.0), half_width=0.5).values[0]
    inside = (TIMES >= 1000) & (TIMES <= 8000)
    assert np.abs(cleaned[inside]).max() < 1e-12
    assert cleaned[-1] == pytest.approx(drift[-1] - drift[4000], abs=1e-12)


def test_the_median_baseline_follows_the_drift_and_keeps_the_beats():
    drift = 0.5 * tone(0.1)
    beat = sum(np.exp(-(((TIMES - p) / 15) ** 2)) for p in np.arange(400.0, 10000.0, 800.0))
    cleaned = remove_baseline_median(recording(beat + drift)).values[0]
    assert np.abs(cleaned - beat)[MIDDLE].max() < 0.05


def test_subtracting_a_level_makes_its_mean_zero():
    cleaned = subtract_level(recording(tone(3.0) + 5.0, tone(1.0) - 2.0), 100.0, 140.0)
    np.testing.assert_allclose(cleaned.window(100.0, 140.0).values.mean(axis=1), 0.0, atol=1e-15)


def test_sampling_of_a_recording():
    assert sample_interval(recording(tone(1.0))) == pytest.approx(2.0, rel=1e-12)
    assert sampling_rate_hz(recording(tone(1.0))) == pytest.approx(RATE, rel=1e-12)


def test_messages():
    source, short = recording(tone(3.0)), recording(tone(3.0)[:20], times=TIMES[:20])
    with pytest.raises(InputError, match=r"between 0 and 250 Hz, half the sampling rate of 500 Hz; got 300 Hz"):
        low_pass(source, 300.0)
    with pytest.raises(InputError, match=r"corner frequency must be between 0 and 250 Hz.*got 0 Hz"):
        high_pass(source, 0.0)
    with pytest.raises(InputError, match=r"corner frequency must be between 0 and 250 Hz.*got 250 Hz"):
        notch(source, 250.0)
    with pytest.raises(InputError, match="a band-pass needs low_hz < high_hz; got 40 and 1 Hz"):
        band_pass(source, 40.0, 1.0)
    with pytest.raises(InputError, match="a filter of order 8 needs at least 28 frames; the recording has 20"):
        low_pass(short, 40.0, order=8)
    with pytest.raises(InputError, match=r"too short \(40 ms\) for a corner of 0.5 Hz: it needs one period, 2000 ms"):
        high_pass(short, 0.5)
    with pytest.raises(InputError, match=r"too short \(40 ms\) for a corner of 10 Hz"):
        notch(short, 50.0)
    with pytest.raises(InputError, match="order of a filter must be at least 1; got 0"):
        low_pass(source, 40.0, order=0)
    with pytest.raises(InputError, match="at least one harmonic and a positive quality; got 0 harmonics"):
        notch(source, 50.0, harmonics=0)
    uneven = recording(tone(3.0), times=np.r_[TIMES[:2000], TIMES[2000:] + 7.0])
    with pytest.raises(
        InputError, match=r"sampled uniformly; the step after 3998 ms is 9 ms, the median 2 ms \(1 steps"
    ):
        low_pass(uneven, 40.0)
    with pytest.raises(InputError, match="a sampling rate needs at least 2 frames; the recording has 1"):
        low_pass(recording([1.0], times=TIMES[:1]), 40.0)


def test_baseline_messages():
    source = recording(tone(3.0))
    with pytest.raises(InputError, match="at least two increasing knots"):
        remove_baseline_spline(source, (100.0,))
    with pytest.raises(InputError, match="at least two increasing knots"):
        remove_baseline_spline(source, (100.0, 100.0))
    with pytest.raises(InputError, match=r"knots -5.0 ms lie outside the recording, 0\.\.9998 ms"):
        remove_baseline_spline(source, (-5.0, 100.0))
    with pytest.raises(InputError, match=r"recording \(400 ms\) is shorter than the median's window of 600 ms"):
        remove_baseline_median(recording(tone(3.0)[:200], times=TIMES[:200]))
    with pytest.raises(InputError, match="holds no frame"):
        subtract_level(source, -20.0, -10.0)


def test_a_straight_line_passes_a_low_pass_up_to_its_ends():
    line = 0.01 * TIMES[:200] + 3.0
    filtered = low_pass(recording(line, times=TIMES[:200]), 20.0).values[0]
    np.testing.assert_allclose(filtered, line, atol=2e-3)
