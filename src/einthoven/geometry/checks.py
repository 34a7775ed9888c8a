"""Checks of surfaces, conductors and cases before anything is computed on them.

A check returns nothing when all is well, or what it measured; otherwise it raises `GeometryError` with what is
wrong, which faces, nodes or electrodes, and how to mend it. Nothing is repaired here.
"""

import math
import os
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from einthoven.core import Case, Electrodes, GeometryError, Surface, VolumeConductor, topology
from einthoven.core.errors import some
from einthoven.geometry import operators
from einthoven.geometry.intersect import intersections, self_intersections
from einthoven.geometry.locate import closest_points, contains

#: Largest extent of a heart, torso or tank taken for millimeters, mm: from a mouse's heart to a tall man's torso.
PLAUSIBLE_MM = (5.0, 1500.0)
#: Largest extent of a torso or tank around a heart, mm.
PLAUSIBLE_TORSO_MM = (50.0, 1500.0)
#: Height over longest edge below which a triangle counts as a sliver.
SLIVER = 1e-4
#: Electrodes farther from the skin than this are refused, mm.
MAX_ELECTRODE_DISTANCE_MM = 10.0
#: Least gap between two surfaces, as a fraction of the local edge length: below it boundary elements lose accuracy.
LEAST_GAP = 0.05


def check_units(surface: Surface, *, plausible: tuple[float | int, float | int] = PLAUSIBLE_MM) -> None:
    """Raise unless the surface's extent is plausible in millimeters.

    Parameters
    ----------
    surface
        A heart, torso, tank, lung.
    plausible
        Least and greatest extent of its bounding box, mm.

    Raises
    ------
    GeometryError
        The message guesses meters, centimeters or micrometers from the size.
    """
    size, (least, most) = float(surface.extent.max()), plausible
    if least <= size <= most:
        return
    units = (("meters", 1000.0), ("centimeters", 10.0), ("inches", 25.4), ("micrometers", 0.001))
    typical = math.sqrt(least * most)
    fitting = [(abs(math.log(size * f / typical)), name) for name, f in units if least <= size * f <= most]
    side = "small" if size < least else "large"
    guess = f"are these {min(fitting)[1]}?" if fitting else "is one coordinate wrong?"
    raise GeometryError(
        f"{surface.name}: is {size:.2g} across, too {side} for millimeters ({least:g} to {most:g}): {guess} "
        "Say the unit when reading the file, or scale the coordinates to mm."
    )


def check_triangles(surface: Surface, *, sliver: float | int = SLIVER) -> None:
    """Raise if the surface has isolated or coinciding nodes, flat or sliver triangles, or a triangle twice.

    Parameters
    ----------
    surface
        Any surface.
    sliver
        Height over longest edge at or below which a triangle is refused.

    Raises
    ------
    GeometryError
        Naming the nodes or faces.
    """
    operators.check_no_isolated(surface)
    pairs = coinciding_nodes(surface)
    if len(pairs):
        raise GeometryError(
            f"{surface.name}: nodes {some(f'{i} and {j}' for i, j in pairs)} lie at the same place. "
            "Merge them (or move one, if two sheets touch there)."
        )
    bad = operators.flat_triangles(surface, ratio=sliver)
    if bad.size:
        raise GeometryError(
            f"{surface.name}: faces {some(bad)} are flat (height below {sliver:g} of the longest edge). "
            "Collapse their shortest edge, or move the middle node off it."
        )
    _, first, count = np.unique(np.sort(surface.triangles, axis=1), axis=0, return_index=True, return_counts=True)
    if (count > 1).any():
        raise GeometryError(f"{surface.name}: faces {some(np.sort(first[count > 1]))} occur twice. Delete the copies.")


