"""Errors of the geometry as noise: their covariance over the leads, for whitening.

    C = C_sensor + mean over operators k and frames t of (A_k - A) x_t x_t^T (A_k - A)^T

A_k are operators of geometries that may as well be the true one, x_t typical sources. It is the second moment, bias
included (the approximation error of Kaipio and Somersalo, Journal of Computational and Applied Mathematics 198:493,
2007, doi:10.1016/j.cam.2005.09.027). Frames count as independent, which errors of the geometry are not: they repeat
from frame to frame, so that error bars from this covariance are too small.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from einthoven.core import (
    Electrodes,
    ForwardOperator,
    GeometryError,
    InputError,
    Recording,
    Region,
    Surface,
    VolumeConductor,
)
from einthoven.core.progress import Progress, silent
from einthoven.core.sites import match_names
from einthoven.forward.lead_errors import MOST_DEG, MOST_MM, LeadErrors, center, moved
from einthoven.geometry.locate import closest_points
from einthoven.inverse.noise import NoiseCovariance

#: Makes the operator of a geometry, for example ``lambda *g: average @ bem.transfer(*g)``.
Build = Callable[[Surface, VolumeConductor, Electrodes], ForwardOperator]

#: Draws of one geometry before it is given up, as surfaces meet.
DRAWS = 20


@dataclass(frozen=True)
class GeometrySpread:
    """Expected errors of a geometry, as standard deviations; 0: exact.

    Parameters
    ----------
    pose_mm, pose_deg
        Every shift and every turn of the heart about its center, mm and degrees.
    size_percent
        Lengths of the heart.
    electrode_mm
        Every electrode, along the skin.
    conductivity_percent
        Every region's conductivity.
    """

    pose_mm: float | int = 5.0
    pose_deg: float | int = 5.0
    size_percent: float | int = 0.0
    electrode_mm: float | int = 0.0
    conductivity_percent: float | int = 0.0

    def __post_init__(self):
        limits = {"pose_mm": MOST_MM, "pose_deg": MOST_DEG, "electrode_mm": MOST_MM}
        for name, value in vars(self).items():
            if not 0 <= value <= limits.get(name, 50.0):
                raise InputError(f"{name}: an expected error must be 0 to {limits.get(name, 50.0):g}; got {value!r}.")


def model_error(
    operator: ForwardOperator, others: Sequence[ForwardOperator], sources: Recording, sensor: NoiseCovariance
) -> NoiseCovariance:
    """Covariance of the leads' noise and of the error of the operator together, mV^2.

    Parameters
    ----------
    operator
        A, which images will be made with.
    others
        A_k: same leads, sites, quantities and reference.
    sources
        x_t: estimates or simulated waves at the operator's sites, mV.
    sensor
        Noise of the leads alone.

    Raises
    ------
    InputError
        If there is no other operator, or leads, sites, quantities or references differ.
    """
    if not others:
        raise InputError("the error of a model needs at least one other operator; see `perturbed` and `drawn`.")
    for other in (operator, *others):
        kind = (other.in_quantity, other.out_quantity, other.reference)
        wanted = (sources.quantity, operator.out_quantity, sensor.reference)
        if kind != wanted:
            raise InputError(
                "operators, sources and noise must agree in source quantity, lead quantity and reference, "
                f"{wanted}; got {kind}."
            )
    x = sources.select(operator.in_sites).values
    total = np.zeros((operator.n_out, operator.n_out))
    for other in others:
        rows = match_names(operator.out_sites, other.out_sites, "another operator")
        columns = match_names(operator.in_sites, other.in_sites, "another operator")
        error = (other.matrix[np.ix_(rows, columns)] - operator.matrix) @ x
        total += error @ error.T
    noise = sensor.select(operator.out_sites).matrix
    return NoiseCovariance(noise + total / (len(others) * x.shape[1]), operator.out_sites, operator.reference)


def drawn(errors: LeadErrors, *, count: int = 50, seed: int = 0) -> list[ForwardOperator]:
    """Operators of random errors, to first order.

    Parameters
    ----------
    errors
        How the operator changes, and how much is expected.
    count
        Number of operators.
    seed
        Of the draws.
    """
    if count < 1:
        raise InputError(f"the number of operators must be at least 1; got {count!r}.")
    q = np.random.default_rng(seed).standard_normal((count, errors.n_errors)) * errors.spread
    return [errors.at(one) for one in q]


def perturbed(
    geometry: tuple[Surface, VolumeConductor, Electrodes],
    build: Build,
    expected: GeometrySpread,
    *,
    count: int = 10,
    seed: int = 0,
    moving: Sequence[str] = (),
    progress: Progress = silent,
) -> list[ForwardOperator]:
    """Operators of random geometries, built anew.

    Parameters
    ----------
    geometry
        Heart, conductor and electrodes as they are thought to be.
    build
        Makes an operator of them.
    expected
        Expected errors.
    count
        Number of operators.
    seed
        Of the draws.
    moving
        Names of the inner regions that move with the heart.
    progress
        Told about every operator.

    Raises
    ------
    InputError
        For a count below 1 or an unknown region.
    GeometryError
        If `DRAWS` geometries in a row cannot be built, as surfaces meet; the message is the last one's.
    """
    if count < 1:
        raise InputError(f"the number of operators must be at least 1; got {count!r}.")
    match_names(tuple(moving), [r.surface.name for r in geometry[1].inner], "regions that move with the heart")
    rng = np.random.default_rng(seed)
    found: list[ForwardOperator] = []
    refused = 0
    while len(found) < count:
        progress("geometries", len(found), count)
        try:
            found.append(build(*_another(geometry, expected, tuple(moving), rng)))
            refused = 0
        except GeometryError:
            refused += 1
            if refused == DRAWS:
                raise
    progress("geometries", count, count)
    return found


def _another(
    geometry: tuple[Surface, VolumeConductor, Electrodes],
    expected: GeometrySpread,
    moving: tuple[str, ...],
    rng: np.random.Generator,
) -> tuple[Surface, VolumeConductor, Electrodes]:
    """A random geometry."""
    heart, conductor, electrodes = geometry
    pose = rng.standard_normal(6) * np.repeat([expected.pose_mm, expected.pose_deg], 3)
    percent, about = float(rng.standard_normal() * expected.size_percent), center(heart)

    def region(one: Region) -> Region:
        surface = one.surface
        if surface.name in moving:
            surface = moved(surface, pose, about, percent=percent)
        factor = np.exp(rng.standard_normal() * expected.conductivity_percent / 100)
        return Region(surface, one.conductivity * float(factor))

    around = VolumeConductor(region(conductor.torso), tuple(region(r) for r in conductor.inner))
    places = _slid(conductor.skin, electrodes.positions, rng.standard_normal((len(electrodes), 3)), expected)
    return moved(heart, pose, about, percent=percent), around, Electrodes(electrodes.names, places)


def _slid(
    skin: Surface, positions: Float[np.ndarray, "n 3"], direction: Float[np.ndarray, "n 3"], expected: GeometrySpread
) -> Float[np.ndarray, "n 3"]:
    """Electrodes moved and brought back to the skin."""
    if expected.electrode_mm == 0:
        return positions
    return closest_points(skin, positions + expected.electrode_mm * direction).points
