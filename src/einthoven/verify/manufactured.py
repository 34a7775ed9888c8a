"""Exact solutions of diffusion and of reaction-diffusion in a box without flux through its faces.

The box is 0 <= x_k <= L_k in one, two or three dimensions; `points` are (n, 3) and coordinates beyond the dimension are
not read. Lengths in mm, times in ms, diffusivities in mm2/ms.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Points = Float[np.ndarray, "n 3"]
Values = Float[np.ndarray, " n"]
Numbers = Sequence[float | int]


def cosine(points: Points, lengths: Numbers, degrees: Sequence[int]) -> Values:
    """Mode of the box: the product of cos(pi m_k x_k / L_k).

    Parameters
    ----------
    points
        mm.
    lengths
        Sides L_k of the box, mm.
    degrees
        m_k >= 0, one per side.
    """
    return np.prod([np.cos(w * x) for w, x in _phases(points, lengths, degrees)], axis=0)


def cosine_rate(diffusivities: Numbers, lengths: Numbers, degrees: Sequence[int]) -> float:
    """Rate at which the mode decays, 1/ms: the sum of D_k (pi m_k / L_k)^2, D_k the diffusivity along axis k.

    Examples
    --------
    >>> round(cosine_rate([0.1, 0.2], [10.0, 5.0], [1, 1]), 6)
    0.088826
    """
    return float(sum(d * (np.pi * m / x) ** 2 for d, x, m in zip(diffusivities, lengths, degrees, strict=True)))


def gaussian(
    points: Points, center: Numbers, *, spread: float, tensor: Float[np.ndarray, "d d"], time: float
) -> Values:
    """Heat kernel of a constant tensor in free space: exp(-|x|^2 / (2 s^2)) at time 0, of height 1.

    v = sqrt(det(s^2 I) / det(S)) exp(-x . S^-1 x / 2) with S = s^2 I + 2 t D.

    Parameters
    ----------
    points
        mm.
    center
        Where the Gaussian sits, mm; d coordinates.
    spread
        s, mm.
    tensor
        D, mm2/ms, symmetric, of d dimensions.
    time
        ms.
    """
    d = len(tensor)
    covariance = spread**2 * np.eye(d) + 2 * time * np.asarray(tensor)
    x = points[:, :d] - np.asarray(center, dtype=float)
    height = spread**d / np.sqrt(np.linalg.det(covariance))
    return height * np.exp(-0.5 * (x * np.linalg.solve(covariance, x.T).T).sum(axis=1))


@dataclass(frozen=True)
class RotatingFibers:
    """A box whose fibers turn and whose conductivity varies, and the flux of a potential in it, in closed form.

    D = s (across I + (along - across) f f^T), with
    f = u / |u|, u = (1, A S, B S), S = prod sin(pi x_k / L_k), s = 1 + H prod cos(pi x_k / L_k),
    phi = prod cos(pi m_k x_k / L_k).

    At the faces f is the x axis, so that n . D grad phi vanishes there although D is oblique everywhere inside.

    Parameters
    ----------
    lengths
        Sides L_k of the box, mm; two or three.
    degrees
        m_k of phi, one per side.
    along, across
        Diffusivity along and across the fibers where s = 1, mm2/ms.
    tilt
        A, and in three dimensions B: the tangents of the largest angle toward y and z.
    heterogeneity
        H, between -1 and 1.
    """

    lengths: tuple[float, ...]
    degrees: tuple[int, ...]
    along: float
    across: float
    tilt: tuple[float, ...]
    heterogeneity: float = 0.0

    def __post_init__(self):
        d = len(self.lengths)
        if d not in (2, 3) or len(self.degrees) != d or len(self.tilt) != d - 1:
            raise ValueError(f"{d} sides need {d} degrees and {d - 1} tilts; got {self.degrees} and {self.tilt}.")

    @property
    def dimension(self) -> int:
        """2 or 3."""
        return len(self.lengths)

    def fibers(self, points: Points) -> Float[np.ndarray, "n d"]:
        """Unit vectors f."""
        u = self._direction(points)
        return u / np.linalg.norm(u, axis=1, keepdims=True)

    def scale(self, points: Points) -> Values:
        """The factor s of both diffusivities."""
        return 1 + self.heterogeneity * cosine(points, self.lengths, (1,) * self.dimension)

    def potential(self, points: Points) -> Values:
        """The potential phi."""
        return cosine(points, self.lengths, self.degrees)

    def divergence(self, points: Points) -> Values:
        """div(D grad phi), 1/ms.

        With F = u (u . grad phi) / |u|^2 it is s (across lap phi + (along - across) div F)
        + grad s . (across grad phi + (along - across) F).
        """
        u, gradient = self._direction(points), _slopes(points, self.lengths, self.degrees)
        sine, rise = self._sine(points)
        tilt = np.array([0.0, *self.tilt])
        inverse = 1 / (u**2).sum(axis=1)
        along_u = (u * gradient).sum(axis=1)
        curvature = np.einsum("ni,nij,nj->n", u, _hessian(points, self.lengths, self.degrees), u)
        turning = (u * rise).sum(axis=1) * (gradient @ tilt)
        squeeze = -2 * (tilt @ tilt) * sine * inverse**2 * (u * rise).sum(axis=1)
        spreading = squeeze * along_u + inverse * ((rise @ tilt) * along_u + curvature + turning)
        laplacian = -cosine_rate([1.0] * self.dimension, self.lengths, self.degrees) * self.potential(points)
        excess = self.along - self.across
        flux = self.across * gradient + excess * (inverse * along_u)[:, None] * u
        scale_slope = self.heterogeneity * _slopes(points, self.lengths, (1,) * self.dimension)
        return self.scale(points) * (self.across * laplacian + excess * spreading) + (scale_slope * flux).sum(axis=1)

    def _sine(self, points: Points) -> tuple[Values, Float[np.ndarray, "n d"]]:
        """S and its gradient."""
        phases = _phases(points, self.lengths, (1,) * self.dimension)
        sines = np.stack([np.sin(w * x) for w, x in phases], axis=1)
        slopes = np.stack([w * np.cos(w * x) for w, x in phases], axis=1)
        return sines.prod(axis=1), np.stack([_replaced(sines, slopes, k) for k in range(self.dimension)], axis=1)

    def _direction(self, points: Points) -> Float[np.ndarray, "n d"]:
        sine, _ = self._sine(points)
        return np.stack([np.ones_like(sine), *(a * sine for a in self.tilt)], axis=1)


def _phases(points: Points, lengths: Numbers, degrees: Sequence[int]) -> list[tuple[float, Values]]:
    """Wave number and coordinate, per axis."""
    return [(np.pi * m / x, points[:, k]) for k, (x, m) in enumerate(zip(lengths, degrees, strict=True))]


def _replaced(factors: np.ndarray, others: np.ndarray, *axes: int) -> np.ndarray:
    """Product over the axes, with `others` in the place of `factors` at some of them."""
    mixed = factors.copy()
    mixed[:, list(axes)] = others[:, list(axes)]
    return mixed.prod(axis=1)


def _slopes(points: Points, lengths: Numbers, degrees: Sequence[int]) -> Float[np.ndarray, "n d"]:
    """Gradient of `cosine`."""
    phases = _phases(points, lengths, degrees)
    cosines = np.stack([np.cos(w * x) for w, x in phases], axis=1)
    slopes = np.stack([-w * np.sin(w * x) for w, x in phases], axis=1)
    return np.stack([_replaced(cosines, slopes, k) for k in range(len(phases))], axis=1)


def _hessian(points: Points, lengths: Numbers, degrees: Sequence[int]) -> Float[np.ndarray, "n d d"]:
    """Second derivatives of `cosine`."""
    phases = _phases(points, lengths, degrees)
    cosines = np.stack([np.cos(w * x) for w, x in phases], axis=1)
    slopes = np.stack([-w * np.sin(w * x) for w, x in phases], axis=1)
    squares = np.array([w**2 for w, _ in phases])
    second = -squares * cosines.prod(axis=1)[:, None]
    rows = [
        [second[:, i] if i == j else _replaced(cosines, slopes, i, j) for j in range(len(phases))]
        for i in range(len(phases))
    ]
    return np.moveaxis(np.array(rows), 2, 0)
