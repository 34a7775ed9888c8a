"""The page of a simulation in a real headless Chromium: it draws, plays, answers clicks, runs no foreign code."""

from dataclasses import replace

import numpy as np
import pytest
import xarray
from report_browser import ATTACK, pixels, text, wait_until
from report_simulations import (
    PEAK,
    REST,
    SOURCE,
    SPEED,
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

from einthoven.core import Recording
from einthoven.geometry.generators import sphere
from einthoven.report.simulation_page import write_simulation_page
from einthoven.tissue import Grid, Tissue

pytestmark = pytest.mark.browser
#: Half a step of a movie that spans from rest to peak, mV.
STEP = 0.51 * (PEAK - REST) / 2046
#: Colors of the default map at its ends, and of cells that do not conduct or were not activated.
LOW, HIGH, SCAR, UNSET = (5, 48, 97), (103, 0, 31), (0xA9, 0xAD, 0xB5), (0xEE, 0xF0, 0xF3)


@pytest.fixture
def open_page(open_file, tmp_path):
    """Open a simulation's page."""

    def show(simulation, *, title="wave", summary=None, provenance=None, **more):
        path = tmp_path / "report.html"
        write_simulation_page(simulation, path, title=title, summary=summary or {}, provenance=provenance or {}, **more)
        return open_file(path)

    return show


def settle(tab):
    """Wait until what was asked for has been drawn."""
    tab.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def color_at(tab, panel, point):
    """RGB (0..255) on a sheet's own canvas, marks and lines left out, at a point in mm."""
    settle(tab)
    return tab.evaluate(
        f"""((point) => {{ const sheet = einthoven.panels.{panel}.sheet, [x, y] = sheet.screen(point);
        const pixel = window.devicePixelRatio || 1, c = sheet.base.getContext('2d');
        return Array.from(c.getImageData(Math.round(x * pixel), Math.round(y * pixel), 1, 1).data.slice(0, 3)); }})""",
        point,
    )


def click(tab, panel, point):
    """Click a sheet at a point in mm."""
    x, y = tab.evaluate(f"((point) => einthoven.panels.{panel}.sheet.screen(point))", point)
    box = tab.locator(f"#map-{panel} canvas.sheet").last.bounding_box()
    tab.mouse.click(box["x"] + x, box["y"] + y)


def series(tab, chart):
    """Name, x and y of the lines of a chart."""
    return {
        s["name"]: (np.array(s["x"]), np.array(s["y"]))
        for s in tab.evaluate(
            f"einthoven.charts.{chart}.series.map((s) => ({{ name: s.name, x: Array.from(s.x), y: Array.from(s.y) }}))"
        )
    }


def drawn(tab, selector):
    """Whether anything was drawn on a canvas."""
    return tab.evaluate(
        f"""(() => {{ const c = document.querySelector('{selector}');
        return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((v) => v > 0); }})()"""
    )


def place(simulation, node):
    """Point of a node, mm."""
    return simulation.tissue.points[node].tolist()


# -- a sheet ----------------------------------------------------------------------------------------------------------


def test_a_sheet_shows_movie_maps_signals_and_tables(open_page):
    simulation = on_grid()
    tab = open_page(
        simulation,
        summary={"cv_mm_per_ms": 0.5, "activated": 1.0, "qt_ms": None},
        provenance={"versions": {"numpy": np.__version__}},
    )
    for panel in ("movie", "activation", "recovery"):
        assert drawn(tab, f"#map-{panel} canvas.sheet"), panel
    for chart in ("strip", "potential-chart", "lead-chart"):
        assert drawn(tab, f"#{chart} canvas"), chart
    assert tab.locator("#view").is_hidden()
    assert tab.locator("#position").is_hidden()
    assert tab.locator("#paper-card").is_hidden()
    assert tab.locator("#count-card").is_hidden()
    assert tab.locator("#summary").inner_text().split("\n") == [
        "Conduction velocity", "0.5 mm/ms", "Activated share", "100 %", "QT", "not seen in the leads",
    ]  # fmt: skip
    tab.locator("#provenance summary").click()
    assert np.__version__ in text(tab, "#provenance")


def test_the_last_number_of_a_time_axis_is_not_cut_off(open_page):
    times = np.arange(0.0, 12001.0, 10.0)
    tab = open_page(
        replace(on_grid(), data={"ecg": Recording(np.sin(times / 900)[None], times, ("A",), "ecg").to_xarray()})
    )
    settle(tab)
    ink = tab.evaluate(
        """(() => { const c = document.querySelector('#lead-chart canvas');
        return c.getContext('2d').getImageData(c.width - 1, 0, 1, c.height).data.some((v) => v > 0); })()"""
    )
    assert tab.evaluate("einthoven.charts.lead.x[1]") == 12000.0
    assert not ink


def test_a_label_at_the_upper_rim_stays_on_the_map(open_page):
    grid = on_grid(holes=0.0)
    upper = [grid.tissue.points[:, 0].mean(), grid.tissue.points[:, 1].max(), 0.5]
    probes = grid.data["probes"].assign_attrs(points=[upper, *grid.data["probes"].attrs["points"][1:]])
    tab = open_page(replace(grid, data={**grid.data, "probes": probes}))
    settle(tab)
    above = tab.evaluate(
        """(([x, y]) => { const sheet = einthoven.panels.movie.sheet, [u] = sheet.screen([x, y, 0.5]);
        const rim = sheet.corner[1] - sheet.slice.height * sheet.cell[1], c = sheet.over.getContext('2d');
        return c.getImageData(u + 12, 0, 30, rim - 1).data.some((v) => v > 0); })""",
        upper,
    )
    assert not above


def test_colors_lie_where_the_cells_are(open_page):
    simulation = on_grid(holes=0.1)
    tab = open_page(simulation)
    tab.evaluate("einthoven.setFrame(10)")
    tab.locator("#low").fill(str(REST))
    tab.locator("#high").fill(str(PEAK))
    tab.locator("#high").blur()
    since = 50.0 - activation(simulation.tissue.points)
    excited, resting = int(np.abs(since - 12.0).argmin()), int(since.argmin())
    assert color_at(tab, "movie", place(simulation, excited)) == pytest.approx(HIGH, abs=8)
    assert color_at(tab, "movie", place(simulation, resting)) == pytest.approx(LOW, abs=2)
    hole = simulation.tissue.domain.points[np.flatnonzero(~simulation.tissue.conducting)[5]].tolist()
    assert color_at(tab, "movie", hole) == pytest.approx(SCAR, abs=1)
    assert color_at(tab, "activation", hole) == pytest.approx(SCAR, abs=1)
    never = place(simulation, simulation.tissue.n_nodes - 1)
    assert color_at(tab, "activation", never) == pytest.approx(UNSET, abs=1)


def test_the_first_axis_runs_to_the_right_and_the_second_upwards(open_page):
    tab = open_page(on_grid())
    low, right, up = (
        tab.evaluate("((p) => einthoven.panels.movie.sheet.screen(p))", p)
        for p in ([2.0, -1.0, 0.5], [12.0, -1.0, 0.5], [2.0, 9.0, 0.5])
    )
    assert right[0] > low[0] + 50
    assert right[1] == pytest.approx(low[1])
    assert up[1] < low[1] - 50
    assert up[0] == pytest.approx(low[0])
    assert right[0] - low[0] == pytest.approx(low[1] - up[1])


def test_play_slider_and_keys_share_one_time(open_page):
    tab = open_page(on_grid())
    tab.evaluate("einthoven.setFrame(3)")
    tab.locator("#play").click()
    wait_until(tab, "einthoven.state.frame > 3")
    tab.locator("#play").click()
    assert tab.evaluate("einthoven.state.playing") is False
    tab.locator("#slider").fill("30")
    assert text(tab, "#time") == "150 ms"
    assert tab.evaluate("[einthoven.charts.potential.cursor, einthoven.charts.lead.cursor]") == [150, 150]
    tab.locator("h1").click()
    tab.keyboard.press("ArrowRight")
    assert text(tab, "#frame") == "frame 32 of 40"
    tab.keyboard.press("End")
    assert text(tab, "#time") == "195 ms"
    tab.keyboard.press(" ")
    wait_until(tab, "einthoven.state.playing && einthoven.state.frame < 39")
    tab.keyboard.press(" ")


def test_the_movie_changes_with_the_frame(open_page):
    simulation = on_grid(holes=0.0)
    tab = open_page(simulation)
    far = place(simulation, simulation.tissue.n_nodes // 2)
    tab.evaluate("einthoven.setFrame(0)")
    before = color_at(tab, "movie", far)
    tab.evaluate("einthoven.setFrame(14)")
    assert color_at(tab, "movie", far) != before


def test_a_click_on_a_cell_shows_its_action_potential(open_page):
    simulation = on_grid()
    tab = open_page(simulation)
    node = int(np.abs(simulation.tissue.points - [17.0, 9.0, 0.5]).sum(axis=1).argmin())
    for panel in ("movie", "activation"):
        click(tab, panel, place(simulation, 0))
        assert text(tab, "#potential-line") == "thick: first"
        assert set(series(tab, "potential")) == {"first", "middle", "last"}
        click(tab, panel, place(simulation, node))
        name = text(tab, "#potential-line").removeprefix("black: ").removesuffix(", from the movie")
        x, y = series(tab, "potential")[name]
        expected = potentials(simulation.tissue.points[[node]], x)[0]
        assert np.abs(y - expected).max() < STEP
    rise = activation(simulation.tissue.points[[node]])[0]
    assert text(tab, "#map-activation footer").endswith(f": {rise:.1f} ms")


def test_pointing_at_a_cell_previews_it_and_names_what_is_missing(open_page):
    simulation = on_grid()
    tab = open_page(simulation)
    node = int(np.abs(simulation.tissue.points - [17.0, 9.0, 0.5]).sum(axis=1).argmin())
    x, y = tab.evaluate("((p) => einthoven.panels.movie.sheet.screen(p))", place(simulation, node))
    box = tab.locator("#map-movie canvas.sheet").last.bounding_box()
    tab.mouse.move(box["x"] + x, box["y"] + y)
    wait_until(tab, "einthoven.charts.potential.series.some((s) => s.name === 'under the pointer')")
    times, values = series(tab, "potential")["under the pointer"]
    assert np.abs(values - potentials(simulation.tissue.points[[node]], times)[0]).max() < STEP
    tab.mouse.move(5, 5)
    wait_until(tab, "!einthoven.charts.potential.series.some((s) => s.name === 'under the pointer')")
    hole = simulation.tissue.domain.points[np.flatnonzero(~simulation.tissue.conducting)[5]].tolist()
    click(tab, "movie", hole)
    assert text(tab, "#map-movie footer").endswith("does not conduct")
    click(tab, "movie", place(simulation, simulation.tissue.n_nodes - 1))
    assert text(tab, "#map-activation footer").endswith("not activated")


def test_isochrones_lie_at_their_times(open_page):
    simulation = on_grid(holes=0.0)
    tab = open_page(simulation)
    tab.locator("#band").select_option("10")
    settle(tab)
    tab.evaluate("einthoven.setFrame(0)")
    line = tab.evaluate(
        """(() => { const sheet = einthoven.panels.activation.sheet, c = sheet.base.getContext('2d');
        const pixel = window.devicePixelRatio || 1, found = [];
        const [, y] = sheet.screen([2, 6, 0.5]);
        const at = (x) => c.getImageData(Math.round(x * pixel), Math.round(y * pixel), 1, 1).data;
        const [from] = sheet.screen([3, 6, 0.5]), [to] = sheet.screen([24, 6, 0.5]);
        const mm = (to - from) / 21;
        for (let x = from; x < to; x++) {
          const [a, b, d] = [at(x - 3), at(x), at(x + 3)].map((v) => v[0] + v[1] + v[2]);
          if (b < 0.85 * Math.min(a, d)) found.push(3 + (x - from) / mm);
        }
        return found; })()"""
    )
    expected = [np.sqrt((SPEED * (t - 10)) ** 2 - (6 - SOURCE[1]) ** 2 - (0.5 - SOURCE[2]) ** 2) for t in (40, 50, 60)]
    for x in expected:
        assert np.abs(np.array(line) - x).min() < 0.25, (x, line)
    assert tab.locator("#map-activation .scale .tick").count() >= 4
    tab.locator("#lines").uncheck()
    settle(tab)
    assert tab.evaluate("einthoven.panels.activation.sheet.colors.line") == 0


def test_beats_and_durations_can_be_chosen(open_page):
    simulation = on_grid(beats=3, n_times=60)
    tab = open_page(simulation)
    node = simulation.tissue.n_nodes // 2
    tab.evaluate("((p) => einthoven.pick(p))", place(simulation, node))
    for beat in (0, 2):
        tab.locator("#beat").select_option(str(beat))
        rise = activation(simulation.tissue.points[[node]], beat)[0]
        assert text(tab, "#map-activation footer").endswith(f": {rise:.1f} ms")
    tab.locator("#recovery-shows").select_option("duration")
    assert text(tab, "#map-recovery footer").endswith(": 60.0 ms")


def test_leads_can_be_hidden_and_another_set_chosen(open_page):
    simulation = on_grid()
    simulation = replace(simulation, data={**simulation.data, "beat": twelve_leads().to_xarray()})
    tab = open_page(simulation)
    assert set(series(tab, "lead")) == {"A", "B", "C", "D"}
    tab.locator("#lead-legend button", has_text="B").click()
    assert set(series(tab, "lead")) == {"A", "C", "D"}
    tab.locator("#lead-set").select_option("1")
    assert len(series(tab, "lead")) == 12
    tab.locator("#potential-legend button", has_text="middle").click()
    assert "middle" not in series(tab, "potential")


def test_a_sweep_has_a_table_that_leads_to_the_other_runs(open_page):
    links = ["../report.html", "run-2.html", None]
    runs = [
        {"swept": {"seed": k}, "metrics": {"cv_mm_per_ms": 0.5 + 0.1 * k, "qt_ms": None}, "link": link, "shown": k == 1}
        for k, link in enumerate(links)
    ]
    tab = open_page(on_grid(), runs=runs)
    cells = tab.evaluate("[...document.querySelectorAll('#runs tr')].map((r) => [...r.cells].map((c) => c.innerText))")
    assert cells[0] == ["Run", "seed", "Conduction velocity", "QT"]
    assert cells[1:] == [[str(k + 1), str(k), f"{0.5 + 0.1 * k:g} mm/ms", "\u2013"] for k in range(3)]
    assert [a.get_attribute("href") for a in tab.locator("#runs a").all()] == ["../report.html"]
    assert tab.locator("#runs tr[aria-current] td").first.inner_text() == "2"
    assert open_page(on_grid()).locator("#runs-card").is_hidden()


def test_the_page_of_a_spiral_wave_opens_where_it_turns(open_page):
    simulation = on_grid(holes=0.0)
    times = simulation.data["movie"]["time"].values
    found = singularities(times)
    late = times >= times[-5]
    found["phase_singularity_count"] = found["phase_singularity_count"] * late
    tab = open_page(replace(simulation, data={**simulation.data, **found}))
    assert tab.evaluate("einthoven.state.frame") >= len(times) - 5


def test_singularities_are_counted_and_their_paths_drawn_until_now(open_page):
    simulation = on_grid(holes=0.0)
    times = simulation.data["movie"]["time"].values
    tab = open_page(replace(simulation, data={**simulation.data, **singularities(times)}))
    assert text(tab, "#count-line").startswith("at most 2 at a time, 1 path;")
    tab.evaluate("einthoven.setFrame(3)")
    overlay = "einthoven.panels.movie.sheet"
    assert tab.evaluate(f"{overlay}.paths.map((p) => p.points.length)") == [4]
    assert tab.evaluate(f"{overlay}.paths[0].points[3]") == pytest.approx([6.5, 6.0, 0.5])
    at_three = tab.evaluate(f"{overlay}.marks.length")
    tab.evaluate("einthoven.setFrame(20)")
    assert tab.evaluate(f"{overlay}.paths.map((p) => p.points.length)") == [21]
    assert tab.evaluate(f"{overlay}.marks.length") == at_three - 1
    tab.locator("#paths").uncheck()
    assert tab.evaluate(f"{overlay}.paths.length") == 0


# -- volumes, strands, surfaces ---------------------------------------------------------------------------------------


def test_slices_of_a_volume_follow_axis_and_position(open_page):
    simulation = on_grid((12, 10, 6), holes=0.0)
    tab = open_page(simulation)
    size_of_slice = "[einthoven.slices.movie.width, einthoven.slices.movie.height]"
    assert tab.evaluate("einthoven.state.axis") == 2
    assert tab.evaluate(size_of_slice) == [12, 10]
    tab.evaluate("einthoven.setFrame(7)")
    for axis, value, size in (("0", "7", [10, 6]), ("1", "2", [12, 6])):
        tab.locator("#axis").select_option(axis)
        tab.locator("#position").fill(value)
        assert tab.evaluate(size_of_slice) == size
        at = simulation.tissue.domain.origin[int(axis)] + int(value)
        assert text(tab, "#position-text") == f"{'xyz'[int(axis)]} = {at:.1f} mm".replace("-", "\u2212")
        shown = np.array(tab.evaluate("Array.from(einthoven.panels.movie.sheet.values)")).reshape(size[::-1])
        everything = simulation.data["movie"].values[7].take(int(value), axis=int(axis))
        assert np.abs(shown - everything.T).max() < STEP
    tab.mouse.move(5, 5)
    click(tab, "movie", [6.0, 1.0, 3.5])
    assert text(tab, "#potential-line") == "black: x, y, z = 6.0, 1.0, 3.5 mm, from the movie"


def test_a_strand_is_drawn_as_a_bar(open_page):
    simulation = on_grid((30,), holes=0.0)
    tab = open_page(simulation)
    tab.evaluate("einthoven.setFrame(10)")
    assert tab.evaluate("einthoven.panels.movie.sheet.cell[1]") >= 20
    near, far = (color_at(tab, "movie", p) for p in ([3.0, -1.0, 0.5], [30.0, -1.0, 0.5]))
    assert near[0] > near[2]
    assert far[2] > far[0]


def test_tissue_on_a_surface_turns_and_is_picked(open_page):
    surface = sphere(20.0, subdivisions=3, name="atrium")
    simulation = on_surface(surface)
    tab = open_page(simulation)
    tab.evaluate("einthoven.setFrame(8)")
    settle(tab)
    assert np.ptp(pixels(tab, "#map-movie canvas.surface"), axis=(0, 1)).max() > 0.5
    rotation = tab.evaluate("einthoven.panels.movie.surface.camera.rotation")
    box = tab.locator("#map-movie canvas.surface").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x + 60, y + 30, steps=5)
    tab.mouse.up()
    assert tab.evaluate("einthoven.panels.activation.surface.camera.rotation") != rotation
    tab.mouse.click(x, y)
    node = tab.evaluate("einthoven.state.picked.node")
    tab.mouse.move(5, 5)
    times, values = series(tab, "potential")[f"Node {node}"]
    assert np.abs(values - potentials(surface.points[[node]], times)[0]).max() < STEP
    rise = activation(surface.points[[node]])[0]
    assert text(tab, "#map-activation footer") == f"Node {node}: {rise:.1f} ms"


def test_a_heart_in_a_volume_shows_its_surface_and_its_slices(open_page):
    grid = Grid((20, 20, 20), 2.0, (-19.0, -19.0, -19.0))
    radius = np.linalg.norm(grid.points, axis=1)
    tissue = Tissue.isotropic(grid, 0.1, (radius < 17) & (radius > 9))
    surface = sphere(17.0, subdivisions=2, name="heart")
    times = np.arange(0.0, 150.0, 10.0)
    vm = Recording(potentials(surface.points, times), times, surface.node_names, "vm")
    movie = np.full((30, grid.n_points), np.nan)
    movie[:, tissue.nodes] = potentials(tissue.points, 5.0 * np.arange(30)).T
    coords = {name: grid.origin[0] + 2.0 * np.arange(20) for name in "xyz"} | {"time": 5.0 * np.arange(30)}
    array = xarray.DataArray(movie.reshape(30, 20, 20, 20), dims=("time", "x", "y", "z"), coords=coords, attrs=VM)
    simulation = Simulated(tissue, {"movie": array} | maps(tissue))
    tab = open_page(simulation, surface=surface, surface_vm=vm)
    assert text(tab, "#frame").endswith("of 15")
    assert tab.locator("#position").is_hidden()
    assert tab.locator("#map-movie canvas.sheet").first.is_hidden()
    tab.evaluate("einthoven.setFrame(5)")
    tab.locator("#view-sheet").click()
    assert text(tab, "#frame") == "frame 11 of 30"
    assert text(tab, "#time") == "50 ms"
    assert tab.locator("#position").is_visible()
    assert tab.locator("#map-movie canvas.surface").is_hidden()
    assert color_at(tab, "movie", [1.0, 1.0, 1.0]) == pytest.approx(SCAR, abs=1)
    tab.locator("#view-surface").click()
    assert text(tab, "#frame") == "frame 6 of 15"


# -- the twelve leads -------------------------------------------------------------------------------------------------


def test_twelve_leads_are_drawn_on_paper_to_scale(open_page):
    recording = twelve_leads()
    tab = open_page(replace(on_grid(), data={"beat": recording.to_xarray()}))
    svg = tab.locator("#paper svg")
    assert svg.get_attribute("viewBox").startswith("0 0 140 ")
    paper = 140 / 25.4 * 96
    assert svg.bounding_box()["width"] == pytest.approx(2 * paper, abs=3)
    tab.emulate_media(media="print")
    assert svg.bounding_box()["width"] == pytest.approx(paper, abs=3)
    tab.emulate_media(media="screen")
    names = svg.locator("text").all_text_contents()
    assert names[:13] == ["I", "aVR", "V1", "V4", "II", "aVL", "V2", "V5", "III", "aVF", "V3", "V6", "II"]
    traces = svg.locator("path.trace")
    assert traces.count() == 13
    path = traces.nth(0).get_attribute("d").replace("M", "").split("L")
    points = np.array([[float(v) for v in pair.split()] for pair in path])
    assert np.ptp(points[:, 0]) == pytest.approx(0.398 * 25, abs=0.01)
    assert points[0, 1] - points[:, 1].min() == pytest.approx(1.0, abs=0.02)
    tab.locator("#paper-layout").select_option("1")
    assert tab.locator("#paper svg path.trace").count() == 12


# -- odd results, foreign text ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kept", "hidden", "seen"),
    [
        ((), ("toolbar", "potential-card", "lead-card", "paper-card", "count-card"), ("provenance-card",)),
        (("movie",), ("map-activation", "map-recovery", "lead-card"), ("map-movie", "potential-card")),
        (("activation",), ("map-movie", "map-recovery", "potential-card"), ("map-activation",)),
        (("probes",), ("toolbar", "lead-card"), ("potential-card",)),
        (("ecg",), ("toolbar", "potential-card"), ("lead-card",)),
    ],
)
def test_only_what_was_kept_is_shown(open_page, kept, hidden, seen):
    simulation = on_grid()
    tab = open_page(replace(simulation, data={name: simulation.data[name] for name in kept}))
    for name in hidden:
        assert tab.locator(f"#{name}").is_hidden(), name
    for name in seen:
        assert tab.locator(f"#{name}").is_visible(), name
    assert tab.locator(".transport").is_visible() == ("movie" in kept)
    tab.locator("#theme").click()
    tab.keyboard.press("ArrowRight")


