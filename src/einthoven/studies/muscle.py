"""The muscle of a case on a grid, and the closed surface through which it is seen from outside.

Where the case has a closed endo- and epicardial surface (a ``vm`` source), the muscle is what lies inside it. Where
only the epicardium is known, a wall of even thickness is made inside it. Whatever is assumed is said in the notes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from einthoven.core import Case, GeometryError, InputError, Region, Surface
from einthoven.core.errors import some
from einthoven.tissue import Grid, Tissue

#: Most nodes of the muscle, and most cells of the box around it.
MOST_NODES, MOST_CELLS = 3_000_000, 60_000_000

#: Pieces of muscle smaller than this share of it are left out, and said.
FRAGMENT = 0.01

#: Part of the surface farther from all nodes than this, in grid spacings, is joined to the nearest one; farther than
#: the second it is refused, and so is a muscle with more than this share of cells added.
OFF, FAR_OFF, MOST_ADDED = 1.4, 4.0, 0.02

#: How near to the muscle most of the surface of a cavity's blood lies, mm (at least two grid spacings), and how far
#: from it muscle that looks at it may be: blood does not fill every corner.
REACH, FARTHEST = 3.0, 8.0

#: Least volume of a made cavity over that of the epicardium.
LEAST_CAVITY = 0.01


@dataclass(frozen=True, eq=False)
class Muscle:
    """The muscle of a case on a grid, and the closed surface through which it is seen from outside.

    Parameters
    ----------
    tissue
        On a 3-D `Grid`, isotropic, of diffusivity 1; its label ``"endocardium"`` is the share (0 to 1) of the fast
        endocardial layer at every node, 0 everywhere where no endocardium is known.
    surface
        Closed endo- and epicardium, mm: the double layer lies on it.
    notes
        One sentence for everything that was assumed.
    cavities
        Names of the case's regions taken for cavities.

    Raises
    ------
    InputError
        If the tissue is not on a 3-D grid, or its label is missing or not within 0 to 1.
    """

    tissue: Tissue
    surface: Surface
    notes: tuple[str, ...] = ()
    cavities: tuple[str, ...] = ()

    def __post_init__(self):
        self.surface.check_closed()
        if not isinstance(self.tissue.domain, Grid) or self.tissue.domain.dimension != 3:
            raise InputError(f"{self.surface.name}: the muscle must be a tissue on a 3-D grid; got {self.tissue!r}.")
        share = self.tissue.label("endocardium")
        if not ((share >= 0) & (share <= 1)).all():
            raise InputError(
                f"{self.surface.name}: the label 'endocardium' must be within 0 to 1; it is {share.min():g} to "
                f"{share.max():g}."
            )

    def __repr__(self) -> str:
        return f"Muscle({self.milliliters:.0f} ml inside {self.surface.name!r}, {self.tissue!r})"

    @property
    def milliliters(self) -> float:
        """Volume of the conducting cells, ml."""
        return float(self.tissue.volumes.sum()) / 1000.0


def case_muscle(
    case: Case, *, spacing: float | int = 2.0, wall: float | int = 10.0, layer: float | int = 2.0
) -> Muscle:
    """Return the muscle of a case.

    A cell conducts where its center lies inside the closed surface; cell borders are at whole multiples of the spacing.
    Where the wall is thinner than the cells (a sharp rim), cells are added so that all of the surface has some near.
    The fast layer is what lies within `layer` of the endocardium, fading over one spacing. Endocardium is the part of
    the surface that faces a cavity: an inner region of the case most of whose nodes lie within 3 mm (or two spacings)
    of the muscle, outside of it. Of an epicardium alone (``hsp``) a wall is made: what lies nearer than `wall` to it;
    the epicardium's nodes stay the first ones of the surface, its name becomes ``NAME wall``.

    Parameters
    ----------
    case
        Its first ``vm`` source is taken, else its first ``hsp`` source.
    spacing
        Of the grid, mm.
    wall
        Thickness of the wall made inside an epicardium, mm.
    layer
        Thickness of the fast endocardial layer, mm; 0: none.

    Raises
    ------
    InputError
        For lengths that make no sense, a grid too fine for memory or too coarse for the muscle (which then falls into
        pieces), an epicardium too small for the wall, and regions within the muscle.
    """
    _check_lengths(case.name, spacing=spacing, wall=wall, layer=layer)
    given = next((s.surface for s in case.sources if s.quantity == "vm"), None)
    spacing, layer = float(spacing), float(layer)
    if given is not None:
        made = _Closed(given, [], ())
    else:
        made = _made_wall(case.source("hsp").surface, float(wall), spacing=spacing)
    surface = made.surface
    _check_regions(case, surface)
    tissue, notes = _conducting(surface, spacing)
    cavities = [r for r in case.conductor.inner if _is_cavity(r, surface, spacing)]
    endocardium = made.endocardium or [f for r in cavities if (f := _facing(surface, r.surface)) is not None]
    share = _share(tissue.points, endocardium, layer=layer, spacing=spacing)
    if not endocardium:
        notes += (f"{surface.name}: no cavity is known, so that the wave has one speed, without a fast layer.",)
    names = tuple(r.surface.name for r in cavities)
    return Muscle(tissue.labelled("endocardium", share), surface, made.notes + notes, names)


def cells_inside(surface: Surface, grid: Grid) -> Bool[np.ndarray, "nx ny nz"]:
    """Whether the center of every cell of a 3-D grid lies inside a closed surface.

    The same as `einthoven.geometry.locate.contains`, at once for a whole grid: lines along z through the cell centers
    count the triangles they enter and leave by. They are moved by less than a millionth of the spacing, so that they do
    not run along edges.

    Parameters
    ----------
    surface
        Closed and consistently wound.
    grid
        Three-dimensional.
    """
    shift = np.array([np.sqrt(2), np.sqrt(3), 0.0]) * 3e-7
    corners = (surface.corners - np.asarray(grid.origin)) / grid.spacing - shift
    first = np.clip(np.ceil(corners[..., :2].min(axis=1)), 0, None).astype(int)
    last = np.minimum(np.floor(corners[..., :2].max(axis=1)), np.array(grid.shape[:2]) - 1).astype(int)
    size = np.maximum(last - first + 1, 0)
    count = size.prod(axis=1)
    which = np.repeat(np.arange(len(corners)), count)
    place = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    column = first[which] + np.stack(np.divmod(place, np.maximum(size[which, 1], 1)), axis=1)
    heights, winding = _crossings(corners[which], column)
    met = winding != 0
    upward = np.clip(np.ceil(heights[met]), 0, grid.shape[2]).astype(int)
    steps = np.zeros((*grid.shape[:2], grid.shape[2] + 1), dtype=np.int32)
    np.add.at(steps, (column[met, 0], column[met, 1], upward), winding[met])
    return np.cumsum(steps, axis=2)[..., :-1] != 0


def _crossings(corners: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Height where a vertical line meets each triangle; 1 where it enters, -1 where it leaves, 0 where it misses."""
    a, b, c = (corners[:, k, :2] - columns for k in range(3))

    def cross(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        return u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]

    parts = np.stack([cross(b, c), cross(c, a), cross(a, b)], axis=1)
    area = parts.sum(axis=1)
    met = (parts > 0).all(axis=1) | (parts < 0).all(axis=1)
    heights = (parts * corners[..., 2]).sum(axis=1) / np.where(met, area, 1.0)
    return heights, np.where(met, -np.sign(area), 0).astype(int)


