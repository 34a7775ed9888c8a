"""Images by cell physics on the page: verdict, training, error bars."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from report_browser import text

from einthoven.inverse.physics.gate import Gate, Verdict
from einthoven.inverse.physics.solver import Imaged
from einthoven.inverse.physics.spread import Spread
from einthoven.inverse.physics.strong import FocalImage, Focus
from einthoven.inverse.physics.training import History
from einthoven.report.encoding import unpacked
from einthoven.report.page import frame_stride, page_data, render, write_page
from einthoven.studies.results import ImagingResult, PhysicsImaging

STEPS = 900
WHY = "chi2 is 1.900: the image leaves more than noise (0.9 to 1.05)"


def blank(kind: type, **values):
    """An object of that class that holds only what the page reads."""
    made = object.__new__(kind)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made


def history() -> History:
    """A training whose chi2 falls and whose tau is lowered."""
    x = np.linspace(0, 1, STEPS)
    return History(1e4 * np.exp(-x), 3.0 - 2.03 * x, 0.5 * np.exp(-3 * x), np.maximum(0.3, 1 - x))


@pytest.fixture
def judged(imaging_result) -> ImagingResult:
    """A classical method, an accepted image with error bars, one that fell back, and a wave of foci."""
    result = imaging_result(4)
    classical, accepted, refused, strong = (replace(image, activation=image.activation) for image in result.images)
    estimate = accepted.reconstruction.estimate
    sd = 0.1 + np.abs(estimate.values) / 10
    samples = np.stack([accepted.activation - 2.0, accepted.activation + 2.0])
    samples[:, 0] = np.nan
    spread = Spread(estimate.with_values(sd), samples, "laplace")
    trained = blank(Imaged, history=history())
    foci = (Focus(np.array([12.4, -3.0, 40.0]), 21.2),)
    physics = [
        PhysicsImaging(trained, Verdict(True, "chi2 is 0.970, within 0.9 to 1.05"), spread, Gate()),
        PhysicsImaging(trained, Verdict(False, WHY), None, Gate()),
        PhysicsImaging(blank(FocalImage, foci=foci), Verdict(True, "chi2 is 1.000, within 0.9 to 1.05"), None, Gate()),
    ]
    rules = ("annealed", "fell back on stre, discrepancy", "bic")
    images = [classical]
    for image, found, rule, chi2 in zip((accepted, refused, strong), physics, rules, (0.97, 1.9, 1.0), strict=True):
        made = replace(image.reconstruction, rule=rule, curve=None)
        metrics = {**image.metrics, "rule": rule, "chi2": chi2, "sees_truth": False}
        images.append(replace(image, reconstruction=made, metrics=metrics, physics=found))
    return replace(result, images=tuple(images))


def stored(page: str) -> dict:
    """The data in a page."""
    found = re.search(r'id="page-data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


# -- data -------------------------------------------------------------------------------------------------------------


def test_verdict_training_and_spread_are_in_the_data(judged):
    told = [method["physics"] for method in page_data(judged)["methods"]]
    assert told[0] is None
    assert [(t["accepted"], t["verdict"]) for t in told[1:3]] == [
        (True, "chi2 is 0.970, within 0.9 to 1.05"),
        (False, WHY),
    ]
    assert told[1]["gate"] == {"least": 0.9, "most": 1.05, "tolerance": 0.5}
    sd = judged.images[1].physics.spread.potential.values
    assert np.abs(unpacked(told[1]["spread"]) - sd).max() < 1e-5 * np.ptp(sd)
    in_time = unpacked(told[1]["activation_spread"])
    assert np.isnan(in_time[0])
    np.testing.assert_allclose(in_time[1:], 2.0, rtol=1e-5)
    assert (told[2]["spread"], told[2]["activation_spread"]) == (None, None)
    assert (told[3]["history"], told[3]["foci"]) == (None, [{"place": [12.4, -3.0, 40.0], "onset": 21.2}])


def test_training_is_thinned_and_keeps_its_ends(judged):
    told = page_data(judged)["methods"][1]["physics"]["history"]
    assert len(told["step"]) == 400
    assert (told["step"][0], told["step"][-1]) == (1, STEPS)
    whole = history()
    assert told["chi2"][-1] == pytest.approx(whole.chi2[-1], rel=1e-5)
    middle = int(told["step"][200]) - 1
    assert told["tolerance"][200] == pytest.approx(whole.tolerance[middle], rel=1e-5)


def test_spread_counts_among_the_samples(judged, monkeypatch):
    monkeypatch.setattr("einthoven.report.page.MAX_SAMPLES", 162 * 5 * 120 + 54 * 5 * 120)
    assert frame_stride(judged) == 2
    bare = replace(judged.images[1], physics=replace(judged.images[1].physics, spread=None))
    assert frame_stride(replace(judged, images=(judged.images[0], bare, *judged.images[2:]))) == 1


def test_a_training_without_physics_can_be_shown(judged):
    endless = history()._replace(tolerance=np.full(STEPS, np.inf))
    image = replace(judged.images[1], physics=replace(judged.images[1].physics, image=blank(Imaged, history=endless)))
    told = stored(render(replace(judged, images=(image,))))["methods"][0]["physics"]["history"]
    assert set(told["tolerance"]) == {None}
    assert told["chi2"][0] == 3.0


# -- in the browser ---------------------------------------------------------------------------------------------------


@pytest.fixture
def tab(judged, open_file, tmp_path):
    return open_file(write_page(judged, tmp_path / "report.html"))


@pytest.mark.browser
def test_verdicts_are_told_in_words(tab):
    lines = tab.locator("#verdicts li").all_inner_texts()
    assert len(lines) == 3
    assert "accepted" in lines[0]
    assert "chi2 is 0.970" in lines[0]
    assert "not accepted" in lines[1]
    assert f"{WHY}; the maps show stre (discrepancy)" in lines[1]
    assert "focus: (12, \u22123, 40) mm at 21 ms" in lines[2]
    row = text(tab, "#scores tbody tr:nth-child(3)")
    assert "fell back on stre, discrepancy" in row
    assert "not accepted" in row
    assert "1.900" in row
    assert "annealing" in text(tab, "#scores tbody tr:nth-child(2)")
    assert tab.locator("#method option").all_inner_texts()[2] == "method2 (fell back)"


@pytest.mark.browser
def test_training_takes_the_place_of_the_weights_curves(tab):
    assert "L-curve" in text(tab, "#curve-title")
    tab.locator("#method").select_option("1")
    assert text(tab, "#curve-title") == "Training: misfit of the data"
    assert "annealing, tau = " in text(tab, "#facts")
    drawn = tab.evaluate("einthoven.charts.curve.series.map((s) => [s.kind ?? 'line', s.y[0], s.y[s.y.length - 1]])")
    assert drawn[0] == ["band", 1.05, 1.05]
    assert drawn[1] == ["line", pytest.approx(3.0), pytest.approx(0.97)]
    tau = tab.evaluate("Array.from(einthoven.charts.criterion.series[2].y)")
    assert (tau[0], tau[-1]) == (1.0, 0.3)
    tab.locator("#method").select_option("3")
    assert tab.locator("#curve-card").is_hidden()
    tab.locator("#method").select_option("0")
    assert tab.evaluate("einthoven.charts.curve.options.xLog") is True
    assert "criterion" in text(tab, "#criterion-title")


@pytest.mark.browser
def test_error_bars_are_a_band_and_a_map(tab, judged):
    tab.locator("#method").select_option("1")
    node = tab.evaluate("einthoven.state.node")
    band = tab.evaluate(
        "(() => { const s = einthoven.charts.node.series.find((s) => s.kind === 'band');"
        " return Array.from(s.y, (v, k) => (v - s.low[k]) / 2); })()"
    )
    sd = judged.images[1].physics.spread.potential.values[node]
    assert band == pytest.approx(
        1.645 * sd, abs=1e-4 * 1.645 * np.ptp(judged.images[1].physics.spread.potential.values)
    )
    assert "band: 90 % interval of method1" in text(tab, "#node-line")
    tab.locator("#left-shows").select_option("spread")
    shown = tab.evaluate("[Math.min(...einthoven.views.left.current), Math.max(...einthoven.views.left.current)]")
    frame = tab.evaluate("einthoven.state.frame")
    expected = judged.images[1].physics.spread.potential.values[:, frame]
    assert shown == pytest.approx([expected.min(), expected.max()], rel=1e-3)
    tab.locator("#show-activation").click()
    assert tab.evaluate("einthoven.views.left.current[5]") == pytest.approx(2.0)
    assert text(tab, "#map-left .scale .unit") == "ms"
    tab.locator("#method").select_option("2")
    assert tab.evaluate("einthoven.state.left") == "method"
    assert tab.locator("#left-shows option[value=spread]").count() == 0


@pytest.mark.browser
def test_a_classical_page_has_no_verdicts(imaging_result, open_file, tmp_path):
    tab = open_file(write_page(imaging_result(2), tmp_path / "report.html"))
    assert tab.locator("#gate-card").is_hidden()