def test_names_from_files_stay_text(open_page):
    simulation = on_grid()
    data = dict(simulation.data)
    data["probes"] = data["probes"].assign_coords(site=[ATTACK, "b", "c"])
    data["ecg"] = data["ecg"].assign_coords(site=[ATTACK, "b", "c", "d"]).assign_attrs(reference=ATTACK)
    data[ATTACK] = data["ecg"]
    tab = open_page(
        replace(simulation, data=data), title=ATTACK, summary={ATTACK: ATTACK}, provenance={ATTACK: {ATTACK: ATTACK}}
    )
    assert text(tab, "h1") == ATTACK
    assert tab.title() == f"{ATTACK} - einthoven"
    assert ATTACK in text(tab, "#potential-legend")
    tab.locator("#lead-set").select_option("1")
    assert ATTACK in text(tab, "#lead-line")
    assert tab.locator("img").count() == 0
    assert tab.evaluate("window.attacked") is None


def test_the_page_forbids_evaluating_text(open_page):
    tab = open_page(on_grid())
    trial = "(() => { try { new Function('return 1')(); return 'ran' } catch (e) { return e.name } })()"
    tab.evaluate(f"setTimeout(() => {{ window.tried = {trial} }}, 0)")
    wait_until(tab, "window.tried !== undefined")
    assert tab.evaluate("window.tried") == "EvalError"
