"""Exact solutions, and the orders with which they are approached."""

import numpy as np
import pytest
from eikonal_cases import OBLIQUE_2D, OBLIQUE_3D, along, block, orders

from einthoven.eikonal import Eikonal
from einthoven.geometry.generators import rectangle, sphere
from einthoven.tissue import Grid
from einthoven.verify.convergence import observed_orders
from einthoven.verify.eikonal import around_wall, from_point, on_sphere, plane_slowness

# -- plane waves ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(
    ("shape", "v"),
    [
        ((30,), np.eye(1) * 0.36),
        ((30, 24), np.eye(2) * 0.36),
        ((30, 24), OBLIQUE_2D),
        ((30, 24), along([0.8, 0.6], ratio=10.0)),
        ((18, 16, 14), np.eye(3) * 0.36),
        ((18, 16, 14), OBLIQUE_3D),
    ],
    ids=["1-D", "isotropic 2-D", "3:1 2-D", "10:1 2-D", "isotropic 3-D", "3:1 3-D"],
)
def test_a_plane_wave_from_the_border_is_exact(shape, v, order):
    """Differences of a linear function are exact; the border is seeded as wide as the longest stencil reaches."""
    wave = Eikonal(Grid(shape, 0.5), order=order, reach=0.01)
    places = np.stack(np.unravel_index(np.arange(wave.n_nodes), shape), axis=1)
    border = ((places < 4) | (places >= np.array(shape) - 4)).any(axis=1)
    assert (~border).sum() > 20
    p = plane_slowness(np.array([0.8, 0.6, 0.3])[: len(shape)], v)
    exact = wave.points @ p + 1.0
    times = wave.solve(v, wave.points[border], exact[border]).times
    assert np.abs(times - exact).max() < 1e-12


@pytest.mark.parametrize("order", [1, 2])
def test_a_line_of_sites_makes_a_plane_wave(order):
    """Along an axis and isotropic: exact. With oblique fibers the front still runs at sqrt(V_xx)."""
    wave = Eikonal(Grid((40, 25), 0.5), order=order)
    line = wave.points[wave.points[:, 0] == 0.0]
    times = wave.solve(0.36, line).times
    assert np.abs(times - wave.points[:, 0] / 0.6).max() < 1e-12
    skewed = Eikonal(Grid((20, 121), 0.5), order=order)
    sites = np.stack([np.zeros(601), np.linspace(0.0, 60.0, 601)], axis=1)  # five a cell
    times = skewed.solve(OBLIQUE_2D, sites).times
    middle = np.abs(skewed.points[:, 1] - 30.0) < 10.0  # what comes from the line's ends has not come here
    exact = skewed.points[:, 0] / np.sqrt(OBLIQUE_2D[0, 0])
    assert np.abs(times - exact)[middle].max() < 1e-3 * exact.max()


def test_a_plane_wave_on_a_surface_and_in_tetrahedra_is_exact():
    """Times that are linear in every cell are reproduced."""
    for domain in (rectangle((12.0, 10.0), segments=10), block(7, jitter=0.2)):
        wave = Eikonal(domain)
        p = plane_slowness(np.array([0.8, 0.6, 0.0]), OBLIQUE_3D)
        flat = np.ptp(wave.points[:, 2]) == 0
        if flat:  # within the plane the tangential part of V counts
            p = np.append(plane_slowness(np.array([0.8, 0.6]), OBLIQUE_3D[:2, :2]), 0.0)
        exact = wave.points @ p
        exact -= exact.min()
        size = np.ptp(wave.points, axis=0)[: 2 if flat else 3]
        away = (wave.points - wave.points.min(axis=0))[:, : len(size)]
        border = ((away < 0.25 * size) | (away > 0.75 * size)).any(axis=1)
        assert (~border).sum() > 20
        times = wave.solve(OBLIQUE_3D, wave.points[border], exact[border]).times
        assert np.abs(times - exact).max() < 1e-10


# -- point sources on grids -------------------------------------------------------------------------------------------


def point_errors(spacings, size, v, order, away_from_border=0.0):
    """Mean and largest error around a site that is at no node; nodes within 5 mm of it start straight."""
    found = []
    for h in spacings:
        wave = Eikonal(Grid(tuple(round(s / h) + 1 for s in size), h), order=order, reach=5.0)
        site = np.array([0.43, 0.53, 0.51])[: len(size)] * size
        error = np.abs(wave.solve(v, [site]).times - from_point(wave.points - site, v))
        inside = ((wave.points >= away_from_border) & (wave.points <= np.array(size) - away_from_border)).all(axis=1)
        found.append((error[inside].mean(), error[inside].max()))
    return np.array(found).T


CASES = {
    "isotropic 2-D": ((40.0, 40.0), (0.5, 0.25, 0.125), 0.36),
    "3:1 2-D": ((40.0, 40.0), (0.5, 0.25, 0.125), OBLIQUE_2D),
    "isotropic 3-D": ((16.0, 16.0, 16.0), (1.0, 0.5, 0.25), 0.36),
    "3:1 3-D": ((16.0, 16.0, 16.0), (1.0, 0.5, 0.25), OBLIQUE_3D),
}


