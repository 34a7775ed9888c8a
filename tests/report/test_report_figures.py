"""Still figures: what is drawn where, and what is refused."""

import json

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from einthoven.core import InputError
from einthoven.geometry.generators import sphere
from einthoven.report import figures
from einthoven.report.figure_page import write_figure_page


def pixels(figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3] / 255.0


def test_map_shows_the_side_that_is_looked_at():
    surface = sphere(10.0, subdivisions=3)
    values = np.where(surface.points[:, 1] < 0, 1.0, -1.0)
    front, back = (
        pixels(figures.surface_map(surface, values, view=(0.0, azimuth)))[310, 250] for azimuth in (-90.0, 90.0)
    )
    assert front[0] > 1.5 * front[2]
    assert back[2] > 1.5 * back[0]


def test_map_puts_up_above_and_right_to_the_right():
    surface = sphere(10.0, subdivisions=3)
    above = pixels(figures.surface_map(surface, surface.points[:, 2]))
    assert above[200, 250, 0] > above[200, 250, 2]
    assert above[430, 250, 2] > above[430, 250, 0]
    side = pixels(figures.surface_map(surface, surface.points[:, 0]))
    assert side[310, 150, 2] > side[310, 150, 0]
    assert side[310, 350, 0] > side[310, 350, 2]


def test_missing_values_are_gray():
    surface = sphere(10.0, subdivisions=2)
    middle = pixels(figures.surface_map(surface, np.full(surface.n_points, np.nan)))[310, 250]
    assert np.ptp(middle / np.array(to_rgb("#cccfd4"))) < 0.03


def test_map_refuses_another_number_of_values():
    surface = sphere(10.0, subdivisions=1, name="heart")
    with pytest.raises(InputError, match=r"heart: a map needs one value per node \(42\)"):
        figures.surface_map(surface, np.zeros(41))


def test_activation_map_has_bands_from_early_red_to_late_blue():
    surface = sphere(10.0, subdivisions=3)
    figure = figures.activation_map(surface, 43.0 - 3.0 * surface.points[:, 2], step=20.0)
    assert figure.axes[1].get_ylim() == (80.0, 0.0)
    image = pixels(figure)
    early, late = image[200, 250], image[430, 250]
    assert early[0] > early[2]
    assert late[2] > late[0]


def test_activation_map_of_nothing_is_refused():
    surface = sphere(10.0, subdivisions=1, name="heart")
    with pytest.raises(InputError, match="heart: an activation map needs at least one time"):
        figures.activation_map(surface, np.full(42, np.nan))


def test_weight_curve_marks_the_chosen_weight(imaging_result):
    curve = imaging_result(1).images[0].reconstruction.curve
    left, right = figures.weight_curve(curve).axes
    chosen = np.abs(np.log(curve.lambdas / curve.chosen)).argmin()
    assert left.get_lines()[1].get_xdata() == [curve.residual_norms[chosen]]
    assert right.get_lines()[1].get_xdata() == [curve.lambdas[chosen]]
    assert right.get_ylabel() == "curvature"


def test_butterfly_and_electrograms(imaging_result):
    result = imaging_result(1)
    axes = figures.butterfly(result.recording).axes[0]
    assert len(axes.get_lines()) == result.recording.n_sites + 1
    rms = np.sqrt((result.recording.values**2).mean(axis=0))
    np.testing.assert_allclose(axes.get_lines()[-1].get_ydata(), rms)
    site = result.truth.sites[5]
    series = {"measured": result.truth, "method": result.images[0].reconstruction.estimate}
    drawn = figures.electrograms(series, site).axes[0]
    np.testing.assert_array_equal(drawn.get_lines()[0].get_ydata(), result.truth.values[5])
    assert drawn.get_title(loc="left") == site


def test_a_figure_page_holds_picture_and_numbers_and_escapes_text(tmp_path):
    canvas = Figure(figsize=(2.0, 1.0))
    canvas.subplots().plot([0, 1], [0, 1])
    page = write_figure_page(
        tmp_path / "new", "line", canvas, {"a<b": 0.12345678, "what": "<i>"}, title="<T>", alt="a 'line'"
    )
    text = page.read_text()
    assert "<title>&lt;T&gt;</title>" in text
    assert "<h1>&lt;T&gt;</h1>" in text
    assert "<td>a&lt;b</td><td>0.1235</td>" in text
    assert "<td>what</td><td>&lt;i&gt;</td>" in text
    assert "alt='a &#x27;line&#x27;'" in text
    assert (tmp_path / "new" / "line.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "new" / "metrics.json").read_text()) == [{"a<b": 0.12345678, "what": "<i>"}]
