"""Derivatives of times of arrival against central differences, and what must hold of them exactly."""

import numpy as np
import pytest
from eikonal_cases import OBLIQUE_3D, along, block, curved_patch, fields, rough_patch

from einthoven.eikonal import Eikonal
from einthoven.eikonal.marched import Graph
from einthoven.tissue import Grid


def holes(n: int, seed: int, share: float = 0.8, free: int | None = None) -> np.ndarray:
    mask = np.random.default_rng(seed).random(n) < share
    if free is not None:
        mask[free] = True
    return mask


def grid_wave(shape, order, masked):
    grid = Grid(shape, 0.5)
    n = grid.n_points
    mask = holes(n, 3, free=n // 2) if masked else None
    if mask is not None:  # around the sites
        near = np.abs(grid.points - grid.points[n // 2]).max(axis=1) < 1.1
        mask |= near
    return Eikonal(grid, mask, order=order)


def speeds(kind: str, n: int, d: int) -> np.ndarray:
    rng = np.random.default_rng(5)
    return {
        "number": np.array(0.36),
        "field": 0.2 + 0.3 * rng.random(n),
        "tensor": fields(1, d, 6)[0],
        "tensor field": fields(n, d, 7),
    }[kind]


def check(wave, v, sites, onsets, rtol=1e-5):
    """The derivative of sum w T, w random, along a random change of everything, and of one thing at a time."""
    rng = np.random.default_rng(11)
    arrival = wave.solve(v, sites, onsets)
    w = rng.standard_normal(arrival.times.shape)
    gradient = arrival.pull_back(w)
    assert [g.shape for g in gradient] == [v.shape, sites.shape, onsets.shape]
    change = rng.standard_normal(v.shape) * 0.02
    if v.ndim >= 2:
        change = change + np.swapaxes(change, -1, -2)
        mirrored = np.swapaxes(gradient.squared_speed, -1, -2)
        assert np.abs(gradient.squared_speed - mirrored).max() < 1e-12 * np.abs(mirrored).max()
    given = (v, sites, onsets)
    changes = (change, rng.standard_normal(sites.shape), rng.standard_normal(onsets.shape))

    def value(step, which):
        moved = [x + step * c * (k in which) for k, (x, c) in enumerate(zip(given, changes, strict=True))]
        return np.nansum(w * wave.solve(*moved).times)

    if not arrival.batch:
        check_forward(arrival, changes, w, gradient)
    eps = 1e-6
    for which in ((0,), (1,), (2,), (0, 1, 2)):
        found = sum(float((gradient[k] * changes[k]).sum()) for k in which)
        difference = (value(eps, which) - value(-eps, which)) / (2 * eps)
        assert difference != 0
        assert abs(found - difference) < rtol * abs(difference), (which, found, difference)


def check_forward(arrival, changes, w, gradient, rtol=1e-9):
    """The Jacobian is the transpose of what `pull_back` applies, for each kind of change and for all together."""
    names = ("squared_speed", "sites", "onsets")
    for k, (name, change) in enumerate(zip(names, changes, strict=True)):
        pushed = arrival.push_forward(**{name: np.stack([change, -2 * change])})
        assert pushed.shape == (2, arrival.wave.n_nodes)
        assert (pushed[:, ~arrival.reached] == 0).all()
        expected = (gradient[k] * change).sum()
        scale = np.abs(gradient[k] * change).sum()
        assert np.abs(pushed @ np.where(arrival.reached, w, 0) - [expected, -2 * expected]).max() < rtol * scale
    together = arrival.push_forward(*(c[None] for c in changes))[0] @ np.where(arrival.reached, w, 0)
    parts = [(g * c).sum() for g, c in zip(gradient, changes, strict=True)]
    assert abs(together - sum(parts)) < rtol * np.abs(parts).sum()


@pytest.mark.parametrize("kind", ["number", "field", "tensor", "tensor field"])
@pytest.mark.parametrize("masked", [False, True], ids=["free", "holes"])
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("shape", [(41,), (17, 14), (9, 8, 7)], ids=["1-D", "2-D", "3-D"])
def test_grids(shape, order, masked, kind):
    wave, d = grid_wave(shape, order, masked), len(shape)
    center = wave.domain.points[wave.domain.n_points // 2, :d]
    sites = center + np.random.default_rng(2).uniform(-0.4, 0.4, (2, d))
    check(wave, speeds(kind, wave.n_nodes, d), sites, np.array([0.3, 0.7]))


@pytest.mark.parametrize("kind", ["number", "field", "tensor", "tensor field"])
@pytest.mark.parametrize("masked", [False, True], ids=["free", "holes"])
@pytest.mark.parametrize("make", [curved_patch, lambda: block(6, jitter=0.2)], ids=["surface", "tetrahedra"])
def test_meshes(make, masked, kind):
    domain = make()
    middle = int(np.linalg.norm(domain.points - domain.points.mean(axis=0), axis=1).argmin())
    mask = holes(domain.n_points, 4) if masked else np.ones(domain.n_points, dtype=bool)
    mask |= np.linalg.norm(domain.points - domain.points[middle], axis=1) < 2.5
    corners = domain.triangles if hasattr(domain, "triangles") else domain.cells
    pairs = corners[mask[corners].sum(axis=1) >= 2]
    mask &= np.isin(np.arange(domain.n_points), pairs)
    wave = Eikonal(domain, mask)
    sites = domain.points[middle] + np.random.default_rng(2).uniform(-0.2, 0.2, (2, 3)) * [1.0, 1.0, 0.1]
    check(wave, speeds(kind, wave.n_nodes, 3), sites, np.array([0.3, 0.7]))


def test_many_right_hand_sides():
    wave = grid_wave((17, 14), 1, True)
    center = wave.domain.points[wave.domain.n_points // 2, :2]
    sites = center + np.random.default_rng(3).uniform(-0.4, 0.4, (2, 3, 2, 2))
    check(wave, speeds("tensor field", wave.n_nodes, 2), sites, np.random.default_rng(4).random((2, 3, 2)))


@pytest.mark.parametrize("order", [1, 2])
def test_links_along_the_axes_pass_derivatives(order):
    """In a channel only they do: dT/dV is that of sqrt(e . V^-1 e)."""
    mask = np.zeros((15, 7), dtype=bool)
    mask[:, 3] = True
    wave = Eikonal(Grid(mask.shape, 0.5), mask, order=order)
    check(wave, along([0.6, 0.8], ratio=6.0), np.array([[0.1, 1.45]]), np.array([0.2]))


def test_weights_that_are_zero_can_grow():
    """Fibers along the axes: the diagonal neighbor has weight 0, and a one-sided derivative."""
    wave = Eikonal(Grid((21, 18), 0.5))
    v, site = np.diag([0.36, 0.1]), [[5.1, 4.3]]
    inner = np.pad(np.ones((19, 16), dtype=bool), 1).reshape(-1)  # at the border ways along the axes take over
    w = np.random.default_rng(12).random(wave.n_nodes) * inner
    change = np.array([[0.0, -1.0], [-1.0, 0.0]])
    eps = 1e-7
    difference = (w @ wave.solve(v + eps * change, site).times - w @ wave.solve(v, site).times) / eps
    gradient = wave.solve(v, site).pull_back(w).squared_speed
    assert (gradient * change).sum() == pytest.approx(difference, rel=1e-4)


WAVES = {
    "2-D": lambda order: (grid_wave((17, 14), order, True), 2),
    "3-D": lambda order: (grid_wave((9, 8, 7), order, True), 3),
    "surface": lambda _: (Eikonal(curved_patch()), 3),
    "tetrahedra": lambda _: (Eikonal(block(6, jitter=0.2)), 3),
}


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", WAVES)
def test_laws_that_hold_exactly(name, order):
    """T scales with 1 / sqrt(V), so <dT/dV, V> = -T/2; a later onset of all sites delays all nodes."""
    wave, d = WAVES[name](order)
    v = speeds("tensor field", wave.n_nodes, d)
    site = wave.points[np.linalg.norm(wave.points - wave.points.mean(axis=0), axis=1).argmin()]
    arrival = wave.solve(v, [site + 0.1])
    w = np.random.default_rng(8).random(arrival.times.shape)
    gradient = arrival.pull_back(w)
    total = np.nansum(w * arrival.times)
    assert abs((gradient.squared_speed * v).sum() + 0.5 * total) < 1e-10 * total
    assert abs(gradient.onsets.sum() - w[arrival.reached].sum()) < 1e-10 * w.sum()


def test_a_site_that_is_swallowed_has_no_derivative_and_unreached_nodes_count_nothing():
    mask = np.ones((20, 15), dtype=bool)
    mask[14] = False
    wave = Eikonal(Grid(mask.shape, 0.5), mask)
    arrival = wave.solve(0.36, [[1.0, 1.0], [5.0, 5.0]], [0.0, 500.0])
    w = np.where(arrival.reached, 1.0, np.nan)
    gradient = arrival.pull_back(w)
    assert gradient.onsets[0] == pytest.approx(arrival.reached.sum(), rel=1e-12)
    assert gradient.onsets[1] == 0
    assert np.array_equal(gradient.sites[1], [0.0, 0.0])
    assert np.isfinite(gradient.squared_speed)


# -- meshes where later nodes decide earlier ones ---------------------------------------------------------------------


def rough_wave(seed: int):
    """Obtuse triangles and fibers that point anywhere, up to 30:1 in speed."""
    patch, rng = rough_patch(seed), np.random.default_rng(seed)
    angle = rng.uniform(0, np.pi, patch.n_points)
    fibers = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    v = 0.01 * (np.eye(3) + 999 * fibers[:, :, None] * fibers[:, None, :])
    return Eikonal(patch), v, patch.points[40:41] + np.array([0.11, 0.07, 0.0])


def graph_of(arrival) -> Graph:
    return arrival.medium.prepared._decided(arrival.marched, 0)[0]


def test_derivatives_where_nodes_decide_each_other():
    """Parents that are later than their child occur in all of these, cycles in some: both ways of passing back."""
    cycles, later = 0, 0
    for seed in range(12):
        wave, v, site = rough_wave(seed)
        arrival = wave.solve(v, site)
        nodes, _, order = graph_of(arrival)
        cycle = order is None
        child, which = np.nonzero(nodes >= 0)
        later += bool((arrival.times[nodes[child, which]] > arrival.times[child]).any())
        cycles += cycle
        w = np.random.default_rng(seed).random(arrival.times.shape)
        gradient = arrival.pull_back(w)
        total = (w * arrival.times).sum()
        # label correction stops when times change by less than 1e-13 of themselves
        assert abs((gradient.squared_speed * v).sum() + 0.5 * total) < 1e-8 * total
        assert abs(gradient.onsets.sum() - w.sum()) < 1e-8 * w.sum()
        change = np.random.default_rng(seed + 50).standard_normal(v.shape) * 0.005
        change = change + np.swapaxes(change, 1, 2)
        pushed = arrival.push_forward(change[None])[0] @ w
        assert (
            abs((gradient.squared_speed * change).sum() - pushed) < 1e-8 * np.abs(gradient.squared_speed * change).sum()
        )
        eps = 1e-6
        values = [(w * wave.solve(v + s * eps * change, site).times).sum() for s in (1, -1)]
        difference = (values[0] - values[1]) / (2 * eps)
        assert abs((gradient.squared_speed * change).sum() - difference) < 1e-4 * abs(difference), (seed, cycle)
    assert cycles >= 2
    assert later >= 10


def test_passing_back_in_a_cycle_solves_the_linear_system():
    nodes = np.array([[-1, -1, -1], [0, 2, -1], [1, 3, -1], [2, 0, -1]], dtype=np.int32)
    shares = np.array([[0, 0, 0], [0.4, 0.6, 0], [0.7, 0.3, 0], [0.2, 0.8, 0]], dtype=float)
    w = np.zeros((4, 4))
    for child, which in np.argwhere(nodes >= 0):
        w[child, nodes[child, which]] = shares[child, which]
    adjoint = np.array([1.0, 2.0, 3.0, 4.0])
    graph = Graph.sorted(nodes, shares)
    assert graph.order is None
    assert np.allclose(graph.pass_back(adjoint), np.linalg.solve((np.eye(4) - w).T, adjoint), rtol=1e-13)
    own = np.stack([adjoint, adjoint**2], axis=1)
    assert np.allclose(graph.pass_forward(own), np.linalg.solve(np.eye(4) - w, own), rtol=1e-13)
    assert np.array_equal(adjoint, [1.0, 2.0, 3.0, 4.0])
    nodes[1, 1], shares[1] = -1, [1.0, 0.0, 0.0]
    assert Graph.sorted(nodes, shares).order is None  # 2 and 3 still decide each other
    nodes[2, 1], shares[2] = -1, [1.0, 0.0, 0.0]
    graph = Graph.sorted(nodes, shares)
    assert graph.order is not None
    w[1:3] = [[1, 0, 0, 0], [0, 1, 0, 0]]
    assert np.allclose(graph.pass_back(adjoint), np.linalg.solve((np.eye(4) - w).T, adjoint), rtol=1e-13)
    assert np.allclose(graph.pass_forward(own), np.linalg.solve(np.eye(4) - w, own), rtol=1e-13)


def test_times_are_at_rest_where_nodes_decide_each_other():
    """Solving again from the solution changes nothing: no cell can lower any node."""
    wave, v, site = rough_wave(41)
    arrival = wave.solve(v, site)
    assert graph_of(arrival).order is None
    again = arrival.medium.prepared.march(np.arange(wave.n_nodes)[None], arrival.times[None])
    assert np.allclose(again.times[0], arrival.times, rtol=1e-11)


def test_the_tangential_part_alone_counts_on_a_surface():
    """What V does across a plane patch changes no time and has no derivative, at seeds and elsewhere."""
    patch = rough_patch(1)
    wave = Eikonal(patch)
    v = OBLIQUE_3D.copy()
    v[2], v[:, 2] = [0.0, 0.0, 3.0], [0.0, 0.0, 3.0]
    flat, tilted = (wave.solve(u, patch.points[40:41] + 0.1 * np.array([1, 1, 0])) for u in (v, OBLIQUE_3D))
    assert np.allclose(flat.times, tilted.times, rtol=1e-12)
    gradient = tilted.pull_back(np.ones(wave.n_nodes)).squared_speed
    assert np.abs(gradient[2]).max() < 1e-12 * np.abs(gradient).max()
    assert np.abs(gradient[:2, :2]).min() > 0
