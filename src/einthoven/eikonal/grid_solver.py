"""The eikonal equation on regular grids: upwind stencils, times, and derivatives by the tensors."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from einthoven.core import InputError
from einthoven.core.errors import some
from einthoven.eikonal.marched import Graph, Marched, seeds_of, to_seeds
from einthoven.eikonal.threads import on_threads, pieces
from einthoven.tissue.grid import Grid


class Layered(NamedTuple):
    """A grid with one layer of cells around it, flat.

    Parameters
    ----------
    walls
        Infinity where a cell conducts, `kernels_axes.WALL` elsewhere.
    cells
        The cell of each node.
    nodes
        The node in each cell; 0 where there is none.
    steps
        From a cell to the next along each axis.
    """

    walls: Float[np.ndarray, " n_cells"]
    cells: Int[np.ndarray, " n_nodes"]
    nodes: Int[np.ndarray, " n_cells"]
    steps: np.ndarray


@dataclass(frozen=True, eq=False)
class GridSolver:
    """Solver on a regular grid in one, two or three dimensions.

    Parameters
    ----------
    domain
        The grid.
    conducting
        Which of its cells conduct, shape (n_points,).
    order
        1, or 2: second differences where the wave is smooth.
    """

    domain: Grid
    conducting: Bool[np.ndarray, " n_points"]
    order: int = 1

    @property
    def dimension(self) -> int:
        """Of the tensors."""
        return self.domain.dimension

    @cached_property
    def points(self) -> Float[np.ndarray, "n_nodes d"]:
        """Coordinates of the nodes along the grid's own dimensions, mm."""
        return self.domain.at(self.cells)[:, : self.dimension]

    @cached_property
    def cells(self) -> Int[np.ndarray, " n_nodes"]:
        """Flat index of every node's cell."""
        return np.flatnonzero(self.conducting)

    def at(self, nodes: Int[np.ndarray, "..."]) -> Float[np.ndarray, "... d"]:
        """Coordinates of some nodes, mm."""
        nodes = np.asarray(nodes)
        return self.domain.at(self.cells[nodes.reshape(-1)])[:, : self.dimension].reshape(*nodes.shape, -1)

    @cached_property
    def index(self) -> Int[np.ndarray, "n1 n2 n3"]:
        """The node in each cell, -1 where nothing conducts; always of three axes."""
        index = np.where(self.conducting, np.cumsum(self.conducting) - 1, -1)
        return index.reshape((*self.domain.shape, 1, 1)[:3]).astype(np.int32)

    @cached_property
    def places(self) -> Int[np.ndarray, "n_nodes 3"]:
        """The cell of every node."""
        shape = (*self.domain.shape, 1, 1)[:3]
        return np.stack(np.unravel_index(self.cells, shape), axis=1).astype(np.int32)

    @property
    def masked(self) -> bool:
        """Whether some cell does not conduct."""
        return len(self.cells) < self.conducting.size

    @cached_property
    def layered(self) -> "Layered":
        """The grid with one layer of cells around it."""
        from einthoven.eikonal.kernels_axes import WALL

        shape = tuple(n + 2 for n in self.domain.shape)
        walls = np.full(shape, WALL)
        inner = (slice(1, -1),) * self.dimension
        walls[inner] = np.where(self.conducting.reshape(self.domain.shape), np.inf, WALL)
        cells = np.flatnonzero(walls != WALL)
        nodes = np.zeros(walls.size, np.int32)
        nodes[cells] = np.arange(len(cells))
        steps = np.array([np.prod(shape[a + 1 :], dtype=int) for a in range(self.dimension)], dtype=np.uint64)
        return Layered(walls.reshape(-1), cells, nodes, steps)

    @cached_property
    def axes(self) -> Int[np.ndarray, "n_nodes two_d"]:
        """The nodes below and above along every axis, -1 where there is none."""
        from einthoven.eikonal import kernels_stencil

        out = np.empty((len(self.places), 2 * self.dimension), np.int32)
        kernels_stencil.axis_neighbors(self.index, self.places, out)
        return out

    @cached_property
    def axes_behind(self) -> Int[np.ndarray, "n_nodes two_d"]:
        """The nodes two cells away along every axis where both conduct."""
        behind = np.full_like(self.axes, -1)
        for slot in range(self.axes.shape[1]):
            next_ = self.axes[:, slot]
            behind[:, slot] = np.where(next_ >= 0, self.axes[next_, slot], -1)
        return behind

    @cached_property
    def axis_users(self) -> tuple[Int[np.ndarray, " n_nodes_and_1"], Int[np.ndarray, " n"]]:
        """Which nodes have each node next to them along an axis."""
        return _users(np.ones((len(self.axes), self.dimension)), self.axes, *_no_links(self.dimension))

    def medium(self, squared_speed: Float[np.ndarray, "..."]) -> "GridMedium":
        """Make the stencils from V, shape (), (n_nodes,), (d, d) or (n_nodes, d, d), mm2/ms2."""
        return GridMedium(self, squared_speed)