@pytest.mark.parametrize("case", CASES)
def test_a_point_source_is_approached_with_first_order(case):
    size, spacings, v = CASES[case]
    mean, largest = point_errors(spacings, size, v, 1)
    for errors in (mean, largest):
        assert abs(observed_orders(spacings, errors)[-1] - 1) < 0.2, orders(spacings, errors)
    assert 0 < largest[-1] < 1.2


@pytest.mark.parametrize("case", CASES)
def test_a_point_source_is_approached_with_second_order(case):
    """In the mean. Where an oblique stencil sticks out of the grid, at its border, first order is all there is."""
    size, spacings, v = CASES[case]
    mean, largest = point_errors(spacings, size, v, 2)
    assert abs(observed_orders(spacings, mean)[-1] - 2) < 0.2, orders(spacings, mean)
    at_border = 2 if np.ndim(v) == 0 else 1
    assert abs(observed_orders(spacings, largest)[-1] - at_border) < 0.2, orders(spacings, largest)
    assert 0 < largest[-1] < 0.3


# -- point sources on meshes ------------------------------------------------------------------------------------------


def ball_errors(domain, exact, radius, v, last=np.inf):
    """Mean and largest error, up to the time `last`; all nodes within a radius in time are sites that start then."""
    wave = Eikonal(domain)
    inside = exact < radius
    assert inside.sum() > 3
    times = wave.solve(v, wave.points[inside], exact[inside]).times
    error = np.abs(times - exact)[~inside & (exact < last)]
    return error.mean(), error.max()


def test_geodesics_on_a_sphere_are_approached_with_first_order():
    """But where the wave ends, in the antipode, which is left out (30 degrees)."""
    spacings, found = 2.0 ** -np.arange(3, 6), []
    for level in (3, 4, 5):
        surface = sphere(20.0, subdivisions=level)
        exact = on_sphere(surface.points, surface.points[7], 0.6)
        found.append(ball_errors(surface, exact, 12.0, 0.36, last=np.pi * 20 / 0.6 * 5 / 6))
    for errors in np.array(found).T:
        assert abs(observed_orders(spacings, errors)[-1] - 1) < 0.2, orders(spacings, errors)
    assert errors[-1] < 0.003 * exact.max()


def test_oblique_fibers_on_triangles_are_approached_with_first_order():
    spacings, found = (0.8, 0.4, 0.2), []
    for h in spacings:
        patch = rectangle((20.0, 20.0), segments=round(20 / h))
        exact = from_point(patch.points[:, :2] - patch.points[:, :2].mean(axis=0), OBLIQUE_3D[:2, :2])
        found.append(ball_errors(patch, exact, 10.0, OBLIQUE_3D))
    for errors in np.array(found).T:
        assert abs(observed_orders(spacings, errors)[-1] - 1) < 0.2, orders(spacings, errors)


@pytest.mark.parametrize("v", [0.36, OBLIQUE_3D], ids=["isotropic", "3:1"])
def test_tetrahedra_are_approached_with_first_order(v):
    spacings, found = (1.25, 0.625, 0.3125), []
    for n in (9, 17, 33):
        mesh = block(n)
        exact = from_point(mesh.points - np.array([4.0, 6.0, 4.0]), v)
        found.append(ball_errors(mesh, exact, 5.0, v))
    for errors in np.array(found).T:
        assert abs(observed_orders(spacings, errors)[-1] - 1) < 0.2, orders(spacings, errors)


# -- walls ------------------------------------------------------------------------------------------------------------


def wall_errors(h, order):
    """Around a wall 2 mm thick and 20 mm long, on cells that tile 30 x 30 mm."""
    n = round(30 / h)
    grid = Grid((n, n), h, (h / 2, h / 2, 0.0))
    points = grid.points[:, :2]
    wall, site = (14.0, 16.0, 20.0), np.array([6.1, 8.2])
    conducting = ~((points[:, 0] > wall[0]) & (points[:, 0] < wall[1]) & (points[:, 1] < wall[2]))
    wave = Eikonal(grid, conducting, order=order, reach=5.0)
    error = wave.solve(0.36, [site]).times - around_wall(wave.points, site, wall) / 0.6
    return np.abs(error).mean(), np.abs(error).max()


def test_the_way_around_a_wall_has_the_right_length():
    """The corners start waves of their own: first order at best, also for second differences, which err by half."""
    spacings = (1.0, 0.5, 0.25)
    for order, low, high, most in ((1, 0.8, 1.1, 1.3), (2, 0.8, 1.1, 0.7)):
        found = np.array([wall_errors(h, order) for h in spacings]).T
        rates = [observed_orders(spacings, e)[-1] for e in found]
        assert low < min(rates) <= max(rates) < high, [orders(spacings, e) for e in found]
        assert found[1, -1] < most, found


