"""The phantom's normal beat: conduction, durations, activation, leads, truth and noise."""

import numpy as np
import pytest

from einthoven.core import Case, InputError, LeadSystem, Recording, Surface
from einthoven.datasets.phantom import LEFT, RIGHT, Phantom, Resolution
from einthoven.forward.bem import transfer
from einthoven.geometry.checks import check_case
from einthoven.protocol import Box, Protocol, Stimulus
from einthoven.simulate import Activation, Monodomain, Simulation, simulate
from einthoven.studies import phantom_beat
from einthoven.studies.kept import cache_folder
from einthoven.studies.phantom_beat import DURRER_SITES, FINE, Conduction, VolumeBeat, membrane, phantom_case
from einthoven.tissue import Grid, Tissue

LIMBS, CHEST = ("I", "II", "III", "aVR", "aVL", "aVF"), ("V1", "V2", "V3", "V4", "V5", "V6")


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return Phantom()


@pytest.fixture(scope="module")
def case() -> Case:
    return phantom_case(120)


@pytest.fixture(scope="module")
def leads() -> Recording:
    """The twelve leads without noise."""
    return LeadSystem.twelve_lead().record(phantom_case(120, noise=0.0).recording)


@pytest.fixture(scope="module")
def upstroke(phantom: Phantom) -> Simulation:
    """Activation of all cells; the action potentials are not waited for."""
    return VolumeBeat(phantom, onset=0.0, duration=110.0).simulate(lambda tissue: [Activation()])


# -- conduction and membrane -------------------------------------------------------------------------------------------


def plane_speed(diffusivity: float, spacing: float, dt: float) -> float:
    """Of a wave along a strand, between 24 and 48 mm of its 60 mm."""
    strand = Tissue.isotropic(Grid((round(60 / spacing),), spacing), diffusivity)
    cells = membrane(np.full(strand.n_nodes, 280.0))
    start = Protocol((Stimulus(Box((-1.0,), (4.0,)), 0.0, 2.0, 50.0),))
    run = simulate(Monodomain(strand, cells), start, 200.0, dt=dt, keep=[Activation()])
    times = np.interp([24.0, 48.0], strand.points[:, 0], run.data["activation"].values[0])
    return 24.0 / float(np.diff(times)[0])


@pytest.mark.parametrize(("diffusivity", "speed"), [(Conduction().wall, 0.393), (Conduction().endocardium, 1.61)])
def test_plane_waves_run_at_the_stated_speeds(diffusivity, speed):
    beat = VolumeBeat()
    found = plane_speed(diffusivity, beat.spacing, beat.dt)
    assert found == pytest.approx(speed, rel=0.01)
    # the front is resolved: a grid twice as fine changes little
    assert plane_speed(diffusivity, beat.spacing / 2, beat.dt / 4) == pytest.approx(found, rel=0.06)


def test_uncoupled_cells_last_as_long_as_asked():
    wanted = np.array([195.0, 240.0, 285.0, 330.0, 370.0])
    alone = Tissue.isotropic(Grid((9,), 1.0), 0.1, np.arange(9) % 2 == 0)  # no two neighbors
    start = Protocol((Stimulus(Box((-1.0,), (10.0,)), 0.0, 2.0, 50.0),))
    run = simulate(Monodomain(alone, membrane(wanted)), start, 450.0, dt=0.05, keep=[Activation()])
    found = run.data["recovery"].values[0] - run.data["activation"].values[0]
    np.testing.assert_allclose(found, wanted, atol=0.8)


def test_durations_grow_shorter_towards_the_epicardium(phantom):
    beat = VolumeBeat(phantom, spacing=2.0)
    tissue = beat.monodomain().tissue
    right = phantom.ventricles.right_share(tissue.points)
    found = beat.durations.at(tissue, right)
    depth, left = tissue.label("transmural"), (tissue.label("ventricle") == LEFT) & (right == 0)
    inner, outer = found[left & (depth < 0.05)], found[left & (depth > 0.95)]
    assert inner.mean() - outer.mean() == pytest.approx(0.93 * beat.durations.epicardial, rel=0.1)
    assert found[right > 0.99].std() < 5  # no gradient through the right wall
    assert found[right > 0.99].max() <= beat.durations.typical


# -- activation --------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_every_cell_is_activated_within_80_to_95_ms(upstroke):
    times = upstroke.data["activation"].values[0]
    assert np.isfinite(times).all()
    assert 80 < np.ptp(times) < 95


@pytest.mark.long
def test_activation_runs_from_endocardium_to_epicardium_and_to_the_base(upstroke):
    times, tissue = upstroke.data["activation"].values[0], upstroke.tissue
    depth, height = tissue.label("transmural"), tissue.label("apicobasal")
    free = (tissue.label("ventricle") == LEFT) & (np.abs(tissue.label("rotational")) > 2.0) & (height < 0.8)
    inner, outer = times[free & (depth < 0.1)], times[free & (depth > 0.9)]
    assert 8 < np.median(outer) - np.median(inner) < 25
    assert height[times > np.percentile(times, 98)].mean() > 0.8
    assert height[times < np.percentile(times, 5)].mean() < 0.75


