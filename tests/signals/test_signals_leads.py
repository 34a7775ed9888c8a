import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einthoven.core import Electrodes, InputError, Recording, Surface
from einthoven.geometry.generators import sphere
from einthoven.signals import (
    find_bad_leads,
    high_frequency_noise,
    noise_estimate,
    quiet_window,
    repair_leads,
    snr_db,
)

SKIN = sphere(100.0, subdivisions=3)
PICKED = np.arange(0, SKIN.n_points, 9)
NAMES = tuple(f"E{k}" for k in range(len(PICKED)))
ELECTRODES = Electrodes(NAMES, SKIN.points[PICKED])
TIMES = np.arange(300.0)
NOISE = 0.004


def body_potential(points, rng=None, noise=NOISE):
    """A moving dipole's potential far away: smooth in space, mV."""
    heart = np.array([20.0, -25.0, 10.0])
    offset = points - heart
    angle = TIMES / 60
    moment = np.stack([np.cos(angle), np.sin(angle), 0.5 * np.cos(2 * angle)]) * np.exp(-(((TIMES - 150) / 50) ** 2))
    values = 8e3 * (offset / np.linalg.norm(offset, axis=1, keepdims=True) ** 3) @ moment
    return values if rng is None else values + noise * rng.normal(size=values.shape)


def recording(seed=0):
    return Recording(body_potential(ELECTRODES.positions, np.random.default_rng(seed)), TIMES, NAMES, "bsp")


def spoiled(change, seed=0):
    source = recording(seed)
    values = source.values.copy()
    change(values)
    return source.with_values(values)


def test_a_clean_recording_has_no_bad_lead():
    for seed in range(5):
        report = find_bad_leads(recording(seed), ELECTRODES)
        assert report.bad == ()
        assert np.median(report.noise) == pytest.approx(NOISE, rel=0.1)
    assert repr(report) == f"LeadReport(no bad lead of {len(NAMES)})"


def set_flat(values):
    values[7] = 0.25


def set_stuck(values):
    values[7, 100:] = values[7, 100]


def set_clipped(values):
    top = 0.5 * values[7].max()
    values[7] = np.minimum(values[7], top)


def set_noisy(values):
    values[7] += 10 * NOISE * np.random.default_rng(5).normal(size=values.shape[1])


def set_large(values):
    values[7] *= 60


def set_foreign(values):
    values[7] = np.median(values.std(axis=1)) * np.sin(TIMES / 15)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (set_flat, "flat (peak-to-peak 0 mV"),
        (set_stuck, "flat (the same value in 67 % of the frames)"),
        (set_clipped, "clipped (stuck at its extremes"),
        (set_noisy, "noisy ("),
        (set_large, "too large (standard deviation"),
        (set_foreign, "disagrees with its neighbors ("),
    ],
)
def test_each_fault_is_found_alone_and_named(change, reason):
    report = find_bad_leads(spoiled(change), ELECTRODES)
    assert report.bad == ("E7",)
    assert any(why.startswith(reason) for why in report.reasons["E7"])
    assert report.lines()[0].startswith("E7: ")
    assert repr(report) == f"LeadReport(1 bad of {len(NAMES)}: E7)"


@given(st.integers(0, len(NAMES) - 1), st.integers(0, len(NAMES) - 1))
@settings(max_examples=25)
def test_swapped_leads_are_named_as_a_pair(i, j):
    apart = np.linalg.norm(ELECTRODES.positions[i] - ELECTRODES.positions[j])
    if apart < 80:
        return  # neighbors carry nearly the same signal

    def swap(values):
        values[[i, j]] = values[[j, i]]

    report = find_bad_leads(spoiled(swap), ELECTRODES)
    assert {frozenset(pair) for pair in report.swapped} == {frozenset((NAMES[i], NAMES[j]))}
    assert f"looks swapped with {NAMES[j]}" in report.reasons[NAMES[i]]


def test_without_positions_neighbors_are_not_compared():
    report = find_bad_leads(spoiled(set_foreign))
    assert report.bad == ()
    assert np.isnan(report.disagreement).all()