def staircase(n: int) -> np.ndarray:
    """Mask of n x n cells: one way, one cell wide, of steps."""
    mask = np.zeros((n, n), dtype=bool)
    mask[np.arange(n), np.arange(n)] = mask[np.arange(1, n), np.arange(n - 1)] = True
    return mask


@pytest.mark.parametrize("fiber", [[0.6, 0.8], [0.8, -0.6], [0.0, 1.0], [0.99, 0.14]])
def test_a_channel_one_cell_wide_is_passed_whatever_the_fibers(fiber):
    """Straight along an axis it takes sqrt(e . V^-1 e); steps are between the straight way and one along the axes."""
    v = along(fiber, ratio=10.0)
    slowness = np.linalg.inv(v)
    mask = np.zeros((21, 9), dtype=bool)
    mask[:, 4] = True
    wave = Eikonal(Grid(mask.shape, 0.5), mask)
    times = wave.solve(v, [[0.0, 2.0]]).times
    assert np.allclose(times, np.arange(21) * 0.5 * np.sqrt(slowness[0, 0]), rtol=1e-12)
    steps = Eikonal(Grid((12, 12), 0.5), staircase(12), reach=0.01)
    times = steps.solve(v, [[0.0, 0.0]]).times
    x, y = np.round(steps.points / 0.5).T
    longest = 0.5 * (x * np.sqrt(slowness[0, 0]) + y * np.sqrt(slowness[1, 1]))
    assert (times <= longest * (1 + 1e-12)).all()
    assert (times >= from_point(steps.points, v) * (1 - 1e-12)).all()


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("fiber", [[0.6, 0.8], [0.8, -0.6], [0.99, 0.14]])
def test_a_wall_one_cell_thick_is_not_jumped(order, fiber):
    """Stencils reach over several cells and seeds farther; a diagonal wall has no gaps at the cells' corners."""
    v = along(fiber, ratio=10.0)
    i, j = np.indices((24, 24))
    for wall in (i == 11, i == j, i + j == 22):
        wave = Eikonal(Grid((24, 24), 0.5), ~wall, order=order)
        side = (i < 11) if wall[11].all() else (i < j if wall[3, 3] else i + j < 22)
        arrival = wave.solve(v, [[4.5, 5.0] if side[9, 10] else [3.5, 4.5]])
        assert np.array_equal(arrival.reached, side[~wall])
        assert np.array_equal(np.isnan(arrival.times), ~side[~wall])
        assert np.array_equal(arrival.from_site == -1, ~side[~wall])
        assert "not reached" in repr(arrival)


def test_a_wall_in_space_is_not_jumped_and_a_hole_in_it_lets_through():
    v = along([0.6, 0.7, 0.4], ratio=10.0)
    mask = np.ones((14, 10, 10), dtype=bool)
    mask[6] = False
    closed = Eikonal(Grid(mask.shape, 0.5), mask).solve(v, [[1.0, 2.0, 2.0]])
    assert np.array_equal(closed.reached, (np.indices(mask.shape)[0] < 6)[mask])
    mask[6, 5, 5] = True
    wave = Eikonal(Grid(mask.shape, 0.5), mask)
    opened = wave.solve(v, [[1.0, 2.0, 2.0]])
    assert opened.reached.all()
    hole = int(np.flatnonzero(np.abs(wave.points - [3.0, 2.5, 2.5]).max(axis=1) < 0.1)[0])
    behind = wave.points[:, 0] > 3.1
    assert opened.times[behind].min() > opened.times[hole]


def test_a_cut_through_a_mesh_is_not_jumped_and_a_bridge_of_nodes_is_passed():
    patch = rectangle((10.0, 10.0), segments=20)
    x, y = patch.points[:, 0] - patch.points[:, 0].min(), patch.points[:, 1] - patch.points[:, 1].min()
    cut = np.abs(x - 5.0) < 0.3
    start = patch.points[np.argmin(np.hypot(x - 2, y - 5))]
    wave = Eikonal(patch, ~cut)
    assert np.array_equal(wave.solve(0.36, [start]).reached, x[~cut] < 5)
    wave = Eikonal(patch, ~cut | (np.abs(y - 5) < 0.1))
    assert wave.solve(0.36, [start]).reached.all()
    mesh = block(9)
    cut = np.abs(mesh.points[:, 0] - 5.0) < 0.3
    arrival = Eikonal(mesh, ~cut).solve(OBLIQUE_3D, [[2.0, 5.0, 5.0]])
    assert np.array_equal(arrival.reached, mesh.points[~cut, 0] < 5)
    line = cut & (np.abs(mesh.points[:, 1:] - 5.0) > 0.1).any(axis=1)
    assert Eikonal(mesh, ~line).solve(OBLIQUE_3D, [[2.0, 5.0, 5.0]]).reached.all()
