"""The phantom's normal beat: activation, leads, truth and noise."""

import numpy as np
import pytest

from einthoven.core import InputError, LeadSystem, Recording
from einthoven.datasets.phantom import LEFT, Phantom, Resolution
from einthoven.forward.bem import transfer
from einthoven.geometry.checks import check_case
from einthoven.studies import phantom_beat
from einthoven.studies.phantom_beat import (
    DURRER_SITES,
    FINE,
    ActionPotential,
    AnalyticBeat,
    Conduction,
    EarlySite,
    phantom_case,
)


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return Phantom()


@pytest.fixture(scope="module")
def beat(phantom: Phantom) -> AnalyticBeat:
    return AnalyticBeat(phantom.ventricles)


@pytest.fixture(scope="module")
def case():
    return phantom_case(120)


def test_activation_lasts_80_to_100_ms(phantom, beat):
    lat = beat.activation(phantom.heart) - beat.onset
    assert 0 <= lat.min() < 4
    assert 80 < lat.max() < 100


def test_activation_runs_from_endocardium_to_epicardium(phantom, beat):
    lat = beat.activation(phantom.heart)
    where = phantom.ventricles.coordinates(phantom.heart.points)
    free = (where.ventricle == LEFT) & (np.abs(where.rotational) > 2.0) & (where.apicobasal < 0.8)
    inner, outer = lat[free & (where.transmural < 0.1)], lat[free & (where.transmural > 0.9)]
    assert 10 < np.median(outer) - np.median(inner) < 40
    # the base behind and to the left is last
    last = phantom.ventricles.to_local(phantom.heart.points[lat > np.percentile(lat, 98)])
    assert last[:, 2].mean() > -25


def test_nothing_arrives_faster_than_the_fastest_speed(phantom):
    site = EarlySite(LEFT, 0.0, 0.5, 180.0, 0.0)
    conduction = Conduction(sites=(site,))
    ventricles = phantom.ventricles
    lat = AnalyticBeat(ventricles, conduction, onset=0.0).activation(phantom.heart)
    start = phantom.heart.points[lat.argmin()]
    straight = np.linalg.norm(phantom.heart.points - start, axis=1)
    assert (lat > straight / conduction.endocardium - 6.0).all()
    assert lat[straight > 60].min() > 60 / conduction.endocardium - 6.0


def test_uniform_speed_gives_straight_travel_times(phantom):
    """All speeds equal: the way through the wall around the axis, within the 10 % of 26 directions."""
    speed = 0.5
    conduction = Conduction(speed, speed, speed, sites=(EarlySite(LEFT, 0.0, 0.5, 180.0, 0.0),))
    lat = AnalyticBeat(phantom.ventricles, conduction, onset=0.0).activation(phantom.heart)
    start = phantom.heart.points[lat.argmin()]
    straight = np.linalg.norm(phantom.heart.points - start, axis=1)
    near = (straight > 8) & (straight < 16)
    ratio = speed * (lat[near] + 1.0) / straight[near]
    assert near.sum() > 10
    assert ratio.min() > 0.85
    assert np.median(ratio) == pytest.approx(1.05, abs=0.12)


def test_action_potential_has_the_given_levels_and_upstroke():
    shape = ActionPotential()
    times = np.arange(0.0, 500.0, 0.1)
    v = shape(times, np.array([100.0]), np.array([250.0]), spread=np.array([0.0]))[0]
    assert v[0] == pytest.approx(-85.0, abs=1e-6)
    assert v[-1] == pytest.approx(-85.0, abs=1e-2)
    assert v.max() == pytest.approx(20.0, abs=1.0)
    rise = times[np.argmax(v > -85 + 0.9 * 105)] - times[np.argmax(v > -85 + 0.1 * 105)]
    assert rise == pytest.approx(2.0, abs=0.2)
    assert times[np.argmax(np.diff(v))] == pytest.approx(100.0, abs=0.2)
    half = times[np.flatnonzero(v > -32.5)]
    assert half[-1] - half[0] == pytest.approx(250.0, rel=0.06)


def test_spread_of_a_linear_activation(phantom):
    """For slope g on triangles of edge h the second moment is about g^2 h^2 / 8."""
    surface = phantom.torso
    slope = 0.5
    spread = phantom_beat._spread(surface, slope * surface.points[:, 2])
    side = np.abs(surface.points[:, 2]) < 100
    pairs = surface.points[surface.edges.vertices]
    edge = np.median(np.linalg.norm(pairs[:, 0] - pairs[:, 1], axis=1))
    assert np.median(spread[side]) == pytest.approx(slope * edge / np.sqrt(8), rel=0.15)


