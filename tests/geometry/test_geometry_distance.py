"""Geodesic distance: exact on the polyhedron, and of order two against the smooth sphere."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einthoven.core import GeometryError, InputError, Surface
from einthoven.geometry import generators
from einthoven.geometry.distance import along_edges, geodesic, geodesic_matrix
from einthoven.geometry.remesh import refined


@pytest.mark.parametrize("source", [0, 17, 40])
def test_flat_patch_is_exact_even_with_very_obtuse_triangles(source):
    patch = generators.rectangle((10.0, 10.0), segments=9)
    for shear in (0.0, 2.5, -4.0):
        points = patch.points @ np.array([[1, 0, 0], [shear, 1, 0], [0, 0, 1.0]])
        found = geodesic(patch.with_points(points), [source])
        exact = np.linalg.norm(points - points[source], axis=1)
        assert np.abs(found - exact).max() < 1e-10 * exact.max()


def test_around_the_edges_of_a_cube():
    cube = generators.box((2.0, 2.0, 2.0), segments=4)
    at = {tuple(p): i for i, p in enumerate(np.round(cube.points, 6).tolist())}
    distance = geodesic(cube, [at[0, 0, -1]])
    assert distance[at[0, 0, 1]] == pytest.approx(4)
    assert distance[at[1, 0, 0]] == pytest.approx(2)
    assert distance[at[1, 1, -1]] == pytest.approx(np.sqrt(2))
    assert distance[at[1, 1, 1]] == pytest.approx(np.hypot(1, 3))  # unfolded over one side
    corner = geodesic(cube, [at[-1, -1, -1]])
    assert corner[at[1, 1, 1]] == pytest.approx(np.hypot(2, 4))


def test_shortest_paths_turn_at_a_reentrant_corner():
    grid = generators.rectangle((4.0, 4.0), segments=8)
    centers = grid.corners.mean(axis=1)
    ell = Surface(grid.points, grid.triangles[~((centers[:, 0] > 0) & (centers[:, 1] > 0))])
    start, end = (int(np.linalg.norm(grid.points[:, :2] - p, axis=1).argmin()) for p in ((1.5, -0.5), (-0.5, 1.5)))
    middle = [np.hypot(1.5, 0.5), np.hypot(0.5, 1.5)]
    assert geodesic(ell, [start])[end] == pytest.approx(sum(middle))


def test_order_two_on_the_sphere():
    errors = []
    for subdivisions in (2, 3, 4):
        sphere = generators.sphere(1.0, subdivisions=subdivisions)
        exact = np.arccos(np.clip(sphere.points @ sphere.points[7], -1, 1))
        errors.append(np.abs(geodesic(sphere, [7]) - exact).max())
    assert errors == pytest.approx([0.0309, 0.0079, 0.0020], rel=0.03)
    assert all(1.9 < np.log2(coarse / fine) < 2.1 for coarse, fine in pairwise(errors))


@pytest.mark.parametrize(
    "surface",
    [
        generators.torus(30.0, 12.0, around=24),
        generators.cylinder(10.0, 30.0, around=18),
        generators.ellipsoid((30.0, 20.0, 8.0), subdivisions=2),
    ],
    ids=lambda s: s.name,
)
def test_cutting_the_triangles_finer_changes_nothing(surface):
    """The same polyhedron with other triangles: the algorithm sees other windows, the answer stays."""
    finer = refined(surface, times=1).surface
    for source in (0, 11, 50):
        coarse = geodesic(surface, [source])
        assert np.abs(geodesic(finer, [source])[: surface.n_points] - coarse).max() < 1e-9


@given(st.integers(0, 10**6))
@settings(deadline=None, max_examples=15)
def test_metric_on_rough_surfaces(seed):
    """Symmetric, triangle inequality, between the straight line and the path along edges."""
    rng = np.random.default_rng(seed)
    sphere = generators.sphere(10.0, subdivisions=2)
    rough = sphere.with_points(sphere.points * rng.uniform(0.8, 1.2, size=(sphere.n_points, 1)))
    nodes = rng.choice(rough.n_points, 12, replace=False)
    rows = geodesic_matrix(rough, nodes)
    square = rows[:, nodes]
    assert np.abs(square - square.T).max() < 1e-9
    assert (square[:, None, :] <= square[:, :, None] + square[None, :, :] + 1e-9).all()
    for row, node in zip(rows, nodes, strict=True):
        assert (row <= along_edges(rough, [node]) + 1e-9).all()
        assert (row >= np.linalg.norm(rough.points - rough.points[node], axis=1) - 1e-9).all()
    assert np.abs(geodesic(rough, nodes) - rows.min(axis=0)).max() < 1e-9


def test_offsets_parts_and_winding():
    patch = generators.rectangle((10.0, 10.0), segments=10)
    both = geodesic(patch, [0, 120], offsets=np.array([2.0, 5.0]))
    assert np.abs(both - np.minimum(2 + geodesic(patch, [0]), 5 + geodesic(patch, [120]))).max() < 1e-9
    two = generators.joined((generators.sphere(1.0, subdivisions=1), generators.sphere(1.0, subdivisions=1)))
    distance = geodesic(two, [3])
    assert np.isfinite(distance[:42]).all()
    assert np.isinf(distance[42:]).all()
    inward = Surface(patch.points, patch.triangles[:, ::-1])
    assert np.abs(geodesic(inward, [7]) - geodesic(patch, [7])).max() < 1e-12


def test_mistakes_are_named():
    sphere = generators.sphere(1.0, subdivisions=1)
    with pytest.raises(InputError, match="sphere: a distance needs at least one source"):
        geodesic(sphere, [])
    with pytest.raises(InputError, match=r"sphere: sources must be nodes 0..41; got 42"):
        geodesic(sphere, [3, 42])
    triangles = np.array(sphere.triangles)
    triangles[5] = triangles[5, ::-1]
    with pytest.raises(GeometryError, match=r"wound alike. Use `surface.repaired\(\)`"):
        geodesic(Surface(sphere.points, triangles), [0])


def test_measured_ventricles(data_dir):
    from scipy.io import loadmat

    path = data_dir / "kit_cei" / "ventricles" / "heart_res1.mat"
    mesh = next(v for k, v in loadmat(path, squeeze_me=True, struct_as_record=False).items() if not k.startswith("__"))
    heart = Surface(np.asarray(mesh.points, dtype=float), np.asarray(mesh.cells, dtype=int) - 1, "heart")
    nodes = np.arange(0, heart.n_points, 400)
    rows = geodesic_matrix(heart, nodes)
    assert np.abs(rows[:, nodes] - rows[:, nodes].T).max() < 1e-9
    finer = refined(heart).surface
    assert np.abs(geodesic(finer, [400])[: heart.n_points] - rows[1]).max() < 1e-9
