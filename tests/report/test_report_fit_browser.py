"""The page of a fit in a real headless Chromium."""

import numpy as np
import pytest
from report_browser import ATTACK, pixels, text
from report_fits import fit_result

from einthoven.report.fit_page import write_fit_page

pytestmark = pytest.mark.browser


@pytest.fixture
def open_page(open_file, tmp_path):
    """Open the page of a fit."""
    return lambda *fits, **parts: open_file(write_fit_page(fit_result(*fits, **parts), tmp_path / "report.html"))


def colors_in(tab, panel):
    """Number of distinct colors in the middle of a map."""
    picture = pixels(tab, f"#{panel} canvas")
    height, width = picture.shape[:2]
    middle = picture[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4].reshape(-1, 3)
    return len(np.unique((middle * 15).round(), axis=0))


def drawn(tab, selector):
    """Whether anything is drawn on a canvas."""
    return tab.evaluate(
        f"""(() => {{ const c = document.querySelector('{selector}');
        return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((v) => v > 0); }})()"""
    )


def values_of(tab, side):
    return np.array(tab.evaluate(f"Array.from(einthoven.views.{side}.current)"))


def test_page_draws_maps_leads_charts_and_tables(open_page):
    tab = open_page(3)
    for panel in ("map-left", "map-right"):
        assert colors_in(tab, panel) > 10
    assert tab.locator("#leads button").count() == 12
    assert drawn(tab, "#leads button canvas")
    for chart in ("strip", "lead-chart", "residual-chart", "misfit-chart", "bic-chart"):
        assert drawn(tab, f"#{chart} canvas"), chart
    assert tab.evaluate("einthoven.charts.misfit.series[0].y") == [50, 10]
    assert tab.evaluate("einthoven.charts.bic.series[0].y") == [150, 0]
    assert tab.locator("#sites tbody tr").count() == 2
    assert "heart pitch (deg)" in text(tab, "#parameters")
    assert "3 of 8 fits cannot be told apart" in text(tab, "#meaning")
    assert "The wall is as thick as the ball." in text(tab, "#meaning")


def test_selectors_change_map_leads_and_tables(open_page):
    tab = open_page(3)
    best, picture = values_of(tab, "left"), pixels(tab, "#map-left canvas")
    tab.locator("#fit").select_option("2")
    assert not np.allclose(values_of(tab, "left"), best, atol=1.0)
    assert np.abs(pixels(tab, "#map-left canvas") - picture).max() > 0.3
    assert tab.locator("#sites tbody tr").count() == 1
    assert [s["name"] for s in tab.evaluate("einthoven.charts.lead.series.filter((s) => s.name)")] == [
        "Recorded",
        "Best fit",
        "Fit 3",
    ]
    tab.locator("#left-shows").select_option("spread")
    np.testing.assert_allclose(values_of(tab, "left"), values_of(tab, "right"))
    tab.locator("#right-shows").select_option("difference")
    assert text(tab, "#map-right h2") == "Error"
    tab.locator("#right-shows").select_option("0")
    np.testing.assert_allclose(values_of(tab, "right"), best)


def test_marks_are_the_sites_of_what_is_shown(open_page):
    tab = open_page(3)
    marks = "einthoven.views.{}.marks.map((m) => m.position)"
    left, right = tab.evaluate(marks.format("left")), tab.evaluate(marks.format("right"))
    assert left[:-1] == [[20, 0, 0], [0, -15, 18]]  # the last one is the chosen node
    assert len(right) - 1 == 2 + 2 + 1


def test_residual_and_keys(open_page):
    tab = open_page(2)
    tab.locator("h1").click()
    tab.keyboard.press("r")
    names = tab.evaluate("einthoven.charts.lead.series.map((s) => s.name)")
    assert names == ["Recorded", "Recorded − best fit"]
    tab.keyboard.press("f")
    assert tab.evaluate("einthoven.state.fit") == 1
    tab.locator("#leads button").nth(4).click()
    assert tab.locator("#lead").input_value() == "4"
    tab.keyboard.press("Home")
    assert text(tab, "#time") == "0 ms"


def test_one_fit_without_truth_leaves_nothing_to_choose(open_page):
    tab = open_page(1, truth=False)
    assert colors_in(tab, "map-left") > 10
    assert tab.locator("#fit").is_hidden()
    assert tab.locator("#right-shows option").all_inner_texts() == ["Shown fit: best fit", "Spread around the fit"]
    assert "One of 8 fits explains this ECG better" in text(tab, "#meaning")


def test_many_leads_start_with_a_few_and_offer_all(open_page):
    tab = open_page(2, n_leads=60)
    assert tab.locator("#leads button").count() == 18
    tab.locator("#which").select_option("all")
    assert tab.locator("#leads button").count() == 60
    tab.locator("#lead").select_option("55")
    assert tab.evaluate("einthoven.state.lead") == 55


@pytest.mark.parametrize("width", [390, 1280])
def test_page_fits_the_screen(open_page, width):
    tab = open_page(3)
    tab.set_viewport_size({"width": width, "height": 800})
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    tab.set_viewport_size({"width": 1440, "height": 900})


def test_text_of_users_runs_no_code(open_page):
    tab = open_page(2, name=ATTACK, notes=(ATTACK,), info={"notes": ATTACK})
    assert text(tab, "#case-name") == ATTACK
    assert ATTACK in text(tab, "#meaning")
    assert tab.evaluate("window.attacked") is None
