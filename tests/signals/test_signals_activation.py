import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einthoven.core import InputError, Recording
from einthoven.geometry.generators import sphere
from einthoven.metrics import activation_error
from einthoven.signals import (
    action_potential_durations,
    activation_recovery_intervals,
    activation_times,
    conduction_velocity,
    isochrones,
    recovery_times,
    smooth_map,
    spatiotemporal_activation_times,
)
from einthoven.signals.coherent import neighbor_delays

TIMES = np.arange(0.0, 500.0)
RADIUS, SPEED = 40.0, 0.6


def front(surface, source):
    """Activation times of a front that leaves `source` (unit vector) at 60 ms; exact on the sphere."""
    cosine = np.clip(surface.points @ source / RADIUS, -1, 1)
    return 60.0 + RADIUS * np.arccos(cosine) / SPEED


def electrograms(surface, lat, rng, noise):
    """A descent of 10 mV, about 8 ms long, at each time, amplitudes varied by 30 %, a T wave, white noise."""
    x = (TIMES - lat[:, None]) / 4
    amplitude = 10 * np.exp(0.3 * rng.normal(size=(len(lat), 1)))
    values = -amplitude * np.tanh(x) * np.exp(-((x / 12) ** 2))
    values += 5 * np.exp(-(((TIMES - 330 - 0.5 * lat[:, None]) / 40) ** 2))
    return Recording(values + noise * rng.normal(size=values.shape), TIMES, surface.node_names, "hsp")


def action_potentials(lat, repolarized, quantity="vm"):
    rise = 1 / (1 + np.exp(-(TIMES - lat[:, None]) / 1.5))
    fall = 1 / (1 + np.exp((TIMES - repolarized[:, None]) / 10))
    sites = tuple(f"n{k}" for k in range(len(lat)))
    return Recording(-85 + 115 * rise * fall, TIMES, sites, quantity)


@given(st.lists(st.floats(20.0, 80.0), min_size=1, max_size=5))
@settings(max_examples=30)
def test_times_between_samples_are_found(lat):
    lat = np.array(lat)
    vm = action_potentials(lat, lat + 250.0)
    np.testing.assert_allclose(activation_times(vm), lat, atol=0.05)
    hsp = Recording(-vm.values, TIMES, vm.sites, "hsp")
    np.testing.assert_allclose(activation_times(hsp), lat, atol=0.05)


def test_the_parabola_is_what_makes_them_so_and_it_converges():
    errors = []
    for dt in (2.0, 1.0, 0.5):
        times = np.arange(0.0, 100.0, dt)
        lat = np.linspace(50.0, 50.0 + dt, 20, endpoint=False)
        values = -np.tanh((times - lat[:, None]) / 8)
        found = activation_times(Recording(values, times, tuple(map(str, range(20))), "egm"))
        errors.append(np.abs(found - lat).max())
    assert errors[0] < 0.05 * 2.0
    rates = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(rates, 3.0, atol=0.3)


@given(st.floats(0.1, 50), st.floats(-50, 50), st.floats(-200, 200))
@settings(max_examples=25)
def test_gain_and_offset_do_not_matter_and_a_shift_of_the_clock_is_followed(gain, offset, shift):
    lat = np.array([40.3, 61.7])
    source = Recording(-action_potentials(lat, lat + 250).values, TIMES, ("a", "b"), "egm")
    before = activation_times(source)
    np.testing.assert_allclose(activation_times(source.with_values(gain * source.values + offset)), before, atol=1e-6)
    later = Recording(source.values, TIMES + shift, source.sites, "egm")
    np.testing.assert_allclose(activation_times(later), before + shift, atol=1e-6)


def test_the_window_decides_between_two_deflections():
    two = -np.tanh((TIMES - 100) / 4) - 2 * np.tanh((TIMES - 300) / 4)
    source = Recording(two[None], TIMES, ("a",), "egm")
    assert activation_times(source)[0] == pytest.approx(300.0, abs=1e-6)
    assert activation_times(source, window=(50.0, 150.0))[0] == pytest.approx(100.0, abs=1e-6)


def test_a_site_without_deflection_has_no_time():
    values = np.stack([-np.tanh((TIMES - 100) / 4), np.full(TIMES.size, 2.0), TIMES * 1.0])
    times = activation_times(Recording(values, TIMES, ("moves", "rests", "rises"), "hsp"))
    assert times[0] == pytest.approx(100.0, abs=1e-6)
    assert np.isnan(times[1:]).all()


