"""Boundary elements: heart-surface or transmembrane potentials to the body surface.

Linear elements, collocation at the nodes, analytic near integrals (`einthoven.forward.kernels`). Let W_k be the
double layer of interface k (normal outward from the enclosed region), S_H the single layer of the heart surface, s_k-
and s_k+ the conductivities inside and outside interface k, s_h that around the heart. Green's identity, summed over the
regions, gives for every node x of every interface and of the heart surface

    c(x) phi(x) + sum_k (s_k- - s_k+) W_k phi - s_h W_H phi = s_h S_H q     (heart-surface potentials, normal current q)
    c(x) phi(x) + sum_k (s_k- - s_k+) W_k phi = -s_i W_H vm                 (transmembrane potentials)

(Barr, Ramsey and Spach 1977, doi:10.1109/TBME.1977.326201; Geselowitz 1967, doi:10.1016/S0006-3495(67)86571-8, and
1989, doi:10.1109/5.29327). The free term c follows from the constant potential, for which all else vanishes: every row
of the left-hand matrix sums to zero.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from einthoven.core import Electrodes, ForwardOperator, GeometryError, InputError, Quantity, Surface, VolumeConductor
from einthoven.core.errors import some
from einthoven.forward.electrodes import interpolation
from einthoven.forward.kernels import add_layers

#: Intracellular conductivity, mS/mm: the mean (trace / 3) of 0.17 along and 0.019 across the fibers, the values of
#: Niederer et al. 2011 (doi:10.1098/rsta.2011.0139). In a medium of 0.2 mS/mm an upstroke of 100 mV then makes a
#: wavefront of 35 mV. The potentials are proportional to it.
INTRACELLULAR_CONDUCTIVITY = (0.17 + 2 * 0.019) / 3


@dataclass(frozen=True, eq=False)
class _Layout:
    """Interfaces that matter (the skin first), their conductivity jumps, and the conductivity around the heart."""

    interfaces: tuple[Surface, ...]
    jumps: tuple[float, ...]
    around: float

    @property
    def n_unknowns(self) -> int:
        return sum(s.n_points for s in self.interfaces)

    @property
    def points(self) -> np.ndarray:
        return np.concatenate([s.points for s in self.interfaces])

    @property
    def columns(self) -> tuple[slice, ...]:
        ends = np.cumsum([s.n_points for s in self.interfaces]).tolist()
        return tuple(slice(e - s.n_points, e) for e, s in zip(ends, self.interfaces, strict=True))


def transfer(heart: Surface, conductor: VolumeConductor, electrodes: Electrodes | None = None) -> ForwardOperator:
    """Return the operator from heart-surface potentials to body-surface potentials.

    Regions enclosed by the heart surface are left out: the potential on it determines the field outside, whatever is
    inside. A constant passes unchanged: every row sums to 1.

    Parameters
    ----------
    heart
        Closed surface around the heart (epicardial envelope, cage, sock), inside the torso and apart from the other
        regions.
    conductor
        Torso and inner regions, nested or side by side in any number.
    electrodes
        Where the body surface is recorded; default: all nodes of the skin.

    Returns
    -------
    ForwardOperator
        hsp -> bsp, shape (n_electrodes or n_skin_nodes, n_heart_nodes), reference ``"absolute"``.

    Raises
    ------
    GeometryError
        If surfaces are not closed, intersect or do not nest, an electrode is off the skin, or the matrices would not
        fit in memory.

    Notes
    -----
    Memory as `estimate_memory`. Accuracy: potentials of degree 1, 2, 3 on concentric spheres of radius ratio 2 with
    642 + 642 nodes are within 0.06, 0.13 and 0.45 % of the exact solution.
    """
    layout, rows = _prepared(heart, conductor, electrodes)
    left, right = _transfer_system(layout, heart)
    matrix = _solved(left, right, rows.matrix)
    return _operator(matrix, heart, conductor, rows, in_quantity="hsp", reference="absolute")


def double_layer(
    heart: Surface,
    conductor: VolumeConductor,
    electrodes: Electrodes | None = None,
    *,
    intracellular_conductivity: float = INTRACELLULAR_CONDUCTIVITY,
) -> ForwardOperator:
    """Return the operator from transmembrane potentials to body-surface potentials (equivalent double layer).

    For equal anisotropy ratios the field outside the myocardium is that of a double layer of strength
    ``intracellular_conductivity`` times vm on its closed surface. The myocardium as a whole is taken to conduct like
    the region it lies in. A uniform vm gives zero.

    Parameters
    ----------
    heart
        Closed endo- and epicardial surface; the myocardium is inside. Cavities are outside of it, and interfaces
        (blood) may come as near to it as a fraction of a millimeter, without touching.
    conductor
        Torso and inner regions; none may lie within the myocardium.
    electrodes
        Where the body surface is recorded; default: all nodes of the skin.
    intracellular_conductivity
        mS/mm.

    Returns
    -------
    ForwardOperator
        vm -> bsp, shape (n_electrodes or n_skin_nodes, n_heart_nodes), reference ``"skin"``: the area-weighted mean
        over the body surface is zero.

    Raises
    ------
    GeometryError
        As `transfer`, and if a region lies within the myocardium.
    """
    layout, rows = _prepared(heart, conductor, electrodes, source_inside=True)
    left, right, mean = _double_layer_system(layout, heart, _positive(intracellular_conductivity))
    padded = np.zeros((rows.n_out, layout.n_unknowns))
    padded[:, : conductor.skin.n_points] = rows.matrix
    matrix = _solved(left, right, padded - mean)
    return _operator(matrix, heart, conductor, rows, in_quantity="vm", reference="skin")


def double_layer_to_surface(
    heart: Surface,
    conductor: VolumeConductor,
    target: Surface,
    *,
    intracellular_conductivity: float = INTRACELLULAR_CONDUCTIVITY,
) -> ForwardOperator:
    """Return the operator from transmembrane to extracellular potentials on a surface outside the myocardium.

    For an epicardial envelope that encloses the heart, ``transfer(target, ...) @ double_layer_to_surface(heart, ...)``
    equals ``double_layer(heart, ...)`` up to discretization: the reference is the same.

    Parameters
    ----------
    heart, conductor, intracellular_conductivity
        As in `double_layer`.
    target
        Surface whose nodes are inside the torso and outside the myocardium; it may be as near as a fraction of a
        millimeter.

    Returns
    -------
    ForwardOperator
        vm -> hsp, shape (n_target_nodes, n_heart_nodes), reference ``"skin"``.

    Raises
    ------
    GeometryError
        If a node of `target` lies within the myocardium, where vm on its surface does not determine the potential, or
        outside the torso; and as `double_layer`.
    """
    matrix = _double_layer_field(heart, conductor, target.points, target.name, intracellular_conductivity)
    return ForwardOperator(
        matrix, heart.node_names, target.node_names, "vm", "hsp", reference="skin", source=heart, conductor=conductor
    )


def double_layer_to_points(
    heart: Surface,
    conductor: VolumeConductor,
    electrodes: Electrodes,
    *,
    intracellular_conductivity: float = INTRACELLULAR_CONDUCTIVITY,
) -> ForwardOperator:
    """Return the operator from transmembrane potentials to electrograms at points outside the myocardium.

    As `double_layer_to_surface`, for catheters and needles: vm -> egm, reference ``"skin"``.
    """
    where = electrodes.positions
    matrix = _double_layer_field(heart, conductor, where, "electrodes", intracellular_conductivity)
    return ForwardOperator(
        matrix,
        heart.node_names,
        electrodes.names,
        "vm",
        "egm",
        reference="skin",
        source=heart,
        conductor=conductor,
        electrodes=electrodes,
        lead_matrix=np.eye(len(electrodes)),
    )


def estimate_memory(n_unknowns: int, n_sources: int, n_out: int) -> int:
    """Bytes held at the peak of `transfer`, without the interpreter (about 150 MB).

    Parameters
    ----------
    n_unknowns
        Nodes of all interfaces outside the heart surface.
    n_sources
        Nodes of the heart surface.
    n_out
        Electrodes, or skin nodes.
    """
    everything = (n_unknowns + n_sources) ** 2 + n_unknowns * n_sources  # both layers, then the reduced system
    assembling = everything + n_sources**2
    solving = everything + n_unknowns**2 + n_unknowns * min(n_out, n_sources)
    return 8 * (max(assembling, solving) + n_out * n_sources)


# -- preparation ------------------------------------------------------------------------------------------------------


def _prepared(
    heart: Surface, conductor: VolumeConductor, electrodes: Electrodes | None, *, source_inside: bool = False
) -> tuple[_Layout, ForwardOperator]:
    """Check the geometry; return the layout and the operator from skin nodes to electrodes."""
    from einthoven.geometry.checks import check_conductor

    check_conductor(conductor, heart)
    layout = _layout(heart, conductor, source_inside=source_inside)
    skin = conductor.skin
    _check_memory(layout.n_unknowns, heart.n_points, skin.n_points if electrodes is None else len(electrodes))
    if electrodes is None:
        electrodes = Electrodes(skin.node_names, skin.points)
        rows = ForwardOperator(
            np.eye(skin.n_points), skin.node_names, skin.node_names, "bsp", "bsp",
            electrodes=electrodes, lead_matrix=np.eye(skin.n_points),
        )  # fmt: skip
        return layout, rows
    return layout, interpolation(skin, electrodes)


def _check_memory(n_unknowns: int, n_sources: int, n_out: int) -> None:
    from einthoven.geometry.checks import check_memory

    need = estimate_memory(n_unknowns, n_sources, n_out)
    check_memory(n_unknowns, n_sources, copies=need / (8.0 * n_unknowns * (n_unknowns + n_sources)))


def _layout(heart: Surface, conductor: VolumeConductor, *, source_inside: bool) -> _Layout:
    """Find which regions matter and what lies outside of each.

    With `source_inside` the source fills the heart surface, so that no region may lie in it; otherwise such regions
    are left out.
    """
    from einthoven.geometry.checks import parents

    regions = conductor.regions
    parent = parents(conductor, heart)
    within = [_ancestor(k, len(regions), parent) for k in range(len(regions))]
    if source_inside and any(within):
        names = some(r.surface.name for r, w in zip(regions, within, strict=True) if w)
        raise GeometryError(
            f"{heart.name}: a transmembrane source needs homogeneous myocardium inside its surface; {names} lie "
            "within. Use the closed endo- and epicardial surface (cavities are outside), or leave these regions out."
        )
    kept = [k for k in range(len(regions)) if not within[k]]
    outside = [0.0 if (p := parent[k]) is None else regions[p].conductivity for k in kept]
    around = parent[len(regions)]
    if around is None:
        raise GeometryError(
            f"{heart.name}: must lie inside {conductor.skin.name}; it does not. Check units and frames."
        )
    return _Layout(
        tuple(regions[k].surface for k in kept),
        tuple(regions[k].conductivity - s for k, s in zip(kept, outside, strict=True)),
        regions[around].conductivity,
    )


def _ancestor(k: int, heart: int, parent: tuple[int | None, ...]) -> bool:
    """Whether surface `heart` encloses surface `k`."""
    above = parent[k]
    while above is not None and above != heart:
        above = parent[above]
    return above == heart


def _positive(conductivity: float) -> float:
    if not 0 < conductivity < 1e4:
        raise InputError(f"intracellular_conductivity must be positive and in S/m (= mS/mm); got {conductivity:g}.")
    return conductivity


# -- systems ----------------------------------------------------------------------------------------------------------


def _interfaces(layout: _Layout, points: np.ndarray, out: np.ndarray) -> None:
    """Write sum_k (s_k- - s_k+) W_k, seen from `points`, to the first columns of a zero matrix."""
    for surface, jump, columns in zip(layout.interfaces, layout.jumps, layout.columns, strict=True):
        add_layers(points, surface, out, column=columns.start)
        out[:, columns] *= jump


def _transfer_system(layout: _Layout, heart: Surface) -> tuple[np.ndarray, np.ndarray]:
    """Return A and B with A phi = B phi_heart on all interfaces, the normal current being eliminated."""
    n = layout.n_unknowns
    points = np.concatenate([layout.points, heart.points])
    left = np.zeros((len(points), len(points)))
    single = np.zeros((len(points), heart.n_points))
    _interfaces(layout, points, left)
    add_layers(points, heart, left, column=n, single=single)
    left[:, n:] *= -layout.around
    left.flat[:: len(points) + 1] -= left.sum(axis=1)
    # the factor s_h of the current drops out together with the current
    weights = np.linalg.solve(single[n:].T, single[:n].T).T
    del single
    right = weights @ left[n:, n:]
    right -= left[:n, n:]
    reduced = left[:n, :n]
    for rows in _blocks(n):
        reduced[rows] -= weights[rows] @ left[n:, :n]
    return reduced, right


def _double_layer_system(
    layout: _Layout, heart: Surface, conductivity: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return A, B with A phi = B vm on all interfaces, and the row that takes the skin's mean of phi.

    A constant solves the homogeneous system; the rank-one term that pins the mean over the skin makes A regular.
    """
    n = layout.n_unknowns
    points = layout.points
    left = np.zeros((n, n))
    _interfaces(layout, points, left)
    left.flat[:: n + 1] -= left.sum(axis=1)
    mean = np.zeros(n)
    mean[: layout.interfaces[0].n_points] = _node_weights(layout.interfaces[0])
    left += layout.jumps[0] * mean
    right = np.zeros((n, heart.n_points))
    add_layers(points, heart, right)
    right *= -conductivity
    return left, right, mean