@pytest.mark.long
def test_activation_starts_at_the_early_sites(upstroke):
    times, points = upstroke.data["activation"].values[0], upstroke.tissue.points
    assert len(upstroke.protocol) == len(DURRER_SITES)
    assert [s.start for s in upstroke.protocol.stimuli] == sorted(site.time for site in DURRER_SITES)
    for stimulus in upstroke.protocol.stimuli:
        distance = np.linalg.norm(points - np.asarray(stimulus.region.center), axis=1)
        first = times[distance < 5.0].min()
        assert stimulus.start < first < stimulus.start + 4.0
        assert times[(distance > 9.0) & (distance < 10.0)].max() > first + 5.0


# -- the twelve leads --------------------------------------------------------------------------------------------------


def window(leads: Recording, name: str, start: float, stop: float) -> np.ndarray:
    return leads.select((name,)).window(start, stop).values[0]


def qrs(leads: Recording, name: str) -> np.ndarray:
    return window(leads, name, 40.0, 135.0)


def t_wave(leads: Recording, name: str) -> float:
    """Its extreme, with its sign."""
    wave = window(leads, name, 240.0, 430.0)
    return float(wave[np.abs(wave).argmax()])


@pytest.mark.long
def test_qrs_lasts_70_to_110_ms(leads):
    """From the first to the last frame in which the leads together are steeper than 5 % of their steepest frame."""
    slope = np.sqrt((np.gradient(leads.window(0.0, 240.0).values, axis=1) ** 2).mean(axis=0))
    active = np.flatnonzero(slope > 0.05 * slope.max())
    assert 40 <= active[0] < 52
    assert 70 < active[-1] - active[0] < 110


@pytest.mark.long
def test_amplitudes_are_of_the_order_of_a_millivolt(leads):
    largest = {name: np.abs(qrs(leads, name)).max() for name in leads.sites}
    assert 0.5 < max(largest[name] for name in LIMBS) < 2.0
    assert 1.0 < max(largest[name] for name in CHEST) < 3.0
    assert min(largest.values()) > 0.05


@pytest.mark.long
def test_v1_is_rs_and_the_transition_lies_between_v3_and_v4(leads):
    v1 = qrs(leads, "V1")
    assert v1.max() > 0.1  # an r ...
    assert v1.argmax() < v1.argmin()  # ... before the S ...
    assert -v1.min() > 1.5 * v1.max()  # ... that is deeper
    ratio = {name: qrs(leads, name).max() / -qrs(leads, name).min() for name in CHEST}
    assert max(ratio["V1"], ratio["V2"], ratio["V3"]) < 0.8
    assert min(ratio["V4"], ratio["V5"], ratio["V6"]) > 1.25
    assert ratio["V4"] < ratio["V5"]


#: Largest R and deepest S, mV, as docs/phantom.md compares them with limits of adults.
STATED = {
    "I": (0.61, 0.08), "II": (0.37, 0.17), "III": (0.10, 0.30), "aVL": (0.45, 0.07), "aVR": (0.10, 0.48),
    "aVF": (0.20, 0.15), "V1": (0.55, 1.26), "V2": (0.80, 1.71), "V3": (0.51, 1.02), "V4": (0.87, 0.45),
    "V5": (1.31, 0.23), "V6": (0.78, 0.16),
}  # fmt: skip


@pytest.mark.long
def test_amplitudes_are_those_that_are_stated(leads):
    """Torso, lungs and blood all count: each lead within 4 % of the largest of its two and 0.01 mV."""
    for name, (r, s) in STATED.items():
        found = qrs(leads, name).max(), -qrs(leads, name).min()
        assert found == pytest.approx((r, s), abs=0.01 + 0.04 * max(r, s)), name


@pytest.mark.long
def test_amplitudes_are_within_limits_of_adults(leads):
    """Voltage limits of Romhilt and Estes, Sokolow and Lyon, Cornell; no low voltage."""
    r, s = ({name: sign(qrs(leads, name)) for name in leads.sites} for sign in (np.max, lambda v: -v.min()))
    assert max(max(r[name], s[name]) for name in LIMBS) < 2.0
    assert max(s["V1"], s["V2"], r["V5"], r["V6"]) < 3.0
    assert s["V1"] + r["V5"] < 3.5
    assert r["aVL"] + s["V3"] < 2.0
    assert max(r[name] + s[name] for name in LIMBS) > 0.5


@pytest.mark.long
def test_limb_leads_show_a_normal_axis(leads):
    for name in ("I", "II"):
        assert qrs(leads, name).max() > -1.5 * qrs(leads, name).min()
    assert -qrs(leads, "aVR").min() > 2 * qrs(leads, "aVR").max()
    area = {name: qrs(leads, name).sum() for name in ("I", "aVF")}
    assert -30 < np.degrees(np.arctan2(2 * area["aVF"] / np.sqrt(3), area["I"])) < 90


