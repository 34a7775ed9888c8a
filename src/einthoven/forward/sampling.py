"""Tissue in a torso: transmembrane potentials of a volume on the closed surface of its muscle.

Where the intracellular space conducts alike in all directions, the field of a whole volume of muscle outside of it is
that of a double layer on the closed surface of the muscle, whose strength is the transmembrane potential there: what
happens within the wall is seen only through its surface. The same holds where intra- and extracellular anisotropy are
alike, as long as the muscle's own anisotropy may be left out of the torso (Geselowitz 1989, doi:10.1109/5.29327). So
the lead field of a simulated heart in a torso is

    bem.double_layer(surface, conductor, electrodes) @ surface_sampling(tissue, surface)

a `ForwardOperator` from the nodes of the tissue to the electrodes. For waves on a surface itself (`Tissue` whose domain
is a `Surface`) the double layer of that surface is all it takes. Fibers that conduct differently along and across enter
the wave, not this field.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from einthoven.core import ForwardOperator, InputError, Quantity, Surface
from einthoven.core.errors import some
from einthoven.forward.lead_field import node_names
from einthoven.tissue import Grid, Tissue

if TYPE_CHECKING:
    from scipy.sparse import csr_array

#: A surface may lie this many grid spacings outside of the conducting cells; farther off it is not the tissue's.
REACH = 2.0


@dataclass(frozen=True, eq=False)
class SurfaceSampling:
    """The sparse linear map from a tissue's nodes to the nodes of a closed surface, vm -> vm.

    It fits wherever a lead field is applied within a simulation, and ``operator @ sampling`` gives the (dense)
    `ForwardOperator` from the tissue's nodes to the operator's leads.

    Parameters
    ----------
    matrix
        Shape (n_surface_nodes, n_tissue_nodes), sparse; rows are nonnegative and sum to 1.
    tissue, surface
        Where columns and rows are.
    """

    matrix: "csr_array"
    tissue: Tissue
    surface: Surface
    in_quantity: Quantity = "vm"
    out_quantity: Quantity = "vm"
    reference: str = "absolute"

    def __repr__(self) -> str:
        return f"SurfaceSampling({self.n_in} nodes -> {self.surface.name!r}, {self.n_out} nodes)"

    @property
    def n_in(self) -> int:
        """Number of nodes of the tissue."""
        return self.tissue.n_nodes

    @property
    def n_out(self) -> int:
        """Number of nodes of the surface."""
        return self.surface.n_points

    @property
    def out_sites(self) -> tuple[str, ...]:
        """Names of the surface's nodes."""
        return self.surface.node_names

    def apply(self, x: Float[np.ndarray, "n_in *k"]) -> Float[np.ndarray, "n_out *k"]:
        """A x."""
        return self.matrix @ x

    def adjoint(self, y: Float[np.ndarray, "n_out *k"]) -> Float[np.ndarray, "n_in *k"]:
        """A^T y."""
        return self.matrix.T @ y

    def __rmatmul__(self, outer: ForwardOperator) -> ForwardOperator:
        """Return the operator from the tissue's nodes to the leads of one that takes vm at the surface's nodes."""
        if not isinstance(outer, ForwardOperator):
            return NotImplemented
        if outer.in_quantity != "vm" or outer.in_sites != self.out_sites:
            raise InputError(
                f"cannot compose: the sampling gives vm at the nodes of {self.surface.name!r}, the operator takes "
                f"{outer.in_quantity} at {some(outer.in_sites, limit=2)}. Build it for this surface."
            )
        return ForwardOperator(
            np.ascontiguousarray((self.matrix.T @ outer.matrix.T).T),
            node_names(self.tissue),
            outer.out_sites,
            "vm",
            outer.out_quantity,
            outer.reference,
            conductor=outer.conductor,
            electrodes=outer.electrodes,
            lead_matrix=outer.lead_matrix,
        )


def surface_sampling(tissue: Tissue, surface: Surface) -> SurfaceSampling:
    """Return the map from a volume's nodes to the mean potential over each surface node's share.

    The value at a node is the integral of its linear hat function times v over the integral of the hat function, taken
    by sampling points about one grid spacing apart: a wavefront thinner than a triangle then moves over the surface
    smoothly and the integral of v is kept. At every sampling point v is trilinear among the conducting cells around it,
    the weights normalized; where none is around it, the nearest conducting cell counts.

    Parameters
    ----------
    tissue
        On a 3-D grid.
    surface
        Closed surface of its muscle, for example the phantom's heart.

    Raises
    ------
    InputError
        If the tissue is not on a 3-D grid, or part of the surface lies off the conducting cells.
    """
    from scipy.sparse import csr_array, diags_array

    grid = tissue.domain
    if not isinstance(grid, Grid) or grid.dimension != 3:
        raise InputError(
            f"{surface.name}: only tissue on a 3-D grid can be sampled on a closed surface. On a surface the nodes are "
            "already where `double_layer` wants them; for a sheet use `lead_field`."
        )
    points, shares = _sampling_points(surface, grid.spacing)
    rows = shares @ _trilinear(tissue, grid, points, surface.name)
    return SurfaceSampling(csr_array(diags_array(1.0 / rows.sum(axis=1)) @ rows), tissue, surface)