def _double_layer_field(
    heart: Surface, conductor: VolumeConductor, points: np.ndarray, name: str, conductivity: float
) -> np.ndarray:
    """Potentials at points outside the myocardium per unit vm at the heart's nodes, skin reference."""
    from einthoven.geometry.checks import check_conductor

    check_conductor(conductor, heart)
    layout = _layout(heart, conductor, source_inside=True)
    _check_memory(layout.n_unknowns, heart.n_points, len(points))
    source = np.zeros((len(points), heart.n_points))
    add_layers(points, heart, source)
    _check_outside(source.sum(axis=1), heart, name)
    rows = np.zeros((len(points), layout.n_unknowns))
    _interfaces(layout, points, rows)
    local = -rows.sum(axis=1)  # the conductivity at each point, averaged on an interface
    beyond = np.flatnonzero(local < 1e-3 * layout.jumps[0])
    if beyond.size:
        raise GeometryError(
            f"{name}: potentials are wanted inside {conductor.skin.name}; nodes {some(beyond)} lie outside. "
            "Check units and frames, or leave these nodes out."
        )
    left, right, mean = _double_layer_system(layout, heart, _positive(conductivity))
    rows /= -local[:, None]
    rows -= mean
    matrix = _solved(left, right, rows)
    source *= (-conductivity / local)[:, None]
    matrix += source
    return matrix