@dataclass(frozen=True, eq=False)
class _Stencils:
    """Arrays that the kernels take, see `kernels_march.march` and `kernels_stencil.reduced_stencils`."""

    weights: np.ndarray
    near: np.ndarray
    far: np.ndarray
    starts: np.ndarray
    users: np.ndarray
    axes: np.ndarray
    lengths: np.ndarray
    bases: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class GridMedium:
    """A grid with its squared-speed tensors."""

    solver: GridSolver
    squared_speed: Float[np.ndarray, "..."]

    @cached_property
    def stencils(self) -> _Stencils:
        """Weights and neighbors of every node."""
        return self._along_axes() if self._isotropic else self._reduced()

    @property
    def _isotropic(self) -> bool:
        return self.squared_speed.ndim < 2 or self.solver.dimension == 1

    @property
    def _rows(self) -> Float[np.ndarray, "n_or_1 d d"]:
        """Tensors over the squared spacing, one row if all are alike, 1/ms2."""
        d = self.solver.dimension
        return np.ascontiguousarray(self.squared_speed.reshape(-1, d, d) / self.solver.domain.spacing**2)

    def _along_axes(self) -> _Stencils:
        s = self.solver
        rates = self.squared_speed.reshape(-1, 1) / s.domain.spacing**2
        weights = np.ascontiguousarray(np.broadcast_to(rates, (len(s.places), s.dimension)))
        far = s.axes_behind if s.order == 2 else np.empty((0, 0), np.int32)
        return _Stencils(weights, s.axes, far, *s.axis_users, *_no_links(s.dimension))

    def _reduced(self) -> _Stencils:
        from einthoven.eikonal import kernels_stencil as kernels

        s, rows = self.solver, self._rows
        n, d = len(s.places), s.dimension
        pairs = kernels.PAIRS_2D if d == 2 else kernels.PAIRS_3D
        second, m = s.order == 2, len(pairs)
        bases, weights = np.empty((n, d + 1, d), np.int64), np.empty((n, m))
        near, blocked = np.empty((n, 2 * m), np.int32), np.empty(n, np.int8)
        far = np.empty((n, 2 * m) if second else (0, 0), np.int32)
        arrays = (s.index, s.places, rows, pairs, s.masked, second, bases, weights, near, far, blocked)
        on_threads(kernels.reduced_stencils, [(*piece, *arrays) for piece in pieces(n)])
        if (blocked == 2).any():
            raise InputError(
                f"eikonal: the squared-speed tensors of nodes {some(np.flatnonzero(blocked == 2))} are far too "
                "anisotropic. Give conduction across the fibers at least a hundredth of the speed along them."
            )
        axes, lengths = _no_links(d)
        if blocked.any():
            axes = s.axes
            slowness = np.sqrt(np.diagonal(np.linalg.inv(rows), axis1=1, axis2=2))
            lengths = np.ascontiguousarray(np.where((blocked > 0)[:, None], slowness, 0.0))
        return _Stencils(weights, near, far, *_users(weights, near, axes, lengths), axes, lengths, bases)

    def march(self, seeds: Int[np.ndarray, "k n_seeds"], seed_times: Float[np.ndarray, "k n_seeds"]) -> Marched:
        """Times of arrival from seeds, for many right-hand sides."""
        if self._isotropic:
            return Marched.joined(on_threads(self._march_axes, zip(seeds, seed_times, strict=True)))
        from einthoven.eikonal import kernels_march

        st, n = self.stencils, len(self.solver.cells)
        times = np.full((len(seeds), n), np.inf)
        how, order = np.full(times.shape, -1, dtype=np.int32), np.empty(times.shape, np.int32)
        given = (st.weights, st.near, st.far, self.solver.order == 2, st.starts, st.users, st.axes, st.lengths)
        rows = zip(seeds, seed_times, times, how, order, strict=True)
        counts = on_threads(kernels_march.march, [(*given, *row) for row in rows])
        return Marched(times, how, order, np.array(counts))

    def _march_axes(self, seeds: Int[np.ndarray, " n"], seed_times: Float[np.ndarray, " n"]) -> Marched:
        from einthoven.eikonal import kernels_axes

        layered = self.solver.layered
        cells = layered.cells
        times = layered.walls.copy()
        how, order = np.full(len(times), -1, np.int32), np.zeros(len(times), np.int32)
        count = kernels_axes.march(
            layered.steps, self._squares, self.solver.order == 2, np.where(seeds >= 0, cells[seeds], -1), seed_times,
            times, how, order,
        )  # fmt: skip
        order = layered.nodes[order[: len(cells)]]
        return Marched(times[cells][None], how[cells][None], order[None], np.array([count]))

    @cached_property
    def _squares(self) -> Float[np.ndarray, " n_or_1"]:
        """Squared time along one spacing in the grid with a layer around it, ms2."""
        values = self.solver.domain.spacing**2 / self.squared_speed.reshape(-1)
        if len(values) == 1:
            return values
        out = np.ones(len(self.solver.layered.walls))
        out[self.solver.layered.cells] = values
        return out

    def pull_back(
        self, marched: Marched, adjoint: Float[np.ndarray, "k n_nodes"], n_seeds: int
    ) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "k n_seeds"]]:
        """Derivatives by V (in its shape, summed over right-hand sides) and by the seeds' times."""
        rows = on_threads(self._row_back, [(marched, k, adjoint[k], n_seeds) for k in range(len(adjoint))])
        total = np.sum([row[0] for row in rows], axis=0)
        by_v = total if self.squared_speed.ndim in (1, 3) else total.sum(axis=0)
        return np.asarray(by_v).reshape(self.squared_speed.shape), np.stack([row[1] for row in rows])

    def push_forward(
        self,
        marched: Marched,
        k: int,
        of_v: Float[np.ndarray, "n_changes ..."],
        of_seeds: Float[np.ndarray, "n_changes n_seeds"],
    ) -> Float[np.ndarray, "n_changes n_nodes"]:
        """Changes of the times of right-hand side k from those of V (each in its shape) and of the seeds' times."""
        graph, by_v = self._decided(marched, k)
        if by_v.ndim == 1:
            own = by_v * of_v.reshape(len(of_v), -1)
        else:
            own = np.einsum("nij,pij->pn" if of_v.ndim == 3 else "nij,pnij->pn", by_v, of_v)
        own = np.ascontiguousarray(own.T) + seeds_of(marched.how[k], of_seeds)
        return np.ascontiguousarray(graph.pass_forward(own).T)

    def first_seeds(self, marched: Marched) -> Int[np.ndarray, "k n_nodes"]:
        """Which seed's wave came to each node, -1 where none came."""
        rows = range(len(marched.times))
        return np.stack([self._decided(marched, k)[0].first_seeds(marched.how[k], marched.order[k]) for k in rows])

    def _row_back(
        self, marched: Marched, k: int, adjoint: Float[np.ndarray, " n_nodes"], n_seeds: int
    ) -> tuple[Float[np.ndarray, "n_nodes ..."], Float[np.ndarray, " n_seeds"]]:
        graph, by_v = self._decided(marched, k)
        total = graph.pass_back(adjoint)
        return by_v * total.reshape(-1, *[1] * (by_v.ndim - 1)), to_seeds(marched.how[k], total, n_seeds)

    def _decided(self, marched: Marched, k: int) -> tuple[Graph, Float[np.ndarray, "n_nodes ..."]]:
        """What decided each node, and the derivative of its time by its own V: numbers, or tensors."""
        from einthoven.eikonal import kernels_march

        st, order = self.stencils, marched.reached[k]
        n, m = st.weights.shape
        nodes, shares = np.full((n, 2 * m), -1, np.int32), np.zeros((n, 2 * m))
        by_weights, by_lengths = np.zeros((n, m)), np.zeros(st.lengths.shape)
        kernels_march.parents(
            st.weights, st.near, st.far, self.solver.order == 2, st.axes, marched.times[k], marched.how[k], order,
            nodes, shares, by_weights, by_lengths,
        )  # fmt: skip
        return Graph(nodes, shares, order), self._by_tensors(by_weights, by_lengths)

    def _by_tensors(self, by_weights: np.ndarray, by_lengths: np.ndarray) -> Float[np.ndarray, "n_nodes ..."]:
        """From derivatives by the weights and by the times along the axes to those by each node's V."""
        spacing = self.solver.domain.spacing
        if self._isotropic:
            by_v = by_weights.sum(axis=1) / spacing**2
            return by_v.reshape(-1, 1, 1) if self.squared_speed.ndim >= 2 else by_v
        out = _of_reduction(self.stencils.bases, by_weights)
        if by_lengths.size:
            rows = self._rows
            inverse = np.broadcast_to(np.linalg.inv(rows), (len(out), *rows.shape[1:]))  # length_a = sqrt(inverse_aa)
            half = np.where(by_lengths != 0, 0.5 * by_lengths / np.maximum(self.stencils.lengths, 1e-300), 0.0)
            out -= np.einsum("na,nia,nja->nij", half, inverse, inverse)
        return out / spacing**2


