"""The data of a simulation's page: what is shown of movies, maps, signals and singularities, sizes, escaping."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import xarray
from report_simulations import (
    PEAK,
    REST,
    VM,
    Simulated,
    activation,
    maps,
    on_grid,
    on_surface,
    potentials,
    singularities,
    twelve_leads,
)

from einthoven.core import InputError, LeadSystem, Recording
from einthoven.core.leads import TWELVE_LEAD_ELECTRODES, TWELVE_LEADS
from einthoven.geometry.generators import sphere
from einthoven.report import simulation_fields, simulation_page
from einthoven.report.encoding import unpacked
from einthoven.report.simulation_page import simulation_data, write_simulation_page
from einthoven.tissue import Grid, Tissue

ATTACK = "</script><script>alert(1)</script>{{data}}<img src=x onerror=alert(2)>"
#: Half a step of a movie that spans from rest to peak, mV.
STEP = 0.51 * (PEAK - REST) / 2046


def data_of(simulation, **more):
    return simulation_data(simulation, title="t", summary={"cv": 0.5}, provenance={"seed": 1}, **more)


def on_cells(grid, packet):
    """Values (rows, nx, ny, nz) of a packed field over its grid, NaN where nothing conducts."""
    mask = unpacked(grid["mask"])
    values = unpacked(packet)
    out = np.full((len(values), *mask.shape), np.nan)
    out[:, mask] = values
    return out


def cell_centers(grid):
    axes = [o + s * np.arange(n) for o, s, n in zip(grid["origin"], grid["spacing"], grid["shape"], strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def shown_movie(data):
    movie = data["sheet"]["movie"]
    return on_cells(movie["grid"], movie["values"]), cell_centers(movie["grid"]), unpacked(movie["times"])


# -- movies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(24, 16), (9, 7, 5), (30,)])
def test_movie_shows_every_cell_where_it_is(shape):
    simulation = on_grid(shape)
    values, centers, times = shown_movie(data_of(simulation))
    conducting = simulation.tissue.conducting.reshape((*shape, 1, 1)[:3])
    np.testing.assert_array_equal(np.isfinite(values[0]), conducting)
    expected = potentials(centers[conducting], times).T
    assert np.abs(values[:, conducting] - expected).max() < STEP
    np.testing.assert_array_equal(times, simulation.data["movie"]["time"])


def test_movie_over_nodes_of_a_grid_shows_the_same():
    simulation = on_grid((24, 16))
    movie = simulation.data["movie"]
    over_nodes = xarray.DataArray(
        movie.values.reshape(len(movie), -1)[:, simulation.tissue.nodes],
        dims=("time", "node"),
        coords={"time": movie["time"]},
        attrs=VM,
    )
    other = replace(simulation, data={"movie": over_nodes})
    first, second = shown_movie(data_of(simulation)), shown_movie(data_of(other))
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, two)


def test_axes_of_the_movie_may_come_in_any_order():
    simulation = on_grid((24, 16))
    turned = replace(simulation, data={"movie": simulation.data["movie"].transpose("y", "time", "x")})
    np.testing.assert_array_equal(shown_movie(data_of(turned))[0], shown_movie(data_of(simulation))[0])


def test_a_movie_of_blocks_keeps_its_own_cells():
    simulation = on_grid((24, 16))
    blocks = simulation.data["movie"].coarsen(x=2, y=2).mean()
    grid = data_of(replace(simulation, data={"movie": blocks}))["sheet"]["movie"]["grid"]
    assert grid["shape"] == [12, 8, 1]
    assert grid["spacing"][:2] == [2.0, 2.0]
    assert grid["origin"] == [2.5, -0.5, 0.5]


def test_large_movies_lose_frames_first_then_cells_and_it_is_said(monkeypatch):
    simulation = on_grid((24, 16), n_times=90, holes=0.0)
    monkeypatch.setattr(simulation_fields, "ENOUGH_FRAMES", 30)
    monkeypatch.setattr(simulation_fields, "MAX_MOVIE_SAMPLES", 24 * 16 * 30)
    data = data_of(simulation)
    movie = data["sheet"]["movie"]
    assert (movie["stride"], movie["factor"]) == (3, 1)
    assert data["notes"] == ["Cells: 1 of 3 frames of the 90 kept."]
    monkeypatch.setattr(simulation_fields, "MAX_MOVIE_SAMPLES", 24 * 16 * 30 // 4)
    data = data_of(simulation)
    movie = data["sheet"]["movie"]
    assert (movie["stride"], movie["factor"]) == (3, 2)
    assert "Cells: 1 of 2 cells of the movie along each axis." in data["notes"]
    values, centers, times = shown_movie(data)
    assert values.shape == (30, 12, 8, 1)
    assert np.abs(values.reshape(30, -1) - potentials(centers.reshape(-1, 3), times).T).max() < STEP


def test_movies_that_do_not_compress_are_thinned_until_they_fit(monkeypatch):
    simulation = on_grid((24, 16), n_times=60, holes=0.0)
    noise = np.random.default_rng(0).uniform(-90, 40, simulation.data["movie"].shape)
    noisy = replace(simulation, data={"movie": simulation.data["movie"].copy(data=noise)})
    monkeypatch.setattr(simulation_fields, "MAX_MOVIE_BYTES", 10_000)
    movie = data_of(noisy)["sheet"]["movie"]
    assert movie["factor"] > 1
    assert 5_000 < len(movie["values"]["data"]) <= 10_000


def test_a_cell_stays_in_the_middle_of_those_left_out():
    for n, factor in ((10, 3), (7, 2), (1, 4), (5, 9)):
        kept = np.arange(n)[simulation_fields.every(n, factor)]
        assert kept.size >= 1
        assert (np.diff(kept) == factor).all()


def test_color_range_holds_almost_all_values():
    values = np.concatenate([np.linspace(-84.0, 33.0, 100_000), [900.0] * 50, [np.nan]])
    assert simulation_fields.color_range(values) == (-85.0, 35.0)
    assert simulation_fields.color_range(np.full(10, -80.0)) == (-80.0, -75.0)
    assert simulation_fields.color_range(np.full(10, np.nan)) == (-90.0, 40.0)


def test_movie_without_coordinates_or_frames_is_refused():
    simulation = on_grid((24, 16))
    movie = simulation.data["movie"]
    with pytest.raises(InputError, match=r"movie: needs dims \(time, x, y\) with coordinates in mm.*for x. Keep it"):
        data_of(replace(simulation, data={"movie": movie.drop_vars("x")}))
    with pytest.raises(InputError, match="the movie holds no frame"):
        data_of(replace(simulation, data={"movie": movie[:0]}))


@pytest.mark.parametrize("name", ["movie", "activation", "recovery", "probes", "ecg"])
def test_other_units_are_refused(name):
    simulation = on_grid()
    wrong = simulation.data[name].assign_attrs(unit="s")
    with pytest.raises(InputError, match="must be"):
        data_of(replace(simulation, data={**simulation.data, name: wrong}))


# -- maps -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(24, 16), (9, 7, 5)])
def test_activation_and_recovery_lie_where_the_cells_are(shape):
    simulation = on_grid(shape, beats=3)
    found = data_of(simulation)["sheet"]["maps"]
    centers = cell_centers(found["grid"])
    conducting = unpacked(found["grid"]["mask"])
    assert found["beats"] == [1, 2, 3]
    for name, shift in (("activation", 0.0), ("recovery", 60.0)):
        times = on_cells(found["grid"], found[name])
        np.testing.assert_array_equal(np.isnan(times[0]).sum(), (~conducting).sum() + 1)
        for beat in range(3):
            known = np.isfinite(times[beat])
            expected = activation(centers[known], beat) + shift
            assert np.abs(times[beat][known] - expected).max() < 1e-5 * 400


def test_beats_that_activated_nothing_are_left_out():
    simulation = on_grid(beats=3)
    rise = simulation.data["activation"].copy()
    rise[1] = np.nan
    found = data_of(replace(simulation, data={**simulation.data, "activation": rise}))["sheet"]["maps"]
    assert (found["beats"], found["n_beats"]) == ([1, 3], 2)
    later = unpacked(found["activation"])[1]
    assert np.nanmax(np.abs(later - activation(simulation.tissue.points, 2))) < 1e-5 * 400
    nothing = replace(simulation, data={"activation": rise.copy(data=np.full(rise.shape, np.nan))})
    assert data_of(nothing)["sheet"] is None


def test_many_beats_and_then_cells_are_left_out_and_it_is_said(monkeypatch):
    simulation = on_grid((24, 16), beats=6, holes=0.0)
    monkeypatch.setattr(simulation_fields, "ENOUGH_BEATS", 4)
    monkeypatch.setattr(simulation_fields, "MAX_MAP_SAMPLES", 24 * 16)
    data = data_of(simulation)
    found = data["sheet"]["maps"]
    assert (found["beats"], found["factor"]) == ([1, 2, 3, 4], 2)
    assert data["notes"] == [
        "Cells: 1 of 2 cells of the activation maps along each axis.",
        "Cells: maps of the first 4 of 6 beats.",
    ]


def test_missing_recovery_is_no_map():
    simulation = on_grid()
    without = {name: array for name, array in simulation.data.items() if name != "recovery"}
    assert data_of(replace(simulation, data=without))["sheet"]["maps"]["recovery"] is None


# -- surfaces ---------------------------------------------------------------------------------------------------------


def test_tissue_on_a_surface_shows_every_node():
    surface = sphere(20.0, subdivisions=2, name="atrium")
    simulation = on_surface(surface)
    data = data_of(simulation)
    assert data["sheet"] is None
    shown = data["surface"]
    values, times = unpacked(shown["movie"]["values"]), unpacked(shown["movie"]["times"])
    assert np.isnan(values[:, -1]).all()
    assert np.abs(values[:, :-1] - potentials(surface.points[:-1], times).T).max() < STEP
    rise = unpacked(shown["maps"]["activation"])[0]
    assert np.flatnonzero(np.isnan(rise)).tolist() == [surface.n_points - 2, surface.n_points - 1]
    np.testing.assert_array_equal(unpacked(shown["triangles"]), surface.triangles)


def ball(spacing: float = 1.5) -> Tissue:
    n = round(34 / spacing)
    grid = Grid((n, n, n), spacing, (-spacing * (n - 1) / 2,) * 3)
    radius = np.linalg.norm(grid.points, axis=1)
    return Tissue.isotropic(grid, 0.1, (radius < 15) & (radius > 8))


def test_a_given_surface_shows_its_own_potentials_and_the_volume_remains():
    tissue, surface = ball(), sphere(15.0, subdivisions=2, name="heart")
    times = np.arange(0.0, 100.0, 5.0)
    vm = Recording(potentials(surface.points, times), times, surface.node_names, "vm")
    turned = vm.select(tuple(reversed(vm.sites)))
    simulation = Simulated(tissue, maps(tissue))
    data = data_of(simulation, surface=surface, surface_vm=turned)
    assert np.abs(unpacked(data["surface"]["movie"]["values"]) - vm.values.T).max() < STEP
    assert data["sheet"]["maps"] is not None
    assert data["sheet"]["movie"] is None


def test_activation_of_a_volume_is_averaged_onto_the_surface():
    tissue, surface = ball(), sphere(15.0, subdivisions=2, name="heart")
    rise = 50.0 + tissue.points[:, 2]
    rise[np.linalg.norm(tissue.points - [0, 0, 15], axis=1) < 6.0] = np.nan
    array = xarray.DataArray(rise[None], dims=("beat", "node"))
    found = data_of(Simulated(tissue, {"activation": array}), surface=surface)["surface"]["maps"]
    times = unpacked(found["activation"])[0]
    pole = surface.points[:, 2] > 14.0
    assert np.isnan(times[pole]).all()
    low = surface.points[:, 2] < 5.0
    assert np.abs(times[low] - 50.0 - surface.points[low, 2]).max() < 1.5


def test_potentials_that_miss_nodes_are_refused():
    tissue, surface = ball(), sphere(15.0, subdivisions=1, name="heart")
    vm = Recording(np.zeros((41, 2)), np.arange(2.0), surface.node_names[:41], "vm")
    with pytest.raises(InputError, match="potentials on heart: no site named heart:41"):
        data_of(Simulated(tissue, {}), surface=surface, surface_vm=vm)


# -- signals ----------------------------------------------------------------------------------------------------------


def test_probes_and_leads_come_whole_with_their_places():
    simulation = on_grid()
    data = data_of(simulation)
    probes = simulation.data["probes"]
    assert data["probes"]["names"] == ["first", "middle", "last"]
    assert data["probes"]["points"] == probes.attrs["points"]
    assert np.abs(unpacked(data["probes"]["values"]) - probes.values).max() < 1e-5 * np.ptp(probes.values)
    (leads,) = data["leads"]
    assert (leads["name"], leads["label"], leads["papers"]) == ("ecg", "body-surface potential, reference absolute", [])
    named = simulation.data["ecg"].assign_attrs(label="potential in a bath")
    assert data_of(replace(simulation, data={"ecg": named}))["leads"][0]["label"] == "potential in a bath"


def test_long_signals_are_thinned_and_it_is_said(monkeypatch):
    monkeypatch.setattr(simulation_page, "MAX_SIGNAL_SAMPLES", 400)
    simulation = on_grid()
    data = data_of(simulation)
    assert [s["stride"] for s in (data["probes"], data["leads"][0])] == [2, 2]
    np.testing.assert_array_equal(unpacked(data["probes"]["times"]), np.arange(0.0, 200.0, 2.0))
    assert data["notes"] == ["Action potentials: 1 of 2 samples.", "Leads ecg: 1 of 2 samples."]


def test_twelve_leads_get_paper_in_both_layouts():
    recording = twelve_leads()
    data = data_of(replace(on_grid(), data={"beat": recording.to_xarray()}))
    papers = data["leads"][0]["papers"]
    assert [p["name"] for p in papers] == ["3 × 4 and rhythm strip", "12 × 1"]
    for paper in papers:
        for trace in paper["traces"]:
            x, y = unpacked(trace["points"])
            k = TWELVE_LEADS.index(trace["lead"])
            assert (y - trace["baseline"])[np.abs(y - trace["baseline"]).argmax()] == pytest.approx(
                10 * recording.values[k, 100], abs=0.01
            )
            assert x[0] == pytest.approx(trace["left"], abs=0.01)


def test_paper_traces_are_not_finer_than_the_line():
    recording = twelve_leads(n_times=20_000, dt=0.02)
    (leads,) = data_of(replace(on_grid(), data={"e": recording.to_xarray()}))["leads"]
    x, y = unpacked(leads["papers"][0]["traces"][0]["points"])
    assert 0.024 < np.diff(x).min() <= np.diff(x).max() < 0.06
    assert np.ptp(y) == pytest.approx(1.0, abs=0.01)


def test_the_nine_electrodes_make_the_twelve_leads():
    times = np.arange(0.0, 300.0)
    shape = np.exp(-(((times - 100) / 10) ** 2))
    potential = Recording(np.arange(1.0, 10.0)[:, None] * shape, times, TWELVE_LEAD_ELECTRODES, "bsp")
    data = data_of(replace(on_grid(), data={"electrodes": potential.to_xarray()}))
    traces = data["leads"][0]["papers"][1]["traces"]
    expected = LeadSystem.twelve_lead().record(potential)
    for trace in traces:
        y = unpacked(trace["points"])[1] - trace["baseline"]
        assert y[np.abs(y).argmax()] == pytest.approx(10 * expected.select([trace["lead"]]).values[0, 100], abs=0.05)


# -- singularities ----------------------------------------------------------------------------------------------------


def test_singularities_come_with_count_places_and_paths(monkeypatch):
    simulation = on_grid()
    times = simulation.data["movie"]["time"].values
    simulation = replace(simulation, data={**simulation.data, **singularities(times)})
    found = data_of(simulation)["singularities"]
    rows = unpacked(found["rows"])
    assert rows[3].tolist() == pytest.approx([15.0, 1.0, 6.5, 6.0, 0.5])
    assert unpacked(found["path"]).tolist() == [0] * 40 + [-1]
    assert unpacked(found["count"]).tolist() == [1.0, 1.0, 1.0, 2.0] + [1.0] * 36
    monkeypatch.setattr(simulation_page, "MAX_SINGULARITIES", 7)
    data = data_of(simulation)
    assert data["singularities"]["rows"]["shape"] == [7, 5]
    assert data["notes"] == ["Phase singularities: places of the first 7 of 41."]


def test_no_singularity_at_all_is_a_count_of_zero():
    some = singularities(np.arange(5.0))
    none = {name: 0 * array if name == "phase_singularity_count" else array[:0] for name, array in some.items()}
    found = data_of(replace(on_grid(), data=none))["singularities"]
    assert unpacked(found["rows"]).shape == (0, 5)
    assert unpacked(found["count"]).tolist() == [0.0] * 5


# -- the page ---------------------------------------------------------------------------------------------------------


def test_the_head_says_what_was_simulated():
    facts = dict(data_of(on_grid((24, 16)))["facts"])
    assert facts["Membrane"] == "Membrane"
    assert facts["Tissue"] == "24 × 16 cells of 1 mm"
    assert re.fullmatch(r"\d+ of 384 \(\d\d\.\d %\)", facts["Conducting"])
    assert (facts["Time step"], facts["Duration"]) == ("0.05 ms", "200 ms")
    assert dict(data_of(on_surface(sphere(20.0, subdivisions=1)))["facts"])["Tissue"] == "surface of 42 nodes"


def test_without_anything_kept_there_is_still_a_page(tmp_path):
    simulation = replace(on_grid(), data={})
    path = write_simulation_page(simulation, tmp_path / "report.html", title="bare", summary={}, provenance={})
    data = stored(path.read_text(encoding="utf-8"))
    assert [data[key] for key in ("sheet", "surface", "probes", "leads", "singularities")] == [
        None,
        None,
        None,
        [],
        None,
    ]


def stored(text: str) -> dict:
    found = re.search(r'<script type="application/json" id="page-data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return json.loads(found.group(1))


def test_page_is_one_file_without_links(tmp_path):
    path = write_simulation_page(on_grid(), tmp_path / "report.html", title="t", summary={}, provenance={})
    text = path.read_text(encoding="utf-8")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:)""", text)
    assert not re.search(r"\{\{[a-z._]+\}\}", text)
    assert set(re.findall(r"https?://[^\"'\s)]+", text)) == {"http://www.w3.org/2000/svg"}
    assert "eval(" not in text


