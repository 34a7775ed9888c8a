"""`Eikonal`: where a wave runs; `Arrival`: when it gets there, and the derivatives of that."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Int

from einthoven.core import InputError, Surface, Tetrahedra
from einthoven.core.arrays import frozen
from einthoven.eikonal.grid_solver import GridMedium, GridSolver
from einthoven.eikonal.marched import Marched
from einthoven.eikonal.mesh_solver import MeshMedium, MeshSolver
from einthoven.eikonal.sites import REACH, NearbyCells, NearbyNodes, Seeds
from einthoven.tissue import Grid, Tissue
from einthoven.tissue.checks import Quantity, checked_mask, checked_tensors

Domain = Grid | Surface | Tetrahedra

_SQUARED_SPEED = Quantity("eikonal", "squared speed", "mm2/ms2")


class Gradient(NamedTuple):
    """Derivatives of a number that depends on times of arrival, in the shapes of what they are taken by."""

    squared_speed: Float[np.ndarray, "..."]
    sites: Float[np.ndarray, "*batch n_sites d"]
    onsets: Float[np.ndarray, "*batch n_sites"]


@dataclass(frozen=True, eq=False)
class Eikonal:
    """Where a wave runs: <V grad T, grad T> = 1, T the time of arrival (ms), V the squared-speed tensor (mm2/ms2).

    On grids V is split into upwind differences along integer vectors (Mirebeau 2019, doi:10.1137/17M1127466), of first
    or second order, in one pass at any anisotropy. On triangles and tetrahedra T is linear in every cell and of first
    order (Fu, Kirby and Whitaker 2013, doi:10.1137/120881956).

    Parameters
    ----------
    domain
        `Grid`, `Surface` (the wave runs within it) or `Tetrahedra`.
    conducting
        Which points hold cells, booleans, flat or in the grid's shape; None: all. Kept flat. Waves go around the
        others.
    order
        1 or 2; 2 on grids only.
    reach
        How far from a site nodes start with the time of the straight way, mm; None: 2.5 cells of a grid, 4 for order 2.
        On meshes it is always two rings of nodes.

    Raises
    ------
    InputError
        If the mask does not fit or nothing conducts, for another order, and for second order on a mesh.

    Examples
    --------
    >>> sheet = Eikonal(Grid((101, 101), 0.5))
    >>> arrival = sheet.solve(0.36, [[25.0, 25.0]])  # V = 0.36 mm2/ms2: 0.6 mm/ms
    >>> round(float(arrival.times.max()), 1)  # 35.36 mm to the corner
    59.1
    """

    domain: Domain
    conducting: Any = None
    order: int = 1
    reach: float | None = None

    def __post_init__(self):
        if self.order not in (1, 2):
            raise InputError(f"eikonal: order must be 1 or 2; got {self.order}.")
        if self.order == 2 and not isinstance(self.domain, Grid):
            raise InputError("eikonal: second order works on grids only. Take order 1, or a finer mesh.")
        if self.reach is not None and not 0 < self.reach < 1e3:
            raise InputError(f"eikonal: reach must be a positive length in mm; got {self.reach:g}.")
        if self.reach is not None and not isinstance(self.domain, Grid):
            raise InputError("eikonal: reach can be chosen on grids only; on meshes it is two rings of nodes.")
        mask = checked_mask(self.domain, self.conducting, "eikonal")
        object.__setattr__(self, "conducting", frozen(mask, bool))

    @classmethod
    def of(cls, tissue: Tissue, order: int = 1) -> "Eikonal":
        """Where the tissue conducts; its diffusivity is not looked at (see `squared_speed`)."""
        return cls(tissue.domain, tissue.conducting, order)

    def __repr__(self) -> str:
        return f"Eikonal({self.domain!r}, {self.n_nodes} nodes, order {self.order})"

    @cached_property
    def _solver(self) -> GridSolver | MeshSolver:
        mask = np.asarray(self.conducting)
        if isinstance(self.domain, Grid):
            return GridSolver(self.domain, mask, self.order)
        return MeshSolver(self.domain, mask)

    @cached_property
    def _nearby(self) -> NearbyCells | NearbyNodes:
        solver = self._solver
        if isinstance(solver, MeshSolver):
            return NearbyNodes(solver)
        cells = REACH[self.order] if self.reach is None else self.reach / solver.domain.spacing
        return NearbyCells(solver, cells)

    @property
    def points(self) -> Float[np.ndarray, "n_nodes d"]:
        """Coordinates of the conducting nodes, mm: d is the grid's dimension, 3 on meshes."""
        return self._solver.points

    @property
    def n_nodes(self) -> int:
        """Number of conducting points: every time of arrival belongs to one."""
        return int(np.count_nonzero(self.conducting))

    @property
    def dimension(self) -> int:
        """Of sites and tensors."""
        return self._solver.dimension

    def solve(
        self,
        squared_speed: Any,
        sites: Any,
        onsets: Any = 0.0,
    ) -> "Arrival":
        """Times at which the wave arrives.

        Parameters
        ----------
        squared_speed
            V, mm2/ms2: a number, one per point, a tensor (d, d), or one per point (n, d, d), where points are those of
            the domain or those that conduct. Or a `Medium` of this object, whose preparation is then not repeated.
        sites
            Where the wave begins, mm, shape (..., n_sites, d); leading axes are solved in parallel.
        onsets
            When, ms, shape (..., n_sites) or a number.

        Raises
        ------
        InputError
            For wrong shapes, NaN, tensors that are not symmetric and positive definite, and sites outside.
        """
        medium = squared_speed if isinstance(squared_speed, Medium) else self.medium(squared_speed)
        if medium.wave is not self:
            raise InputError("eikonal: the medium belongs to another `Eikonal`. Make it by `medium` of this one.")
        places, begins = self._checked_sites(sites, onsets)
        seeds = self._seeds(places.reshape(-1, *places.shape[-2:]))
        k = len(seeds.nodes)
        times = begins.reshape(k, -1, 1) + np.sqrt(medium.squared_ways(seeds))
        times = np.where(seeds.used, times, np.inf)
        marched = medium.prepared.march(seeds.nodes.reshape(k, -1), times.reshape(k, -1))
        return Arrival(self, medium, seeds, marched, places.shape[:-2])

    def inside(self, sites: Float[np.ndarray, "n d"]) -> Bool[np.ndarray, " n"]:
        """Which places a wave can begin at: those in conducting cells, or on the mesh to within half an edge."""
        return self._nearby.inside(np.asarray(sites, dtype=np.float64))

    def medium(self, squared_speed: Any) -> "Medium":
        """Prepare V once for many calls of `solve`."""
        values = np.asarray(squared_speed, dtype=np.float64)
        shape = self._grid_shape
        if len(shape) > 1 and values.shape[: len(shape)] == shape:
            values = values.reshape(-1, *values.shape[len(shape) :])
        values, _ = checked_tensors(values, self.dimension, np.asarray(self.conducting), _SQUARED_SPEED)
        return Medium(self, frozen(values, np.float64))

    def times(self, squared_speed: Any, sites: Any, onsets: Any = 0.0) -> Float[Array, "*batch n_nodes"]:
        """The same as a function that JAX can trace and differentiate in reverse: `Arrival.times` as an array.

        Values are not checked as `solve` does; sites outside raise when the function runs. Works in float64 whatever
        comes in, and gives times in the type of `sites`. Unreached nodes are NaN and pass no derivative on.
        """
        from einthoven.eikonal.traced import times_of

        return times_of(self, squared_speed, sites, onsets)

    def fill(self, values: Float[np.ndarray, "*batch n_nodes"]) -> Float[np.ndarray, "..."]:
        """Values at the nodes in arrays of the domain's shape, NaN where nothing conducts."""
        values = np.asarray(values)
        full = np.full((*values.shape[:-1], self.domain.n_points), np.nan)
        full[..., np.asarray(self.conducting)] = values
        return full.reshape(*values.shape[:-1], *self._grid_shape)

    @property
    def _grid_shape(self) -> tuple[int, ...]:
        return self.domain.shape if isinstance(self.domain, Grid) else (self.domain.n_points,)

    def _checked_sites(self, sites: Any, onsets: Any) -> tuple[np.ndarray, np.ndarray]:
        places = np.asarray(sites, dtype=np.float64)
        if places.ndim < 2 or places.shape[-1] != self.dimension or places.shape[-2] == 0:
            raise InputError(
                f"eikonal: sites must have shape (..., n_sites, {self.dimension}), in mm; got {places.shape}."
            )
        begins = np.asarray(onsets, dtype=np.float64)
        if begins.ndim and begins.shape != places.shape[:-1]:
            raise InputError(
                f"eikonal: onsets must be a number or have shape {places.shape[:-1]}, one per site; got {begins.shape}."
            )
        for values, name in ((places, "sites"), (begins, "onsets")):
            if not np.isfinite(values).all():
                raise InputError(f"eikonal: {name} must be finite; some are NaN or infinite.")
        return places, np.broadcast_to(begins, places.shape[:-1])

    def _seeds(self, places: Float[np.ndarray, "k n_sites d"]) -> Seeds:
        k, n_sites, d = places.shape
        nodes = self._nearby.nodes(places.reshape(-1, d)).reshape(k, n_sites, -1)
        return Seeds(nodes, self._solver.at(np.maximum(nodes, 0)) - places[:, :, None, :])


