"""The wave on the phantom's heart surface, the case of the imaging papers."""

import numpy as np
import pytest

from einthoven.core import InputError, Surface
from einthoven.datasets.phantom import LEFT, Phantom, Resolution
from einthoven.forward.bem import transfer
from einthoven.geometry.checks import check_case
from einthoven.geometry.distance import geodesic
from einthoven.geometry.generators import sphere
from einthoven.inverse.physics.waves import RESOLVED, check_resolved, excitation, imaging_cells
from einthoven.protocol import Box, Protocol, Stimulus
from einthoven.simulate import Activation, Monodomain, simulate
from einthoven.studies.phantom_beat import FINE
from einthoven.studies.phantom_surface import SurfaceBeat, phantom_surface_case
from einthoven.studies.ready import open_case
from einthoven.tissue import Grid, Tissue


@pytest.fixture(scope="module")
def heart() -> Surface:
    return Phantom().heart


@pytest.fixture(scope="module")
def case():
    return open_case("phantom-surface", keep=False)


def mean_edge(surface: Surface) -> float:
    return float(np.linalg.norm(np.diff(surface.points[surface.edges.vertices], axis=1)[:, 0], axis=1).mean())


def test_parameters_are_those_of_the_imaging_papers():
    cells = imaging_cells()
    assert (cells.a, cells.k, cells.e0, cells.mu1, cells.mu2, cells.time_unit) == (0.1, 8.0, 0.002, 0.3, 0.3, 12.9)
    assert SurfaceBeat().diffusivity * 12.9 / 100 == pytest.approx(0.25, abs=0.001)  # cm2 per time unit
    assert excitation(cells).speed(SurfaceBeat().diffusivity) == pytest.approx(0.620, abs=0.001)


def test_a_plane_front_runs_at_the_stated_speed():
    strand = Tissue.isotropic(Grid((400,), 0.5), SurfaceBeat().diffusivity)
    start = Protocol((Stimulus(Box((-1.0,), (9.0,)), 0.0, 4.0, 20.0),))
    run = simulate(Monodomain(strand, imaging_cells()), start, 330.0, dt=0.05, keep=[Activation()])
    times = np.interp([60.0, 160.0], strand.points[:, 0], run.data["activation"].values[0])
    assert 100.0 / float(np.diff(times)[0]) == pytest.approx(
        excitation(imaging_cells()).speed(SurfaceBeat().diffusivity), rel=0.05
    )


@pytest.mark.long
def test_the_wave_starts_at_its_site_and_reaches_every_node(heart):
    beat = SurfaceBeat(duration=400.0)
    run = simulate(beat.monodomain(heart), beat.protocol(heart), 400.0, dt=beat.dt, keep=[Activation()])
    times = run.data["activation"].values[0]
    assert np.isfinite(times).all()
    ventricles, first = beat.ventricles, int(times.argmin())
    place = ventricles.coordinates(heart.points[first : first + 1])
    assert place.ventricle[0] == LEFT
    assert place.transmural[0] > 0.9
    # the farther along the surface, the later; nothing outruns the front
    distance = geodesic(heart, [first])
    far = distance > 30.0
    assert np.corrcoef(distance[far], times[far])[0, 1] > 0.97
    speed = distance[far] / times[far]
    assert 0.5 < np.median(speed) < 0.75


def test_a_mesh_that_would_stop_the_front_is_refused():
    cells, coarse = imaging_cells(), sphere(40.0, subdivisions=2, name="heart")
    edge = mean_edge(coarse)
    limit = RESOLVED * edge**2 * 8.0 / 12.9
    check_resolved(coarse, 1.01 * limit, cells)
    with pytest.raises(InputError, match="heart: edges of") as caught:
        check_resolved(coarse, 0.2, cells)
    wanted = float(str(caught.value).split("at most ")[1].split()[0])
    assert wanted == pytest.approx(np.sqrt(0.2 * 12.9 / 8.0 / RESOLVED), rel=0.05)
    check_resolved(coarse.with_points(coarse.points * 0.97 * wanted / edge), 0.2, cells)
    with pytest.raises(InputError, match=r"too coarse for a front of 0\.2 mm2/ms"):
        SurfaceBeat(diffusivity=0.2)(coarse)


