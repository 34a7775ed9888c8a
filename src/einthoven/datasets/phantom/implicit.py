"""Smooth implicit shapes: functions that are negative inside, zero on the surface, about a distance near it.

A body is a function of points that returns roughly the signed distance to its surface in mm. Bodies are joined, cut and
rounded by `smooth_min` and `smooth_max`; distances stay first-order correct (f / |grad f|, Taubin 1994,
doi:10.1145/195826.195827), so that an offset of a body is the body plus a number.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

#: A body: points (n, 3), mm, to approximate signed distances (n,), mm, negative inside.
Field = Callable[[Float[np.ndarray, "n 3"]], Float[np.ndarray, " n"]]


def smooth_max(a: np.ndarray, b: np.ndarray, radius: float) -> np.ndarray:
    """Maximum with a rounded edge: differs from ``max(a, b)`` only where |a - b| < `radius`, by at most radius / 4.

    max(a, b) + h^2 / (4 radius), h = max(radius - |a - b|, 0).
    """
    h = np.maximum(radius - np.abs(a - b), 0.0)
    return np.maximum(a, b) + h * h / (4.0 * radius)


def smooth_min(a: np.ndarray, b: np.ndarray, radius: float) -> np.ndarray:
    """Minimum with a rounded edge, ``-smooth_max(-a, -b)``."""
    return -smooth_max(-a, -b, radius)


def smooth_step(x: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, 6 x^5 - 15 x^4 + 10 x^3 between (two continuous derivatives)."""
    t = np.clip(x, 0.0, 1.0)
    return t * t * t * (t * (6.0 * t - 15.0) + 10.0)


@dataclass(frozen=True)
class Polynomial:
    """A polynomial of one variable, lowest power first."""

    coefficients: tuple[float, ...]

    def __call__(self, s: np.ndarray) -> np.ndarray:
        """Value."""
        return np.polynomial.polynomial.polyval(s, self.coefficients)

    def slope(self, s: np.ndarray) -> np.ndarray:
        """Derivative."""
        return np.polynomial.polynomial.polyval(s, np.polynomial.polynomial.polyder(self.coefficients))


@dataclass(frozen=True)
class Bullet:
    r"""A blunt-ended body along an axis whose elliptical section, size and center change along it.

    G = (rho^n + |(s - s_0) / c|^n)^(1/n), rho^2 = ((p - p_0(s)) / a(s))^2 + ((q - q_0(s)) / b(s))^2, and the distance
    is (G - 1) / |grad G|. The half length c differs below and above s_0.

    Parameters
    ----------
    center
        p_0 and q_0 as polynomials of s, mm.
    half_axes
        a and b as polynomials of s, mm.
    equator
        s_0, mm.
    half_length
        c below and above the equator, mm.
    exponent
        n; 2 is elliptic, more is blunter.
    """

    center: tuple[Polynomial, Polynomial]
    half_axes: tuple[Polynomial, Polynomial]
    equator: float
    half_length: tuple[float, float]
    exponent: float

    def distance(self, local: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """Approximate signed distance at points (p, q, s), mm."""
        n, s = self.exponent, local[:, 2]
        inside = np.clip(s, self.equator - 1.1 * self.half_length[0], self.equator + 1.1 * self.half_length[1])
        u, u_slope, u_size = self._across(local[:, 0], inside, 0)
        v, v_slope, v_size = self._across(local[:, 1], inside, 1)
        rho = np.sqrt(u * u + v * v) + 1e-12
        along = s - self.equator
        length = np.where(along < 0, *self.half_length)
        z = np.abs(along) / length
        g = (rho**n + z**n) ** (1 / n) + 1e-12
        by_rho, by_z = (rho / g) ** (n - 1), (z / g) ** (n - 1)
        grad_s = by_rho * (u * u_slope + v * v_slope) / rho + by_z * np.sign(along) / length
        grad_p, grad_q = by_rho * u / (rho * u_size), by_rho * v / (rho * v_size)
        return (g - 1.0) / np.sqrt(grad_p**2 + grad_q**2 + grad_s**2 + 1e-12)

    def _across(self, x: np.ndarray, s: np.ndarray, axis: int):
        center, half = self.center[axis], self.half_axes[axis]
        size = half(s)
        u = (x - center(s)) / size
        return u, -(center.slope(s) + u * half.slope(s)) / size, size


def capsule(points: np.ndarray, start: np.ndarray, stop: np.ndarray, radii: tuple[float, float]) -> np.ndarray:
    """Distance to a rounded rod from `start` to `stop` whose radius changes linearly between the ends."""
    axis = stop - start
    t = np.clip((points - start) @ axis / (axis @ axis), 0.0, 1.0)
    radius = radii[0] + (radii[1] - radii[0]) * t
    return np.linalg.norm(points - start - t[:, None] * axis, axis=1) - radius


def gradient(field: Field, points: Float[np.ndarray, "n 3"], *, step: float = 0.05) -> Float[np.ndarray, "n 3"]:
    """Gradient of a body's function by central differences of half width `step` mm."""
    shifts = np.concatenate([step * np.eye(3), -step * np.eye(3)])
    values = field((points[None] + shifts[:, None]).reshape(-1, 3)).reshape(6, -1)
    return (values[:3] - values[3:]).T / (2 * step)


def project(
    field: Field, points: Float[np.ndarray, "n 3"], *, steps: int = 4, longest: float = np.inf
) -> Float[np.ndarray, "n 3"]:
    """Move points onto the surface by Newton steps along the gradient, each at most `longest` mm."""
    for _ in range(steps):
        slope = gradient(field, points)
        length = np.maximum((slope**2).sum(axis=1), 0.05)
        move = -(field(points) / length)[:, None] * slope
        size = np.linalg.norm(move, axis=1)
        points = points + move * np.minimum(1.0, longest / np.maximum(size, 1e-12))[:, None]
    return points
