"""The `Tissue` noun: where cells are, which of them conduct, and how well."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from einthoven.core import InputError, Surface
from einthoven.core.arrays import frozen
from einthoven.tissue import checks
from einthoven.tissue.coupling import Graph, Stencil
from einthoven.tissue.grid import Grid

Number = float | int


@dataclass(frozen=True, eq=False)
class Tissue:
    """Excitable tissue on a regular grid or on a triangulated surface.

    On a surface the wave runs within the surface: there is no transmural coupling, so that it is a model of its own and
    not a thin heart.

    Parameters
    ----------
    domain
        `Grid`, or a `Surface`.
    diffusivity
        D, mm2/ms: one number, one per point, one tensor (d, d), or one tensor per point (n, d, d), with d the grid's
        dimension and 3 for a surface (whose tangential part counts). n is the number of points of the domain or of
        those that conduct; the latter are kept. Made by `isotropic` and `anisotropic`.
    conducting
        Shape (n_points,): which points hold cells; the others are holes with no flux through their border.
    thickness
        Of a sheet, a strand or a surface, mm: enters its volume and so its ECG, not the wave.
    labels
        What else is known of the points, by name, one value each: a layer, a border zone, a coordinate in the wall.
        The cell model's parameters can be made from them.

    Raises
    ------
    InputError
        For wrong shapes, NaN, a tensor that is not positive definite, no conducting cell at all, and a diffusivity that
        cannot be in mm2/ms.

    Examples
    --------
    >>> sheet = Tissue.anisotropic(Grid((50, 40), 0.25), 0.1, 0.02, (0.6, 0.8))
    >>> sheet
    Tissue(50 x 40 grid of 0.25 mm, 2000 of 2000 conduct, anisotropic)
    >>> len(sheet.coupling.offsets), round(float(sheet.volumes.sum()), 6)
    (4, 125.0)
    """

    domain: Grid | Surface
    diffusivity: Float[np.ndarray, "..."]
    conducting: Bool[np.ndarray, " n_points"]
    thickness: Number = 1.0
    labels: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        mask = checks.checked_mask(self.domain, self.conducting)
        if isinstance(self.domain, Surface):
            checks.check_surface(self.domain, mask)
        diffusivity = checks.checked_diffusivity(self.domain, self.diffusivity, mask)
        if not 0 < self.thickness < 1e3:
            raise InputError(f"tissue: thickness must be a positive length in mm; got {self.thickness:g}.")
        labels = {name: checks.per_node(np.asarray(v), mask, f"label {name!r}") for name, v in self.labels.items()}
        object.__setattr__(self, "conducting", frozen(mask, bool))
        object.__setattr__(self, "diffusivity", frozen(diffusivity, np.float64))
        object.__setattr__(self, "thickness", float(self.thickness))
        object.__setattr__(self, "labels", MappingProxyType({n: frozen(v, v.dtype) for n, v in labels.items()}))

    @classmethod
    def isotropic(
        cls,
        domain: Grid | Surface,
        diffusivity: Number | Float[np.ndarray, "..."],
        conducting: Bool[np.ndarray, "..."] | None = None,
        thickness: Number = 1.0,
    ) -> "Tissue":
        """Tissue that conducts alike in all directions.

        Parameters
        ----------
        domain
            `Grid` or `Surface`.
        diffusivity
            mm2/ms: a number, or one per point (flat, or in the grid's shape).
        conducting
            Which points hold cells, flat or in the grid's shape; None: all.
        thickness
            mm.
        """
        mask = checks.checked_mask(domain, conducting)
        return cls(domain, _flat(domain, diffusivity), mask, thickness)

    @classmethod
    def anisotropic(
        cls,
        domain: Grid | Surface,
        along: Number | Float[np.ndarray, "..."],
        across: Number | Float[np.ndarray, "..."],
        fibers: Any,
        conducting: Bool[np.ndarray, "..."] | None = None,
        thickness: Number = 1.0,
    ) -> "Tissue":
        """Tissue that conducts better along its fibers: D = across I + (along - across) f f^T.

        Parameters
        ----------
        domain
            `Grid` or `Surface`.
        along, across
            mm2/ms: numbers, or one per point (flat, or in the grid's shape).
        fibers
            Unit vectors f, one for all (d,) or one per point (n, d); on a surface projected onto it.
        conducting
            Which points hold cells, flat or in the grid's shape; None: all.
        thickness
            mm.
        """
        mask = checks.checked_mask(domain, conducting)
        fibers = np.asarray(fibers, dtype=np.float64)
        if isinstance(domain, Surface) and fibers.ndim == 1:
            fibers = np.broadcast_to(fibers, (domain.n_points, *fibers.shape))
        fibers = checks.checked_fibers(domain, fibers, mask)
        along, across = (_at_nodes(domain, mask, v, n) for v, n in ((along, "along"), (across, "across")))
        outer = fibers[..., :, None] * fibers[..., None, :]
        tensors = across[..., None, None] * np.eye(fibers.shape[-1]) + (along - across)[..., None, None] * outer
        return cls(domain, tensors, mask, thickness)

    def __repr__(self) -> str:
        if isinstance(self.domain, Grid):
            where = f"{' x '.join(map(str, self.domain.shape))} grid of {self.domain.spacing:g} mm"
        else:
            where = f"surface {self.domain.name!r} of {self.domain.n_points} nodes"
        kind = "anisotropic" if self.diffusivity.ndim >= 2 else "isotropic"
        return f"Tissue({where}, {self.n_nodes} of {self.n_points} conduct, {kind})"

    @property
    def n_points(self) -> int:
        """Points of the domain, conducting or not."""
        return self.domain.n_points

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the domain's arrays: that of the grid, or (n_points,) of a surface."""
        return self.domain.shape if isinstance(self.domain, Grid) else (self.domain.n_points,)

    @property
    def nodes(self) -> Int[np.ndarray, " n_nodes"]:
        """Indices of the conducting points among those of the domain, increasing."""
        return self._nodes

    @cached_property
    def _nodes(self) -> Int[np.ndarray, " n_nodes"]:
        return frozen(np.flatnonzero(self.conducting), np.int64)

    @property
    def n_nodes(self) -> int:
        """Number of conducting points: everything computed has one value per node."""
        return len(self.nodes)

    @property
    def points(self) -> Float[np.ndarray, "n_nodes 3"]:
        """Coordinates of the nodes, mm."""
        return self._points

    @cached_property
    def _points(self) -> Float[np.ndarray, "n_nodes 3"]:
        found = self.domain.at(self.nodes) if isinstance(self.domain, Grid) else self.domain.points[self.nodes]
        return frozen(found, np.float64)

    @property
    def coordinates(self) -> Float[np.ndarray, "n_nodes d"]:
        """Coordinates of the nodes along the grid's own dimensions, mm; all three on a surface."""
        return self.points[:, : self.domain.dimension] if isinstance(self.domain, Grid) else self.points

    @cached_property
    def volumes(self) -> Float[np.ndarray, " n_nodes"]:
        """Volume of every node's share of the tissue, mm3.

        spacing^d thickness^(3 - d) on a grid of dimension d, area times thickness on a surface.
        """
        if isinstance(self.domain, Grid):
            d = self.domain.dimension
            return frozen(np.full(self.n_nodes, self.domain.spacing**d * self.thickness ** (3 - d)), np.float64)
        from einthoven.geometry.operators import node_areas

        return frozen(node_areas(self.domain)[self.nodes] * self.thickness, np.float64)

    @cached_property
    def coupling(self) -> Stencil | Graph:
        """The discrete div(D grad v): a `Stencil` on grids, a `Graph` on surfaces and on large grids mostly empty."""
        if isinstance(self.domain, Grid):
            from einthoven.tissue import finite_volumes

            return finite_volumes.coupling(self.domain, self.nodes, self.diffusivity)
        from einthoven.tissue import finite_elements

        return finite_elements.coupling(self.domain, self.conducting, self.diffusivity)

    @cached_property
    def fibers(self) -> Float[np.ndarray, "n_nodes d"]:
        """Unit vectors of best conduction at the nodes (their sign has no meaning).

        Raises
        ------
        InputError
            If the tissue is isotropic.
        """
        if self.diffusivity.ndim < 2:
            raise InputError("tissue: an isotropic tissue has no fibers. Make it by `Tissue.anisotropic`.")
        vectors = np.linalg.eigh(self.diffusivity)[1][..., -1]
        return frozen(np.broadcast_to(vectors, (self.n_nodes, vectors.shape[-1])), np.float64)

    def fill(self, values: np.ndarray) -> np.ndarray:
        """Values at the nodes, shape (..., n_nodes), in arrays of the domain's shape, NaN where nothing conducts."""
        values = np.asarray(values)
        if values.shape[-1:] != (self.n_nodes,):
            raise InputError(f"tissue: values must end in {self.n_nodes}, one per node; got shape {values.shape}.")
        dtype = values.dtype if np.issubdtype(values.dtype, np.floating) else np.float64
        full = np.full((*values.shape[:-1], self.n_points), np.nan, dtype=dtype)
        full[..., self.nodes] = values
        return full.reshape(*values.shape[:-1], *self.shape)

    def take(self, values: np.ndarray) -> np.ndarray:
        """Values at the nodes from an array that ends in the domain's shape: the inverse of `fill`."""
        values = np.asarray(values)
        lead = values.ndim - len(self.shape)
        if lead < 0 or values.shape[lead:] != self.shape:
            raise InputError(f"tissue: values must end in the domain's shape {self.shape}; got shape {values.shape}.")
        return values.reshape(*values.shape[:lead], self.n_points)[..., self.nodes]

    def label(self, name: str) -> np.ndarray:
        """Values of a label at the nodes.

        Raises
        ------
        InputError
            If there is no such label; the message lists those there are.
        """
        if name not in self.labels:
            raise InputError(f"tissue: there is no label {name!r}; there are: {', '.join(self.labels) or 'none'}.")
        return self.labels[name]

    def components(self) -> Int[np.ndarray, " n_nodes"]:
        """Which connected part each node belongs to; 0 is the largest, then by size.

        Cells of a grid are connected through faces, nodes of a surface along edges.
        """
        if isinstance(self.domain, Grid):
            from scipy import ndimage

            parts = np.empty(self.shape, dtype=np.int32)
            ndimage.label(self.conducting.reshape(self.shape), output=parts)
            found = parts.reshape(-1)[self.nodes] - 1
        else:
            from scipy.sparse.csgraph import connected_components

            found = np.asarray(connected_components(self.coupling.matrix(), directed=False)[1])
        rank = np.empty(found.max() + 1, dtype=np.int64)
        rank[np.argsort(-np.bincount(found), kind="stable")] = np.arange(len(rank))
        return rank[found]

    def without(self, removed: Bool[np.ndarray, " n_nodes"]) -> "Tissue":
        """The tissue less some of its nodes, for example those that became fibrotic."""
        self._check_mask(removed)
        if removed.all():
            raise InputError(
                f"tissue: all {self.n_nodes} cells would be taken out, so that nothing is left to conduct. Lower the "
                "density of fibrosis."
            )
        mask = self.conducting.copy()
        mask[self.nodes[removed]] = False
        kept = ~removed
        diffusivity = self.diffusivity[kept] if self.diffusivity.ndim in (1, 3) else self.diffusivity
        labels = {name: values[kept] for name, values in self.labels.items()}
        return replace(self, conducting=mask, diffusivity=diffusivity, labels=labels)

    def scaled(self, factor: Number | Float[np.ndarray, " n_nodes"]) -> "Tissue":
        """The tissue with its diffusivity times a number, or times one number per node."""
        factor = np.asarray(factor, dtype=np.float64)
        if factor.ndim and factor.shape != (self.n_nodes,):
            raise InputError(f"tissue: factors must be one number or {self.n_nodes}; got shape {factor.shape}.")
        tensors = self.diffusivity.ndim >= 2
        scaled = np.asarray(self.diffusivity * (factor[..., None, None] if tensors else factor))
        return replace(self, diffusivity=scaled)

    def labelled(self, name: str, values: np.ndarray) -> "Tissue":
        """The tissue with one more label (or another one of that name), one value per node."""
        return replace(self, labels={**self.labels, name: values})

    def _check_mask(self, mask: np.ndarray) -> None:
        if mask.dtype != bool or mask.shape != (self.n_nodes,):
            raise InputError(
                f"tissue: a mask of nodes needs {self.n_nodes} booleans; got {mask.shape} of {mask.dtype}."
            )


def _flat(domain: Grid | Surface, values: Any) -> np.ndarray:
    """Values in the grid's shape become flat; others stay."""
    array = np.asarray(values, dtype=np.float64)
    return array.reshape(-1) if isinstance(domain, Grid) and array.shape == domain.shape else array


def _at_nodes(domain: Grid | Surface, mask: np.ndarray, values: Any, name: str) -> np.ndarray:
    """One number, or one per node, checked to be positive."""
    array = _flat(domain, values)
    if array.ndim > 1:
        raise InputError(f"tissue: {name} must be a number or one per point; got shape {array.shape}.")
    array = checks.per_node(array, mask, name) if array.ndim else array
    if not (array > 0).all():
        raise InputError(f"tissue: {name} must be positive, in mm2/ms; it is {array.min():g} somewhere.")
    return array