@dataclass(frozen=True, eq=False)
class Medium:
    """An `Eikonal` with its squared-speed tensors, prepared; made by `Eikonal.medium`.

    Parameters
    ----------
    wave
        Where the wave runs.
    squared_speed
        V, mm2/ms2: shape (), (n_nodes,), (d, d) or (n_nodes, d, d).
    """

    wave: Eikonal
    squared_speed: Float[np.ndarray, "..."]

    @cached_property
    def prepared(self) -> GridMedium | MeshMedium:
        """Stencils, or the cells' metric."""
        return self.wave._solver.medium(self.squared_speed)

    def slowness(self, seeds: Seeds) -> Float[np.ndarray, "..."]:
        """Inverse of V at every seed: numbers, or tensors, 1/(mm2/ms2)."""
        v = self.squared_speed
        if v.ndim < 2:
            return np.asarray(1 / (v if v.ndim == 0 else v[np.maximum(seeds.nodes, 0)]))
        if not isinstance(self.wave.domain, Surface):
            inverse = np.linalg.inv(v)
            return inverse if v.ndim == 2 else inverse[np.maximum(seeds.nodes, 0)]
        return np.linalg.inv(self.within(seeds, v if v.ndim == 2 else v[np.maximum(seeds.nodes, 0)]))

    def within(self, seeds: Seeds, tensors: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Tensors at seeds; on a surface without what couples its tangents to its normal, as in the cells."""
        solver = self.wave._solver
        if not isinstance(solver, MeshSolver) or solver.normals is None:
            return tensors
        normals = solver.normals[np.maximum(seeds.nodes, 0)]
        across = normals[..., :, None] * normals[..., None, :]
        along = np.eye(3) - across
        return along @ tensors @ along + across @ tensors @ across

    def squared_ways(self, seeds: Seeds) -> Float[np.ndarray, "k n_sites n_near"]:
        """Return e . V^-1 e of the straight ways from sites to seeds, ms2."""
        slowness = self.slowness(seeds)
        if self.squared_speed.ndim < 2:
            return slowness * (seeds.ways**2).sum(axis=-1)
        return np.einsum("...i,...ij,...j->...", seeds.ways, slowness, seeds.ways)


@dataclass(frozen=True, eq=False)
class Arrival:
    """When a wave arrives, and what decided that.

    Parameters
    ----------
    wave, medium, seeds, marched, batch
        What was solved, the nodes around the sites, what the march left, and the leading shape of the sites.
    """

    wave: Eikonal
    medium: Medium
    seeds: Seeds
    marched: Marched
    batch: tuple[int, ...] = field(default=())

    def __repr__(self) -> str:
        reached = self.reached
        last = np.nanmax(self.times) if reached.any() else np.nan
        return (
            f"Arrival({self.wave.n_nodes} nodes, {np.prod(self.batch, dtype=int)} of {self.batch or 'one'}, last "
            f"{last:.4g} ms, {int((~reached).sum())} not reached)"
        )

    @cached_property
    def times(self) -> Float[np.ndarray, "*batch n_nodes"]:
        """Time of arrival at every node, ms; NaN where the wave never comes."""
        times = self.marched.times
        return frozen(np.where(np.isfinite(times), times, np.nan).reshape(*self.batch, -1), np.float64)

    @property
    def reached(self) -> Bool[np.ndarray, "*batch n_nodes"]:
        """Which nodes the wave comes to."""
        return np.isfinite(self.times)

    @property
    def from_site(self) -> Int[np.ndarray, "*batch n_nodes"]:
        """Which site's wave came first to each node, -1 where none came."""
        site_of_seed = np.repeat(np.arange(self.seeds.nodes.shape[1]), self.seeds.nodes.shape[2])
        seed = self.medium.prepared.first_seeds(self.marched)
        return np.where(seed >= 0, site_of_seed[seed], -1).reshape(*self.batch, -1)

    def pull_back(self, adjoint: Float[np.ndarray, "*batch n_nodes"]) -> Gradient:
        """From the derivatives of a number by `times` to those by V, sites and onsets: one reverse pass.

        Exact for the discrete solution wherever it is differentiable. Values at unreached nodes count nothing. V's are
        summed over the leading axes, and symmetric.

        Parameters
        ----------
        adjoint
            Derivatives by the times, 1/ms.
        """
        adjoint = np.asarray(adjoint, dtype=np.float64)
        if adjoint.shape != self.times.shape:
            raise InputError(
                f"eikonal: adjoint must have the shape of the times, {self.times.shape}; got {adjoint.shape}."
            )
        flat = np.where(self.reached, adjoint, 0.0).reshape(self.marched.times.shape)
        if not np.isfinite(flat).all():
            raise InputError("eikonal: adjoint must be finite at the nodes that are reached.")
        n_seeds = int(np.prod(self.seeds.nodes.shape[1:]))
        of_v, of_seeds = self.medium.prepared.pull_back(self.marched, flat, n_seeds)
        return self._through_seeds(of_v, of_seeds.reshape(self.seeds.nodes.shape))

    def push_forward(
        self, squared_speed: Any = None, sites: Any = None, onsets: Any = None
    ) -> Float[np.ndarray, "..."]:
        """From infinitesimal changes of V, sites and onsets to those of the times: the Jacobian times each change.

        The transpose of `pull_back`; for a single right-hand side.

        Parameters
        ----------
        squared_speed, sites, onsets
            Shapes (n_changes, ...) with the shapes that were solved for (V as the `Medium` holds it); None: no change.

        Returns
        -------
        np.ndarray
            Shape (n_changes, n_nodes), ms; 0 at nodes that are not reached.
        """
        v, seeds = self.medium.squared_speed, self.seeds
        if self.batch:
            raise InputError("eikonal: changes can be pushed forward for one right-hand side at a time.")
        n_sites = seeds.nodes.shape[1]
        shapes = (v.shape, (n_sites, self.wave.dimension), (n_sites,))
        of_v, of_sites, of_onsets = _changes((squared_speed, sites, onsets), shapes)
        share, across = self._ways()
        inner = np.where(seeds.used, of_onsets[:, None, :, None], 0.0)
        inner -= np.einsum("ksni,psi->pksn", share[..., None] * across, of_sites)
        nodes = np.maximum(seeds.nodes, 0)
        if v.ndim < 2:
            local = of_v[:, None, None, None] if v.ndim == 0 else of_v[:, nodes]
            inner -= 0.5 * share * (across**2).sum(axis=-1) * local
        else:
            local = of_v[:, None, None, None] if v.ndim == 2 else of_v[:, nodes]
            outer = -0.5 * share[..., None, None] * across[..., :, None] * across[..., None, :]
            local = np.broadcast_to(local, (len(of_v), *outer.shape))
            inner += np.einsum("ksnij,pksnij->pksn", self.medium.within(seeds, outer), local)
        return self.medium.prepared.push_forward(self.marched, 0, of_v, inner.reshape(len(of_v), -1))

    def _ways(self) -> tuple[np.ndarray, np.ndarray]:
        """Inverse of the times of the straight ways (0 where a node is the site, or there is none), and V^-1 e."""
        seeds = self.seeds
        ways = np.sqrt(self.medium.squared_ways(seeds))
        inverse = np.where(seeds.used & (ways > 0), 1 / np.where(ways > 0, ways, 1.0), 0.0)
        slowness = self.medium.slowness(seeds)
        tensors = self.medium.squared_speed.ndim >= 2
        across = np.einsum("...ij,...j->...i", slowness, seeds.ways) if tensors else slowness[..., None] * seeds.ways
        return inverse, across

    def _through_seeds(self, of_v: np.ndarray, of_seeds: Float[np.ndarray, "k n_sites n_near"]) -> Gradient:
        """Add what the seeds' times, onset + sqrt(e . V^-1 e), pass on."""
        seeds, v = self.seeds, self.medium.squared_speed
        inverse, across = self._ways()
        share = of_seeds * inverse
        nodes = np.maximum(seeds.nodes, 0)
        if v.ndim >= 2:
            by_v = -0.5 * share[..., None, None] * across[..., :, None] * across[..., None, :]
            by_v = self.medium.within(seeds, by_v)
        else:
            by_v = -0.5 * share * (across**2).sum(axis=-1)
        of_v = np.array(of_v, dtype=np.float64)
        if v.ndim in (1, 3):
            np.add.at(of_v, nodes, by_v)
        else:
            of_v += by_v.sum(axis=(0, 1, 2))
        of_sites = -(share[..., None] * across).sum(axis=2)
        lead = (*self.batch, seeds.nodes.shape[1])
        of_onsets = np.where(seeds.used, of_seeds, 0.0).sum(axis=2)
        return Gradient(of_v, of_sites.reshape(*lead, -1), of_onsets.reshape(lead))


def _changes(given: tuple[Any, ...], shapes: tuple[tuple[int, ...], ...]) -> list[np.ndarray]:
    """Arrays of shapes (n_changes, ...), zeros where None is given."""
    arrays = [None if g is None else np.asarray(g, dtype=np.float64) for g in given]
    counts = {len(a) for a in arrays if a is not None and a.ndim}
    n = counts.pop() if len(counts) == 1 else 0
    wrong = [a.shape for a, s in zip(arrays, shapes, strict=True) if a is not None and a.shape != (n, *s)]
    if wrong or not n:
        raise InputError(
            f"eikonal: changes must have shapes (n_changes, ...) with {', '.join(map(str, shapes))} for V, sites and "
            f"onsets; got {', '.join(map(str, wrong)) or 'none'}."
        )
    return [np.zeros((n, *s)) if a is None else a for a, s in zip(arrays, shapes, strict=True)]
