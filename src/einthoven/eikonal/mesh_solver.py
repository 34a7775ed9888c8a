"""The eikonal equation on triangles and tetrahedra: metric of the cells, times, and derivatives by the tensors."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from einthoven.core import GeometryError, Surface, Tetrahedra
from einthoven.core.errors import some
from einthoven.eikonal.marched import Graph, Marched, seeds_of, to_seeds
from einthoven.eikonal.threads import on_threads

_EDGES = {3: ((0, 1), (0, 2), (1, 2)), 4: ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))}


class Cells(NamedTuple):
    """The cells in which a wave runs, in the numbering of the conducting nodes, with lists of the cells of each node.

    A cell that lost some of its corners to cells that do not conduct names one of the others again: an edge or a side
    of it is left. `frames` (n_cells, 3, d) are orthonormal: tangents of triangles, the axes in tetrahedra.
    """

    corners: Int[np.ndarray, "n_cells k"]
    weights: Float[np.ndarray, "n_cells k"]  # of the corners in the cell's mean tensor
    edges: Float[np.ndarray, "n_cells n_edges d"]
    frames: Float[np.ndarray, "n_cells 3 d"]
    starts: Int[np.ndarray, " n_nodes_and_1"]
    of_node: Int[np.ndarray, " n"]


@dataclass(frozen=True, eq=False)
class MeshSolver:
    """Solver on a surface or a tetrahedral mesh, linear in every cell, of first order.

    Parameters
    ----------
    domain
        Where the wave runs.
    conducting
        Which of its points hold cells, shape (n_points,).
    """

    domain: Surface | Tetrahedra
    conducting: Bool[np.ndarray, " n_points"]

    @property
    def dimension(self) -> int:
        """Of the tensors."""
        return 3

    @cached_property
    def points(self) -> Float[np.ndarray, "n_nodes 3"]:
        """Coordinates of the nodes, mm."""
        return self.domain.points[self.conducting]

    @cached_property
    def cells(self) -> Cells:
        """The mesh less what does not conduct."""
        all_corners = self.domain.triangles if isinstance(self.domain, Surface) else self.domain.cells
        index = np.where(self.conducting, np.cumsum(self.conducting) - 1, -1)
        corners = index[all_corners]
        corners = corners[(corners >= 0).sum(axis=1) >= 2]
        present = corners >= 0
        first = np.take_along_axis(corners, present.argmax(axis=1)[:, None], axis=1)
        corners = np.where(present, corners, first)
        lonely = np.setdiff1d(np.arange(len(self.points)), corners)
        if lonely.size:
            raise GeometryError(
                f"{self.domain.name}: nodes {some(np.flatnonzero(self.conducting)[lonely])} conduct, but belong to no "
                "cell. Take them out by the mask `conducting`."
            )
        places = self.points[corners]
        edges = np.stack([places[:, j] - places[:, i] for i, j in _EDGES[corners.shape[1]]], axis=1)
        frames = _tangents(edges) if corners.shape[1] == 3 else np.broadcast_to(np.eye(3), (len(corners), 3, 3))
        order = np.argsort(corners.reshape(-1), kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(corners.reshape(-1), minlength=len(self.points)))])
        return Cells(
            corners.astype(np.int32),
            present / present.sum(axis=1, keepdims=True),
            edges @ frames,
            frames,
            starts,
            (order // corners.shape[1]).astype(np.int32),
        )

    @cached_property
    def normals(self) -> Float[np.ndarray, "n_nodes 3"] | None:
        """Unit normals at the nodes of a surface, zero where there is none; None in tetrahedra."""
        if not isinstance(self.domain, Surface):
            return None
        corners = self.domain.points[self.domain.triangles]
        out = np.zeros_like(self.domain.points)
        across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        np.add.at(out, self.domain.triangles, across[:, None, :])
        size = np.linalg.norm(out, axis=1, keepdims=True)
        return (out / np.where(size > 0, size, 1.0))[self.conducting]

    @cached_property
    def neighborhoods(self) -> Any:
        """Sparse matrix of the nodes at most two cells away from each node."""
        from scipy.sparse import csr_array

        corners = self.cells.corners
        entries = np.ones(corners.size), (np.repeat(np.arange(len(corners)), corners.shape[1]), corners.reshape(-1))
        incidence = csr_array(entries, shape=(len(corners), len(self.points)))
        once = incidence.T @ incidence
        return csr_array(once @ once)

    @cached_property
    def tree(self) -> Any:
        """For the nearest node."""
        from scipy.spatial import KDTree

        return KDTree(self.points)

    @cached_property
    def typical_edge(self) -> float:
        """Mean length of the edges, mm."""
        return float(np.sqrt((self.cells.edges**2).sum(axis=2)).mean())

    def at(self, nodes: Int[np.ndarray, "..."]) -> Float[np.ndarray, "... 3"]:
        """Coordinates of some nodes, mm."""
        return self.points[nodes]

    def medium(self, squared_speed: Float[np.ndarray, "..."]) -> "MeshMedium":
        """Compute the metric from V, shape (), (n_nodes,), (3, 3) or (n_nodes, 3, 3), mm2/ms2."""
        return MeshMedium(self, squared_speed)


@dataclass(frozen=True, eq=False)
class MeshMedium:
    """A mesh with its squared-speed tensors."""

    solver: MeshSolver
    squared_speed: Float[np.ndarray, "..."]

    @cached_property
    def metric(self) -> Float[np.ndarray, "n_cells d d"]:
        """Inverse of the tangential part of each cell's mean tensor, ms2/mm2."""
        cells, v = self.solver.cells, self.squared_speed
        d = cells.frames.shape[-1]
        if v.ndim < 2:
            mean = np.broadcast_to(v, len(cells.corners)) if v.ndim == 0 else (cells.weights * v[cells.corners]).sum(1)
            return np.eye(d) / mean[:, None, None]
        mean = v[None] if v.ndim == 2 else np.einsum("ck,ckij->cij", cells.weights, v[cells.corners])
        return np.linalg.inv(cells.frames.transpose(0, 2, 1) @ mean @ cells.frames)

    @cached_property
    def squares(self) -> Float[np.ndarray, "n_cells n_edges"]:
        """Squared lengths of the edges in the metric, ms2."""
        edges = self.solver.cells.edges
        return np.ascontiguousarray(np.einsum("cei,cij,cej->ce", edges, self.metric, edges))

    @cached_property
    def acute(self) -> Bool[np.ndarray, "n_cells k"]:
        """Corners without an obtuse angle in the metric."""
        from einthoven.eikonal import kernels_mesh

        corners = self.solver.cells.corners
        out = np.empty(corners.shape, dtype=bool)
        kernels_mesh.acute(self.squares, corners.shape[1], out)
        return out

    def march(self, seeds: Int[np.ndarray, "k n_seeds"], seed_times: Float[np.ndarray, "k n_seeds"]) -> Marched:
        """Times of arrival from seeds, for many right-hand sides."""
        from einthoven.eikonal import kernels_mesh

        cells = self.solver.cells
        times = np.full((len(seeds), len(self.solver.points)), np.inf)
        how = np.full(times.shape, -1, dtype=np.int32)
        given = (cells.corners, self.squares, self.acute, cells.starts, cells.of_node)
        on_threads(kernels_mesh.march, [(*given, *row) for row in zip(seeds, seed_times, times, how, strict=True)])
        order = np.argsort(times, axis=1, kind="stable").astype(np.int32)
        return Marched(times, how, order, np.isfinite(times).sum(axis=1))

    def pull_back(
        self, marched: Marched, adjoint: Float[np.ndarray, "k n_nodes"], n_seeds: int
    ) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "k n_seeds"]]:
        """Derivatives by V (in its shape, summed over right-hand sides) and by the seeds' times."""
        of_squares, of_seeds = np.zeros_like(self.squares), np.zeros((len(adjoint), n_seeds))
        for k, row in enumerate(adjoint):
            graph, by_squares = self._decided(marched, k)
            total = graph.pass_back(row)
            cell, decided = self._deciding_cells(marched.how[k])
            np.add.at(of_squares, cell, total[decided, None] * by_squares[decided])
            of_seeds[k] = to_seeds(marched.how[k], total, n_seeds)
        return self._of_tensors(of_squares), of_seeds

    def push_forward(
        self,
        marched: Marched,
        k: int,
        of_v: Float[np.ndarray, "n_changes ..."],
        of_seeds: Float[np.ndarray, "n_changes n_seeds"],
    ) -> Float[np.ndarray, "n_changes n_nodes"]:
        """Changes of the times of right-hand side k from those of V (each in its shape) and of the seeds' times."""
        graph, by_squares = self._decided(marched, k)
        cell, decided = self._deciding_cells(marched.how[k])
        own = seeds_of(marched.how[k], of_seeds)
        for p, change in enumerate(of_v):
            own[decided, p] += (by_squares[decided] * self._of_squares(np.asarray(change))[cell]).sum(axis=1)
        return np.ascontiguousarray(graph.pass_forward(own).T)

    def first_seeds(self, marched: Marched) -> Int[np.ndarray, "k n_nodes"]:
        """Which seed's wave came to each node, -1 where none came."""
        rows = range(len(marched.times))
        return np.stack([self._decided(marched, k)[0].first_seeds(marched.how[k], marched.order[k]) for k in rows])

    def _deciding_cells(self, how: Int[np.ndarray, " n"]) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
        """Cells that decided nodes, and these nodes."""
        decided = np.flatnonzero(how >= 0)
        return how[decided] // self.solver.cells.corners.shape[1], decided

    def _decided(self, marched: Marched, k: int) -> tuple[Graph, Float[np.ndarray, "n n_edges"]]:
        """What decided each node, and the derivatives of its time by the squared lengths of the cell that did."""
        from einthoven.eikonal import kernels_mesh

        corners, how = self.solver.cells.corners, marched.how[k]
        nodes, shares = np.empty((len(how), 3), np.int32), np.empty((len(how), 3))
        kernels_mesh.parents(corners, self.squares, marched.times[k], how, nodes, shares)
        by_squares = np.empty((len(how), self.squares.shape[1]))
        kernels_mesh.by_edges(corners, self.squares, how, shares, by_squares)
        return Graph.sorted(nodes, shares), by_squares

    def _of_squares(self, change: Float[np.ndarray, "..."]) -> Float[np.ndarray, "n_cells n_edges"]:
        """From a change of V to that of the squared lengths e^T M e: the transpose of `_of_tensors`."""
        cells = self.solver.cells
        across = np.einsum("cij,cej->cei", self.metric, cells.edges)
        if change.ndim < 2:
            mean = change if change.ndim == 0 else (cells.weights * change[cells.corners]).sum(axis=1)[:, None]
            return -mean * (across**2).sum(axis=2)
        mean = change[None] if change.ndim == 2 else np.einsum("ck,ckij->cij", cells.weights, change[cells.corners])
        return -np.einsum("cei,cij,cej->ce", across, cells.frames.transpose(0, 2, 1) @ mean @ cells.frames, across)

    def _of_tensors(self, of_squares: Float[np.ndarray, "n_cells n_edges"]) -> Float[np.ndarray, "..."]:
        """From derivatives by squared lengths e^T M e to those by V, M the inverse of its tangential part."""
        cells, v = self.solver.cells, self.squared_speed
        across = np.einsum("cij,cej->cei", self.metric, cells.edges)
        of_cells = -np.einsum("ce,cei,cej->cij", of_squares, across, across)
        if v.ndim < 2:
            traces = np.trace(of_cells, axis1=1, axis2=2)
            if v.ndim == 0:
                return np.asarray(traces.sum())
            return np.bincount(cells.corners.reshape(-1), (traces[:, None] * cells.weights).reshape(-1), len(v))
        full = cells.frames @ of_cells @ cells.frames.transpose(0, 2, 1)
        if v.ndim == 2:
            return full.sum(axis=0)
        out = np.zeros_like(v)
        np.add.at(out, cells.corners, cells.weights[:, :, None, None] * full[:, None])
        return out


def _tangents(edges: Float[np.ndarray, "n 3 3"]) -> Float[np.ndarray, "n 3 2"]:
    """Two orthonormal tangents of each triangle (of an edge: along it, and any across)."""
    longest = np.take_along_axis(edges, (edges**2).sum(axis=2).argmax(axis=1)[:, None, None], axis=1)[:, 0]
    first = longest / np.linalg.norm(longest, axis=1, keepdims=True)
    normals = np.cross(edges[:, 0], edges[:, 1])
    size = np.linalg.norm(normals, axis=1, keepdims=True)
    any_across = np.cross(first, np.eye(3)[np.abs(first).argmin(axis=1)])
    normals = np.where(size > 1e-12 * (longest**2).sum(axis=1, keepdims=True), normals, any_across)
    second = np.cross(normals, first)
    return np.stack([first, second / np.linalg.norm(second, axis=1, keepdims=True)], axis=2)