def test_recovery_times_and_intervals():
    lat = np.array([40.0, 60.5, 80.25])
    end = lat + np.array([250.0, 270.0, 240.5])
    vm = action_potentials(lat, end)
    np.testing.assert_allclose(recovery_times(vm), end, atol=0.05)
    # a far-field electrogram has the opposite sign: descent at activation, Wyatt's upstroke at recovery
    egm = Recording(-vm.values, TIMES, vm.sites, "egm")
    np.testing.assert_allclose(recovery_times(egm), end, atol=0.05)
    np.testing.assert_allclose(recovery_times(egm, window=(200.0, 450.0)), end, atol=0.05)
    np.testing.assert_allclose(activation_recovery_intervals(egm), end - lat, atol=0.1)


def test_durations_at_a_fraction_of_repolarization():
    lat, end = np.array([40.0, 60.5]), np.array([300.0, 310.25])
    vm = action_potentials(lat, end)
    for fraction in (0.5, 0.9):
        # 1 / (1 + exp(x / 10)) falls to 1 - fraction at x = 10 ln(fraction / (1 - fraction))
        expected = end - lat + 10 * np.log(fraction / (1 - fraction))
        np.testing.assert_allclose(action_potential_durations(vm, fraction=fraction), expected, atol=0.1)
    cut = vm.window(0.0, 250.0)
    assert np.isnan(action_potential_durations(cut)).all()


def test_spatiotemporal_times_beat_steepest_descent_in_noise():
    """A front around a sphere (642 nodes, R 40 mm, 0.6 mm/ms), white noise of 10 and 40 % of 10 mV."""
    heart = sphere(RADIUS, subdivisions=3)
    source = np.array([0.36, -0.48, 0.8])
    lat = front(heart, source)
    for noise, plain_least, best_most, smooth_most in ((1.0, 2.0, 0.25, 1.0), (4.0, 40.0, 0.6, 0.7)):
        record = electrograms(heart, lat, np.random.default_rng(11), noise)
        plain = activation_error(activation_times(record, window=(20.0, 320.0)), lat).mean_abs
        smooth = activation_error(activation_times(record, window=(20.0, 320.0), smooth_ms=4.0), lat).mean_abs
        best = activation_error(spatiotemporal_activation_times(record, heart, window=(20.0, 320.0)), lat).mean_abs
        assert plain > plain_least
        assert best < best_most
        assert best < smooth_most * smooth


def test_spatiotemporal_times_are_exact_without_noise_and_follow_names():
    heart = sphere(RADIUS, subdivisions=2)
    lat = front(heart, np.array([0.0, 0.6, 0.8]))
    record = electrograms(heart, lat, np.random.default_rng(0), 0.0)
    found = spatiotemporal_activation_times(record, heart, window=(20.0, 320.0))
    assert np.abs(found - lat).max() < 0.25
    order = np.random.default_rng(1).permutation(heart.n_points)
    shuffled = record.select(tuple(heart.node_names[k] for k in order))
    np.testing.assert_allclose(spatiotemporal_activation_times(shuffled, heart, window=(20.0, 320.0)), found)


def test_a_node_without_signal_gets_the_time_its_neighbors_suggest():
    heart = sphere(RADIUS, subdivisions=3)
    lat = front(heart, np.array([0.0, 0.6, 0.8]))
    record = electrograms(heart, lat, np.random.default_rng(0), 0.05)
    values = record.values.copy()
    values[100] = 0.0
    found = spatiotemporal_activation_times(record.with_values(values), heart, window=(20.0, 320.0))
    assert abs(found[100] - lat[100]) < 2.0


def test_neighbor_delays_are_antisymmetric_and_exact():
    lat = np.array([100.0, 107.3, 96.4])
    values = np.exp(-(((TIMES - lat[:, None]) / 8) ** 2))
    pairs = np.array([[1, 0], [0, 1], [2, 1]])
    delays, agreement = neighbor_delays(values, pairs, 1.0, max_delay_ms=40.0)
    np.testing.assert_allclose(delays, [7.3, -7.3, -10.9], atol=0.02)
    assert (agreement > 0.99).all()
    _, none = neighbor_delays(values, pairs, 1.0, max_delay_ms=3.0)
    assert (none == 0).all()


def test_smoothing_keeps_a_smooth_map_and_removes_noise():
    heart = sphere(RADIUS, subdivisions=3)
    smooth = 50 + heart.points @ np.array([0.5, -0.2, 0.3])
    np.testing.assert_allclose(smooth_map(heart, smooth), smooth, atol=0.05)
    noisy = smooth + np.random.default_rng(0).normal(size=heart.n_points)
    assert np.std(smooth_map(heart, noisy) - smooth) < 0.25