def strand_speed(ratio: float) -> float:
    """Speed over that of a fine mesh on a strand whose D T / (k h^2) is `ratio`; 0 if the front gets nowhere."""
    cells, diffusivity = imaging_cells(), 1.0
    spacing = float(np.sqrt(diffusivity * cells.time_unit / cells.k / ratio))
    strand = Tissue.isotropic(Grid((round(300 / spacing),), spacing), diffusivity)
    start = Protocol((Stimulus(Box((-1.0,), (25.0,)), 0.0, 4.0, 20.0),))
    run = simulate(Monodomain(strand, cells), start, 600.0, dt=0.1, keep=[Activation()])
    times, x = run.data["activation"].values[0], strand.points[:, 0]
    passed = np.isfinite(times) & (x > 80.0)
    if passed.sum() < 4:
        return 0.0
    return float(np.polyfit(times[passed], x[passed], 1)[0]) / excitation(cells).speed(diffusivity)


def test_the_limit_is_where_the_mesh_begins_to_matter():
    assert strand_speed(0.2) > 0.94
    assert strand_speed(RESOLVED) == pytest.approx(0.88, abs=0.03)
    assert strand_speed(RESOLVED / 10) < 0.5
    assert strand_speed(RESOLVED / 25) == 0.0


@pytest.mark.long
def test_case_is_whole(case):
    check_case(case)
    heart, source = Phantom().heart, case.source("hsp")
    assert case.name == "phantom-surface"
    assert source.surface is heart
    assert source.truth.sites == heart.node_names
    assert (source.truth.reference, case.recording.reference) == ("absolute", "absolute")
    assert abs(source.truth.values[:, 0]).max() < 1e-9  # rest is zero
    assert 90 < source.truth.values.max() < 115
    assert case.recording.times[[0, 1, -1]].tolist() == [0.0, 4.0, 516.0]
    assert "plane front 0.62 mm/ms" in case.info["notes"]


@pytest.mark.long
def test_truth_and_data_come_from_a_finer_mesh_and_another_operator(case):
    """The case's own operator explains the data but for noise and discretization."""
    assert Phantom(FINE).heart.n_points > 1.4 * case.source().surface.n_points
    clean = phantom_surface_case(noise=0.0)
    operator = transfer(case.source().surface, case.conductor, case.electrodes)
    predicted = operator.record(case.source().truth).values
    error = np.linalg.norm(predicted - clean.recording.values) / np.linalg.norm(clean.recording.values)
    assert 1e-4 < error < 0.03
    added = case.recording.values - clean.recording.values
    assert added.std() == pytest.approx(1.0, rel=0.02)
    again = phantom_surface_case()
    assert np.array_equal(again.recording.values, case.recording.values)
    assert not np.array_equal(phantom_surface_case(seed=2).recording.values, case.recording.values)


@pytest.mark.long
def test_cases_from_the_cache_are_those_that_were_computed(tmp_path, monkeypatch):
    monkeypatch.setenv("EINTHOVEN_CACHE_DIR", str(tmp_path))
    small = Phantom(Resolution(torso=40.0, lungs=30.0, heart=9.0, envelope=12.0, blood=14.0))
    told = []
    made = phantom_surface_case(phantom=small, beat=SurfaceBeat(duration=40.0), keep=True)
    again = phantom_surface_case(
        phantom=small, beat=SurfaceBeat(duration=40.0), keep=True, progress=lambda *step: told.append(step)
    )
    assert told == []
    assert np.array_equal(made.recording.values, again.recording.values)
    assert np.array_equal(made.source().truth.values, again.source().truth.values)
    assert made.info == again.info
    other = phantom_surface_case(phantom=small, beat=SurfaceBeat(duration=40.0), keep=True, seed=2)
    assert not np.array_equal(made.recording.values, other.recording.values)


def test_mistakes_are_named():
    with pytest.raises(InputError, match=r"cannot be negative; got -1"):
        phantom_surface_case(noise=-1.0)
    with pytest.raises(InputError, match="no electrode layout '77'"):
        phantom_surface_case(77, phantom=Phantom(Resolution(torso=30.0)))
