"""Properties of every coupling: symmetric, at rest when uniform, never creating energy, bounded."""

import numpy as np
import pytest
from tissue_cases import TISSUES, random_mask, random_tensors

from einthoven.geometry.generators import rectangle, sphere
from einthoven.tissue import Coupling, Graph, Grid, Stencil, Tissue
from einthoven.tissue.finite_volumes import as_graph, as_stencil, half_rates


@pytest.fixture(params=[(kind, seed) for kind in TISSUES for seed in (1, 2)], ids=lambda p: f"{p[0]} {p[1]}")
def tissue(request) -> Tissue:
    kind, seed = request.param
    return TISSUES[kind](seed)


def test_exchange_is_mutual(tissue):
    """What a node gives its neighbor receives: volumes times the matrix are symmetric, so that charge is conserved."""
    exchange = tissue.volumes[:, None] * tissue.coupling.matrix().toarray()
    assert np.abs(exchange - exchange.T).max() <= 1e-13 * np.abs(exchange).max()
    assert np.abs(exchange.sum(axis=0)).max() <= 1e-13 * np.abs(exchange).max()


def test_uniform_potential_is_at_rest(tissue):
    matrix = tissue.coupling.matrix()
    assert np.abs(matrix @ np.ones(tissue.n_nodes)).max() <= 1e-13 * max(np.abs(matrix.toarray()).max(), 1e-300)


def test_energy_is_never_negative_and_zero_only_where_each_part_is_uniform(tissue):
    root = np.sqrt(tissue.volumes)
    symmetric = root[:, None] * tissue.coupling.matrix().toarray() / root
    rates = np.linalg.eigvalsh(0.5 * (symmetric + symmetric.T))
    size = max(-rates.min(), 1e-12)
    assert rates.max() <= 1e-13 * size
    parts = tissue.components()
    assert (rates > -1e-9 * size).sum() == parts.max() + 1
    assert np.abs(tissue.coupling.matrix() @ parts.astype(float)).max() <= 1e-12 * size * (1 + parts.max())


def test_largest_rate_bounds_the_spectrum_and_is_not_far_from_it(tissue):
    root = np.sqrt(tissue.volumes)
    symmetric = root[:, None] * tissue.coupling.matrix().toarray() / root
    largest = -np.linalg.eigvalsh(0.5 * (symmetric + symmetric.T)).min()
    assert largest <= tissue.coupling.largest_rate() * (1 + 1e-12)
    assert tissue.coupling.largest_rate() <= 2.5 * largest + 1e-300


def test_forms_agree(tissue):
    coupling = tissue.coupling
    assert isinstance(coupling, Coupling)
    graph = coupling.graph()
    assert isinstance(graph, Graph)
    assert coupling.n_nodes == graph.n_nodes == tissue.n_nodes
    difference = np.abs((coupling.matrix() - graph.matrix()).toarray()).max()
    assert difference <= 1e-14 * max(coupling.largest_rate(), 1e-300)
    unused = graph.weights == 0
    assert (graph.neighbors[unused] == np.nonzero(unused)[0]).all()


@pytest.mark.parametrize(("shape", "tensors"), [((6, 7), False), ((6, 7), True), ((4, 5, 6), True)])
def test_graph_made_without_the_stencil_is_the_same(shape, tensors):
    grid = Grid(shape, 0.5)
    nodes = np.flatnonzero(random_mask(grid.n_points, 4, 0.5))
    diffusivity = random_tensors(len(nodes), len(shape), 4) if tensors else np.linspace(0.1, 0.2, len(nodes))
    half = half_rates(grid, nodes, diffusivity)
    graph, stencil = as_graph(grid, nodes, half), as_stencil(grid, nodes, half)
    assert np.abs((graph.matrix() - stencil.matrix()).toarray()).max() == 0
    assert graph.largest_rate() == pytest.approx(stencil.largest_rate(), rel=1e-14)


