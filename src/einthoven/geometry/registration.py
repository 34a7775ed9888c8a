"""Bringing point sets and surfaces into the same coordinates, and electrodes onto the skin."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from einthoven.core import Electrodes, GeometryError, InputError, Surface
from einthoven.core.errors import some
from einthoven.geometry.locate import closest_points
from einthoven.geometry.operators import normals


@dataclass(frozen=True, eq=False)
class Transform:
    """x -> scale R x + shift: a rotation, a shift and, for similarities, a scale. Never a reflection.

    Parameters
    ----------
    rotation
        Shape (3, 3), orthogonal with determinant 1.
    shift
        Shape (3,), mm.
    scale
        Dimensionless; 1 for a rigid transform.
    """

    rotation: Float[np.ndarray, "3 3"]
    shift: Float[np.ndarray, " 3"]
    scale: float = 1.0

    def __call__(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Transform points, mm."""
        return self.scale * points @ self.rotation.T + self.shift

    def move(self, surface: Surface) -> Surface:
        """Transform a surface."""
        return surface.with_points(self(surface.points))

    def then(self, after: "Transform") -> "Transform":
        """Return the transform that applies this one first, then `after`."""
        shift = after.scale * after.rotation @ self.shift + after.shift
        return Transform(after.rotation @ self.rotation, shift, after.scale * self.scale)

    @property
    def angle(self) -> float:
        """Angle of the rotation, degrees."""
        skew = self.rotation - self.rotation.T
        sine = np.sqrt(skew[0, 1] ** 2 + skew[0, 2] ** 2 + skew[1, 2] ** 2) / 2
        return float(np.degrees(np.arctan2(sine, (np.trace(self.rotation) - 1) / 2)))


@dataclass(frozen=True, eq=False)
class Registration:
    """A transform and how well it fits.

    Parameters
    ----------
    transform
        From the moving points to the fixed ones.
    residuals
        Distance of every moved point from its partner, or from the surface, mm; shape (n,).
    iterations
        Rounds it took; 1 for paired points.
    """

    transform: Transform
    residuals: Float[np.ndarray, " n"]
    iterations: int = 1

    @property
    def rms(self) -> float:
        """Root mean square of the residuals, mm."""
        return float(np.sqrt(np.mean(self.residuals**2)))

    def __repr__(self) -> str:
        t = self.transform
        return (
            f"Registration(rotation {t.angle:.1f} deg, scale {t.scale:.4g}, rms {self.rms:.3g} mm, largest "
            f"{self.residuals.max():.3g} mm, {self.iterations} iterations)"
        )


def register_points(
    moving: Float[np.ndarray, "n 3"], fixed: Float[np.ndarray, "n 3"], *, scaled: bool = False
) -> Registration:
    """Least-squares rigid or similarity transform between paired points.

    Minimizes sum |s R x_i + t - y_i|^2 (Kabsch 1976, doi:10.1107/S0567739476001873; with scale Umeyama 1991,
    doi:10.1109/34.88573). Mirror images are never used, even where they would fit better.

    Parameters
    ----------
    moving, fixed
        Shape (n, 3), mm; row i of one belongs to row i of the other; at least three, not on a line.
    scaled
        Whether to fit a scale as well.

    Returns
    -------
    Registration
        Transform and residuals.

    Raises
    ------
    InputError
        If there are fewer than three pairs or they lie on a line.
    """
    if len(moving) != len(fixed) or len(moving) < 3:
        raise InputError(f"registration needs at least three pairs of points; got {len(moving)} and {len(fixed)}.")
    for what, points in (("moving", moving), ("fixed", fixed)):
        sizes = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
        if sizes[1] <= 1e-9 * max(sizes[0], 1e-300):
            raise InputError(f"registration needs points that span a plane; the {what} points lie on a line.")
    x, y = moving - moving.mean(axis=0), fixed - fixed.mean(axis=0)
    u, s, vt = np.linalg.svd(y.T @ x)
    proper = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * proper) @ vt
    scale = float((s * proper).sum() / (x**2).sum()) if scaled else 1.0
    transform = Transform(rotation, fixed.mean(axis=0) - scale * rotation @ moving.mean(axis=0), scale)
    return Registration(transform, np.linalg.norm(transform(moving) - fixed, axis=1))


