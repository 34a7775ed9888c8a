"""Registration recovers known motions, refuses mirrors, and reports what it moved."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einthoven.core import Electrodes, GeometryError, InputError
from einthoven.geometry import generators
from einthoven.geometry.registration import Transform, register_points, register_to_surface, snap

SKIN = generators.ellipsoid((180.0, 120.0, 260.0), subdivisions=3, name="skin")


def motion(seed: int, *, degrees: float = 180.0, scale: float = 1.0) -> Transform:
    rng = np.random.default_rng(seed)
    axis = rng.normal(size=3)
    x, y, z = axis / np.linalg.norm(axis)
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees) * rng.uniform(0.2, 1)
    rotation = np.eye(3) + np.sin(angle) * skew + (1 - np.cos(angle)) * skew @ skew
    return Transform(rotation, rng.normal(size=3) * 10, scale)


@given(st.integers(0, 10**6), st.floats(0.2, 5), st.integers(3, 30))
@settings(deadline=None, max_examples=30)
def test_paired_points_recover_the_motion(seed, scale, n):
    points = np.random.default_rng(seed + 1).normal(size=(n, 3)) * 50
    truth = motion(seed, scale=scale)
    found = register_points(points, truth(points), scaled=True)
    assert found.transform.scale == pytest.approx(scale, rel=1e-9)
    assert np.abs(found.transform.rotation - truth.rotation).max() < 1e-7
    assert found.rms < 1e-9 * 50 * 5
    rigid = register_points(points, motion(seed)(points))
    assert rigid.transform.scale == 1
    assert rigid.rms < 1e-9
    both = truth.then(motion(seed + 2))
    assert np.abs(both(points) - motion(seed + 2)(truth(points))).max() < 1e-9 * 500


def test_a_mirror_image_is_never_used():
    points = np.random.default_rng(0).normal(size=(20, 3)) * 50
    found = register_points(points, points * [-1, 1, 1])
    assert np.linalg.det(found.transform.rotation) == pytest.approx(1)
    assert found.rms > 10
    scaled = register_points(points, points * [-1, 1, 1], scaled=True)
    assert np.linalg.det(scaled.transform.rotation) == pytest.approx(1)


def test_paired_fit_is_the_least_squares_optimum():
    rng = np.random.default_rng(3)
    points = rng.normal(size=(15, 3)) * 40
    noisy = motion(3)(points) + rng.normal(size=(15, 3))
    found = register_points(points, noisy)
    assert 0.5 < found.rms < 2.5
    for seed in range(30):
        other = Transform(motion(seed, degrees=0.5).rotation, np.random.default_rng(seed).normal(size=3) * 0.1)
        moved = found.transform.then(other)(points)
        assert np.sqrt(((moved - noisy) ** 2).sum(axis=1).mean()) > found.rms


def test_points_on_a_surface_are_registered_without_pairs():
    """200 points of an ellipsoid, 12 degrees and 10 mm off; an ellipsoid has no other pose nearby."""
    points = SKIN.points[np.random.default_rng(0).choice(SKIN.n_points, 200, replace=False)]
    off = motion(5, degrees=12.0)
    found = register_to_surface(off(points), SKIN)
    assert np.abs(found.transform(off(points)) - points).max() < 0.01
    assert found.rms < 1e-3
    assert found.iterations < 15
    assert repr(found).startswith("Registration(rotation ")
    grown = register_to_surface(off(points) * 1.05, SKIN, scaled=True)
    assert grown.transform.scale == pytest.approx(1 / 1.05, rel=1e-3)


def test_registration_says_when_it_cannot():
    with pytest.raises(InputError, match="at least three pairs of points; got 2 and 2"):
        register_points(np.zeros((2, 3)), np.zeros((2, 3)))
    line = np.outer(np.arange(5.0), [1, 2, 3])
    with pytest.raises(InputError, match="the moving points lie on a line"):
        register_points(line, SKIN.points[:5])
    with pytest.raises(GeometryError, match=r"onto skin has not settled after 1 rounds \(residual .* better start"):
        register_to_surface(motion(5, degrees=15.0)(SKIN.points[:100]), SKIN, max_iterations=1)


def test_snapping_reports_distances_and_refuses_far_electrodes():
    at = SKIN.points[[5, 50, 500]] * np.array([[1.0], [1.02], [0.98]])
    snapped = snap(Electrodes(("V1", "V2", "V3"), at), SKIN)
    assert snapped.distance[0] == pytest.approx(0, abs=1e-9)
    assert np.linalg.norm(snapped.electrodes.positions - at, axis=1) == pytest.approx(snapped.distance)
    assert snap(snapped.electrodes, SKIN).distance.max() < 1e-9
    assert snapped.electrodes.names == ("V1", "V2", "V3")
    assert "largest" in repr(snapped)
    with pytest.raises(
        GeometryError, match=r"electrodes V\d \(\d.\d mm\), V\d \(\d.\d mm\) are farther than 1 mm from skin"
    ):
        snap(Electrodes(("V1", "V2", "V3"), at), SKIN, max_distance=1)
