"""From sites, where a wave begins, to seeds: nodes near them and their times.

A site lies anywhere in the tissue. The nodes within `reach` of it start with the time of the straight way,
onset + |x - s|, in the metric of the node itself; this removes most of the error that a point source causes. On masked
grids only nodes in sight of the site are taken.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from einthoven.core import InputError, Surface
from einthoven.eikonal.grid_solver import GridSolver
from einthoven.eikonal.mesh_solver import MeshSolver

#: Cells from the site to the farthest seed on a grid, by order.
REACH = {1: 2.5, 2: 4.0}

#: A site may lie this share of the typical edge off a surface or outside of a tetrahedral mesh.
_OFF = 0.5


class Seeds(NamedTuple):
    """Of k right-hand sides with n_sites sites each: nodes (-1: none), one row of `n_near` per site."""

    nodes: Int[np.ndarray, "k n_sites n_near"]
    ways: Float[np.ndarray, "k n_sites n_near d"]  # node - site, mm

    @property
    def used(self) -> Bool[np.ndarray, "k n_sites n_near"]:
        """Which entries hold a node."""
        return self.nodes >= 0


@dataclass(frozen=True, eq=False)
class NearbyCells:
    """Nodes in sight of a site on a grid."""

    solver: GridSolver
    reach: float  # in cells

    def nodes(self, sites: Float[np.ndarray, "n d"]) -> Int[np.ndarray, "n n_near"]:
        """Nodes within `reach` of each site and in sight of it, -1 where there are fewer.

        Raises
        ------
        InputError
            If a site lies outside; the message names it.
        """
        from einthoven.eikonal import kernels_seeds

        inside, d = self.inside(sites), self.solver.dimension
        if not inside.all():
            self._refuse(sites, int(np.flatnonzero(~inside)[0]))
        offsets = _offsets(self.reach + np.sqrt(d) / 2, d)
        out = np.full((len(sites), len(offsets)), -1, dtype=np.int32)
        kernels_seeds.in_sight(self.solver.index, self._places(sites), offsets, self.reach, self.solver.masked, out)
        return out

    def inside(self, sites: Float[np.ndarray, "n d"]) -> Bool[np.ndarray, " n"]:
        """Which sites lie in a conducting cell."""
        cells, shape = np.floor(self._places(sites) + 0.5).astype(int), np.array(self.solver.index.shape)
        within = np.asarray(((cells >= 0) & (cells < shape)).all(axis=1))
        return within & (self.solver.index[tuple(np.clip(cells, 0, shape - 1).T)] >= 0)

    def _places(self, sites: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n 3"]:
        """Sites in cells from the center of cell 0, along three axes."""
        grid, d = self.solver.domain, self.solver.dimension
        places = np.zeros((len(sites), 3))
        places[:, :d] = (sites - np.asarray(grid.origin)[:d]) / grid.spacing
        return places

    def _refuse(self, sites: np.ndarray, i: int) -> None:
        points = self.solver.at(np.arange(len(self.solver.places)))
        away = np.linalg.norm(points - sites[i], axis=1)
        raise InputError(
            f"eikonal: site {i} at {_place(sites[i])} mm lies in no conducting cell; the nearest one is "
            f"{away.min():.3g} mm away, at {_place(points[away.argmin()])}. Are the coordinates in mm, "
            "and in the frame of the tissue?"
        )


@dataclass(frozen=True, eq=False)
class NearbyNodes:
    """Nodes of a mesh around a site: those at most two cells from the nearest one, in its metric neighborhood."""

    solver: MeshSolver

    def nodes(self, sites: Float[np.ndarray, "n d"]) -> Int[np.ndarray, "n n_near"]:
        """The neighborhood of the node nearest to each site, -1 where it is smaller; raises as `NearbyCells.nodes`."""
        nearest = self._nearest(sites)
        rows = self.solver.neighborhoods[nearest]
        counts = np.diff(rows.indptr)
        out = np.full((len(sites), max(counts.max(), 1)), -1, dtype=np.int32)
        column = np.arange(len(rows.indices)) - np.repeat(rows.indptr[:-1], counts)
        out[np.repeat(np.arange(len(sites)), counts), column] = rows.indices
        return out

    def inside(self, sites: Float[np.ndarray, "n d"]) -> Bool[np.ndarray, " n"]:
        """Which sites lie on the mesh, or within half a typical edge of it."""
        return self._all_off(sites)[0] <= _OFF * self.solver.typical_edge

    def _nearest(self, sites: Float[np.ndarray, "n d"]) -> Int[np.ndarray, " n"]:
        nodes = self.solver.points
        off, away, nearest = self._all_off(sites)
        wrong = np.flatnonzero(off > _OFF * self.solver.typical_edge)
        if wrong.size:
            i = int(wrong[0])
            raise InputError(
                f"eikonal: site {i} at {_place(sites[i])} mm lies {off[i]:.3g} mm off the mesh "
                f"{self.solver.domain.name!r}; its nearest node is {away[i]:.3g} mm away, at "
                f"{_place(nodes[nearest[i]])}. Are the coordinates in mm, and in the frame of the mesh?"
            )
        return nearest

    def _all_off(self, sites: Float[np.ndarray, "n d"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """How far each site is off the mesh and from its nearest node, mm, and which that is."""
        away, nearest = self.solver.tree.query(sites)
        edge = self.solver.typical_edge
        off = np.array([self._off(site, int(node), edge) for site, node in zip(sites, nearest, strict=True)])
        return np.minimum(off, away), np.asarray(away), np.asarray(nearest)

    def _off(self, site: np.ndarray, node: int, edge: float) -> float:
        """How far a site lies off the cells near its nearest node, mm (tetrahedra: about)."""
        cells, nodes = self.solver.cells, self.solver.points
        near = self.solver.neighborhoods[[node]].indices
        around = np.unique(np.concatenate([cells.of_node[cells.starts[n] : cells.starts[n + 1]] for n in near]))
        corners = cells.corners[around]
        whole = (np.diff(np.sort(corners, axis=1), axis=1) > 0).all(axis=1)
        if not whole.any():
            return float(np.linalg.norm(nodes[near] - site, axis=1).min())
        if corners.shape[1] == 3:
            from einthoven.geometry.locate import closest_points

            return float(closest_points(Surface(nodes, corners[whole].astype(int)), site[None]).distance[0])
        return edge * _outside(site, nodes[corners[whole]])


def _outside(site: np.ndarray, corners: Float[np.ndarray, "n 4 3"]) -> float:
    """The most negative of the barycentric coordinates, in the tetrahedron where it is least so; 0 inside."""
    edges = np.swapaxes(corners[:, 1:] - corners[:, :1], 1, 2)
    shares = np.linalg.solve(edges, (site - corners[:, 0])[:, :, None])[:, :, 0]
    least = np.minimum(shares.min(axis=1), 1 - shares.sum(axis=1))
    return float(max(-least.max(), 0.0))


def _offsets(radius: float, dimension: int) -> Int[np.ndarray, "n 3"]:
    """Integer vectors no longer than a radius."""
    reach = np.arange(-int(radius), int(radius) + 1)
    axes = [reach if a < dimension else np.zeros(1, dtype=int) for a in range(3)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    return np.ascontiguousarray(grid[(grid**2).sum(axis=1) <= radius**2])


def _place(point: np.ndarray) -> str:
    return f"({', '.join(f'{x:.3g}' for x in point)})"