@pytest.mark.long
def test_t_is_upright_in_the_left_and_inferior_leads(leads):
    for name in ("I", "II", "V4", "V5", "V6"):
        assert 0.1 < t_wave(leads, name) < 0.8
    assert t_wave(leads, "aVR") < -0.1


@pytest.mark.long
def test_st_segment_and_end_are_flat(leads):
    """Neither the plateaus nor the rest leave a current of injury."""
    assert np.abs(leads.window(140.0, 160.0).values).max() < 0.1
    assert np.abs(leads.window(434.0, 439.0).values).max() < 0.02
    assert np.abs(leads.window(0.0, 39.0).values).max() < 1e-3


# -- the case ----------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_case_is_whole(case, phantom):
    check_case(case)
    assert case.recording.reference == "average"
    assert np.abs(case.recording.values.mean(axis=0)).max() < 1e-12
    assert case.recording.n_sites == 120
    assert case.recording.times[[0, -1]].tolist() == [0.0, 439.0]
    hsp, vm = case.source("hsp"), case.source("vm")
    assert hsp.truth.sites == phantom.envelope.node_names
    assert vm.truth.sites == phantom.heart.node_names
    assert -80.5 < vm.truth.values.min() < -79
    assert 10 < vm.truth.values.max() < 25
    assert 3 < np.abs(hsp.truth.values).max() < 40
    assert "Simulated normal beat" in case.info["notes"]
    # quiet before the onset
    assert np.abs(case.recording.window(0.0, 30.0).values).max() < 0.06


@pytest.mark.long
def test_truth_explains_the_data_through_another_operator(case):
    """The case's own coarse operator maps the truth to the data but for noise and discretization: no inverse crime."""
    operator = transfer(case.source("hsp").surface, case.conductor, case.electrodes)
    predicted = operator.record(case.source("hsp").truth).average_referenced().values
    clean = phantom_case(120, noise=0.0).recording.values
    error = np.linalg.norm(predicted - clean) / np.linalg.norm(clean)
    assert 0.002 < error < 0.06
    assert Phantom(FINE).heart.n_points > 1.4 * case.source("vm").surface.n_points
    assert Phantom(FINE).torso.n_points > 1.2 * case.conductor.skin.n_points


@pytest.mark.long
def test_noise_is_seeded(case):
    same, other = phantom_case(120), phantom_case(120, seed=2)
    clean = phantom_case(120, noise=0.0)
    assert np.array_equal(same.recording.values, case.recording.values)
    assert not np.array_equal(other.recording.values, case.recording.values)
    added = case.recording.values - clean.recording.values
    assert added.std() == pytest.approx(0.01 * np.sqrt(119 / 120), rel=0.02)
    assert np.array_equal(clean.source("hsp").truth.values, case.source("hsp").truth.values)
    assert "10 uV (seed 1)" in case.info["notes"]


@pytest.mark.long
def test_a_second_simulation_gives_the_same_bits(phantom):
    beat = VolumeBeat(phantom, spacing=2.0, duration=60.0)
    one, two = beat(phantom.heart), beat(phantom.heart)
    assert one.values[:, -1].max() > 0  # something happened
    assert np.array_equal(one.values, two.values)
    assert np.array_equal(one.values[:, :41], np.repeat(one.values[:, :1], 41, axis=1))  # rest until the onset


@pytest.mark.long
def test_another_beat_takes_the_simulated_ones_place():
    """Any function from a closed heart surface to its transmembrane potentials."""

    def still(surface: Surface) -> Recording:
        return Recording(np.full((surface.n_points, 3), -85.0), np.arange(3.0), surface.node_names, "vm")

    case = phantom_case(120, noise=0.0, beat=still)
    assert np.abs(case.recording.values).max() < 1e-7  # a uniform potential is not seen
    assert np.abs(case.source("hsp").truth.values).max() < 1e-3
    assert np.abs(case.source("vm").truth.values + 85).max() < 1e-9
    assert "Beat given by its caller" in case.info["notes"]


@pytest.mark.long
def test_a_beat_of_ones_own_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("EINTHOVEN_CACHE_DIR", str(tmp_path))

    def still(surface: Surface) -> Recording:
        return Recording(np.full((surface.n_points, 2), -80.0), np.arange(2.0), surface.node_names, "vm")

    phantom_case(120, beat=still, keep=True)
    assert not (cache_folder() / "cells").exists()


def test_mistakes_are_named(monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("the long work began")

    monkeypatch.setattr(phantom_beat, "simulate", never)
    with pytest.raises(InputError, match=r"standard deviation in mV and cannot be negative; got -0\.1"):
        phantom_case(noise=-0.1)
    with pytest.raises(InputError, match="no electrode layout '77'"):
        phantom_case(77, phantom=Phantom(Resolution(torso=30.0)))
    sites = {(site.ventricle, site.transmural) for site in DURRER_SITES}
    assert sites == {(LEFT, 0.0), (LEFT, 1.0), (RIGHT, 0.0)}
