"""The page in a real headless Chromium: it draws, plays, answers clicks, asks for nothing, runs no foreign code."""

from dataclasses import replace

import numpy as np
import pytest
from report_browser import ATTACK, pixels, text, wait_until

from einthoven.report.page import write_page

pytestmark = pytest.mark.browser


def test_the_page_forbids_evaluating_text(imaging_result, open_page):
    tab = open_page(imaging_result(1))
    trial = "(() => { try { new Function('return 1')(); return 'ran' } catch (e) { return e.name } })()"
    tab.evaluate(f"setTimeout(() => {{ window.tried = {trial} }}, 0)")
    wait_until(tab, "window.tried !== undefined")
    assert tab.evaluate("window.tried") == "EvalError"


@pytest.fixture
def open_page(open_file, tmp_path):
    """Open a result's page."""
    return lambda result: open_file(write_page(result, tmp_path / "report.html"))


def middle_of(tab, panel):
    """Middle half of a map, RGB in 0..1, from a screenshot."""
    picture = pixels(tab, f"#{panel} canvas")
    height, width = picture.shape[:2]
    return picture[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4].reshape(-1, 3)


def colors_in(tab, panel):
    """Number of distinct colors in the middle of a map."""
    return len(np.unique((middle_of(tab, panel) * 15).round(), axis=0))


def color_share(tab, panel):
    """Share of pixels in the middle of a map that are not gray."""
    return float((np.ptp(middle_of(tab, panel), axis=1) > 0.15).mean())


def foremost(tab, where, count, *, but):
    """Site nearest to the viewer, other than `but`: number and client pixels."""
    return tab.evaluate(
        f"""(() => {{ let best = null;
        for (let i = 0; i < {count}; i++) {{
            const at = i === {but} ? null : {where};
            if (at && (!best || at.depth > best[3])) best = [i, at.x, at.y, at.depth];
        }}
        return best.slice(0, 3); }})()"""
    )


def test_page_draws_three_maps_and_all_charts(imaging_result, open_page):
    tab = open_page(imaging_result(3))
    for panel in ("map-torso", "map-left", "map-right"):
        assert colors_in(tab, panel) > 10
    assert tab.locator("#scores tbody tr").count() == 3
    for chart in ("strip", "node-chart", "lead-chart", "curve-chart", "criterion-chart", "residual-chart"):
        drawn = f"""(() => {{ const c = document.querySelector('#{chart} canvas');
            return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((v) => v > 0); }})()"""
        assert tab.evaluate(drawn), chart


def test_play_slider_and_keys_share_one_time(imaging_result, open_page):
    tab = open_page(imaging_result(1))
    before = tab.evaluate("einthoven.state.frame")
    tab.locator("#play").click()
    wait_until(tab, f"einthoven.state.frame !== {before}")
    tab.locator("#play").click()
    assert tab.evaluate("einthoven.state.playing") is False
    tab.locator("#slider").fill("30")
    assert text(tab, "#time") == "30 ms"
    assert tab.evaluate("[einthoven.charts.node.cursor, einthoven.charts.lead.cursor]") == [30, 30]
    tab.locator("h1").click()
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("Shift+ArrowRight")
    assert text(tab, "#frame") == "frame 42 of 120"
    tab.keyboard.press("End")
    assert text(tab, "#time") == "119 ms"
    tab.keyboard.press(" ")
    wait_until(tab, "einthoven.state.playing && einthoven.state.frame < 119")
    tab.keyboard.press(" ")


def test_clicks_on_maps_pick_node_and_electrode(imaging_result, open_page):
    result = imaging_result(2)
    tab = open_page(result)
    before = tab.evaluate("einthoven.state.node")
    chosen = before
    for side in ("left", "right"):
        chosen, x, y = foremost(tab, f"einthoven.nodeOnScreen('{side}', i)", 162, but=chosen)
        tab.mouse.click(x, y)
        assert text(tab, "#node-title") == f"Electrogram at node {chosen}"
    assert chosen != before
    drawn = tab.evaluate("einthoven.charts.node.series.map((s) => [s.name, Array.from(s.y)])")
    assert {name for name, _ in drawn} == {"Measured", "method0", "method1"}
    measured = next(y for name, y in drawn if name == "Measured")
    assert measured == pytest.approx(result.truth.values[chosen], abs=1e-5 * 40)
    lead, x, y = foremost(tab, "einthoven.electrodeOnScreen(i)", 54, but=tab.evaluate("einthoven.state.lead"))
    tab.mouse.click(x, y)
    assert text(tab, "#lead-title") == f"Lead E{lead}"