def test_conduction_velocity_of_a_plane_wave_and_of_a_front():
    heart = sphere(RADIUS, subdivisions=4)
    source = np.array([0.0, 0.6, 0.8])
    velocity = conduction_velocity(heart, front(heart, source))
    assert velocity.median == pytest.approx(SPEED, rel=0.005)
    centers = heart.corners.mean(axis=1)
    away = np.abs(centers @ source) < 0.9 * RADIUS
    assert np.abs(velocity.speed[away] / SPEED - 1).max() < 0.05
    # along the meridian, away from the source
    meridian = -source + (centers @ source / (centers**2).sum(axis=1))[:, None] * centers
    meridian /= np.linalg.norm(meridian, axis=1, keepdims=True)
    assert np.einsum("ij,ij->i", meridian, velocity.direction)[away].min() > 0.99


def test_conduction_velocity_is_undefined_where_the_map_is():
    heart = sphere(RADIUS, subdivisions=1)
    lat = front(heart, np.array([0.0, 0.6, 0.8]))
    lat[5] = np.nan
    velocity = conduction_velocity(heart, lat)
    around = (heart.triangles == 5).any(axis=1)
    assert np.isnan(velocity.speed[around]).all()
    assert np.isfinite(velocity.speed[~around]).all()
    assert np.isnan(conduction_velocity(heart, np.zeros(heart.n_points)).median)


def test_isochrones_are_closed_circles_at_their_level():
    heart = sphere(RADIUS, subdivisions=4)
    height = heart.points[:, 2].copy()
    lines = isochrones(heart, height, np.array([-20.0, 0.0, 13.7, 60.0]))
    assert [line.level for line in lines] == [-20.0, 0.0, 13.7, 60.0]
    assert lines[3].lines == ()
    for line in lines[:3]:
        (ring,) = line.lines
        np.testing.assert_array_equal(ring[0], ring[-1])
        np.testing.assert_allclose(ring[:, 2], line.level, atol=1e-12)
        length = np.linalg.norm(np.diff(ring, axis=0), axis=1).sum()
        assert length == pytest.approx(2 * np.pi * np.sqrt(RADIUS**2 - line.level**2), rel=0.01)


def test_isochrones_of_two_foci_are_two_rings_and_a_hole_opens_them():
    heart = sphere(RADIUS, subdivisions=4)
    lat = np.minimum(front(heart, np.array([0.0, 0.0, 1.0])), front(heart, np.array([0.0, 0.0, -1.0])))
    (two,) = isochrones(heart, lat, np.array([90.0]))
    assert len(two.lines) == 2
    crossed = int(np.abs(lat - 90.0).argmin())
    lat[crossed] = np.nan
    (opened,) = isochrones(heart, lat, np.array([90.0]))
    ends = [np.allclose(line[0], line[-1]) for line in opened.lines]
    assert sorted(ends) == [False, True]


def test_messages():
    heart = sphere(RADIUS, subdivisions=1)
    body = Recording(np.zeros((1, 5)), TIMES[:5], ("V1",), "bsp")
    with pytest.raises(InputError, match="local activation is defined for hsp, egm and vm; got bsp"):
        activation_times(body)
    egm = Recording(np.zeros((1, 500)), TIMES, ("a",), "egm")
    with pytest.raises(InputError, match=r"window 10\.\.11 ms holds 2 frames of a recording that spans 0\.\.499 ms"):
        activation_times(egm, window=(10.0, 11.0))
    with pytest.raises(InputError, match="a time derivative needs at least 3 frames; the recording has 2"):
        activation_times(egm.window(0.0, 1.0))
    with pytest.raises(InputError, match="action potential durations need vm; got egm"):
        action_potential_durations(egm)
    with pytest.raises(InputError, match=r"fraction of repolarization must be between 0 and 1; got 1.5"):
        action_potential_durations(Recording(egm.values, TIMES, ("a",), "vm"), fraction=1.5)
    with pytest.raises(InputError, match="recording: no site named sphere:0"):
        spatiotemporal_activation_times(egm, heart)
    still = Recording(np.zeros((heart.n_points, 500)), TIMES, heart.node_names, "hsp")
    with pytest.raises(InputError, match="no node is activated within the recording"):
        spatiotemporal_activation_times(still, heart)
    for function in (lambda v: isochrones(heart, v, np.array([1.0])), lambda v: conduction_velocity(heart, v)):
        with pytest.raises(InputError, match=r"needs one activation time per node, shape \(42,\); got \(3,\)"):
            function(np.zeros(3))


def test_a_constant_site_has_no_duration_and_leaves_the_others_alone():
    vm = action_potentials(np.array([40.0, 60.5]), np.array([300.0, 310.25]))
    expected = action_potential_durations(vm)
    values = vm.values.copy()
    values[0] = -85.0
    found = action_potential_durations(vm.with_values(values))
    assert np.isnan(found[0])
    assert found[1] == expected[1]
