"""The tools behind the phantom: implicit functions, marching tetrahedra, edge operations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.core import Surface
from einthoven.datasets.phantom.halfedges import collapse_short, flip_edges, half_edge_twins, split_long
from einthoven.datasets.phantom.implicit import (
    Bullet,
    Polynomial,
    capsule,
    gradient,
    project,
    smooth_max,
    smooth_min,
    smooth_step,
)
from einthoven.datasets.phantom.meshing import marching_tetrahedra, mesh_body
from einthoven.geometry.generators import sphere

BOX = np.array([[-14.0, -14.0, -14.0], [14.0, 14.0, 14.0]])


def ball(points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points, axis=1) - 10.0


@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(0.1, 20))
def test_smooth_maximum_is_above_the_maximum_by_at_most_a_quarter_radius(a, b, radius):
    got = smooth_max(np.array([a]), np.array([b]), radius)[0]
    assert max(a, b) <= got <= max(a, b) + radius / 4 + 1e-12
    assert smooth_min(np.array([-a]), np.array([-b]), radius)[0] == -got
    if abs(a - b) >= radius:
        assert got == max(a, b)


def test_smooth_step_is_flat_at_its_ends():
    x = np.array([-1.0, 0.0, 1e-4, 0.5, 1 - 1e-4, 1.0, 2.0])
    assert smooth_step(x) == pytest.approx([0, 0, 0, 0.5, 1, 1, 1], abs=1e-10)


def test_a_round_bullet_is_a_sphere():
    round_one = Bullet((Polynomial((1.0,)), Polynomial((2.0,))), (Polynomial((10.0,)),) * 2, 3.0, (10.0, 10.0), 2.0)
    points = np.random.default_rng(0).uniform(-20, 20, (200, 3))
    exact = np.linalg.norm(points - [1.0, 2.0, 3.0], axis=1) - 10.0
    assert round_one.distance(points) == pytest.approx(exact, abs=1e-8)


def test_a_bent_bullet_has_unit_slope_at_its_surface():
    bent = Bullet(
        (Polynomial((1.0, 0.2, -0.004)), Polynomial((0.0, -0.1))),
        (Polynomial((9.0, 0.1)), Polynomial((12.0, 0.2))),
        0.0, (20.0, 25.0), 2.3,
    )  # fmt: skip
    surface = project(bent.distance, np.random.default_rng(1).normal(size=(300, 3)) * 8, steps=30, longest=2.0)
    assert np.abs(bent.distance(surface)).max() < 1e-9
    slope = np.linalg.norm(gradient(bent.distance, surface, step=1e-3), axis=1)
    assert slope == pytest.approx(1.0, abs=2e-3)


def test_capsule_distance():
    start, stop = np.zeros(3), np.array([0.0, 0.0, 10.0])
    points = np.array([[3.0, 0, 5], [0, 0, -4], [0, 0, 13]])
    assert capsule(points, start, stop, (1.0, 2.0)) == pytest.approx([1.5, 3.0, 1.0])


def test_marching_tetrahedra_volume_converges_with_second_order():
    exact = 4 / 3 * np.pi * 1000
    errors = []
    for cell in (2.0, 1.0, 0.5):
        surface = Surface(*marching_tetrahedra(ball, BOX, cell=cell))
        surface.check_closed()
        assert surface.n_points - len(surface.edges.vertices) + surface.n_triangles == 2
        errors.append(abs(surface.volume - exact))
    rates = np.log2(np.array(errors[:-1]) / errors[1:])
    assert rates == pytest.approx(2.0, abs=0.2)


def test_a_ring_keeps_its_hole():
    def ring(points):
        return np.hypot(np.hypot(points[:, 0], points[:, 1]) - 9.0, points[:, 2]) - 3.0

    surface = mesh_body(ring, BOX, edge_length=1.2, finest=0.8, cell=0.8, name="ring")
    surface.check_closed()
    assert surface.n_points - len(surface.edges.vertices) + surface.n_triangles == 0
    assert surface.volume == pytest.approx(2 * np.pi**2 * 9 * 9, rel=0.05)
    assert np.abs(ring(surface.points)).max() < 1e-6


def test_mesh_of_a_ball_is_even():
    surface = mesh_body(ball, BOX, edge_length=2.0, finest=1.0, cell=1.2, name="ball")
    pairs = surface.points[surface.edges.vertices]
    length = np.linalg.norm(pairs[:, 0] - pairs[:, 1], axis=1)
    assert np.median(length) == pytest.approx(2.0, rel=0.2)
    assert length.max() / length.min() < 3.0
    corners = surface.corners
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    outward = (normal * corners.mean(axis=1)).sum(axis=1) / np.linalg.norm(normal, axis=1)
    assert (outward / np.linalg.norm(corners.mean(axis=1), axis=1)).min() > 0.98


def test_twins_run_the_other_way():
    surface = sphere(10.0, subdivisions=2)
    start = surface.triangles.reshape(-1)
    stop = surface.triangles[:, [1, 2, 0]].reshape(-1)
    twins = half_edge_twins(surface.triangles)
    assert np.array_equal(start[twins], stop)
    assert np.array_equal(stop[twins], start)
    assert np.array_equal(twins[twins], np.arange(len(start)))


def test_split_and_collapse_keep_the_sphere_closed():
    surface = sphere(10.0, subdivisions=2)
    half = np.full(surface.n_points, 1.2)
    points, triangles, size = split_long(surface.points.copy(), surface.triangles.copy(), half)
    assert len(points) > 2 * surface.n_points
    Surface(points, triangles).check_closed()
    normals = points / np.linalg.norm(points, axis=1, keepdims=True)
    fewer, less = collapse_short(points, triangles, 3 * size, normals)
    assert len(fewer) < len(points) / 2
    Surface(fewer, less).check_closed()
    assert np.array_equal(size, np.full(len(size), 1.2))  # inputs are left alone


def test_flips_leave_few_opposite_angles_above_180_degrees():
    random = np.random.default_rng(3)
    surface = sphere(10.0, subdivisions=3)
    moved = surface.points + 0.45 * random.standard_normal(surface.points.shape)
    moved *= 10 / np.linalg.norm(moved, axis=1, keepdims=True)
    before = _wide_pairs(Surface(moved, surface.triangles))
    after = Surface(moved, flip_edges(moved, surface.triangles.copy(), moved / 10))
    after.check_closed()
    assert before > 100
    assert _wide_pairs(after) < 0.05 * before  # a few are kept: a node needs four neighbors


def _wide_pairs(surface: Surface) -> int:
    """Edges whose opposite angles sum to more than 180 degrees."""
    from einthoven.geometry.operators import angles

    # the angle opposite to edge k (corner k to k + 1) is that of corner k + 2
    opposite = np.roll(angles(surface), 1, axis=1)
    total = np.bincount(surface.edges.of_triangle.reshape(-1), weights=opposite.reshape(-1))
    return int((total > np.pi + 1e-9).sum())