def coinciding_nodes(surface: Surface, *, tolerance: float | int = 1e-9) -> Int[np.ndarray, "n 2"]:
    """Pairs of nodes closer than `tolerance` times the surface's extent."""
    reach = tolerance * float(surface.extent.max())
    # Close nodes are close in any direction; on a direction that no mesh is aligned with, hardly any others are. This
    # spares the import of scipy.spatial, a fifth of the time of a small operator in a fresh process.
    along = np.sort(surface.points @ (np.array([np.sqrt(2), np.sqrt(3), np.sqrt(5)]) / np.sqrt(10)))
    if (np.diff(along) > reach).all():
        return np.zeros((0, 2), dtype=np.int64)

    from scipy.spatial import KDTree

    pairs = KDTree(surface.points).query_pairs(reach, output_type="ndarray")
    return np.asarray(pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))], dtype=np.int64).reshape(-1, 2)


def check_not_self_intersecting(surface: Surface) -> None:
    """Raise if two triangles of the surface meet elsewhere than in a shared node or edge; both are named."""
    pairs = self_intersections(surface)
    if len(pairs):
        raise GeometryError(
            f"{surface.name}: cuts itself; faces {_listed(pairs)} meet. Smooth or remesh the surface around node "
            f"{surface.triangles[pairs[0, 0], 0]}, at {_place(surface.corners[pairs[0, 0]].mean(axis=0))} mm."
        )


def check_separate(a: Surface, b: Surface) -> None:
    """Raise if the two surfaces intersect or touch; the faces of both are named.

    Parameters
    ----------
    a, b
        Any two surfaces; one may lie inside the other.

    Raises
    ------
    GeometryError
        If a triangle of one has a point in common with a triangle of the other.
    """
    pairs = intersections(a, b)
    if len(pairs):
        where = _place(a.corners[pairs[0, 0]].mean(axis=0))
        raise GeometryError(
            f"{a.name} and {b.name} must not intersect or touch; faces {some(np.unique(pairs[:, 0]))} of {a.name} meet "
            f"faces {some(np.unique(pairs[:, 1]))} of {b.name}, first at {where} mm. Move or shrink one surface; are "
            "both in the same coordinates?"
        )


def check_inside(inner: Surface, outer: Surface) -> None:
    """Raise unless `inner` lies inside the closed surface `outer` without touching it.

    Raises
    ------
    GeometryError
        Naming the nodes that lie outside, or the faces that meet.
    """
    inside = _inside(inner, outer)
    outside = np.flatnonzero(~inside)
    if outside.size == inner.n_points:
        raise GeometryError(
            f"{inner.name}: must lie inside {outer.name}; all {inner.n_points} nodes lie outside (centers "
            f"{_place(inner.points.mean(axis=0))} and {_place(outer.points.mean(axis=0))} mm). Are both in the same "
            "coordinates and unit?"
        )
    if outside.size:
        far = closest_points(outer, inner.points[outside]).distance
        raise GeometryError(
            f"{inner.name}: must lie inside {outer.name}; {outside.size} nodes lie outside ({some(outside)}), "
            f"up to {far.max():.2g} mm. Move {inner.name}, or correct one of the surfaces there."
        )
    check_separate(inner, outer)


def _inside(inner: Surface, outer: Surface) -> Bool[np.ndarray, " n_points"]:
    """Which nodes of one surface lie inside the other; of a part that does not meet it, one node tells for all."""
    low, high = outer.points.min(axis=0), outer.points.max(axis=0)
    if (inner.points.max(axis=0) < low).any() or (inner.points.min(axis=0) > high).any():
        return np.zeros(inner.n_points, dtype=bool)
    if len(intersections(inner, outer, limit=1)):
        return contains(outer, inner.points)
    part = topology.triangle_components(inner.triangles)
    _, first = np.unique(part, return_index=True)
    of_part = contains(outer, inner.points[inner.triangles[first, 0]])
    inside = contains(outer, inner.points) if operators.isolated_nodes(inner).size else np.zeros(inner.n_points, bool)
    inside[inner.triangles] = of_part[part][:, None]
    return inside