@pytest.mark.slow
def test_leads_are_those_of_a_normal_beat(case):
    leads = LeadSystem.twelve_lead().record(case.recording)
    qrs, later = leads.window(40.0, 140.0), leads.window(220.0, 420.0)
    high = dict(zip(leads.sites, qrs.values.max(axis=1), strict=True))
    low = dict(zip(leads.sites, -qrs.values.min(axis=1), strict=True))
    extreme = later.values[np.arange(12), np.abs(later.values).argmax(axis=1)]
    t_wave = dict(zip(leads.sites, extreme, strict=True))
    for lead in ("I", "II", "V4", "V5", "V6"):
        assert high[lead] > low[lead]  # upright
        assert t_wave[lead] > 0.1
    assert low["aVR"] > 2 * high["aVR"]
    assert t_wave["aVR"] < -0.1
    assert low["V1"] > 1.5 * high["V1"]
    ratio = [high[f"V{k}"] / low[f"V{k}"] for k in (1, 3, 4, 5, 6)]
    assert ratio[0] < ratio[2] < ratio[3] < ratio[4]
    assert 0.5 < max(high["I"], high["II"]) < 2.0
    assert 1.0 < max(max(high.values()), max(low.values())) < 3.0
    # the mean frontal axis points between -30 and 90 degrees
    area = dict(zip(leads.sites, qrs.values.sum(axis=1), strict=True))
    assert -30 < np.degrees(np.arctan2(2 * area["aVF"] / np.sqrt(3), area["I"])) < 90


@pytest.mark.slow
def test_case_is_whole(case, phantom):
    check_case(case)
    assert case.recording.reference == "average"
    assert np.abs(case.recording.values.mean(axis=0)).max() < 1e-12
    assert case.recording.n_sites == 120
    hsp, vm = case.source("hsp"), case.source("vm")
    assert hsp.truth.sites == phantom.envelope.node_names
    assert vm.truth.sites == phantom.heart.node_names
    assert -90 < vm.truth.values.min() < -80
    assert 10 < vm.truth.values.max() < 25
    assert 3 < np.abs(hsp.truth.values).max() < 40
    # quiet before the onset
    assert np.abs(case.recording.window(0.0, 30.0).values).max() < 0.06


@pytest.mark.slow
def test_truth_explains_the_data_through_another_operator(case):
    """The case's own coarse operator maps the truth to the data but for noise and discretization: no inverse crime."""
    operator = transfer(case.source("hsp").surface, case.conductor, case.electrodes)
    predicted = operator.record(case.source("hsp").truth).average_referenced().values
    clean = phantom_case(120, noise=0.0).recording.values
    error = np.linalg.norm(predicted - clean) / np.linalg.norm(clean)
    assert 0.002 < error < 0.06
    assert Phantom(FINE).heart.n_points > 1.4 * case.source("vm").surface.n_points
    assert Phantom(FINE).torso.n_points > 1.2 * case.conductor.skin.n_points


@pytest.mark.slow
def test_noise_is_seeded(case):
    same, other = phantom_case(120), phantom_case(120, seed=2)
    clean = phantom_case(120, noise=0.0)
    assert np.array_equal(same.recording.values, case.recording.values)
    assert not np.array_equal(other.recording.values, case.recording.values)
    added = case.recording.values - clean.recording.values
    assert added.std() == pytest.approx(0.01 * np.sqrt(119 / 120), rel=0.02)
    assert np.array_equal(clean.source("hsp").truth.values, case.source("hsp").truth.values)
    assert "10 uV (seed 1)" in case.info["notes"]


@pytest.mark.slow
def test_another_beat_takes_the_analytic_ones_place():
    """The seam for a simulator: any function from a closed heart surface to its transmembrane potentials."""

    def still(surface):
        return Recording(np.full((surface.n_points, 3), -85.0), np.arange(3.0), surface.node_names, "vm")

    case = phantom_case(120, noise=0.0, beat=still)
    assert np.abs(case.recording.values).max() < 1e-7  # a uniform potential is not seen
    assert np.abs(case.source("hsp").truth.values).max() < 1e-3
    assert np.abs(case.source("vm").truth.values + 85).max() < 1e-9


def test_mistakes_are_named():
    with pytest.raises(InputError, match=r"standard deviation in mV and cannot be negative; got -0\.1"):
        phantom_case(noise=-0.1)
    with pytest.raises(InputError, match="no electrode layout '77'"):
        phantom_case(77, phantom=Phantom(Resolution(torso=30.0)))
    assert len(DURRER_SITES) == 5