def _of_reduction(bases: np.ndarray | None, of_weights: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "n d d"]:
    """Derivatives by the tensors, where w = -b_i . V b_j of the pairs of a superbase."""
    from einthoven.eikonal import kernels_stencil as kernels

    assert bases is not None
    d = bases.shape[-1]
    out = np.zeros((len(bases), d, d))
    for k, pair in enumerate(kernels.PAIRS_2D if d == 2 else kernels.PAIRS_3D):
        product = bases[:, pair[0], :, None] * bases[:, pair[1], None, :]
        out -= 0.5 * of_weights[:, k, None, None] * (product + product.transpose(0, 2, 1))
    return out


def _no_links(dimension: int) -> tuple[np.ndarray, np.ndarray]:
    """No neighbors along axes beside those of the stencils."""
    return np.empty((0, 2 * dimension), np.int32), np.empty((0, dimension))


def _users(
    weights: np.ndarray, near: np.ndarray, axes: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Starts and list of the nodes that use each node."""
    from einthoven.eikonal import kernels_stencil

    starts = np.zeros(len(near) + 1, np.int64)
    kernels_stencil.count_users(weights, near, axes, lengths, starts)
    users = np.empty(starts[-1], np.int32)
    kernels_stencil.list_users(weights, near, axes, lengths, starts, users)
    return starts, users