def test_large_grids_mostly_empty_become_graphs():
    shape = (50, 50, 50)
    ball = np.linalg.norm(np.indices(shape) - 24.5, axis=0) < 15
    sparse = Tissue.anisotropic(Grid(shape, 0.5), 0.1, 0.02, (0.6, 0.0, 0.8), ball)
    assert isinstance(sparse.coupling, Graph)
    assert sparse.coupling.weights.shape[1] <= 26
    full = Tissue.isotropic(Grid(shape, 0.5), 0.1)
    assert isinstance(full.coupling, Stencil)


def test_rates_are_harmonic_means():
    strand = Tissue.isotropic(Grid((3,), 0.5), np.array([0.1, 0.3, 0.3]))
    assert strand.coupling.matrix().toarray()[0, 1] == pytest.approx(2 / (1 / 0.1 + 1 / 0.3) / 0.25, rel=1e-14)
    assert strand.coupling.matrix().toarray()[1, 2] == pytest.approx(0.3 / 0.25, rel=1e-14)


def test_aligned_fibers_need_neighbors_along_the_axes_alone():
    assert len(Tissue.anisotropic(Grid((5, 6, 7), 0.5), 0.1, 0.02, (0.0, 1.0, 0.0)).coupling.offsets) == 3
    turned = (0.0, np.cos(np.pi / 2), 1.0)
    assert len(Tissue.anisotropic(Grid((5, 6, 7), 0.5), 0.1, 0.02, turned).coupling.offsets) == 3
    assert len(Tissue.anisotropic(Grid((5, 6), 0.5), 0.1, 0.02, (0.6, 0.8)).coupling.offsets) == 4


@pytest.mark.parametrize("d", [2, 3])
def test_nearly_aligned_tensors_reach_the_aligned_rates(d):
    """The two ways of making rates meet."""
    grid = Grid((6,) * d, 0.5)
    tensors = (
        np.array([np.diag(np.linspace(0.05, 0.2, d))] * grid.n_points) * np.linspace(1, 2, grid.n_points)[:, None, None]
    )
    tilted = tensors.copy()
    tilted[:, 0, 1] = tilted[:, 1, 0] = 1e-9
    every = np.ones(grid.n_points, dtype=bool)
    straight, oblique = (Tissue(grid, t, every).coupling.matrix() for t in (tensors, tilted))
    assert np.abs((straight - oblique).toarray()).max() < 1e-7
    assert oblique.nnz > straight.nnz


@pytest.mark.parametrize("d", [2, 3])
def test_piecewise_linear_potentials_across_an_interface_are_exact(d):
    """Two tensors meet at a plane between cells; slopes on both sides carry the same flux: nothing changes inside."""
    grid = Grid((8,) * d, 0.5)
    left, right = random_tensors(2, d, 9)
    x = grid.points[:, :d] - np.array([1.75] + [0.0] * (d - 1))
    slope = np.arange(1.0, d + 1)
    other = slope.copy()
    other[0] = (left[0] @ slope - right[0, 1:] @ slope[1:]) / right[0, 0]
    beyond = x[:, 0] > 0
    tissue = Tissue(grid, np.where(beyond[:, None, None], right, left), np.ones(grid.n_points, bool))
    rate = (tissue.coupling.matrix() @ np.where(beyond, x @ other, x @ slope)).reshape(grid.shape)
    inside = rate[(slice(1, -1),) * d]
    assert np.abs(inside).max() < 1e-12
    assert np.abs(rate).max() > 0.1


@pytest.mark.parametrize("d", [2, 3])
def test_a_strand_one_cell_wide_conducts_as_its_tensor_lets_it(d):
    """With no flux through its sides a strand along axis a conducts with 1 / (D^-1)_aa."""
    tensor = random_tensors(1, d, 3)[0]
    for axis in range(d):
        shape = [5] * d
        grid = Grid(tuple(shape), 0.5)
        mask = np.zeros(grid.shape, dtype=bool)
        mask[tuple(slice(None) if a == axis else 2 for a in range(d))] = True
        tissue = Tissue(grid, tensor, mask.reshape(-1))
        rate = tissue.coupling.matrix().toarray()[1, 2]
        assert rate == pytest.approx(1 / np.linalg.inv(tensor)[axis, axis] / 0.25, rel=1e-12)