def check_gap(inner: Surface, outer: Surface, *, least: float | int = LEAST_GAP) -> float:
    """Return the smallest distance between nodes of one surface and the other, mm; raise if it is too small.

    Parameters
    ----------
    inner, outer
        Two surfaces that do not meet.
    least
        Smallest distance allowed, as a fraction of the mean edge length of the coarser surface.

    Raises
    ------
    GeometryError
        Naming the nodes that are too near.
    """
    edge = max(_mean_edge(inner), _mean_edge(outer))
    smallest = math.inf
    for one, other in ((inner, outer), (outer, inner)):
        distance = closest_points(other, one.points).distance
        near = np.flatnonzero(distance < least * edge)
        if near.size:
            raise GeometryError(
                f"{one.name}: comes too near to {other.name}; nodes {some(near)} are {distance.min():.2g} mm from it, "
                f"less than {least:g} of the edge length ({edge:.2g} mm). Move {one.name} away, or refine both there."
            )
        smallest = min(smallest, float(distance.min()))
    return smallest


def check_electrodes(
    electrodes: Electrodes, skin: Surface, *, max_distance: float | int = MAX_ELECTRODE_DISTANCE_MM
) -> Float[np.ndarray, " n_electrodes"]:
    """Return every electrode's distance from the skin, mm; raise if one is too far.

    Parameters
    ----------
    electrodes
        Named positions, mm.
    skin
        The body surface.
    max_distance
        mm.

    Raises
    ------
    GeometryError
        Naming the electrodes and their distances.
    """
    distance = closest_points(skin, electrodes.positions).distance
    far = np.flatnonzero(distance > max_distance)
    if far.size:
        listed = some(f"{electrodes.names[i]} ({distance[i]:.1f} mm)" for i in far[np.argsort(-distance[far])])
        many = far.size > len(electrodes) / 2
        mend = (
            "Are the electrodes in the coordinates and unit of the skin? See einthoven.geometry.registration."
            if many
            else f"Leave them out, re-digitize them, or allow more than {max_distance:g} mm."
        )
        raise GeometryError(f"electrodes must lie on or near {skin.name}; {listed} do not. {mend}")
    return distance


def check_surface(surface: Surface) -> None:
    """Everything a closed surface must fulfil on its own: units, triangles, closed, outward, no self-intersection."""
    check_units(surface)
    check_triangles(surface)
    surface.check_closed()
    check_not_self_intersecting(surface)


def parents(conductor: VolumeConductor, *extra_surfaces: Surface) -> tuple[int | None, ...]:
    """Which surface lies directly inside which.

    Parameters
    ----------
    conductor
        Its regions come first, the torso at index 0.
    extra_surfaces
        Closed surfaces inside it, such as hearts.

    Returns
    -------
    tuple
        For every surface the index of the smallest one around it; None for the torso. Indices count the regions
        of the conductor, then the extra surfaces.

    Raises
    ------
    GeometryError
        If a surface lies partly or wholly outside the torso, or partly inside another one.
    """
    surfaces = [*(r.surface for r in conductor.regions), *extra_surfaces]
    for surface in surfaces[1:]:
        if not _inside(surface, conductor.skin).all():
            check_inside(surface, conductor.skin)
    return (None, *(_parent(s, surfaces) for s in surfaces[1:]))


def _parent(surface: Surface, others: Sequence[Surface]) -> int:
    """Index of the smallest of the others around a surface; the first one is known to be."""
    around = [0]
    for j, other in enumerate(others):
        if j == 0 or other is surface:
            continue
        inside = _inside(surface, other)
        if inside.all():
            around.append(j)
        elif inside.any():
            part = np.flatnonzero(inside)
            raise GeometryError(
                f"{surface.name}: {part.size} of {surface.n_points} nodes lie inside {other.name} "
                f"({some(part)}), the others outside. Surfaces nest or lie side by side: move or shrink one."
            )
    return min(around, key=lambda j: others[j].volume)


