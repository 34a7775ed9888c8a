"""Closest points, inside tests and intersections against brute force, linear programming and exact shapes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize

from einthoven.core import GeometryError, Surface
from einthoven.geometry import generators, kernels
from einthoven.geometry.intersect import intersections, meet_exactly, self_intersections
from einthoven.geometry.locate import closest_points, contains, winding_numbers


def soup(seed: int, n: int) -> Surface:
    """Triangles at random, not connected."""
    rng = np.random.default_rng(seed)
    corners = rng.normal(size=(n, 1, 3)) * 5 + rng.normal(size=(n, 3, 3))
    return Surface(corners.reshape(-1, 3), np.arange(3 * n).reshape(n, 3), "soup")


@given(st.integers(0, 10**6), st.integers(1, 60))
@settings(deadline=None, max_examples=20)
def test_tree_search_equals_trying_every_triangle(seed, n):
    surface = soup(seed, n)
    points = np.random.default_rng(seed + 1).normal(size=(20, 3)) * 6
    found = closest_points(surface, points)
    weights = np.empty(3)
    for i, p in enumerate(points):
        distances = [np.sqrt(kernels.closest_on_triangle(p, np.array(c), weights)) for c in surface.corners]
        assert found.distance[i] == pytest.approx(min(distances), rel=1e-12)
        assert np.linalg.norm(found.points[i] - p) == pytest.approx(found.distance[i], rel=1e-9)
    assert (found.barycentric >= 0).all()
    assert found.barycentric.sum(axis=1) == pytest.approx(np.ones(20), abs=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_closest_point_of_one_triangle_is_the_minimum(seed):
    rng = np.random.default_rng(seed)
    corners, p = rng.normal(size=(3, 3)), rng.normal(size=3) * 2

    def squared(w):
        return float(((w[0] * corners[0] + w[1] * corners[1] + (1 - w[0] - w[1]) * corners[2] - p) ** 2).sum())

    limits = [(0, 1), (0, 1)]
    below = {"type": "ineq", "fun": lambda w: 1 - w[0] - w[1]}
    best = minimize(squared, [0.3, 0.3], bounds=limits, constraints=[below], options={"ftol": 1e-15}).fun
    weights = np.empty(3)
    assert kernels.closest_on_triangle(p, corners, weights) == pytest.approx(best, rel=1e-6)


def test_flat_triangle_still_has_a_closest_point():
    line = Surface(np.array([[0, 0, 0], [1, 0, 0], [3, 0, 0.0]]), np.array([[0, 1, 2]]))
    found = closest_points(line, np.array([[2.0, 1.0, 0.0], [5.0, 0.0, 0.0]]))
    assert found.distance == pytest.approx([1, 2])
    assert found.points == pytest.approx(np.array([[2, 0, 0], [3, 0, 0]]))


@pytest.mark.parametrize("inward", [False, True])
def test_inside_of_torus_whichever_way_it_is_wound(inward):
    torus = generators.torus(30.0, 10.0, around=96)
    if inward:
        torus = Surface(torus.points, torus.triangles[:, ::-1])
    points = np.random.default_rng(0).uniform(-45, 45, size=(2000, 3))
    tube = np.hypot(np.hypot(points[:, 0], points[:, 1]) - 30, points[:, 2])
    sure = np.abs(tube - 10) > 0.2
    assert np.array_equal(contains(torus, points)[sure], (tube < 10)[sure])
    assert not contains(torus, np.zeros((1, 3)))[0]  # the hole


def test_wall_is_inside_and_cavity_is_not():
    shell = generators.shell(8.0, 10.0, subdivisions=2)
    points = np.array([[0, 0, 0], [9, 0, 0], [0, 7, 0], [0, 0, -9], [11, 0, 0.0]])
    assert contains(shell, points).tolist() == [False, True, False, True, False]
    assert winding_numbers(shell, points) == pytest.approx([0, 1, 0, 1, 0], abs=1e-12)


def test_points_close_to_the_surface_are_told_apart():
    box = generators.box((10.0, 10.0, 10.0), segments=6)
    rng = np.random.default_rng(0)
    on = rng.uniform(-4.9, 4.9, size=(200, 3))
    on[:, 2] = 5
    step = np.array([0, 0, 1e-9])
    assert contains(box, on - step).all()
    assert not contains(box, on + step).any()


def test_open_or_twisted_surfaces_have_no_inside():
    with pytest.raises(GeometryError, match="disk: must be closed"):
        contains(generators.disk(3.0), np.zeros((1, 3)))
    box = generators.box((1.0, 1.0, 1.0), segments=1)
    triangles = np.array(box.triangles)
    triangles[0] = triangles[0, ::-1]
    with pytest.raises(GeometryError, match=r"box: .* wound alike; 3 edges .*repaired\(\)"):
        contains(Surface(box.points, triangles, "box"), np.zeros((1, 3)))


def gap_of(one: np.ndarray, two: np.ndarray) -> float:
    """Smallest largest-coordinate distance between two triangles, by linear programming."""
    # variables: 3 + 3 convex weights and the gap t; |A^T u - B^T v| <= t
    difference = np.hstack([one.T, -two.T])
    bound = np.vstack([np.hstack([difference, -np.ones((3, 1))]), np.hstack([-difference, -np.ones((3, 1))])])
    sums = np.array([[1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 1, 1, 1, 0]])
    result = linprog([0] * 6 + [1], A_ub=bound, b_ub=np.zeros(6), A_eq=sums, b_eq=[1, 1])
    assert result.status == 0
    return result.fun


@pytest.mark.parametrize("seed", range(3))
def test_triangle_intersection_agrees_with_linear_programming(seed):
    rng = np.random.default_rng(seed)
    nodes = np.arange(6)
    met = 0
    for k in range(80):
        t = rng.integers(0, 4, size=(6, 3)).astype(float) if k % 2 else rng.normal(size=(6, 3))
        one, two = t[:3], t[3:]
        if min(np.linalg.norm(np.cross(c[1] - c[0], c[2] - c[0])) for c in (one, two)) == 0:
            continue
        expected = gap_of(one, two) < 1e-9
        met += expected
        assert meet_exactly(one, two, []) == expected
        fast = kernels.triangles_meet(one, two, nodes[:3], nodes[3:])
        assert fast == kernels.UNSURE or bool(fast) == expected
    assert met > 10


def test_exact_test_sees_what_rounding_hides():
    one = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0.0]])
    above = np.array([[0.25, 0.25, 5e-324], [0.25, 0.25, 1.0], [1.0, 1.0, 1.0]])
    touching = above.copy()
    touching[0, 2] = 0.0
    assert not meet_exactly(one, above, [])
    assert meet_exactly(one, touching, [])


def test_overlapping_coplanar_triangles_meet_and_neighbors_do_not():
    one = np.array([[0, 0, 0], [4, 0, 0], [0, 4, 0.0]])
    inside, beside = np.array([[1, 1, 0], [2, 1, 0], [1, 2, 0.0]]), np.array([[3, 3, 0], [5, 3, 0], [3, 5, 0.0]])
    assert meet_exactly(one, inside, [])
    assert not meet_exactly(one, beside, [])


@pytest.mark.parametrize(
    "surface",
    [
        generators.sphere(10.0, subdivisions=3),
        generators.box((1.0, 2.0, 3.0), segments=8),
        generators.torus(8.0, 3.0),
        generators.shell(8.0, 9.0, subdivisions=2),
        generators.disk(3.0),
    ],
    ids=lambda s: s.name,
)
def test_sound_surfaces_do_not_cut_themselves(surface):
    assert len(self_intersections(surface)) == 0


def test_a_fold_a_crossing_and_a_pinch_are_found():
    fold = Surface(np.array([[0, 0, 0], [4, 0, 0], [1, 2, 0], [2, 3, 0.0]]), np.array([[0, 1, 2], [1, 0, 3]]))
    assert self_intersections(fold).tolist() == [[0, 1]]
    flat = fold.with_points(np.array([[0, 0, 0], [4, 0, 0], [1, 2, 0], [2, -3, 0.0]]))
    assert len(self_intersections(flat)) == 0
    fan = Surface(
        np.array([[0, 0, 0], [4, 0, 0], [0, 4, 0], [2, 2, -1], [2, 2, 1.0]]), np.array([[0, 1, 2], [0, 3, 4]])
    )
    assert self_intersections(fan).tolist() == [[0, 1]]
    two = generators.joined((generators.sphere(5.0), generators.sphere(5.0, center=(6.0, 0, 0))))
    pairs = self_intersections(two)
    assert len(pairs)
    assert (pairs[:, 0] < 1280).all()
    assert (pairs[:, 1] >= 1280).all()


def test_spheres_that_cross_touch_or_nest():
    a = generators.sphere(5.0, subdivisions=3)
    circle = intersections(a, generators.sphere(5.0, subdivisions=3, center=(6.0, 0.0, 0.0)))
    centers = a.corners[circle[:, 0]].mean(axis=1)
    assert len(circle) > 20
    assert np.abs(centers[:, 0] - 3).max() < 0.6  # the circle in which they cross
    assert len(intersections(a, generators.sphere(4.9, subdivisions=3))) == 0
    box, beside = generators.box((2.0, 2, 2), segments=2), generators.box((2.0, 2, 2), segments=3, center=(2.0, 0, 0))
    assert len(intersections(box, beside)) > 0
    assert len(intersections(box, beside.with_points(beside.points + np.array([1e-12, 0, 0])))) == 0
    assert len(intersections(a, a, limit=7)) == 7
