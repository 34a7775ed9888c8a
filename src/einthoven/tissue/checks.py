"""What is asked of diffusivities, fibers and masks before a tissue is made."""

import warnings
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from einthoven.core import GeometryError, InputError, Surface, Tetrahedra
from einthoven.core.errors import some
from einthoven.tissue.grid import Grid

#: The largest diffusivity of cardiac tissue, mm2/ms: outside the inner range it is warned, outside the outer refused.
TYPICAL, PLAUSIBLE, POSSIBLE = (0.02, 0.5), (2e-3, 5.0), (1e-6, 100.0)

#: Fibers may miss unit length by this share.
UNIT = 1e-3

#: Fibers on a surface must keep this share of their length when projected onto it.
TANGENT = 0.2

#: A minor of a tensor scaled to a unit diagonal that is not above this is rounding, not positive.
ROUNDING = 1e-13


def checked_mask(
    domain: Grid | Surface | Tetrahedra, conducting: Bool[np.ndarray, "..."] | None, where: str = "tissue"
) -> Bool[np.ndarray, " n_points"]:
    """Flat mask of the domain's points; None is all of them."""
    if conducting is None:
        return np.ones(domain.n_points, dtype=bool)
    mask = np.asarray(conducting)
    shape = domain.shape if isinstance(domain, Grid) else (domain.n_points,)
    if mask.dtype != bool or mask.shape not in (shape, (domain.n_points,)):
        raise InputError(
            f"{where}: conducting must be a mask of {shape} or {(domain.n_points,)} booleans; got {mask.shape} of "
            f"{mask.dtype}. One value per {'cell' if isinstance(domain, Grid) else 'node'} of the domain."
        )
    if not mask.any():
        raise InputError(
            f"{where}: none of the {domain.n_points} points conducts, so there is nothing to simulate. Lower the "
            "density of fibrosis, or is the mask inverted?"
        )
    return mask.reshape(-1)


def check_surface(surface: Surface, conducting: Bool[np.ndarray, " n_points"]) -> None:
    """Refuse triangles without area, and conducting nodes that belong to no triangle."""
    from einthoven.geometry.operators import check_not_flat, isolated_nodes

    check_not_flat(surface)
    lonely = isolated_nodes(surface)
    lonely = lonely[conducting[lonely]]
    if lonely.size:
        raise GeometryError(
            f"{surface.name}: nodes {some(lonely)} belong to no triangle. Remove these nodes, or take them out by the "
            "mask `conducting`."
        )


def per_node(
    values: np.ndarray, conducting: Bool[np.ndarray, " n_points"], name: str, where: str = "tissue"
) -> np.ndarray:
    """Values of the conducting points, from one per point or one per conducting point."""
    n_points, n_nodes = len(conducting), int(conducting.sum())
    if len(values) == n_nodes:
        return values
    if len(values) == n_points:
        return values[conducting]
    raise InputError(
        f"{where}: {name} must have one value per point of the domain ({n_points}) or per conducting point "
        f"({n_nodes}); got {len(values)}."
    )


class Quantity(NamedTuple):
    """How messages call a positive tensor of the tissue."""

    where: str
    name: str
    unit: str


DIFFUSIVITY = Quantity("tissue", "diffusivity", "mm2/ms")


def checked_diffusivity(
    domain: Grid | Surface, diffusivity: np.ndarray, conducting: Bool[np.ndarray, " n_points"]
) -> Float[np.ndarray, "..."]:
    """Diffusivity of the conducting points: shape (), (n_nodes,), (d, d) or (n_nodes, d, d)."""
    d = domain.dimension if isinstance(domain, Grid) else 3
    values, largest = checked_tensors(diffusivity, d, conducting, DIFFUSIVITY)
    check_plausible(largest)
    return values


def checked_tensors(
    given: np.ndarray, d: int, conducting: Bool[np.ndarray, " n_points"], of: Quantity
) -> tuple[Float[np.ndarray, "..."], float]:
    """A positive quantity of the conducting points: shape (), (n_nodes,), (d, d) or (n_nodes, d, d); its largest."""
    values = np.asarray(given, dtype=np.float64)
    if values.ndim not in (0, 1, 2, 3) or (values.ndim >= 2 and values.shape[-2:] != (d, d)):
        raise InputError(
            f"{of.where}: {of.name} must be a number, one per point, one {d} x {d} tensor or one per point; got shape "
            f"{values.shape}."
        )
    if values.ndim in (1, 3):
        values = per_node(values, conducting, of.name, of.where)
    _check_finite(values.reshape(len(values) if values.ndim in (1, 3) else 1, -1), of.name, of.where)
    return values, _check_tensors(values, of) if values.ndim >= 2 else _check_numbers(values, of)