def _sampling_points(surface: Surface, spacing: float) -> "tuple[np.ndarray, csr_array]":
    """Midpoints of m^2 equal parts of every triangle, parts no longer than `spacing`; hat function times area there."""
    from scipy.sparse import coo_array, csr_array

    corners = surface.corners
    side = np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=2).max(axis=1)
    parts = np.maximum(np.ceil(side / spacing), 1).astype(int)
    double_area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    points, weights, nodes = [], [], []
    for m in np.unique(parts):
        chosen = np.flatnonzero(parts == m)
        hats = _midpoints(int(m))
        points.append(np.einsum("qk,tkx->tqx", hats, corners[chosen]).reshape(-1, 3))
        weights.append((double_area[chosen, None, None] / m**2 * hats).reshape(-1, 3))
        nodes.append(np.repeat(surface.triangles[chosen], len(hats), axis=0))
    every, values, where = (np.concatenate(x) for x in (points, weights, nodes))
    column = np.repeat(np.arange(len(every)), 3)
    shape = (surface.n_points, len(every))
    return every, csr_array(coo_array((values.reshape(-1), (where.reshape(-1), column)), shape=shape))


def _midpoints(m: int) -> Float[np.ndarray, "n_parts 3"]:
    """Barycentric coordinates of the centers of m^2 congruent parts of a triangle."""
    i, j = np.meshgrid(np.arange(m), np.arange(m), indexing="ij")
    up = i + j < m
    down = i + j < m - 1
    first = np.concatenate([i[up] + 1 / 3, i[down] + 2 / 3]) / m
    second = np.concatenate([j[up] + 1 / 3, j[down] + 2 / 3]) / m
    return np.stack([first, second, 1 - first - second], axis=1)


def _trilinear(tissue: Tissue, grid: Grid, points: np.ndarray, name: str) -> "csr_array":
    """Interpolation among the conducting cells around each point, rows summing to 1."""
    from scipy.sparse import coo_array, csr_array, diags_array

    place = (points - np.asarray(grid.origin)) / grid.spacing
    cell = np.floor(place).astype(int)
    index = np.full(grid.shape, -1)
    index.reshape(-1)[tissue.nodes] = np.arange(tissue.n_nodes)
    rows, columns, weights = [], [], []
    for k in range(8):
        corner = np.array([k & 1, k >> 1 & 1, k >> 2 & 1])
        node, weight = _at(index, cell + corner), np.where(corner, place - cell, 1 - place + cell).prod(axis=1)
        used = np.flatnonzero((node >= 0) & (weight > 1e-9))
        rows.append(used)
        columns.append(node[used])
        weights.append(weight[used])
    found = np.bincount(np.concatenate(rows), minlength=len(points)) > 0
    alone = np.flatnonzero(~found)
    rows.append(alone)
    columns.append(_nearest(tissue, points[alone], REACH * grid.spacing, name))
    weights.append(np.ones(len(alone)))
    entries = (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns)))
    matrix = csr_array(coo_array(entries, shape=(len(points), tissue.n_nodes)))
    return csr_array(diags_array(1.0 / matrix.sum(axis=1)) @ matrix)


def _at(index: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Entries of `index`, -1 outside."""
    inside = ((cells >= 0) & (cells < index.shape)).all(axis=1)
    found = np.full(len(cells), -1)
    found[inside] = index[tuple(cells[inside].T)]
    return found


def _nearest(tissue: Tissue, points: np.ndarray, reach: float, name: str) -> np.ndarray:
    """Nearest conducting node of points that have none around them."""
    from scipy.spatial import KDTree

    if not len(points):
        return np.zeros(0, dtype=np.int64)
    distance, nearest = KDTree(tissue.points).query(points)
    far = int(distance.argmax())
    if distance[far] > reach:
        where = ", ".join(f"{c:.0f}" for c in points[far])
        raise InputError(
            f"{name}: lies {distance[far]:.3g} mm off the conducting tissue near ({where}) mm; the surface must be "
            "that of the muscle. Sample it on the surface the tissue was made from, in the same frame."
        )
    return np.asarray(nearest)