def test_dragging_turns_all_maps_and_picks_nothing(imaging_result, open_page):
    tab = open_page(imaging_result(1))
    node, rotation = tab.evaluate("[einthoven.state.node, einthoven.views.left.camera.rotation]")
    box = tab.locator("#map-left canvas").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x + 80, y + 25, steps=5)
    tab.mouse.up()
    turned = tab.evaluate("einthoven.views.torso.camera.rotation")
    assert turned != rotation
    assert sum(v * v for v in turned) == pytest.approx(3.0, abs=1e-9)
    assert tab.evaluate("einthoven.state.node") == node


def test_method_activation_and_table(imaging_result, open_page):
    tab = open_page(imaging_result(3))
    tab.locator("#method").select_option("2")
    assert "with the truth" in text(tab, "#facts")
    assert text(tab, "#curve-line").startswith("method2")
    assert "saw the truth" in text(tab, "#scores tbody tr:nth-child(3)")
    assert tab.locator("#scores tbody tr:nth-child(3) td.best").count() == 0
    tab.locator("#scores thead th", has_text="Relative error").click()
    errors = [float(tab.locator(f"#scores tbody tr:nth-child({i}) td:nth-child(4)").inner_text()) for i in (1, 2, 3)]
    assert errors == sorted(errors)
    tab.locator("#show-activation").click()
    assert text(tab, "#map-left .scale .unit") == "ms"
    assert colors_in(tab, "map-left") > 5
    tab.locator("#left-shows").select_option("difference")
    tab.locator("#show-potential").click()
    assert text(tab, "#map-left .scale .unit") == "mV"


@pytest.mark.parametrize(("quantity", "colorful"), [("hsp", True), ("vm", False)])
def test_cut_open_shows_the_far_wall(imaging_result, open_page, quantity, colorful):
    tab = open_page(imaging_result(1, quantity=quantity))
    depth = """(() => { const view = einthoven.views.left, c = view.canvas;
        return view.eye(view.pick(c.clientWidth / 2, c.clientHeight / 2).point)[2]; })()"""
    assert tab.evaluate(depth) == pytest.approx(40.0, rel=0.05)
    assert color_share(tab, "map-left") > 0.3
    tab.locator("#cut").check()
    assert tab.evaluate(depth) == pytest.approx(-40.0, rel=0.05)
    assert (color_share(tab, "map-left") > 0.3) == colorful


def test_simulated_truth_is_not_called_measured(imaging_result, open_page):
    tab = open_page(imaging_result(1, info={"origin": "generated by a test"}))
    assert "Measured" not in tab.locator("main").inner_text()
    assert "against the simulated truth" in text(tab, "#scores-line")


def test_without_truth_nothing_measured_is_shown(imaging_result, open_page):
    tab = open_page(imaging_result(1, truth=False))
    assert tab.locator("#map-right").count() == 0
    assert "Measured" not in tab.locator("body").inner_text()
    assert tab.evaluate("einthoven.charts.node.series.map((s) => s.name)") == ["method0"]


def test_transmembrane_sources_and_leads_without_a_map(imaging_result, open_page):
    result = imaging_result(1, quantity="vm")
    leads = replace(result.recording, sites=tuple(f"L{i}" for i in range(54)))
    image = result.images[0]
    found = replace(image.reconstruction, residual=leads.with_values(leads.values * 0.1))
    tab = open_page(replace(result, recording=leads, images=(replace(image, reconstruction=found),)))
    assert "Transmembrane potential at node" in text(tab, "#node-title")
    assert tab.locator("#torso-shows").is_hidden()
    assert text(tab, "#lead-title").startswith("Lead L")


def test_names_from_files_stay_text(imaging_result, open_page):
    result = imaging_result(2, name=ATTACK, info={"citation": ATTACK, "<b>key</b>": ATTACK})
    image = result.images[0]
    found = replace(image.reconstruction, method=ATTACK, diagnostics={ATTACK: 1.0})
    images = (replace(image, reconstruction=found, metrics={**image.metrics, "method": ATTACK}), *result.images[1:])
    tab = open_page(replace(result, images=images, provenance={ATTACK: {ATTACK: ATTACK}}))
    assert text(tab, "h1") == ATTACK
    assert tab.title() == f"{ATTACK} - einthoven"
    assert tab.locator("img").count() == 0
    assert tab.evaluate("window.attacked") is None