def check_plausible(largest: float) -> None:
    """Refuse a diffusivity that cannot be cardiac, warn of one that hardly is: its unit is then another one."""
    if PLAUSIBLE[0] <= largest <= PLAUSIBLE[1]:
        return
    text = (
        f"tissue: the largest diffusivity is {largest:g} mm2/ms; typical are {TYPICAL[0]:g} to {TYPICAL[1]:g}. "
        "From cm2/ms multiply by 100, from m2/s by 1000; is it a conductivity? `einthoven.tissue.diffusivity` converts."
    )
    if not POSSIBLE[0] <= largest <= POSSIBLE[1]:
        raise InputError(text)
    warnings.warn(text, stacklevel=2)


def checked_fibers(
    domain: Grid | Surface, fibers: np.ndarray, conducting: Bool[np.ndarray, " n_points"]
) -> Float[np.ndarray, "*n d"]:
    """Unit fiber directions of the conducting points, shape (d,) or (n_nodes, d); tangent on a surface."""
    d = domain.dimension if isinstance(domain, Grid) else 3
    values = np.asarray(fibers, dtype=np.float64)
    if values.ndim not in (1, 2) or values.shape[-1] != d:
        raise InputError(f"tissue: fibers must be one vector of {d} numbers or one per point; got {values.shape}.")
    if values.ndim == 2:
        values = per_node(values, conducting, "fibers")
    _check_finite(np.atleast_2d(values), "fibers")
    length = np.linalg.norm(values, axis=-1)
    wrong = np.flatnonzero(np.abs(length - 1) > UNIT)
    if wrong.size:
        raise InputError(
            f"tissue: fibers must be unit vectors; at nodes {some(wrong)} their length is not 1 (from "
            f"{length.min():.3g} to {length.max():.3g}). Divide them by their length."
        )
    values = values / length[..., None]
    return _tangent(domain, values, conducting) if isinstance(domain, Surface) else values


def _tangent(surface: Surface, fibers: np.ndarray, conducting: np.ndarray) -> np.ndarray:
    from einthoven.geometry.operators import node_normals

    normals = node_normals(surface)[conducting]
    along = fibers - (fibers * normals).sum(axis=1, keepdims=True) * normals
    length = np.linalg.norm(along, axis=1)
    wrong = np.flatnonzero(length < TANGENT)
    if wrong.size:
        raise InputError(
            f"tissue: fibers must lie in the surface {surface.name}; at nodes {some(wrong)} they stand on it. Give "
            "directions along the surface."
        )
    return along / length[:, None]


def _check_finite(rows: np.ndarray, name: str, where: str = "tissue") -> None:
    wrong = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if wrong.size:
        raise InputError(f"{where}: {name} must be finite; at nodes {some(wrong)} it is NaN or infinite.")


def _check_numbers(values: np.ndarray, of: Quantity) -> float:
    wrong = np.flatnonzero(np.atleast_1d(values) <= 0)
    if wrong.size:
        raise InputError(
            f"{of.where}: {of.name} must be positive; at nodes {some(wrong)} it is not (down to {np.min(values):g}). "
            "Cells that do not conduct are taken out by the mask `conducting`."
        )
    return float(values.max())


def _check_tensors(values: np.ndarray, of: Quantity) -> float:
    tensors = values.reshape(-1, *values.shape[-2:])
    diagonal = np.diagonal(tensors, axis1=1, axis2=2)
    wrong = np.flatnonzero(_asymmetry(tensors) > 1e-9 * np.abs(diagonal).max(axis=1))
    if wrong.size:
        raise InputError(
            f"{of.where}: tensors of the {of.name} must be symmetric; those of nodes {some(wrong)} are not."
        )
    wrong = np.flatnonzero(~_is_positive(tensors, diagonal))
    if wrong.size:
        smallest = np.linalg.eigvalsh(tensors[wrong]).min()
        raise InputError(
            f"{of.where}: tensors of the {of.name} must be positive definite; those of nodes {some(wrong)} are not "
            f"(smallest eigenvalue {smallest:.3g} {of.unit}). Give conduction across the fibers a small positive value."
        )
    return float(diagonal.max())


def _asymmetry(tensors: Float[np.ndarray, "n d d"]) -> Float[np.ndarray, " n"]:
    """Largest difference between an entry and its mirror image."""
    rows, columns = np.triu_indices(tensors.shape[-1], 1)
    return np.abs(tensors[:, rows, columns] - tensors[:, columns, rows]).max(axis=1, initial=0.0)


def _is_positive(tensors: Float[np.ndarray, "n d d"], diagonal: Float[np.ndarray, "n d"]) -> Bool[np.ndarray, " n"]:
    """Whether all minors on the diagonal, after scaling to a unit diagonal, are positive beyond rounding."""
    positive = np.asarray((diagonal > 0).all(axis=1))
    rows, columns = np.triu_indices(tensors.shape[-1], 1)
    root = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    c = tensors[:, rows, columns] / (root[:, rows] * root[:, columns])
    positive &= (1.0 - c**2 > ROUNDING).all(axis=1)
    if tensors.shape[-1] == 3:
        positive &= 1.0 + 2.0 * c.prod(axis=1) - (c**2).sum(axis=1) > ROUNDING
    return positive
