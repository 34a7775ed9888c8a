import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einthoven.core import InputError, Recording, Surface
from einthoven.geometry.generators import sphere
from einthoven.signals import (
    dominant_frequency,
    phase,
    phase_singularities,
    recomposed,
    track_singularities,
)

BALL = sphere(30.0, subdivisions=3)


def wrapped(angle):
    return np.angle(np.exp(1j * angle))


def spiral(points, axis, angles, *, arms=1, twist=0.0):
    """Phase of a spiral that turns rigidly about `axis`: singular exactly where the axis meets the surface."""
    axis = axis / np.linalg.norm(axis)
    first = np.cross(axis, [0.31, 0.85, -0.42])
    first /= np.linalg.norm(first)
    around = np.arctan2(points @ np.cross(axis, first), points @ first)
    height = points @ axis
    return wrapped(arms * around[:, None] + twist * height[:, None] - np.asarray(angles))


AXES = st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda a: np.linalg.norm(a) > 0.2).map(np.array)


@given(AXES, st.sampled_from([-0.1, 0.0, 0.05]), st.sampled_from([1, -1]))
@settings(max_examples=40)
def test_a_rigid_spiral_on_a_sphere_has_one_singularity_at_each_pole(axis, twist, turn):
    angles = np.linspace(0, 2 * np.pi, 25)
    found = phase_singularities(BALL, spiral(BALL.points, axis, turn * angles, arms=turn, twist=twist))
    np.testing.assert_array_equal(found.count(25), 2)
    pole = 30.0 * axis / np.linalg.norm(axis)
    for sign in (1, -1):
        here = found.position[found.charge == sign * turn]
        assert len(here) == 25
        # the mesh's edges are 5 mm long
        assert np.linalg.norm(here - sign * pole, axis=1).max() < 3.5


@given(st.integers(0, 2**31))
@settings(max_examples=25)
def test_charges_on_a_closed_surface_add_up_to_zero_whatever_the_phase(seed):
    phases = np.random.default_rng(seed).uniform(-np.pi, np.pi, (BALL.n_points, 6))
    # differences of exactly pi are the trap: they must count once with each sign
    phases[::7] = np.round(phases[::7] / np.pi) * np.pi
    found = phase_singularities(BALL, phases)
    assert len(found) > 100
    np.testing.assert_array_equal(np.bincount(found.frame, weights=found.charge, minlength=6), 0)
    assert set(np.unique(found.charge)) <= {-1, 1}


@given(st.integers(-3, 3))
@settings(max_examples=7)
def test_the_charge_around_a_pole_is_the_number_of_arms(arms):
    axis = np.array([0.2, 0.5, 0.7])
    found = phase_singularities(BALL, spiral(BALL.points, axis, [0.4], arms=arms))
    north = found.position @ axis > 0
    assert found.charge[north].sum() == arms
    assert found.charge[~north].sum() == -arms


def sheet(n=21, size=40.0):
    x, y = np.meshgrid(np.linspace(0, size, n), np.linspace(0, size, n), indexing="ij")
    corner = np.arange(n * n).reshape(n, n)
    a, b, c, d = (v.ravel() for v in (corner[:-1, :-1], corner[1:, :-1], corner[1:, 1:], corner[:-1, 1:]))
    return Surface(
        np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], axis=1),
        np.concatenate([np.c_[a, b, c], np.c_[a, c, d]]),
        "sheet",
    )


def moving_tip(times):
    """Two turns of a circle of 8 mm around the middle of the sheet."""
    angle = 2 * np.pi * times / 100
    return np.stack([20.13 + 8 * np.cos(angle), 19.77 + 8 * np.sin(angle), 0 * times], axis=1)


def test_a_moving_tip_is_tracked_along_its_path():
    flat, times = sheet(), np.arange(200.0)
    tip = moving_tip(times)
    offset = flat.points[:, None, :2] - tip[None, :, :2]
    phases = wrapped(np.arctan2(offset[..., 1], offset[..., 0]) - 0.2 * times)
    found = phase_singularities(flat, phases)
    np.testing.assert_array_equal(found.count(200), 1)
    assert np.linalg.norm(found.position - tip, axis=1).max() < 1.3  # the mesh's edges are 2 and 2.8 mm long
    (path,) = track_singularities(found, max_step_mm=4.0)
    assert path.charge == 1
    assert path.frames.tolist() == list(range(200))
    length = np.linalg.norm(np.diff(path.positions, axis=0), axis=1).sum()
    assert length == pytest.approx(2 * 2 * np.pi * 8, rel=0.35)
    assert repr(path) == "SingularityPath(charge +1, frames 0..199)"


def test_mirrored_and_turned_phases_change_sign_and_nothing():
    phases = spiral(BALL.points, np.array([0.3, 0.2, 0.9]), [0.0, 0.5])
    found = phase_singularities(BALL, phases)
    mirrored = phase_singularities(BALL, -phases)
    np.testing.assert_array_equal(mirrored.charge, -found.charge)
    turned = phase_singularities(BALL, wrapped(phases + 2.5))
    np.testing.assert_array_equal(turned.triangle, found.triangle)
    np.testing.assert_allclose(turned.position, found.position, atol=1e-9)


