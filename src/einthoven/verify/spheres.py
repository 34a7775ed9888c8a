"""Exact potentials in spheres: layered media by series, a dipole in a homogeneous sphere in closed form.

Media are concentric layers around the origin: layer j fills radii[j - 1] < r < radii[j], conducts `conductivities[j]`,
and nothing flows through the outermost sphere. In each layer a potential of degree l is (a r^l + b r^-(l+1)) Y_l; the
coefficients follow from the conditions at the interfaces. Lengths in mm, conductivities in mS/mm, potentials in mV.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


def legendre(
    degree: int, points: Float[np.ndarray, "n 3"], axis: Float[np.ndarray, " 3"] | Sequence[float] = (0.0, 0.0, 1.0)
) -> Float[np.ndarray, " n"]:
    """Zonal harmonic P_l(cos of the angle between a point, seen from the origin, and `axis`)."""
    axis = np.asarray(axis, dtype=float)
    cosine = points @ axis / (np.linalg.norm(points, axis=1) * np.linalg.norm(axis))
    return np.polynomial.legendre.legval(cosine, [0.0] * degree + [1.0])


def concentric_factor(degree: int, ratio: float) -> float:
    """Potential on the outer sphere per potential of that degree on the inner one, the medium between homogeneous.

    f = (2l + 1)/(l + 1) rho^l / (1 + l/(l + 1) rho^(2l + 1)), rho = R_outer/R_inner.

    Parameters
    ----------
    degree
        l >= 0.
    ratio
        rho > 1.

    Examples
    --------
    >>> [round(concentric_factor(degree, 2.0), 6) for degree in (0, 1, 2, 3)]
    [1.0, 0.6, 0.298507, 0.14433]
    """
    share = degree / (degree + 1)
    return (1 + share) * ratio**degree / (1 + share * ratio ** (2 * degree + 1))


@dataclass(frozen=True, eq=False)
class RadialField:
    """Radial part of a potential of one degree in concentric layers.

    Parameters
    ----------
    degree
        l.
    radii
        Outer radius of each layer, increasing, mm.
    rising, falling
        Coefficients of (r/radius)^l and (r/radius)^-(l+1) per layer, with the layer's own outer radius, mV.
    """

    degree: int
    radii: Float[np.ndarray, " n_layers"]
    rising: Float[np.ndarray, " n_layers"]
    falling: Float[np.ndarray, " n_layers"]

    def at(self, radius: Float[np.ndarray, " n"] | Sequence[float] | float) -> Float[np.ndarray, " n"]:
        """Value at a radius, mm; an interface counts to its inner layer."""
        r = np.atleast_1d(np.asarray(radius, dtype=float))
        layer = np.minimum(np.searchsorted(self.radii, r * (1 - 1e-12)), len(self.radii) - 1)
        x = r / self.radii[layer]
        return self.rising[layer] * x**self.degree + self.falling[layer] * x ** (-self.degree - 1)


def transfer_field(
    degree: int, heart_radius: float, radii: Sequence[float], conductivities: Sequence[float]
) -> RadialField:
    """Potential outside a sphere that carries 1 mV of one degree, in concentric layers.

    Parameters
    ----------
    degree
        l >= 0; the potential on the heart sphere is Y_l.
    heart_radius
        Smaller than `radii[0]`, mm.
    radii, conductivities
        Outer radius and conductivity of each layer, from the innermost outward.
    """
    radii_, sigma = _layers(radii, conductivities)
    n = len(radii_)
    rows, values = _interface_rows(degree, radii_, sigma)
    rows[-1, :2] = _powers(degree, heart_radius / radii_[0])
    values[-1] = 1.0
    return _field(degree, radii_, np.linalg.solve(rows, values), n)


def double_layer_field(
    degree: int,
    source_radius: float,
    radii: Sequence[float],
    conductivities: Sequence[float],
    *,
    intracellular_conductivity: float,
) -> RadialField:
    """Potential of a spherical double layer of degree l in concentric layers.

    The source sits at `source_radius` within one layer; its strength is `intracellular_conductivity` times vm = Y_l,
    its normal outward: phi(outside) - phi(inside) = -(s_i / s) vm there, the current is continuous.

    Parameters
    ----------
    degree
        l; for l = 0 the potential outside is zero.
    source_radius
        Strictly within a layer, mm.
    radii, conductivities
        As in `transfer_field`; the innermost layer reaches to the center.
    """
    radii_, sigma = _layers(radii, conductivities)
    home = int(np.searchsorted(radii_, source_radius))
    split = np.insert(radii_, home, source_radius)
    doubled = np.insert(sigma, home, sigma[home])
    rows, values = _interface_rows(degree, split, doubled)
    values[2 * home] = -intracellular_conductivity / sigma[home]
    rows[-1, 1] = 1.0  # nothing singular at the center
    if degree == 0:  # an insulated sphere leaves the constant open: zero outside
        rows[-2, -2:] = (1.0, 0.0)
    return _field(degree, split, np.linalg.solve(rows, values), len(split))


def dipole_in_layers(
    points: Float[np.ndarray, "n 3"],
    position: Float[np.ndarray, " 3"],
    moment: Float[np.ndarray, " 3"],
    *,
    radii: Sequence[float],
    conductivities: Sequence[float],
    terms: int = 80,
) -> Float[np.ndarray, " n"]:
    """Potential of a current dipole in concentric layers; its mean over the outermost sphere is zero.

    phi = sum_l f_l(r) r0^(l-1) [l P_l(c) (p.e0) + P_l'(c) (p.e - c p.e0)], e and e0 the directions of point and dipole,
    c = e.e0, f_l the radial response to a unit source.

    Parameters
    ----------
    points
        Farther from the center than the dipole, mm.
    position
        Within the innermost layer, not at the center, mm.
    moment
        uA mm.
    radii, conductivities
        As in `transfer_field`.
    terms
        Degrees summed; they fall as (|position| / r)^l.
    """
    radii_, sigma = _layers(radii, conductivities)
    r, r0 = np.linalg.norm(points, axis=1), float(np.linalg.norm(position))
    e, e0 = points / r[:, None], np.asarray(position) / r0
    c = np.clip(e @ e0, -1.0, 1.0)
    radial, along = float(moment @ e0), e @ np.asarray(moment)
    total = np.zeros(len(points))
    for degree in range(1, terms + 1):
        response = _source_field(degree, radii_, sigma, r0).at(r)
        series = [0.0] * degree + [1.0]
        p = np.polynomial.legendre.legval(c, series)
        slope = np.polynomial.legendre.legval(c, np.polynomial.legendre.legder(series))
        total += response / r0 * (degree * p * radial + slope * (along - c * radial))
    return total


def dipole_in_sphere(
    points: Float[np.ndarray, "n 3"],
    position: Float[np.ndarray, " 3"],
    moment: Float[np.ndarray, " 3"],
    *,
    radius: float,
    conductivity: float,
) -> Float[np.ndarray, " n"]:
    """Potential of a current dipole anywhere in a homogeneous insulated sphere, in closed form.

    phi = p . grad_r0 [1/|r - r0| + 1/Q + ln(2R / (R - r.r0/R + Q)) / R] / (4 pi s) with
    Q^2 = R^2 - 2 r.r0 + (|r| |r0| / R)^2 (Frank 1952, doi:10.1063/1.1702037). Its mean over the sphere is zero.

    Parameters
    ----------
    points
        Inside or on the sphere around the origin, mm.
    position
        Inside, mm.
    moment
        uA mm.
    radius
        R, mm.
    conductivity
        s, mS/mm.
    """
    r0 = np.asarray(position, dtype=float)
    apart = points - r0
    square = (points**2).sum(axis=1)
    dots = points @ r0
    q = np.sqrt(radius**2 - 2 * dots + square * (r0 @ r0) / radius**2)
    q_slope = (-points + (square / radius**2)[:, None] * r0) / q[:, None]
    slope = apart / np.linalg.norm(apart, axis=1)[:, None] ** 3
    slope = slope - q_slope / (q**2)[:, None]
    slope = slope - (q_slope - points / radius) / (radius * (radius - dots / radius + q))[:, None]
    return slope @ np.asarray(moment) / (4 * np.pi * conductivity)


def cosine_dipole(radius: float, *, intracellular_conductivity: float, axis: Sequence[float]) -> np.ndarray:
    """Moment of the dipole that looks like vm = cos(angle to `axis`) on a sphere, from outside: -4 pi s_i a^2 / 3 axis.

    Together with `dipole_in_sphere` or `dipole_in_layers` this is the exact field of a spherical heart off the center.
    """
    unit = np.asarray(axis, dtype=float) / np.linalg.norm(axis)
    return -4 * np.pi * intracellular_conductivity * radius**2 / 3 * unit


def _layers(radii: Sequence[float], conductivities: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    r, s = np.asarray(radii, dtype=float), np.asarray(conductivities, dtype=float)
    if r.shape != s.shape or r.ndim != 1 or (np.diff(r, prepend=0.0) <= 0).any() or (s <= 0).any():
        raise ValueError(f"radii must increase, one positive conductivity each; got {r} and {s}.")
    return r, s


def _powers(degree: int, x: float) -> tuple[float, float]:
    return x**degree, x ** (-degree - 1)


def _slopes(degree: int, x: float) -> tuple[float, float]:
    return degree * x ** (degree - 1), -(degree + 1) * x ** (-degree - 2)


def _interface_rows(degree: int, radii: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Equations for the layers' coefficients, without the last one (heart or center), which is left empty.

    Row 2j says phi(outside) - phi(inside) = value at interface j, row 2j + 1 the same of the current; the row before
    the last says that no current leaves.
    """
    n = len(radii)
    rows, values = np.zeros((2 * n, 2 * n)), np.zeros(2 * n)
    for j in range(n - 1):
        x = radii[j] / radii[j + 1]
        rows[2 * j, 2 * j : 2 * j + 2] = (-1.0, -1.0)
        rows[2 * j, 2 * j + 2 : 2 * j + 4] = _powers(degree, x)
        rows[2 * j + 1, 2 * j : 2 * j + 2] = -sigma[j] * np.array(_slopes(degree, 1.0))
        rows[2 * j + 1, 2 * j + 2 : 2 * j + 4] = sigma[j + 1] * x * np.array(_slopes(degree, x))
    rows[2 * n - 2, 2 * n - 2 :] = _slopes(degree, 1.0)
    return rows, values


def _field(degree: int, radii: np.ndarray, coefficients: np.ndarray, n: int) -> RadialField:
    return RadialField(degree, radii, coefficients[0 : 2 * n : 2], coefficients[1 : 2 * n : 2])


def _source_field(degree: int, radii: np.ndarray, sigma: np.ndarray, r0: float) -> RadialField:
    """Response of degree l to a unit current source at r0: r0^l r^-(l+1) / (4 pi s) and what the layers add."""
    rows, values = _interface_rows(degree, radii, sigma)
    rows[-1, 1] = 1.0
    values[-1] = (r0 / radii[0]) ** degree / (4 * np.pi * sigma[0] * radii[0])
    return _field(degree, radii, np.linalg.solve(rows, values), len(radii))
