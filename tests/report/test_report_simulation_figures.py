"""Still figures of a simulation: slices where the cells are, isochrones, action potentials, refusals."""

import numpy as np
import pytest
from report_simulations import activation, on_grid, on_surface

from einthoven.core import InputError, Recording
from einthoven.geometry.generators import sphere
from einthoven.report import figures
from einthoven.tissue import Grid, Tissue


def images(figure):
    """The field and the holes as drawn: masked arrays, rows upwards."""
    return [image.get_array() for image in figure.axes[0].get_images()]


def test_a_sheet_lies_with_x_to_the_right_and_y_upwards():
    tissue = on_grid((24, 16)).tissue
    figure = figures.slice_map(tissue, tissue.points[:, 0] + 100 * tissue.points[:, 1])
    field, holes = images(figure)
    assert field.shape == (16, 24)
    x, y = 2.0 + np.arange(24.0), -1.0 + np.arange(16.0)
    expected = x + 100 * y[:, None]
    conducting = tissue.conducting.reshape(24, 16).T
    np.testing.assert_array_equal(np.ma.getmaskarray(field), ~conducting)
    np.testing.assert_array_equal(np.ma.getmaskarray(holes), conducting)
    np.testing.assert_allclose(field[conducting], expected[conducting])
    assert figure.axes[0].get_images()[0].get_extent() == [1.5, 25.5, -1.5, 14.5]
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("x (mm)", "y (mm)")


@pytest.mark.parametrize(("axis", "at", "names"), [(0, 5.0, "yz"), (1, 2.0, "xz"), (2, 2.3, "xy")])
def test_slices_of_a_volume_are_taken_where_asked(axis, at, names):
    tissue = Tissue.isotropic(Grid((12, 10, 6), 1.0, (2.0, -1.0, 0.5)), 0.1)
    field, _ = images(figure := figures.slice_map(tissue, tissue.points @ [1.0, 100.0, 10_000.0], axis=axis, at=at))
    axes = [o + np.arange(float(n)) for o, n in zip((2.0, -1.0, 0.5), (12, 10, 6), strict=True)]
    nearest = axes[axis][np.abs(axes[axis] - at).argmin()]
    across, up = (k for k in range(3) if k != axis)
    expected = 100.0**across * axes[across] + 100.0**up * axes[up][:, None] + 100.0**axis * nearest
    np.testing.assert_allclose(field, expected)
    assert [label[0] for label in (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel())] == list(names)


def test_activation_of_a_sheet_has_bands_with_lines_between_them():
    tissue = on_grid((24, 16), holes=0.0).tissue
    times = activation(tissue.points)
    figure = figures.slice_activation_map(tissue, times, step=5.0)
    field = figure.axes[0].get_images()[0]
    edges = field.norm.boundaries
    assert edges[0] <= times.min() < edges[1]
    assert edges[-2] < times.max() <= edges[-1]
    assert set(np.diff(edges)) == {5.0}
    early, late = field.cmap(field.norm([times.min(), times.max()]))[:, :3]
    assert early[0] > early[2]
    assert late[2] > late[0]
    (lines,) = figure.axes[0].collections
    for level, path in zip(lines.levels, lines.get_paths(), strict=True):
        points = np.column_stack([path.vertices, np.full(len(path.vertices), 0.5)])
        assert np.abs(activation(points) - level).max() < 0.2
    low, high = figure.axes[1].get_ylim()
    assert low > high


def test_action_potentials_are_drawn_for_every_site():
    recording = Recording.from_xarray(on_grid().data["probes"])
    axes = figures.action_potentials(recording).axes[0]
    for line, site, values in zip(axes.get_lines(), recording.sites, recording.values, strict=True):
        assert line.get_label() == site
        np.testing.assert_array_equal(line.get_ydata(), values)


def test_a_map_of_nothing_is_drawn_light():
    tissue = on_grid((24, 16)).tissue
    field, _ = images(figures.slice_map(tissue, np.full(tissue.n_nodes, np.nan)))
    assert np.ma.getmaskarray(field).all()


def test_what_cannot_be_cut_is_refused():
    surface = on_surface(sphere(20.0, subdivisions=1)).tissue
    with pytest.raises(InputError, match="grid of two or three dimensions; use `surface_map`"):
        figures.slice_map(surface, np.zeros(surface.n_nodes))
    tissue = on_grid((9, 7, 5)).tissue
    with pytest.raises(InputError, match=rf"one value per conducting node \({tissue.n_nodes}\); got shape \(3,\)"):
        figures.slice_map(tissue, np.zeros(3))
    with pytest.raises(InputError, match=r"the slice at 40 mm misses the tissue \(-1..5 mm along y\)"):
        figures.slice_map(tissue, np.zeros(tissue.n_nodes), axis=1, at=40.0)
    with pytest.raises(InputError, match="across axis 0, 1 or 2; got 3"):
        figures.slice_map(tissue, np.zeros(tissue.n_nodes), axis=3)
    with pytest.raises(InputError, match="tissue: an activation map needs at least one time"):
        figures.slice_activation_map(tissue, np.full(tissue.n_nodes, np.nan))
