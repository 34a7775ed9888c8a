"""Mesh operators and curvature against exact values, with measured orders."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import eigsh

from einthoven.core import GeometryError, Surface
from einthoven.geometry import curvature, generators, operators, quality

SURFACES = [
    generators.sphere(3.0, subdivisions=1),
    generators.torus(9.0, 4.0, around=18),
    generators.box((3.0, 4.0, 5.0), segments=3),
    generators.cylinder(2.0, 6.0, around=12),
    generators.disk(4.0, rings=4),
]
by_name = pytest.mark.parametrize("surface", SURFACES, ids=lambda s: s.name)


@by_name
def test_gradient_and_areas_make_the_stiffness(surface):
    g = operators.gradient(surface).toarray()
    k = operators.stiffness(surface).toarray()
    weighted = np.repeat(operators.areas(surface), 3)[:, None] * g
    assert np.abs(g.T @ weighted - k).max() < 1e-13 * np.abs(k).max()


@by_name
def test_stiffness_is_symmetric_semidefinite_and_blind_to_constants(surface):
    k = operators.stiffness(surface).toarray()
    assert np.array_equal(k, k.T)
    assert np.abs(k.sum(axis=1)).max() < 1e-13 * np.abs(k).max()
    values = np.linalg.eigvalsh(k)
    assert values[0] > -1e-13 * values[-1]
    assert values[1] > 1e-4 * values[-1]  # only the constant is invisible


@by_name
def test_mass_sums_to_the_area(surface):
    total = operators.areas(surface).sum()
    for lumped in (True, False):
        assert operators.mass(surface, lumped=lumped).sum() == pytest.approx(total, rel=1e-13)
    consistent = operators.mass(surface, lumped=False)
    assert np.allclose(consistent.sum(axis=1), operators.node_areas(surface), rtol=1e-13)
    assert operators.node_areas(surface).sum() == pytest.approx(total, rel=1e-13)
    assert curvature.voronoi_areas(surface).sum() == pytest.approx(total, rel=1e-13)


def test_consistent_mass_integrates_products_of_linear_functions():
    patch = generators.rectangle((2.0, 3.0), segments=4)
    x, y, _ = patch.points.T
    m = operators.mass(patch, lumped=False)
    assert x @ (m @ x) == pytest.approx(3 * 2**3 / 12, rel=1e-13)
    assert x @ (m @ y) == pytest.approx(0, abs=1e-13)


@by_name
def test_gradient_of_a_linear_field_is_its_tangential_part(surface):
    slope = np.array([0.3, -1.2, 0.7])
    found = (operators.gradient(surface) @ (surface.points @ slope)).reshape(-1, 3)
    n = operators.normals(surface)
    assert np.abs(found - (slope - np.outer(n @ slope, [1, 1, 1]) * n)).max() < 1e-13 * 10


def test_areas_and_normals_of_known_shapes():
    box = generators.box((2.0, 3.0, 4.0), segments=3)
    assert operators.areas(box).sum() == pytest.approx(2 * (6 + 8 + 12), rel=1e-13)
    outward = np.einsum("ij,ij->i", operators.normals(box), box.corners.mean(axis=1))
    assert outward.min() > 0.9
    sphere = generators.sphere(5.0, subdivisions=3, center=(1, 2, 3))
    for by_angle in (True, False):
        radial = (sphere.points - [1, 2, 3]) / 5
        assert np.abs(operators.node_normals(sphere, by_angle=by_angle) - radial).max() < 0.02


def test_angle_weights_do_not_see_how_a_cube_is_cut():
    cube = generators.box((1.0, 1.0, 1.0), segments=1)
    corner = np.sign(cube.points) / np.sqrt(3)
    assert np.abs(operators.node_normals(cube) - corner).max() < 1e-12
    assert np.abs(operators.node_normals(cube, by_angle=False) - corner).max() > 0.1


def lowest_eigenvalues(k, m, count: int, *, sigma: float) -> np.ndarray:
    # A fixed start, and more values than asked for: Lanczos can miss one of a multiple eigenvalue.
    start = np.random.default_rng(0).standard_normal(k.shape[0])
    return np.sort(eigsh(k, count + 8, m, sigma=sigma, v0=start, ncv=60, return_eigenvectors=False))[:count]


def sphere_eigenvalues(subdivisions: int, *, radius: float = 2.0) -> np.ndarray:
    sphere = generators.sphere(radius, subdivisions=subdivisions)
    k, m = operators.stiffness(sphere), operators.mass(sphere, lumped=False)
    return lowest_eigenvalues(k, m, 9, sigma=-0.1)


def test_sphere_eigenvalues_converge_with_order_two():
    exact = np.repeat([0, 2, 6], [1, 3, 5]) / 4.0
    errors = [np.abs(sphere_eigenvalues(s) - exact)[1:] / exact[1:] for s in (2, 3, 4)]
    assert errors[-1].max() < 0.006
    for coarse, fine in pairwise(errors):
        order = np.log2(coarse.max() / fine.max())
        assert 1.9 < order < 2.1


def test_flat_dirichlet_energy_converges_with_order_two():
    exact = np.pi**2 / 2  # integral of |grad sin(pi x) sin(pi y)|^2 over a unit square
    errors = []
    for segments in (8, 16, 32):
        patch = generators.rectangle((1.0, 1.0), segments=segments)
        f = np.sin(np.pi * patch.points[:, 0]) * np.sin(np.pi * patch.points[:, 1])
        errors.append(abs(f @ (operators.stiffness(patch) @ f) - exact))
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.abs(orders - 2).max() < 0.1


@pytest.mark.parametrize(
    ("subdivisions", "edge_length", "cotangent"), [(2, 0.28, 0.039), (3, 0.52, 0.020), (4, 0.82, 0.010)]
)
def test_the_edge_length_laplacian_diverges_and_the_cotangent_one_does_not(subdivisions, edge_length, cotangent):
    sphere = generators.sphere(1.0, subdivisions=subdivisions)
    f = sphere.points @ np.array([1.0, 2.0, 3.0])
    exact = -2 * f

    def relative(laplacian) -> float:
        return float(np.linalg.norm(laplacian @ f - exact) / np.linalg.norm(exact))

    assert relative(operators.edge_length_laplacian(sphere)) == pytest.approx(edge_length, abs=0.006)
    assert relative(operators.laplace_beltrami(sphere)) == pytest.approx(cotangent, abs=0.0011)


def test_edge_length_laplacian_by_hand():
    patch = Surface(
        np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [-1, 0, 0], [0, -2, 0.0]]),
        np.array([[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 1]]),
    )
    row = operators.edge_length_laplacian(patch).toarray()[0]
    assert row == pytest.approx(np.array([-1.5, 0.5, 0.25, 0.5, 0.25]) * 4 / 1.5 / 2)
    assert np.abs(operators.edge_length_laplacian(patch).sum(axis=1)).max() < 1e-14


def test_curvature_of_sphere_torus_and_plane():
    sphere = generators.sphere(10.0, subdivisions=3)
    assert np.abs(curvature.mean_curvature(sphere) * 10 - 1).max() < 5e-5
    assert np.abs(curvature.gaussian_curvature(sphere) * 100 - 1).max() < 0.006
    torus = generators.torus(30.0, 10.0, around=120)
    rho = np.hypot(torus.points[:, 0], torus.points[:, 1])
    cosine = (rho - 30) / 10
    mean, gauss = (1 / 10 + cosine / rho) / 2, cosine / (10 * rho)
    assert np.abs(curvature.mean_curvature(torus) - mean).max() < 0.002
    assert np.abs(curvature.gaussian_curvature(torus) - gauss).max() < 2e-4
    patch = generators.rectangle((1.0, 1.0), segments=4)
    inside = np.abs(patch.points).max(axis=1) < 0.49
    for values in (curvature.mean_curvature(patch), curvature.gaussian_curvature(patch)):
        assert np.abs(values[inside]).max() < 1e-12
        assert np.isnan(values[~inside]).all()


@pytest.mark.parametrize("surface", SURFACES[:4], ids=lambda s: s.name)
def test_gauss_bonnet_is_exact(surface):
    total = curvature.gaussian_curvature(surface) @ curvature.voronoi_areas(surface)
    assert total == pytest.approx(2 * np.pi * quality.euler_characteristic(surface), abs=1e-11)


def rotation_of(seed: int) -> np.ndarray:
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.linalg.det(q)


@given(st.integers(0, 10**6), st.floats(0.01, 100))
@settings(deadline=None, max_examples=25)
def test_operators_follow_rotation_scaling_and_renumbering(seed, scale):
    surface = generators.ellipsoid((3.0, 2.0, 1.0), subdivisions=1)
    order = np.random.default_rng(seed).permutation(surface.n_points)
    place = np.argsort(order)
    moved = Surface(scale * (surface.points @ rotation_of(seed).T)[order] + 5.0, place[surface.triangles])
    for make, power in (
        (operators.stiffness, 0),
        (operators.mass, 2),
        (operators.edge_length_laplacian, -2),
        (operators.laplace_beltrami, -2),
    ):
        before, after = make(surface).toarray()[np.ix_(order, order)] * scale**power, make(moved).toarray()
        assert np.abs(after - before).max() < 1e-9 * np.abs(before).max()
    mean, scaled = curvature.mean_curvature(surface)[order], curvature.mean_curvature(moved) * scale
    assert np.abs(mean - scaled).max() < 1e-8 * np.abs(mean).max()


def test_degenerate_input_is_named():
    points = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 1, 0], [7, 7, 7.0]])
    flat = Surface(points, np.array([[0, 1, 2], [0, 1, 3]]), "skin")
    for function in (operators.normals, operators.stiffness, operators.gradient, operators.cotangents):
        with pytest.raises(GeometryError, match=r"skin: faces 0 have no area .* Collapse or remove"):
            function(flat)
    lonely = Surface(points, np.array([[0, 1, 3], [1, 2, 3]]), "skin")
    for function in (operators.laplace_beltrami, operators.edge_length_laplacian, operators.node_normals):
        with pytest.raises(GeometryError, match="skin: nodes 4 belong to no triangle"):
            function(lonely)
    double = Surface(points[[0, 0, 1, 3]], np.array([[0, 2, 3], [1, 3, 2], [0, 1, 2]]), "skin")
    with pytest.raises(GeometryError, match=r"the nodes of edges \(0, 1\) coincide"):
        operators.edge_length_laplacian(double)
    sheets = Surface(points[[0, 1, 3]], np.array([[0, 1, 2], [0, 2, 1]]), "sheet")
    with pytest.raises(GeometryError, match="sheet: the normals around nodes 0, 1, 2 cancel: two sheets lie back"):
        operators.node_normals(sheets)


def test_measured_surfaces_have_sound_operators(data_dir):
    with np.load(data_dir / "utah_cage_tank" / "cage_tank.npz") as file:
        cage = Surface(file["cage602_pts_mm"], file["cage602_tri"].astype(int), "cage")
    k, m = operators.stiffness(cage), operators.mass(cage)
    values = lowest_eigenvalues(k, m, 4, sigma=-1e-4)
    assert abs(values[0]) < 1e-10
    assert values[1] > 1e-4  # one connected part
    total = curvature.gaussian_curvature(cage) @ curvature.voronoi_areas(cage)
    assert total == pytest.approx(4 * np.pi, abs=1e-9)
