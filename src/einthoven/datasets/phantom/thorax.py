"""Torso and lungs as smooth functions of space."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Float

from einthoven.datasets.phantom.implicit import capsule, smooth_max, smooth_min
from einthoven.datasets.phantom.ventricles import Ventricles

#: Half width, half depth to the front and to the back, and exponent of the trunk's cross-sections, by height z (mm).
_SECTIONS = (
    # z, half width, front, back, exponent
    (-330.0, 176.0, 104.0, 118.0, 2.4),
    (-260.0, 172.0, 104.0, 116.0, 2.4),
    (-155.0, 150.0, 109.0, 103.0, 2.35),
    (-60.0, 148.0, 114.0, 102.0, 2.4),
    (50.0, 161.0, 121.0, 118.0, 2.5),
    (130.0, 163.0, 109.0, 122.0, 2.5),
    (190.0, 152.0, 86.0, 113.0, 2.4),
    (230.0, 118.0, 68.0, 96.0, 2.2),
    (265.0, 77.0, 57.0, 80.0, 2.05),
    (330.0, 60.0, 52.0, 70.0, 2.0),
)


@dataclass(frozen=True)
class Thorax:
    """Torso with shoulders and waist, neck and arms cut, and two lungs around the heart.

    Functions take points (x to the patient's left, y to the back, z to the head; origin at the center of the torso),
    mm, and return about a signed distance, mm, negative inside. The cross-sections of the trunk are superellipses
    |x/A|^n + |y/D|^n = 1 whose half width A, half depth D (front and back differ) and exponent n are splines of z.

    Parameters
    ----------
    ventricles
        The heart the lungs make room for.
    half_height
        The trunk is cut at z = +- this, mm.
    shoulder_width
        Between the cuts through the arms, mm.
    chest_wall
        Distance between skin and lungs, mm.
    lung_gap
        Distance between the lungs and the myocardium, mm.
    """

    ventricles: Ventricles = field(default_factory=Ventricles)
    half_height: float = 290.0
    shoulder_width: float = 430.0
    chest_wall: float = 25.0
    lung_gap: float = 8.0

    @cached_property
    def _sections(self):
        from scipy.interpolate import CubicSpline

        table = np.array(_SECTIONS)
        spline = CubicSpline(table[:, 0], table[:, 1:], bc_type="natural")
        return spline, spline.derivative()

    def torso(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """Distance to the skin."""
        mirrored = np.column_stack([np.abs(points[:, 0]), points[:, 1:]])
        arm = capsule(mirrored, np.array([140.0, 14.0, 182.0]), np.array([205.0, 14.0, 140.0]), (50.0, 46.0))
        body = smooth_min(self._trunk(points), arm, 36.0)
        body = smooth_max(body, mirrored[:, 0] - 0.5 * self.shoulder_width, 24.0)
        return smooth_max(body, np.abs(points[:, 2]) - self.half_height, 30.0)

    def left_lung(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """Distance to the surface of the left lung, with the cardiac notch."""
        return self._lung(points, 1.0)

    def right_lung(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """Distance to the surface of the right lung."""
        return self._lung(points, -1.0)

    def skin_along(
        self, starts: Float[np.ndarray, "n 3"], directions: Float[np.ndarray, "n 3"]
    ) -> Float[np.ndarray, "n 3"]:
        """Return the first points of the skin on rays from inside (unit directions), by bisection."""
        step = np.arange(0.0, 400.0, 4.0)
        rays = starts[:, None] + step[:, None] * directions[:, None]
        outside = self.torso(rays.reshape(-1, 3)).reshape(len(starts), -1) > 0
        high = step[np.argmax(outside, axis=1)]
        low = high - 4.0
        for _ in range(30):
            middle = 0.5 * (low + high)
            inside = self.torso(starts + middle[:, None] * directions) < 0
            low, high = np.where(inside, middle, low), np.where(inside, high, middle)
        return starts + low[:, None] * directions

    def _trunk(self, points: np.ndarray) -> np.ndarray:
        """Distance to the trunk without arms and cuts; the back has a furrow over the spine."""
        spline, slopes = self._sections
        z = np.clip(points[:, 2], _SECTIONS[0][0], _SECTIONS[-1][0])
        half_width, front, back, n = spline(z).T
        width_slope, front_slope, back_slope, _ = slopes(z).T
        x, y = points[:, 0], points[:, 1]
        behind = y > 0
        y = y + np.where(behind, 8.0 * np.exp(-((x / 24.0) ** 2)) * np.clip(y / 60.0, 0.0, 1.0) ** 2, 0.0)
        depth, depth_slope = np.where(behind, back, front), np.where(behind, back_slope, front_slope)
        u, v = np.abs(x) / half_width, np.abs(y) / depth
        g = (u**n + v**n) ** (1 / n) + 1e-9
        by_u, by_v = (u / g) ** (n - 1), (v / g) ** (n - 1)
        grad_z = by_u * u * width_slope / half_width + by_v * v * depth_slope / depth
        return (g - 1.0) / np.sqrt((by_u / half_width) ** 2 + (by_v / depth) ** 2 + grad_z**2 + 1e-12)

    def _lung(self, points: np.ndarray, side: float) -> np.ndarray:
        """One lung: chest wall, minus mediastinum, heart, spine and diaphragm."""
        wall = self._trunk(points) + self.chest_wall
        x = side * points[:, 0]
        lung = smooth_max(wall, 20.0 - x, 24.0)
        spine = np.hypot(points[:, 0], points[:, 1] - 74.0) - 36.0
        lung = smooth_max(lung, -spine, 24.0)
        lung = smooth_max(lung, -self._mediastinum(points), 16.0)
        lung = smooth_max(lung, -self._diaphragm(points, side), 30.0)
        lung = smooth_max(lung, points[:, 2] - 228.0, 40.0)
        return smooth_max(lung, -72.0 - points[:, 2], 30.0)

    def _mediastinum(self, points: np.ndarray) -> np.ndarray:
        """The room of heart, atria and great vessels."""
        heart = self.ventricles.envelope(points) + self.ventricles.clearance - self.lung_gap
        base = self.ventricles.to_world(np.array([[12.0, 0.0, 12.0]]))[0]
        atria = capsule(points, base, base + np.array([-12.0, 18.0, 10.0]), (34.0, 30.0))
        vessels = capsule(points, base, np.array([0.0, -4.0, 200.0]), (34.0, 24.0))
        return smooth_min(smooth_min(heart, atria, 14.0), vessels, 14.0)

    def _diaphragm(self, points: np.ndarray, side: float) -> np.ndarray:
        """The dome under one lung; the right one stands higher."""
        top = 20.0 if side > 0 else 34.0
        half = np.array([104.0, 118.0, 125.0])
        scaled = (points - np.array([side * 72.0, -14.0, top - half[2]])) / half
        g = np.linalg.norm(scaled, axis=1) + 1e-9
        return (g - 1.0) * g / (np.linalg.norm(scaled / half, axis=1) + 1e-9)