def test_cells_touching_at_corners_do_not_exchange():
    mask = np.array([[True, False], [False, True]])
    tissue = Tissue(Grid((2, 2), 0.5), random_tensors(1, 2, 0)[0], mask.reshape(-1))
    assert tissue.coupling.matrix().nnz == 0 or np.abs(tissue.coupling.matrix().toarray()).max() == 0
    assert tissue.components().tolist() == [0, 1]


@pytest.mark.parametrize("d", [2, 3])
def test_turning_and_mirroring_the_tissue_turns_and_mirrors_the_rates(d):
    shape = (5, 6, 4)[:d]
    grid = Grid(shape, 0.5)
    tensors, mask = (
        random_tensors(grid.n_points, d, 5).reshape(*shape, d, d),
        random_mask(grid.n_points, 5).reshape(shape),
    )
    number = np.arange(grid.n_points).reshape(shape)
    before = Tissue(grid, tensors.reshape(-1, d, d), mask.reshape(-1))
    turn = np.eye(d)
    turn[:2, :2] = [[0.0, -1.0], [1.0, 0.0]]
    mirror = np.diag([-1.0] + [1.0] * (d - 1))
    for moved, matrix in ((lambda a: np.rot90(a, axes=(0, 1)), turn), (lambda a: np.flip(a, axis=0), mirror)):
        new = matrix @ moved(tensors) @ matrix.T
        mask_after = moved(mask)
        after = Tissue(Grid(mask_after.shape, 0.5), new.reshape(-1, d, d), mask_after.reshape(-1))
        order = np.searchsorted(before.nodes, moved(number)[mask_after])
        turned = before.coupling.matrix().toarray()[np.ix_(order, order)]
        assert np.abs(turned - after.coupling.matrix().toarray()).max() < 1e-14 * before.coupling.largest_rate() * 10


def test_surface_rates_do_not_depend_on_the_frame():
    surface = sphere(10.0, subdivisions=2)
    fibers = TISSUES["fibers on a sphere"](1).fibers
    mask = random_mask(surface.n_points, 1)
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    turn *= np.linalg.det(turn)
    one = Tissue.anisotropic(surface, 0.2, 0.03, fibers, mask)
    other = Tissue.anisotropic(surface.with_points(surface.points @ turn.T), 0.2, 0.03, fibers @ turn.T, mask)
    assert np.abs((one.coupling.matrix() - other.coupling.matrix()).toarray()).max() < 1e-13


def test_a_border_along_edges_keeps_the_rates_of_equilateral_triangles():
    """A triangle that has lost a corner keeps its edge's weight, so a strand one node wide conducts as in the sheet."""
    patch = rectangle((8.0, 8.0), segments=8)
    points = patch.points @ np.array([[1.0, 0.0, 0.0], [-0.5, np.sqrt(0.75), 0.0], [0.0, 0.0, 1.0]])
    patch = patch.with_points(points)
    index = np.arange(81).reshape(9, 9)
    whole = Tissue.isotropic(patch, 0.1).coupling.matrix().toarray()
    for strand in (index[:, 4], index[4], np.diagonal(index)):
        mask = np.zeros(81, dtype=bool)
        mask[strand] = True
        found = Tissue.isotropic(patch, 0.1, mask).coupling.matrix().toarray()
        inner = np.sort(strand)[2:-2]
        place = np.searchsorted(np.sort(strand), inner)
        assert np.diagonal(found, 1)[place] == pytest.approx(whole[inner, np.sort(strand)[3:-1]], rel=1e-12)
        assert (whole[inner, np.sort(strand)[3:-1]] > 0.05).all()


def test_obtuse_triangles_give_negative_weights():
    """Stated in the docs: allowed, since the energy stays positive (see above)."""
    assert TISSUES["obtuse triangles"](1).coupling.weights.min() < 0
    assert TISSUES["sphere"](1).coupling.weights.min() >= 0
