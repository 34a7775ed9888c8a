"""The `Tetrahedra` noun: a tetrahedral mesh in millimeters."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from einthoven.core.arrays import frozen
from einthoven.core.errors import GeometryError, some

#: A tetrahedron flatter than this times the cube of its longest edge has no inside.
_FLAT = 1e-9


@dataclass(frozen=True, eq=False)
class Tetrahedra:
    """A tetrahedral mesh of a body.

    Parameters
    ----------
    points
        Node coordinates, shape (n_points, 3), mm.
    cells
        Node indices, 0-based, shape (n_cells, 4), in any order.
    name
        Used in messages and results.

    Raises
    ------
    GeometryError
        If a coordinate is not finite, an index is out of range, or a tetrahedron is flat.

    Examples
    --------
    >>> Tetrahedra(np.eye(4, 3) * 10.0, np.array([[0, 1, 2, 3]]))
    Tetrahedra('mesh', 4 nodes, 1 tetrahedra, 0.1667 ml)
    """

    points: Float[np.ndarray, "n_points 3"]
    cells: Int[np.ndarray, "n_cells 4"]
    name: str = "mesh"

    def __post_init__(self):
        points, cells = np.asarray(self.points), np.asarray(self.cells)
        if points.ndim != 2 or points.shape[1] != 3:
            raise GeometryError(f"{self.name}: points must have shape (n, 3); got {points.shape}.")
        if cells.ndim != 2 or cells.shape[1] != 4 or not len(cells):
            raise GeometryError(f"{self.name}: tetrahedra must have shape (n, 4) with n > 0; got {cells.shape}.")
        bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
        if bad.size:
            raise GeometryError(
                f"{self.name}: coordinates must be finite; nodes {some(bad)} hold NaN or infinity. Remove them."
            )
        bad = np.flatnonzero(((cells < 0) | (cells >= len(points)) | (cells != np.round(cells))).any(axis=1))
        if bad.size:
            raise GeometryError(
                f"{self.name}: node indices must be whole numbers 0..{len(points) - 1}; tetrahedra {some(bad)} point "
                "outside. Is the file 1-based, or are nodes missing?"
            )
        object.__setattr__(self, "points", frozen(points, np.float64))
        object.__setattr__(self, "cells", frozen(cells, np.int64))
        edges = self.points[self.cells[:, 1:]] - self.points[self.cells[:, :1]]
        bad = np.flatnonzero(np.abs(np.linalg.det(edges)) <= _FLAT * np.abs(edges).max(axis=(1, 2)) ** 3)
        if bad.size:
            raise GeometryError(f"{self.name}: tetrahedra {some(bad)} are flat or repeat a node. Delete them.")

    def __repr__(self) -> str:
        return (
            f"Tetrahedra({self.name!r}, {self.n_points} nodes, {len(self.cells)} tetrahedra, "
            f"{self.volumes.sum() / 1000:.4g} ml)"
        )

    @property
    def n_points(self) -> int:
        """Number of nodes."""
        return len(self.points)

    @property
    def volumes(self) -> Float[np.ndarray, " n_cells"]:
        """Volume of every tetrahedron, mm3, positive whatever the order of its nodes."""
        edges = self.points[self.cells[:, 1:]] - self.points[self.cells[:, :1]]
        return np.abs(np.linalg.det(edges)) / 6