class _Closed(NamedTuple):
    """A closed muscle surface; its endocardium where it was made, and what was assumed."""

    surface: Surface
    endocardium: list[Surface]
    notes: tuple[str, ...]


def _made_wall(epicardium: Surface, wall: float, *, spacing: float) -> _Closed:
    """Put a wall of even thickness inside a closed epicardium."""
    from einthoven.geometry.checks import check_not_self_intersecting
    from einthoven.geometry.generators import joined

    if spacing > wall / 2:
        raise InputError(
            f"{epicardium.name}: a wall of {wall:g} mm needs a spacing of {wall / 2:g} mm or less; got {spacing:g}. "
            "Use a finer spacing or a thicker wall."
        )
    cavity, pockets = _offset_inward(epicardium, wall)
    inner = Surface(cavity.points, cavity.triangles[:, ::-1], f"{epicardium.name} cavity")
    surface = joined((epicardium, inner), name=f"{epicardium.name} wall")
    try:
        check_not_self_intersecting(surface)
    except GeometryError as problem:
        raise InputError(
            f"{epicardium.name}: no wall of {wall:g} mm could be made inside it: {problem} Choose another thickness, "
            "or give the closed endo- and epicardial surface as a vm source."
        ) from problem
    notes = [
        f"{epicardium.name}: a wall of {wall:g} mm was made inside it, closed over the base, around a cavity of "
        f"{cavity.volume / 1000:.0f} ml that conducts like the region around the heart."
    ]
    if pockets:
        notes.append(f"{epicardium.name}: {pockets} small pockets farther than {wall:g} mm from it count as wall.")
    return _Closed(surface, [inner], tuple(notes))