def test_a_gap_is_bridged_or_splits_the_path_and_charges_never_mix():
    flat, times = sheet(), np.arange(30.0)
    tip = np.stack([15 + 0.3 * times, 20 + 0 * times], axis=1)
    offset = flat.points[:, None, :2] - tip[None]
    phases = np.arctan2(offset[..., 1], offset[..., 0])
    phases[:, 10:12] = 0.0
    found = phase_singularities(flat, phases)
    assert len(track_singularities(found, max_gap=2)) == 1
    assert len(track_singularities(found, max_gap=1)) == 2
    assert len(track_singularities(found, max_gap=1, min_frames=15)) == 1
    phases[:, 15:] *= -1
    assert sorted(p.charge for p in track_singularities(phase_singularities(flat, phases))) == [-1, 1]
    assert track_singularities(phase_singularities(flat, 0 * phases)) == ()


def test_nodes_without_phase_hold_no_singularity():
    phases = spiral(BALL.points, np.array([0.3, 0.2, 0.9]), [0.0])
    found = phase_singularities(BALL, phases)
    phases[BALL.triangles[found.triangle[0], 0]] = np.nan
    assert len(phase_singularities(BALL, phases)) == len(found) - 1


def sines(frequencies, *, times, noise=0.0, offset=0.0):
    rng = np.random.default_rng(0)
    f = np.asarray(frequencies)
    values = np.cos(2 * np.pi * f[:, None] * times / 1000) + offset + noise * rng.normal(size=(len(f), len(times)))
    return Recording(values, times, tuple(f"n{k}" for k in range(len(f))), "egm")


def test_the_phase_of_a_cosine_is_its_angle():
    times = np.arange(0.0, 2000.0, 2.0)
    source = sines([3.0, 5.0], times=times, offset=7.0)
    expected = 2 * np.pi * np.array([[3.0], [5.0]]) * times / 1000
    assert np.abs(wrapped(phase(source) - expected)).max() < 1e-6  # whole periods: exact
    assert np.isnan(phase(source.with_values(0 * source.values))).all()


def test_recomposition_gives_one_smooth_period_per_downstroke():
    times = np.arange(0.0, 3000.0)
    period = 150.0
    downstrokes = np.arange(100.0, 2950.0, period)
    values = sum(-(times - t) / 3 * np.exp(-(((times - t) / 5) ** 2)) for t in downstrokes)
    values = values + 0.1 * np.sin(2 * np.pi * times / 37)  # what is not activation
    source = Recording(values[None], times, ("a",), "egm")
    middle = slice(500, 2500)
    angle = phase(recomposed(source, np.array([period])))[0][middle]
    expected = 2 * np.pi * (times - 100.0) / period + np.pi / 2  # falls through zero at the downstroke
    assert np.abs(wrapped(angle - expected[middle])).max() < 0.35
    # without recomposition the phase of so peaked a signal is far from uniform
    assert np.abs(wrapped(phase(source)[0][middle] - expected[middle])).max() > 0.7


@given(st.floats(3.0, 15.0))
@settings(max_examples=20)
def test_the_dominant_frequency_of_a_noisy_tone(frequency):
    source = sines([frequency], times=np.arange(0.0, 8000.0, 2.0), noise=0.3)
    found = dominant_frequency(source)
    assert found.frequency_hz[0] == pytest.approx(frequency, abs=0.06)
    assert found.regularity[0] > 0.8


def test_regularity_tells_a_tone_from_noise():
    times = np.arange(0.0, 20000.0, 2.0)
    tone = sines([6.0], times=times)
    assert dominant_frequency(tone).regularity[0] > 0.99
    noise = tone.with_values(np.random.default_rng(0).normal(size=tone.values.shape))
    assert dominant_frequency(noise).regularity[0] < 0.25
    two = tone.with_values(tone.values + np.cos(2 * np.pi * 11.0 * times / 1000))
    assert dominant_frequency(two).regularity[0] == pytest.approx(0.5, abs=0.02)
    silent = dominant_frequency(tone.with_values(0 * tone.values))
    assert np.isnan(silent.frequency_hz).all()
    assert np.isnan(silent.regularity).all()


def test_messages():
    source = sines([5.0], times=np.arange(0.0, 4000.0, 2.0))
    with pytest.raises(InputError, match=r"0 < low_hz < high_hz < 250 Hz .* got 5 and 300 Hz"):
        dominant_frequency(source, low_hz=5.0, high_hz=300.0)
    with pytest.raises(InputError, match=r"down to 2.5 Hz \(four periods\) needs at least 800 frames; .* has 501"):
        dominant_frequency(source.window(0.0, 1000.0))
    with pytest.raises(InputError, match="a phase map needs at least 8 frames; the recording has 4"):
        phase(source.window(0.0, 6.0))
    with pytest.raises(
        InputError, match=r"sphere: phases must have shape \(642, times\), one row per node; got \(3, 2\)"
    ):
        phase_singularities(BALL, np.zeros((3, 2)))
    with pytest.raises(InputError, match=r"one period per site, shape \(1,\), between 4 and 4000 ms"):
        recomposed(source, np.array([0.0]))
