"""Errors of activation times and of the earliest site."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from einthoven.core import InputError, Surface
from einthoven.metrics.errors import correlation


@dataclass(frozen=True)
class ActivationError:
    """Differences of activation times.

    Parameters
    ----------
    mean_abs, rms
        ms.
    correlation
        Pearson over the nodes; NaN if either map is constant.
    shift
        Median of estimate minus truth, ms; removed from the differences if asked for.
    n_nodes
        Nodes compared: those with a finite time in both.
    """

    mean_abs: float
    rms: float
    correlation: float
    shift: float
    n_nodes: int


def activation_error(
    estimate: Float[np.ndarray, " n_nodes"], truth: Float[np.ndarray, " n_nodes"], *, remove_shift: bool = False
) -> ActivationError:
    """Compare two activation maps.

    Parameters
    ----------
    estimate, truth
        Activation times, shape (n_nodes,), ms; NaN where a node was not activated.
    remove_shift
        Remove the median difference first: for maps whose time zero is not the same.

    Raises
    ------
    InputError
        If the shapes differ or no node has a time in both.
    """
    estimate, truth = _both(estimate, truth)
    use = np.isfinite(estimate) & np.isfinite(truth)
    if not use.any():
        raise InputError("activation times cannot be compared: no node has a finite time in both estimate and truth.")
    e, t = estimate[use], truth[use]
    difference = e - t
    shift = float(np.median(difference))
    if remove_shift:
        difference = difference - shift
    return ActivationError(
        mean_abs=float(np.abs(difference).mean()),
        rms=float(np.sqrt((difference**2).mean())),
        correlation=correlation(e[:, None], t[:, None]),
        shift=shift,
        n_nodes=int(use.sum()),
    )


def _both(estimate: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    estimate, truth = np.asarray(estimate, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if estimate.ndim != 1 or estimate.shape != truth.shape:
        raise InputError(
            f"activation times of estimate and truth must have the same shape (nodes,); got {estimate.shape} and "
            f"{truth.shape}."
        )
    return estimate, truth


def earliest_node(lat: Float[np.ndarray, " n_nodes"]) -> int:
    """Return the node with the smallest activation time (of equals the first), NaN left out.

    Raises
    ------
    InputError
        If no time is finite.
    """
    if not np.isfinite(lat).any():
        raise InputError("there is no earliest site: no activation time is finite.")
    return int(np.nanargmin(np.where(np.isfinite(lat), lat, np.nan)))


def localization_error(
    estimate: Float[np.ndarray, " n_nodes"],
    truth: Float[np.ndarray, " n_nodes"],
    points: Float[np.ndarray, "n_nodes 3"],
) -> float:
    """Straight distance between the earliest sites of two activation maps, mm.

    Parameters
    ----------
    estimate, truth
        Activation times, shape (n_nodes,), ms; NaN where a node was not activated.
    points
        Positions of the nodes, shape (n_nodes, 3), mm.

    Raises
    ------
    InputError
        If the shapes differ or a map holds no time.
    """
    estimate, truth = _both(estimate, truth)
    if np.shape(points) != (len(truth), 3):
        raise InputError(f"points must have shape ({len(truth)}, 3), one per activation time; got {np.shape(points)}.")
    return float(np.linalg.norm(points[earliest_node(estimate)] - points[earliest_node(truth)]))


def geodesic_localization_error(
    estimate: Float[np.ndarray, " n_nodes"], truth: Float[np.ndarray, " n_nodes"], surface: Surface
) -> float:
    """Distance along the surface between the earliest sites of two activation maps, mm.

    Parameters
    ----------
    estimate, truth
        Activation times at the nodes of the surface, ms; NaN where a node was not activated.
    surface
        The heart surface.

    Raises
    ------
    InputError
        If the shapes differ or a map holds no time.
    """
    from einthoven.geometry.distance import geodesic

    estimate, truth = _both(estimate, truth)
    if len(truth) != surface.n_points:
        raise InputError(f"{surface.name}: needs {surface.n_points} activation times, one per node; got {len(truth)}.")
    return float(geodesic(surface, [earliest_node(truth)])[earliest_node(estimate)])