def test_hostile_text_stays_data(tmp_path):
    simulation = on_grid()
    probes = simulation.data["probes"].assign_coords(site=[ATTACK, "b", "c"])
    simulation = replace(simulation, data={**simulation.data, "probes": probes})
    path = write_simulation_page(
        simulation, tmp_path / "r.html", title=ATTACK, summary={ATTACK: ATTACK}, provenance={ATTACK: {"deep": [ATTACK]}}
    )
    text = path.read_text(encoding="utf-8")
    assert text.count("</script>") == 2
    assert "<script>alert" not in text
    assert "<img" not in text
    data = stored(text)
    assert data["title"] == ATTACK
    assert data["summary"] == {ATTACK: ATTACK}
    assert data["probes"]["names"][0] == ATTACK


def test_a_failed_write_leaves_the_old_page(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    write_simulation_page(on_grid(), path, title="t", summary={}, provenance={})
    before = path.read_bytes()
    monkeypatch.setattr(simulation_page, "script_json", lambda data: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_simulation_page(on_grid(), path, title="t", summary={}, provenance={})
    assert path.read_bytes() == before
    monkeypatch.undo()
    with pytest.raises(InputError, match="does not exist"):
        write_simulation_page(on_grid(), tmp_path / "no" / "report.html", title="t", summary={}, provenance={})


def test_a_sheet_of_40000_cells_and_300_frames_of_noise_stays_below_ten_megabytes(tmp_path):
    grid = Grid((200, 200), 0.5)
    tissue = Tissue.isotropic(grid, 0.1)
    noise = np.random.default_rng(0).uniform(-90, 40, (300, 200, 200)).astype(np.float32)
    axis = 0.5 * np.arange(200)
    movie = xarray.DataArray(
        noise, dims=("time", "x", "y"), coords={"time": 5.0 * np.arange(300), "x": axis, "y": axis}, attrs=VM
    )
    data = {"movie": movie} | maps(tissue, beats=12)
    many = np.random.default_rng(1).normal(size=(12, 100_000))
    times = 0.1 * np.arange(100_000)
    data["ecg"] = Recording(many, times, TWELVE_LEADS, "ecg").to_xarray()
    data["probes"] = Recording(many, times, TWELVE_LEADS, "vm").to_xarray()
    path = write_simulation_page(Simulated(tissue, data), tmp_path / "r.html", title="t", summary={}, provenance={})
    assert path.stat().st_size < 10e6