def _check_outside(enclosed: np.ndarray, heart: Surface, name: str) -> None:
    inside = np.flatnonzero(enclosed < -0.5)
    if inside.size:
        raise GeometryError(
            f"{name}: extracellular potentials are known outside the myocardium only; nodes {some(inside)} lie inside "
            f"{heart.name}. Move the surface off the heart (an envelope 1 mm outside is enough)."
        )


def _node_weights(surface: Surface) -> np.ndarray:
    """Each node's share of the area, a third of its triangles; sums to 1."""
    a, b, c = surface.corners.transpose(1, 0, 2)
    area = np.repeat(np.linalg.norm(np.cross(b - a, c - a), axis=1), 3)
    weights = np.bincount(surface.triangles.reshape(-1), weights=area, minlength=surface.n_points)
    return weights / weights.sum()


# -- linear algebra ---------------------------------------------------------------------------------------------------


def _blocks(n: int, size: int = 512) -> list[slice]:
    return [slice(k, min(k + size, n)) for k in range(0, n, size)]


def _solved(
    left: Float[np.ndarray, "n n"], right: Float[np.ndarray, "n n_in"], rows: Float[np.ndarray, "n_out k"]
) -> Float[np.ndarray, "n_out n_in"]:
    """``rows @ left^-1 @ right`` with as few right-hand sides as possible; `rows` may name the first columns only."""
    n_out, k = rows.shape
    if n_out <= right.shape[1]:
        padded = np.zeros((len(left), n_out))
        padded[:k] = rows.T
        return np.linalg.solve(left.T, padded).T @ right
    return rows @ np.linalg.solve(left, right)[:k]


def _operator(
    matrix: np.ndarray,
    heart: Surface,
    conductor: VolumeConductor,
    rows: ForwardOperator,
    *,
    in_quantity: Quantity,
    reference: str,
) -> ForwardOperator:
    matrix.flags.writeable = False  # spares the operator a copy
    return ForwardOperator(
        matrix,
        heart.node_names,
        rows.out_sites,
        in_quantity,
        "bsp",
        reference=reference,
        source=heart,
        conductor=conductor,
        electrodes=rows.electrodes,
        lead_matrix=rows.lead_matrix,
    )