def test_order_of_the_leads_does_not_matter():
    source = spoiled(set_clipped)
    order = tuple(np.random.default_rng(2).permutation(NAMES).tolist())
    assert find_bad_leads(source.select(order), ELECTRODES).reasons == find_bad_leads(source, ELECTRODES).reasons


def test_measured_leads_are_clean_and_a_measured_swap_is_found(data_dir):
    stored = np.load(data_dir / "utah_cage_tank" / "cage_tank.npz")
    names = tuple(f"t{k}" for k in range(192))
    electrodes = Electrodes(names, stored["tank771_pts_mm"][stored["tank192_node_idx"]])
    values = stored["tank192_mV"].astype(float)
    tank = Recording(values, np.arange(values.shape[1]) * 1.0, names, "bsp", "average")
    assert find_bad_leads(tank, electrodes).bad == ()
    swapped = values.copy()
    swapped[[20, 120]] = swapped[[120, 20]]
    assert find_bad_leads(tank.with_values(swapped), electrodes).swapped == (("t20", "t120"),)
    # the channel noise that the data's own notes give, 4 uV
    assert np.median(noise_estimate(tank, *quiet_window(tank)).sigma) == pytest.approx(0.004, rel=0.2)


def test_repair_on_measured_leads(data_dir):
    stored = np.load(data_dir / "utah_cage_tank" / "cage_tank.npz")
    names = tuple(f"t{k}" for k in range(192))
    tank = Surface(stored["tank771_pts_mm"], stored["tank771_tri"], "tank")
    electrodes = Electrodes(names, tank.points[stored["tank192_node_idx"]])
    values = stored["tank192_mV"].astype(float)
    measured = Recording(values, np.arange(values.shape[1]) * 1.0, names, "bsp").average_referenced()
    bad = names[3::10]
    rows = [names.index(name) for name in bad]
    errors = []
    for skin in (tank, None):
        repaired = repair_leads(measured, bad, electrodes, skin=skin).recording.values
        errors.append(np.linalg.norm((repaired - measured.values)[rows]) / np.linalg.norm(measured.values[rows]))
    assert errors[0] < 0.08
    assert errors[0] < 0.6 * errors[1]


@pytest.mark.parametrize("skin", [SKIN, None])
def test_repair_replaces_only_what_it_names_and_keeps_a_constant(skin):
    source = spoiled(set_flat)
    done = repair_leads(source, ("E7", "E20"), ELECTRODES, skin=skin)
    assert done.repaired == ("E7", "E20")
    assert done.recording.sites == source.sites
    rows = [k for k, name in enumerate(NAMES) if name not in done.repaired]
    np.testing.assert_array_equal(done.recording.values[rows], source.values[rows])
    constant = source.with_values(np.full_like(source.values, 3.0))
    np.testing.assert_allclose(repair_leads(constant, ("E7",), ELECTRODES, skin=skin).recording.values, 3.0, rtol=1e-6)


def test_the_surface_laplacian_repairs_a_smooth_potential():
    truth = Recording(body_potential(ELECTRODES.positions), TIMES, NAMES, "bsp")
    bad = NAMES[::12]
    done = repair_leads(truth, bad, ELECTRODES, skin=SKIN)
    rows = [NAMES.index(name) for name in bad]
    error = np.linalg.norm((done.recording.values - truth.values)[rows]) / np.linalg.norm(truth.values[rows])
    assert done.method == "surface Laplacian"
    assert error < 0.06


def test_leads_that_were_never_recorded_are_added_at_the_end():
    part = recording().select(tuple(n for n in NAMES if n != "E5"))
    done = repair_leads(part, ("E5",), ELECTRODES, skin=SKIN)
    assert done.recording.sites == (*part.sites, "E5")
    assert done.recording.n_sites == len(NAMES)


def test_an_average_reference_is_renewed_after_repair():
    source = recording().average_referenced()
    spoiled_values = source.values.copy()
    spoiled_values[7] += 50.0
    broken = Recording(spoiled_values, TIMES, NAMES, "bsp").average_referenced()  # the fault leaks into every lead
    done = repair_leads(broken, ("E7",), ELECTRODES, skin=SKIN).recording
    np.testing.assert_allclose(done.values.mean(axis=0), 0.0, atol=1e-12)
    rows = [k for k in range(len(NAMES)) if k != 7]
    np.testing.assert_allclose(done.values[rows], source.values[rows], atol=0.02)