def _offset_inward(epicardium: Surface, wall: float) -> tuple[Surface, int]:
    """The smoothed surface at a depth inside a closed one, and how many small pockets were left out."""
    from scipy import ndimage

    from einthoven.datasets.phantom.meshing import mesh_body

    cell = max(wall / 4, float(epicardium.extent.max()) / 80)
    grid = _grid_around(epicardium, cell, margin=3)
    excess = ndimage.gaussian_filter(wall - _depth(epicardium, grid), 1.0)
    pieces = np.zeros(grid.shape, dtype=np.int32)
    ndimage.label(excess < 0, output=pieces)
    volumes = np.bincount(pieces.reshape(-1))[1:] * cell**3
    kept = 1 + np.flatnonzero(volumes >= LEAST_CAVITY * epicardium.volume)
    if not kept.size:
        raise InputError(
            f"{epicardium.name}: {epicardium.volume / 1000:.3g} ml are too small for a wall of {wall:g} mm: no cavity "
            "is left. Give a thinner wall, or the closed endo- and epicardial surface as a vm source."
        )
    near = ndimage.binary_dilation(np.isin(pieces, kept), iterations=2)
    spline = ndimage.spline_filter(np.where(near, excess, np.maximum(excess, cell)), order=3)
    low = np.asarray(grid.origin)

    def field(points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        place = ((points - low) / cell).T
        return ndimage.map_coordinates(spline, place, order=3, mode="nearest", prefilter=False)

    edge = max(0.6 * wall, 0.05 * float(epicardium.extent.max()))
    box = np.stack([low, low + cell * (np.array(grid.shape) - 1)])
    cavity = mesh_body(field, box, edge_length=edge, finest=0.5 * edge, cell=cell, name="cavity")
    return cavity, len(volumes) - len(kept)


def _depth(surface: Surface, grid: Grid) -> Float[np.ndarray, "nx ny nz"]:
    """Distance of cell centers inside a closed surface from it, mm; 0 outside."""
    from einthoven.geometry.locate import closest_points

    inside = cells_inside(surface, grid)
    depth = np.zeros(grid.shape)
    depth[inside] = closest_points(surface, grid.at(np.flatnonzero(inside))).distance
    return depth


def _grid_around(surface: Surface, spacing: float, *, margin: int = 0) -> Grid:
    """Cells around a surface, their borders at whole multiples of the spacing."""
    low = np.floor(surface.points.min(axis=0) / spacing).astype(int) - margin
    high = np.ceil(surface.points.max(axis=0) / spacing).astype(int) + margin
    x, y, z = ((low + 0.5) * spacing).tolist()
    return Grid(tuple(int(n) for n in high - low), spacing, (x, y, z))


def _conducting(surface: Surface, spacing: float) -> tuple[Tissue, tuple[str, ...]]:
    """The cells inside a closed surface, in one piece and near all of it, and what was left out or added."""
    _check_size(surface, spacing)
    grid = _grid_around(surface, spacing)
    inside = cells_inside(surface, grid)
    if not inside.any():
        raise InputError(
            f"{surface.name}: no cell of {spacing:g} mm has its center in the muscle. Use a finer spacing."
        )
    tissue, notes = _one_piece(Tissue.isotropic(grid, 1.0, inside), surface, spacing)
    bridges = _bridges(tissue, grid, surface)
    if len(bridges) > MOST_ADDED * tissue.n_nodes:
        raise InputError(
            f"{surface.name}: in many places the wall is thinner than cells of {spacing:g} mm. Use a finer spacing."
        )
    if len(bridges):
        conducting = tissue.conducting.copy()
        conducting[bridges] = True
        tissue = Tissue.isotropic(grid, 1.0, conducting)
        notes += (f"{surface.name}: {len(bridges)} cells were added where its wall is thinner than the cells.",)
    return tissue, notes


def _one_piece(tissue: Tissue, surface: Surface, spacing: float) -> tuple[Tissue, tuple[str, ...]]:
    """The largest piece, the others being small."""
    part = tissue.components()
    sizes = np.bincount(part)
    large = sizes >= FRAGMENT * tissue.n_nodes
    if large.sum() > 1:
        raise InputError(
            f"{surface.name}: at a spacing of {spacing:g} mm the muscle falls into {large.sum()} pieces of "
            f"{some(sizes[large])} nodes. Use a finer spacing, or give each as a case of its own if they are apart."
        )
    if len(sizes) == 1:
        return tissue, ()
    lost = int(sizes[1:].sum())
    note = f"{surface.name}: {lost} of {tissue.n_nodes} cells that do not touch the others were left out."
    return tissue.without(part > 0), (note,)


def _bridges(tissue: Tissue, grid: Grid, surface: Surface) -> Int[np.ndarray, " n"]:
    """Cells on straight ways, through faces, from parts of the surface that have no node near to the nearest one."""
    from scipy.spatial import KDTree

    points = _lattice(surface, grid.spacing)
    distance, nearest = (np.asarray(found) for found in KDTree(tissue.points).query(points))
    off = np.flatnonzero(distance > OFF * grid.spacing)
    if off.size and distance[off].max() > FAR_OFF * grid.spacing:
        far = int(distance.argmax())
        where = ", ".join(f"{c:.0f}" for c in points[far])
        raise InputError(
            f"{surface.name}: is {distance[far]:.3g} mm off the nearest cell near ({where}) mm, where its wall is too "
            f"thin for cells of {grid.spacing:g} mm. Use a finer spacing."
        )
    place = np.rint((points[off] - np.asarray(grid.origin)) / grid.spacing).astype(int)
    starts = np.clip(place, 0, np.array(grid.shape) - 1)
    stops = np.stack(np.unravel_index(tissue.nodes[nearest[off]], grid.shape), axis=1)
    pairs = np.unique(np.stack([starts, stops], axis=1), axis=0)
    ways = [_staircase(start, stop)[:-1] for start, stop in pairs]
    cells = np.concatenate([np.zeros((0, 3), dtype=int), *ways])
    flat = np.unique(np.ravel_multi_index(tuple(cells.T), grid.shape))
    return flat[~tissue.conducting[flat]]


def _lattice(surface: Surface, spacing: float) -> Float[np.ndarray, "n 3"]:
    """Points all over a surface, no farther apart than the spacing."""
    corners = surface.corners
    longest = np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=2).max()
    m = max(1, int(np.ceil(longest / spacing)))
    i, j = (x.reshape(-1) for x in np.meshgrid(np.arange(m + 1), np.arange(m + 1), indexing="ij"))
    weights = np.stack([i, j, m - i - j], axis=1)[i + j <= m] / m
    return np.einsum("qk,tkx->tqx", weights, corners).reshape(-1, 3)


