"""Layer integrals against adaptive quadrature, at every kind of near-singular place, and against Green's identity."""

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from einthoven.core import Surface
from einthoven.forward import kernels
from einthoven.forward.kernels import FAR, TOLERANCE, layers
from einthoven.geometry.generators import sphere
from einthoven.geometry.locate import closest_points

CORNERS = np.array([[0.0, 0.0, 0.0], [2.0, 0.1, 0.0], [0.4, 1.3, 0.2]])
LONGEST = float(np.linalg.norm(CORNERS[1] - CORNERS[0]))
SCALE = 4 * np.pi


def triangle(corners: np.ndarray) -> Surface:
    return Surface(corners, np.array([[0, 1, 2]]))


def product_rule(n: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Collapsed Gauss points (barycentric) and weights, which sum to 1."""
    x, w = np.polynomial.legendre.leggauss(n)
    u, v = np.meshgrid((x + 1) / 2, (x + 1) / 2, indexing="ij")
    points = np.stack([1 - u, u * (1 - v), u * v], axis=-1).reshape(-1, 3)
    return points, (2 * u * np.outer(w, w) / 4).reshape(-1)


POINTS, WEIGHTS = product_rule()


def adaptive(x: np.ndarray, corners: np.ndarray, shape: np.ndarray | None = None) -> np.ndarray:
    """D (3), S (3) and the integral of 1/(4 pi r^2): the triangle is split until it is small beside its distance."""
    shape = np.eye(3) if shape is None else shape
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    area = np.linalg.norm(normal) / 2
    longest = max(np.linalg.norm(corners[i] - corners[i - 1]) for i in range(3))
    if np.linalg.norm(x - corners.mean(axis=0)) < 2.0 * longest and longest > 1e-9:
        middle, order = (corners + corners[[1, 2, 0]]) / 2, (shape + shape[[1, 2, 0]]) / 2
        parts = [([0, 3, 5]), ([3, 1, 4]), ([5, 4, 2]), ([3, 4, 5])]
        nodes, shapes = np.concatenate([corners, middle]), np.concatenate([shape, order])
        return sum(adaptive(x, nodes[p], shapes[p]) for p in parts)
    r = x - POINTS @ corners
    distance = np.linalg.norm(r, axis=1)
    functions = POINTS @ shape
    double = (area * WEIGHTS * (r @ normal) / (2 * area) / distance**3) @ functions
    single = (area * WEIGHTS / distance) @ functions
    return np.concatenate([double, single, [(area * WEIGHTS / distance**2).sum()]]) / SCALE


def places() -> dict[str, np.ndarray]:
    a, b, c = CORNERS
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal)
    center, middle = CORNERS.mean(axis=0), (a + b) / 2
    return {
        "far above": center + 5 * normal,
        "above": center + 0.7 * normal,
        "0.05 above the middle": center + 0.05 * normal,
        "0.001 below the middle": center - 0.001 * normal,
        "0.001 above an edge": middle + 0.001 * normal,
        "0.001 above a node": b + 0.001 * normal,
        "beside an edge, in the plane": middle + 0.3 * (middle - c),
        "on an edge's line": b + 0.5 * (b - a),
        "near an edge's line": b + 0.5 * (b - a) + 1e-6 * normal,
        "above an edge's line": b + 0.1 * (b - a) + 0.2 * normal,
        "behind": center - 2 * normal + 0.3 * (b - a),
    }


@pytest.mark.parametrize("place", places())
def test_near_integrals_match_adaptive_quadrature(place):
    x = places()[place]
    double, single = layers(x[None], triangle(CORNERS))
    expected = adaptive(x, CORNERS)
    tolerance = 1e-9
    np.testing.assert_allclose(double[0], expected[:3], atol=tolerance * expected[6])
    np.testing.assert_allclose(single[0], expected[3:6], atol=tolerance * expected[3:6].sum())


@pytest.mark.parametrize("k", range(3))
def test_single_layer_at_a_node_matches_its_polar_integral(k):
    """At a node the integral of N/r is int N(rho, phi) d rho d phi: regular in polar coordinates."""
    corners = np.roll(CORNERS, -k, axis=0)
    x, w = np.polynomial.legendre.leggauss(30)
    t, w = (x + 1) / 2, w / 2  # a point on the opposite edge
    e1, e2 = corners[1] - corners[0], corners[2] - corners[0]
    radius = np.linalg.norm((1 - t)[:, None] * e1 + t[:, None] * e2, axis=1)
    twice_area = np.linalg.norm(np.cross(e1, e2))
    # y = corner + u ((1 - t) e1 + t e2); dy = 2 A u du dt; 1/r = 1 / (u radius)
    weights = twice_area * w / radius / SCALE
    expected = [weights.sum() / 2, (weights * (1 - t)).sum() / 2, (weights * t).sum() / 2]
    double, single = layers(corners[:1], triangle(corners))
    np.testing.assert_allclose(single[0], expected, rtol=1e-12)
    assert (double == 0).all()


@pytest.mark.parametrize("place", ["node", "edge", "inside", "edge line"])
def test_limits_towards_the_plane_are_continuous(place):
    a, b, c = CORNERS
    normal = np.cross(b - a, c - a) / np.linalg.norm(np.cross(b - a, c - a))
    x = {"node": a, "edge": 0.3 * a + 0.7 * c, "inside": CORNERS.mean(axis=0), "edge line": c + 2 * (c - a)}[place]
    steps = np.array([0.0, 1e-14, 1e-12, 1e-10, 1e-8])
    double, single = layers(x + steps[:, None] * normal, triangle(CORNERS))
    assert np.isfinite(double).all()
    np.testing.assert_allclose(single, single[:1].repeat(5, axis=0), atol=1e-7 * single[0].sum())
    # the jump is half of the shape functions inside, less on an edge and at a node, none outside
    jump = double[-1] - layers((x - 1e-8 * normal)[None], triangle(CORNERS))[0][0]
    inner = {"node": [np.arccos((b - a) @ (c - a) / np.linalg.norm(b - a) / np.linalg.norm(c - a)) / SCALE * 2, 0, 0],
             "edge": [0.15, 0.0, 0.35], "inside": [1 / 3] * 3, "edge line": [0.0] * 3}[place]  # fmt: skip
    np.testing.assert_allclose(jump, inner, atol=1e-6)
    np.testing.assert_allclose(double[0], 0.0, atol=1e-14)


def test_far_rule_switches_within_the_stated_tolerance():
    """Just beyond the switch the rule is worst: compare with the same integrals on the triangle cut into four."""
    rng = np.random.default_rng(0)
    worst = 0.0
    for _ in range(150):
        corners = rng.normal(size=(3, 3))
        longest = max(np.linalg.norm(corners[i] - corners[i - 1]) for i in range(3))
        direction = rng.normal(size=3)
        x = corners.mean(axis=0) + 1.0001 * FAR * longest * direction / np.linalg.norm(direction)
        double, single = layers(x[None], triangle(corners))
        expected = adaptive(x, corners)
        worst = max(worst, np.abs(double[0] - expected[:3]).max() / expected[6])
        worst = max(worst, np.abs(single[0] - expected[3:6]).max() / expected[3:6].sum())
    assert 1e-10 < worst < TOLERANCE


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(-1, 1), min_size=9, max_size=9),
    st.lists(st.floats(-3, 3), min_size=3, max_size=3),
)
@example([0.0, 0.75, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0], [0.0, 0.72, 1.03])
def test_any_triangle_any_point(numbers, place):
    corners, x = np.array(numbers).reshape(3, 3), np.array(place)
    edges = [np.linalg.norm(corners[i] - corners[i - 1]) for i in range(3)]
    height = np.linalg.norm(np.cross(corners[1] - corners[0], corners[2] - corners[0])) / max(max(edges), 1e-30)
    assume(height > 0.02)
    # nearer than this, and at a corner above all, the quadrature that is the reference loses its digits
    assume(closest_points(triangle(corners), x[None]).distance[0] > 0.02)
    double, single = layers(x[None], triangle(corners))
    expected = adaptive(x, corners)
    np.testing.assert_allclose(double[0], expected[:3], atol=TOLERANCE * expected[6])
    np.testing.assert_allclose(single[0], expected[3:6], atol=TOLERANCE * expected[3:6].sum())


def test_closed_surface_counts_inside_and_outside():
    surface = sphere(50.0, subdivisions=2)
    rng = np.random.default_rng(1)
    directions = rng.normal(size=(50, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    inside = layers(directions * rng.uniform(0, 47, size=(50, 1)), surface)[0].sum(axis=1)
    outside = layers(directions * rng.uniform(51, 500, size=(50, 1)), surface)[0].sum(axis=1)
    np.testing.assert_allclose(inside, -1.0, atol=TOLERANCE)
    np.testing.assert_allclose(outside, 0.0, atol=TOLERANCE)


@pytest.mark.parametrize("depth", [30.0, 1.0, 0.01, 1e-5])
def test_greens_identity_holds_exactly_for_a_linear_potential(depth):
    """u = g.x: u(x) = S du/dn - D u inside, 0 outside; du/dn is constant on every triangle."""
    surface = sphere(50.0, subdivisions=1, center=(10.0, -20.0, 5.0))
    slope = np.array([0.3, -1.0, 0.5])
    face = surface.corners[7]
    normal = np.cross(face[1] - face[0], face[2] - face[0])
    normal /= np.linalg.norm(normal)
    x = np.stack([face.mean(axis=0) - depth * normal, face.mean(axis=0) + depth * normal])
    total = np.zeros(2)
    for corners in surface.corners:
        outward = np.cross(corners[1] - corners[0], corners[2] - corners[0])
        outward /= np.linalg.norm(outward)
        double, single = layers(x, triangle(corners))
        total += single.sum(axis=1) * (slope @ outward) - double @ (corners @ slope)
    size = np.abs(surface.points @ slope).max()
    np.testing.assert_allclose(total, [x[0] @ slope, 0.0], atol=3 * TOLERANCE * size)


def test_layers_are_added_from_a_column_on():
    surface, x = sphere(10.0, subdivisions=1), np.random.default_rng(0).normal(size=(33, 3)) * 20
    double, single = layers(x, surface)
    room = np.ones((33, 60))
    kernels.add_layers(x, surface, room, column=5)
    np.testing.assert_allclose(room[:, 5:47], double + 1, rtol=1e-14)
    assert (room[:, :5] == 1).all()
    assert (room[:, 47:] == 1).all()
    assert (single > 0).all()


def test_one_kernel_is_compiled_for_all_calls():
    """Each further combination of array types would cost seconds in the first run."""
    surface, x = sphere(10.0, subdivisions=1), np.zeros((2, 3))
    layers(x, surface)
    layers(surface.points, surface)
    kernels.add_layers(x.astype(np.float32)[::-1], surface, np.zeros((2, 50)), column=3)
    assert len(kernels._rows.signatures) == 1


def test_scaling_and_motion():
    """D has no unit and S is a length; both move with the triangle."""
    rng = np.random.default_rng(2)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    x = rng.normal(size=(5, 3)) * 3
    double, single = layers(x, triangle(CORNERS))
    moved = layers(7 * x @ rotation.T + 1000, triangle(7 * CORNERS @ rotation.T + 1000))
    np.testing.assert_allclose(moved[0], double, atol=1e-11 * np.abs(double).max())
    np.testing.assert_allclose(moved[1], 7 * single, rtol=1e-9)