def test_nothing_to_repair_gives_the_recording_back():
    source = recording()
    assert repair_leads(source, (), ELECTRODES).recording is source


def test_noise_estimate_is_unbiased_and_ignores_a_slow_drift():
    rng = np.random.default_rng(1)
    sigma = np.linspace(0.5, 3.0, 30)
    times = np.arange(4000.0)
    values = sigma[:, None] * rng.normal(size=(30, 4000)) + 0.01 * times + 5.0
    source = Recording(values, times, NAMES[:30], "bsp")
    noise = noise_estimate(source, 0.0, 3999.0)
    np.testing.assert_allclose(noise.sigma, sigma, rtol=0.06)
    np.testing.assert_allclose(high_frequency_noise(source), sigma, rtol=0.08)
    assert noise.n_frames == 4000
    # many short windows: unbiased although two degrees of freedom go to the line
    short = [noise_estimate(source, 8.0 * k, 8.0 * k + 7).sigma ** 2 for k in range(500)]
    np.testing.assert_allclose(np.mean(short, axis=0), sigma**2, rtol=0.15)


def test_the_regularized_covariance_can_be_inverted_and_keeps_real_correlation():
    rng = np.random.default_rng(2)
    times = np.arange(20.0)
    independent = Recording(rng.normal(size=(40, 20)), times, NAMES[:40], "bsp")
    noise = noise_estimate(independent, 0.0, 19.0)
    assert np.linalg.matrix_rank(noise.covariance) < 40
    assert np.linalg.eigvalsh(noise.regularized()).min() > 0.1
    assert noise.shrinkage > 0.7
    times = np.arange(3000.0)
    common = rng.normal(size=(1, 3000)) + 0.5 * rng.normal(size=(40, 3000))
    assert noise_estimate(Recording(common, times, NAMES[:40], "bsp"), 0.0, 2999.0).shrinkage < 0.01


def test_the_quiet_window_is_before_the_beat():
    start, stop = quiet_window(recording(), duration=40.0)
    assert stop - start == pytest.approx(40.0)
    assert not 40 < start < 240  # the potential's envelope is above 8 % there


def test_snr_of_a_known_ratio():
    rng = np.random.default_rng(3)
    times = np.arange(5000.0)
    active = times > 2500
    values = active * np.sqrt(2) * 10 * np.sin(times / 3) + rng.normal(size=(5, 5000))
    source = Recording(values, times, NAMES[:5], "bsp")
    expected = 10 * np.log10(100 * active.mean())
    np.testing.assert_allclose(snr_db(source, noise_estimate(source, 0.0, 2400.0)), expected, atol=0.4)
    silent = source.with_values(np.zeros_like(values))
    assert (snr_db(silent, noise_estimate(source, 0.0, 2400.0)) == -np.inf).all()


def test_messages():
    source = recording()
    with pytest.raises(InputError, match="bad-lead detection needs at least 20 frames; the recording has 10"):
        find_bad_leads(source.window(0.0, 9.0))
    with pytest.raises(InputError, match="electrodes: no site named X1"):
        repair_leads(source, ("X1",), ELECTRODES)
    with pytest.raises(InputError, match=r"only 2 good leads are left to repair E2.* from; at least three"):
        repair_leads(source, NAMES[2:], ELECTRODES)
    with pytest.raises(
        InputError, match=r"a noise estimate from 0\.\.3 ms needs at least 5 frames; the recording has 4"
    ):
        noise_estimate(source, 0.0, 3.0)
    with pytest.raises(InputError, match="a quiet window of 900 ms needs at least 901 frames"):
        quiet_window(source, duration=900.0)
    noise = noise_estimate(source.select(NAMES[:4]), 0.0, 30.0)
    with pytest.raises(InputError, match="noise: no site named E4"):
        snr_db(source, noise)
    assert "over 4 leads, 31 frames, 0..30 ms" in repr(noise)