def _staircase(start: Int[np.ndarray, " 3"], stop: Int[np.ndarray, " 3"]) -> Int[np.ndarray, "n 3"]:
    """Cells from one to another along a straight line, each sharing a face with the next."""
    way = stop - start
    length = np.abs(way)
    when = np.concatenate([(np.arange(n) + 0.5) / n for n in length])
    axis = np.repeat(np.arange(3), length)[np.argsort(when, kind="stable")]
    return np.concatenate([start[None], start + np.cumsum(np.eye(3, dtype=int)[axis] * np.sign(way), axis=0)])


def _is_cavity(region: Region, surface: Surface, spacing: float) -> bool:
    """Whether a region is the blood of a cavity: most of its nodes near the muscle, the muscle not inside of it."""
    from einthoven.geometry.locate import closest_points, contains

    near = closest_points(surface, region.surface.points).distance <= max(REACH, 2 * spacing)
    return bool(near.mean() > 0.5 and not contains(region.surface, surface.points).any())


def _facing(surface: Surface, cavity: Surface) -> Surface | None:
    """The triangles of the muscle's surface that look at a cavity from near; None if there are none."""
    from einthoven.geometry.locate import closest_points

    corners = surface.corners
    center = corners.mean(axis=1)
    found = closest_points(cavity, center)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    ahead = ((found.points - center) * normal).sum(axis=1) > 0.2 * found.distance * np.linalg.norm(normal, axis=1)
    chosen = ahead & (found.distance <= FARTHEST)
    return Surface(surface.points, surface.triangles[chosen], "endocardium") if chosen.any() else None