def register_to_surface(
    points: Float[np.ndarray, "n 3"],
    surface: Surface,
    *,
    scaled: bool = False,
    start: Transform | None = None,
    max_iterations: int = 200,
    tolerance: float = 1e-6,
) -> Registration:
    """Transform that brings unpaired points onto a surface, by iterated closest points.

    Each round finds the closest points and solves the linearized distance to their triangles' planes (Chen &
    Medioni 1992, doi:10.1016/0262-8856(92)90066-C); where that does not help, the paired problem of
    `register_points` (Besl & McKay 1992, doi:10.1109/34.121791), so the residual never grows. It finds the nearest
    minimum: give a `start` within about 20 degrees, for example from three landmarks.

    Parameters
    ----------
    points
        Shape (n, 3), mm.
    surface
        The fixed surface.
    scaled
        Whether to fit a scale as well; with points on a small part of the surface it shrinks them: prefer landmarks.
    start
        First guess; default: as they are.
    max_iterations
        Rounds at most.
    tolerance
        Stop when the root-mean-square residual falls by less than this, mm.

    Returns
    -------
    Registration
        Transform, distances from the surface, rounds.

    Raises
    ------
    GeometryError
        If it has not settled after `max_iterations`.
    """
    transform = start or Transform(np.eye(3), np.zeros(3))
    normal = normals(surface)
    found = closest_points(surface, transform(points))
    for iteration in range(1, max_iterations + 1):
        here = transform(points)
        step = _plane_step(here, found.points, normal[found.triangle], scaled=scaled)
        trials = [transform.then(step), register_points(points, found.points, scaled=scaled).transform]
        for trial in trials:
            closer = closest_points(surface, trial(points))
            if _rms(closer.distance) < _rms(found.distance) - tolerance:
                transform, found = trial, closer
                break
        else:
            return Registration(transform, found.distance, iteration)
    raise GeometryError(
        f"registration onto {surface.name} has not settled after {max_iterations} rounds (residual "
        f"{_rms(found.distance):.3g} mm). Give a better start (three landmarks), or more rounds."
    )


def _rms(distance: Float[np.ndarray, " n"]) -> float:
    return float(np.sqrt(np.mean(distance**2)))


def _plane_step(
    points: Float[np.ndarray, "n 3"],
    targets: Float[np.ndarray, "n 3"],
    normal: Float[np.ndarray, "n 3"],
    *,
    scaled: bool,
) -> Transform:
    """Small motion that brings points closest to the planes through the targets, in least squares."""
    center = points.mean(axis=0)
    local = points - center
    size = np.sqrt((local**2).sum() / len(points))
    columns = [np.cross(local, normal) / size, normal]
    if scaled:
        columns.append(np.einsum("ij,ij->i", local, normal)[:, None] / size)
    gap = np.einsum("ij,ij->i", normal, targets - points)
    motion = np.linalg.lstsq(np.concatenate(columns, axis=1), gap, rcond=1e-6)[0]
    rotation = _rotation(motion[:3] / size)
    scale = float(np.exp(motion[6] / size)) if scaled else 1.0
    return Transform(rotation, center + motion[3:6] - scale * rotation @ center, scale)


def _rotation(vector: Float[np.ndarray, " 3"]) -> Float[np.ndarray, "3 3"]:
    """Rotation about a vector by its length, radians (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    if angle == 0:
        return np.eye(3)
    x, y, z = vector / angle
    skew = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * skew + (1 - np.cos(angle)) * skew @ skew


@dataclass(frozen=True, eq=False)
class Snapped:
    """Electrodes moved onto the skin, and how far each was moved, mm, shape (n_electrodes,)."""

    electrodes: Electrodes
    distance: Float[np.ndarray, " n_electrodes"]

    def __repr__(self) -> str:
        worst = int(self.distance.argmax())
        return (
            f"Snapped({len(self.electrodes)} electrodes, mean {self.distance.mean():.2g} mm, largest "
            f"{self.distance[worst]:.2g} mm at {self.electrodes.names[worst]})"
        )


def snap(electrodes: Electrodes, skin: Surface, *, max_distance: float | int = 10.0) -> Snapped:
    """Move digitized electrodes to the closest points of the skin.

    Parameters
    ----------
    electrodes
        Named positions, mm, in the skin's coordinates.
    skin
        The body surface.
    max_distance
        Farthest an electrode may be moved, mm.

    Returns
    -------
    Snapped
        The electrodes on the skin and the distances they moved.

    Raises
    ------
    GeometryError
        If an electrode is farther away; names and distances are given.
    """
    found = closest_points(skin, electrodes.positions)
    far = np.flatnonzero(found.distance > max_distance)
    if far.size:
        far = far[np.argsort(-found.distance[far])]
        listed = some(f"{electrodes.names[i]} ({found.distance[i]:.1f} mm)" for i in far)
        raise GeometryError(
            f"electrodes {listed} are farther than {max_distance:g} mm from {skin.name}. Register them first, leave "
            "them out, or allow a larger distance."
        )
    return Snapped(replace(electrodes, positions=found.points), found.distance)
