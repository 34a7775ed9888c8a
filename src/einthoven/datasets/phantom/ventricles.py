"""The ventricles as smooth functions of space: walls, cavities, and coordinates within the wall."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from einthoven.datasets.phantom.implicit import Bullet, Polynomial, smooth_max, smooth_min, smooth_step

#: Labels of the ventricles in `WallCoordinates.ventricle`.
LEFT, RIGHT = 1, 2


class WallCoordinates(NamedTuple):
    """Where points lie in the ventricular wall (after Bayer et al. 2018, doi:10.1016/j.media.2018.01.005).

    ``transmural`` is 0 at the endocardium of the point's own ventricle and 1 at its outer side (the epicardium, or
    the right side of the septum); ``apicobasal`` is 0 at the apex and 1 at the valve plane; ``rotational`` is the
    angle about the long axis, -pi..pi, 0 at the middle of the septum and growing to the front (anterior pi/2, lateral
    +-pi); ``ventricle`` is `LEFT` (with the septum) or `RIGHT`.
    """

    transmural: Float[np.ndarray, " n"]
    apicobasal: Float[np.ndarray, " n"]
    rotational: Float[np.ndarray, " n"]
    ventricle: Int[np.ndarray, " n"]


def _left_cavity() -> Bullet:
    return Bullet(
        center=(Polynomial((0.0,)), Polynomial((0.0,))),
        half_axes=(Polynomial((24.0,)), Polynomial((25.0,))),
        equator=-24.0,
        half_length=(62.0, 90.0),
        exponent=2.2,
    )


def _right_outside() -> Bullet:
    return Bullet(
        center=(Polynomial((30.0, 0.08, -0.0020)), Polynomial((6.0, 0.15))),
        half_axes=(Polynomial((41.0, 0.04)), Polynomial((49.0, 0.14))),
        equator=-22.0,
        half_length=(64.0, 110.0),
        exponent=2.3,
    )


@dataclass(frozen=True)
class Ventricles:
    """Biventricular heart at end diastole, cut at the valve plane.

    All functions take points in the phantom's frame (x to the patient's left, y to the back, z to the head), mm, and
    return about a signed distance in mm, negative inside. The local frame (p, q, s) has s along the long axis from
    apex to base (0 at the center of the mitral valve), p from the left ventricle through the septum to the right one,
    q to the front.

    Parameters
    ----------
    origin
        Center of the mitral valve, mm.
    apex_direction
        From base to apex.
    septum_direction
        About from the left to the right ventricle; made perpendicular to `apex_direction`.
    left_cavity, right_outside
        Endocardium of the left and epicardium of the right ventricle, in the local frame.
    left_wall
        Thickness of the left wall and septum at the base and at the apex, mm.
    right_wall
        Thickness of the right free wall, mm.
    outflow
        How far the right outflow tract rises over the valve plane, mm.
    inset
        Distance of the blood surfaces from the endocardium, mm.
    clearance
        Distance of the epicardial envelope from the myocardium, mm.
    """

    origin: tuple[float, float, float] = (20.0, -24.0, 78.0)
    apex_direction: tuple[float, float, float] = (0.609, -0.548, -0.574)
    septum_direction: tuple[float, float, float] = (-0.74, -0.64, -0.16)
    left_cavity: Bullet = field(default_factory=_left_cavity)
    right_outside: Bullet = field(default_factory=_right_outside)
    left_wall: tuple[float, float] = (9.8, 6.0)
    right_wall: float = 3.5
    outflow: float = 12.0
    inset: float = 1.4
    clearance: float = 2.2

    @cached_property
    def axes(self) -> Float[np.ndarray, "3 3"]:
        """Rows p, q, s of the local frame."""
        s = -np.asarray(self.apex_direction) / np.linalg.norm(self.apex_direction)
        p = np.asarray(self.septum_direction) - (s @ np.asarray(self.septum_direction)) * s
        p = p / np.linalg.norm(p)
        return np.stack([p, np.cross(s, p), s])

    def to_local(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Coordinates (p, q, s) of points."""
        return (points - np.asarray(self.origin)) @ self.axes.T

    def to_world(self, local: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Points at coordinates (p, q, s)."""
        return local @ self.axes + np.asarray(self.origin)

    def myocardium(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """Distance to the surface of the ventricular muscle (endocardia, epicardium and basal rim)."""
        local = self.to_local(points)
        outside = smooth_max(self._epicardium(local), self._base(local), 4.0)
        cavities = np.minimum(self.left_cavity.distance(local), self.right_cavity(local))
        return smooth_max(outside, -cavities, 3.2)

    def left_blood(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """Distance to the surface of the left ventricle's blood, closed at the valve plane."""
        local = self.to_local(points)
        return smooth_max(self.left_cavity.distance(local), self._base(local), 4.0) + self.inset

    def right_blood(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """Distance to the surface of the right ventricle's blood, closed at the valve plane."""
        local = self.to_local(points)
        return smooth_max(self.right_cavity(local), self._base(local), 5.0) + self.inset

    def envelope(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """Distance to the closed surface that wraps the ventricles and the valve plane at `clearance`."""
        local = self.to_local(points)
        return smooth_max(self._epicardium(local), self._base(local), 4.0) - self.clearance

    def is_muscle(self, points: Float[np.ndarray, "n 3"]) -> Bool[np.ndarray, " n"]:
        """Whether points lie in the ventricular muscle."""
        return self.myocardium(points) < 0

    def coordinates(self, points: Float[np.ndarray, "n 3"]) -> WallCoordinates:
        """Coordinates in the wall; also defined a little outside of it."""
        local = self.to_local(points)
        s = local[:, 2]
        left = self._left_outside(local) <= 0
        depth = np.where(
            left,
            self.left_cavity.distance(local) / self._left_thickness(s),
            1.0 + self.right_outside.distance(local) / self.right_wall,
        )
        depth = np.clip(depth, 0.0, 1.0)
        bullet_tips = np.where(left, _tip(self.left_cavity), _tip(self.right_outside) + self.right_wall)
        tip = bullet_tips - depth * np.where(left, self.left_wall[1], self.right_wall)
        top = s - self._base(local)
        height = np.clip((s - tip) / (top - tip), 0.0, 1.0)
        return WallCoordinates(
            depth, height, np.arctan2(local[:, 1], local[:, 0]), np.where(left, LEFT, RIGHT).astype(np.int64)
        )

    def right_share(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """0 in the left wall and septum, 1 in the right free wall, smooth over 12 mm where they join."""
        return smooth_step(self._left_outside(self.to_local(points)) / 12.0)

    @property
    def local_box(self) -> Float[np.ndarray, "2 3"]:
        """Lower and upper corner of a box that holds the heart, in the local frame, mm."""
        return np.array([[-46.0, -62.0, -102.0], [82.0, 68.0, self.outflow + 8.0]])

    def _left_thickness(self, s: np.ndarray) -> np.ndarray:
        base, apex = self.left_wall
        return apex + (base - apex) * smooth_step((s - _tip(self.left_cavity) + 5.0) / 35.0)

    def _left_outside(self, local: np.ndarray) -> np.ndarray:
        return self.left_cavity.distance(local) - self._left_thickness(local[:, 2])

    def right_cavity(self, local: np.ndarray) -> np.ndarray:
        """Inside the right free wall and on the right of the septum; the corners at the insertions are round."""
        return smooth_max(self.right_outside.distance(local) + self.right_wall, -self._left_outside(local), 6.0)

    def _epicardium(self, local: np.ndarray) -> np.ndarray:
        """Both ventricles without their cavities, filled along the interventricular grooves."""
        return smooth_min(self._left_outside(local), self.right_outside.distance(local), 8.0)

    def _base(self, local: np.ndarray) -> np.ndarray:
        """Height over the valve plane, which rises around the right outflow tract."""
        toward = (local[:, :2] - np.array([28.0, 38.0])) / np.array([30.0, 24.0])
        return local[:, 2] - self.outflow * np.exp(-(toward**2).sum(axis=1))


def _tip(bullet: Bullet) -> float:
    """Position of a bullet's lower end on the axis, mm."""
    return bullet.equator - bullet.half_length[0]