def _share(
    points: Float[np.ndarray, "n 3"], endocardium: Sequence[Surface], *, layer: float, spacing: float
) -> Float[np.ndarray, " n"]:
    """1 within a layer under the endocardium, fading over one spacing; 0 everywhere for a layer of 0."""
    from einthoven.geometry.locate import closest_points

    share = np.zeros(len(points))
    if layer > 0:
        for surface in endocardium:
            depth = closest_points(surface, points).distance
            share = np.maximum(share, np.clip((layer - depth) / spacing + 0.5, 0.0, 1.0))
    return share


def _check_lengths(name: str, *, spacing: float | int, wall: float | int, layer: float | int) -> None:
    if not (0 < spacing < np.inf and 0 < wall < np.inf and 0 <= layer < np.inf):
        raise InputError(
            f"{name}: spacing and wall must be positive and layer 0 or more, all in mm; got {spacing:g}, {wall:g} and "
            f"{layer:g}. Usual: 2, 10 and 2."
        )


def _check_size(surface: Surface, spacing: float) -> None:
    """Refuse a grid that is too fine before memory is taken."""
    nodes, cells = surface.volume / spacing**3, float(np.prod(surface.extent / spacing + 2.0))
    if nodes > MOST_NODES or cells > MOST_CELLS:
        least = max(surface.volume / MOST_NODES, float(np.prod(surface.extent)) / MOST_CELLS) ** (1 / 3)
        raise InputError(
            f"{surface.name}: a spacing of {spacing:g} mm makes about {nodes / 1e6:.3g} million nodes, more than "
            f"{MOST_NODES / 1e6:g} million. Use {1.05 * least:.2g} mm or more."
        )


def _check_regions(case: Case, surface: Surface) -> None:
    """Refuse regions within the muscle, where the double layer allows none."""
    from einthoven.geometry.locate import contains

    within = [r.surface.name for r in case.conductor.inner if contains(surface, r.surface.points).any()]
    if within:
        raise InputError(
            f"{case.name}: the regions {some(within)} lie within the muscle {surface.name!r}, which must conduct "
            "alike. Leave them out, or give the closed endo- and epicardial surface around them as a vm source."
        )