def check_conductor(conductor: VolumeConductor, *hearts: Surface) -> tuple[int | None, ...]:
    """Check every surface of a volume conductor, and how they lie to each other and to the hearts.

    Parameters
    ----------
    conductor
        Torso and inner regions.
    hearts
        Surfaces of sources inside it. A heart may coincide with or cross no region; two hearts may cross each
        other (an envelope and a closed surface of the same heart are never used together).

    Returns
    -------
    tuple
        `parents(conductor, *hearts)` where each heart is placed on its own among the regions.

    Raises
    ------
    GeometryError
        If a surface cuts itself, two surfaces meet, something lies outside the torso, or two are too close.
    """
    regions = [r.surface for r in conductor.regions]
    check_units(conductor.skin, plausible=PLAUSIBLE_TORSO_MM)
    for surface in (*regions, *hearts):
        check_surface(surface)
    pairs = [(a, b) for k, a in enumerate(regions) for b in (*regions[k + 1 :], *hearts)]
    for a, b in pairs:
        if a is conductor.skin:
            check_inside(b, a)
        else:
            check_separate(a, b)
        check_gap(b, a)
    among = parents(conductor)
    return (*among, *(_parent(heart, regions) for heart in hearts))


def check_case(case: Case, *, max_electrode_distance: float | int = MAX_ELECTRODE_DISTANCE_MM) -> dict[str, float]:
    """Check a whole case: every surface, how they nest, and the electrodes on the skin.

    Parameters
    ----------
    case
        Geometry, electrodes and recording.
    max_electrode_distance
        mm.

    Returns
    -------
    dict
        What was measured, in mm: ``electrode_distance_max``, ``electrode_distance_mean``, ``heart_depth_min``.

    Raises
    ------
    GeometryError
        The first thing that is wrong, prefixed with the case's name.
    """
    hearts = [s.surface for s in case.sources]
    try:
        check_conductor(case.conductor, *hearts)
        distance = check_electrodes(case.electrodes, case.conductor.skin, max_distance=max_electrode_distance)
    except GeometryError as error:
        raise GeometryError(f"{case.name}: {error}") from error
    depth = min(float(closest_points(case.conductor.skin, h.points).distance.min()) for h in hearts)
    return {
        "electrode_distance_max": float(distance.max()),
        "electrode_distance_mean": float(distance.mean()),
        "heart_depth_min": depth,
    }


def physical_memory() -> int | None:
    """Physical memory of this machine in bytes, or the process's address limit if lower; None if unknown."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return total if limit == resource.RLIM_INFINITY else min(total, limit)


def check_memory(
    n_unknowns: int,
    n_sources: int,
    *,
    available: float | int | None = None,
    copies: float | int = 2.0,
    share: float | int = 0.8,
) -> float:
    """Return the memory that dense boundary-element matrices need, in GiB; raise if it is not there.

    ``8 bytes x copies x n_unknowns x (n_unknowns + n_sources)``: the system and its right-hand sides, held `copies`
    times while they are assembled and factored.

    Parameters
    ----------
    n_unknowns
        Nodes of all surfaces whose potential is solved for.
    n_sources
        Nodes of the heart surface.
    available
        Bytes; default: this machine's physical memory.
    copies
        How many times the matrices are held at once.
    share
        Part of the available memory that may be used.

    Raises
    ------
    GeometryError
        With the size needed and the number of nodes that would do.
    """
    need = 8.0 * copies * n_unknowns * (n_unknowns + n_sources)
    limit = available if available is not None else physical_memory()
    gib = need / 2**30
    if limit is not None and need > share * limit:
        factor = math.sqrt(share * limit / need)
        fewer = [max(1, int(factor * n)) for n in (n_unknowns, n_sources)]
        raise GeometryError(
            f"the dense matrices for {n_unknowns} + {n_sources} nodes need {gib:.3g} GiB; {share * limit / 2**30:.3g} "
            f"GiB can be used. Decimate the surfaces to at most {fewer[0]} + {fewer[1]} nodes "
            f"({100 * factor:.0f} %) with einthoven.geometry.remesh.decimated."
        )
    return gib


def _mean_edge(surface: Surface) -> float:
    i, j = surface.edges.vertices.T
    return float(np.linalg.norm(surface.points[i] - surface.points[j], axis=1).mean())


def _listed(pairs: Int[np.ndarray, "n 2"]) -> str:
    return some(f"{i} and {j}" for i, j in pairs)


def _place(point: Sequence[float] | np.ndarray) -> str:
    return "(" + ", ".join(f"{x:.1f}" for x in point) + ")"
