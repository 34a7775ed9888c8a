"""Simple surfaces with known answers: spheres, ellipsoids, boxes, cylinders, tori, flat patches."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from einthoven.core import InputError, Surface

Number = float | int
Vector = Sequence[float | int] | Float[np.ndarray, " 3"] | Int[np.ndarray, " 3"]
ORIGIN = (0.0, 0.0, 0.0)


def sphere(radius: Number, *, subdivisions: int = 3, center: Vector = ORIGIN, name: str = "sphere") -> Surface:
    """Icosphere: a subdivided icosahedron with all nodes on the sphere.

    Parameters
    ----------
    radius
        mm.
    subdivisions
        0, 1, 2, 3, 4, ... give 12, 42, 162, 642, 2562, ... nodes.
    center
        mm.
    name
        Name of the surface.

    Returns
    -------
    Surface
        Closed, outward.
    """
    _check_positive(radius=radius)
    points, triangles = _icosahedron()
    for _ in range(_check_count(subdivisions, 0, "subdivisions")):
        points, triangles = _subdivided(points, triangles)
        points = points / np.linalg.norm(points, axis=1, keepdims=True)
    return Surface(np.asarray(center, dtype=float) + radius * points, triangles, name)


def ellipsoid(semiaxes: Vector, *, subdivisions: int = 3, center: Vector = ORIGIN, name: str = "ellipsoid") -> Surface:
    """Icosphere stretched to the three semiaxes (mm); closed, outward."""
    _check_positive(**dict(zip("abc", semiaxes, strict=True)))
    unit = sphere(1.0, subdivisions=subdivisions)
    return Surface(np.asarray(center, dtype=float) + unit.points * np.asarray(semiaxes), unit.triangles, name)


def concentric(radii: Sequence[Number], *, subdivisions: int = 3) -> tuple[Surface, ...]:
    """Icospheres around the origin, named ``"sphere RADIUS"``, in the order of `radii` (mm)."""
    return tuple(sphere(r, subdivisions=subdivisions, name=f"sphere {r:g}") for r in radii)


def shell(inner: Number, outer: Number, *, subdivisions: int = 3, name: str = "shell") -> Surface:
    """Both surfaces of a spherical wall as one: the outer sphere outward, the inner one into the cavity.

    The normals point out of the wall everywhere, and `Surface.volume` is the wall's.

    Parameters
    ----------
    inner, outer
        Radii, mm.
    subdivisions
        As in `sphere`; the nodes of the outer sphere come first.
    name
        Name of the surface.
    """
    _check_positive(inner=inner, wall=outer - inner)
    big, small = sphere(outer, subdivisions=subdivisions), sphere(inner, subdivisions=subdivisions)
    return joined((big, Surface(small.points, small.triangles[:, ::-1])), name=name)


def box(size: Vector, *, segments: int = 4, center: Vector = ORIGIN, name: str = "box") -> Surface:
    """Closed box with `segments` x `segments` squares (two triangles each) on every side.

    Parameters
    ----------
    size
        Lengths of the sides along x, y, z, mm.
    segments
        Per edge.
    center
        mm.
    name
        Name of the surface.
    """
    _check_positive(**dict(zip("xyz", size, strict=True)))
    n = _check_count(segments, 1, "segments")
    flat = rectangle((1.0, 1.0), segments=n)
    sides = []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            points = np.empty_like(flat.points)
            points[:, axis] = sign / 2
            points[:, (axis + 1) % 3] = flat.points[:, 0]
            points[:, (axis + 2) % 3] = flat.points[:, 1]
            sides.append(Surface(points, flat.triangles if sign > 0 else flat.triangles[:, ::-1]))
    whole = _merged(joined(sides))
    return Surface(np.asarray(center, dtype=float) + whole.points * np.asarray(size), whole.triangles, name)


def cylinder(
    radius: Number, height: Number, *, around: int = 32, center: Vector = ORIGIN, name: str = "cylinder"
) -> Surface:
    """Closed cylinder along z with flat lids.

    Parameters
    ----------
    radius, height
        mm.
    around
        Nodes around, rounded up to a multiple of 6; rings along z and on the lids are spaced to match.
    center
        mm.
    name
        Name of the surface.

    Returns
    -------
    Surface
        Closed, outward; its side is a regular polygon inscribed in the circle.
    """
    _check_positive(radius=radius, height=height)
    rings = -(-_check_count(around, 3, "around") // 6)
    n, segments = 6 * rings, max(1, round(height * rings / radius))
    lid = disk(radius, rings=rings)
    top = lid.with_points(lid.points + np.array([0.0, 0.0, height / 2]))
    bottom = Surface(lid.points - np.array([0.0, 0.0, height / 2]), lid.triangles[:, ::-1])
    rim = lid.points[-n:]
    side = [rim + np.array([0.0, 0.0, height * (k / segments - 0.5)]) for k in range(segments + 1)]
    i, j = (v.ravel() for v in np.meshgrid(np.arange(segments), np.arange(n), indexing="ij"))
    low, low_next, high = i * n + j, i * n + (j + 1) % n, (i + 1) * n + j
    high_next = high - j + (j + 1) % n
    walls = np.concatenate([np.stack(t, axis=1) for t in ((low, low_next, high_next), (low, high_next, high))])
    whole = _merged(joined((top, bottom, Surface(np.concatenate(side), walls))))
    return Surface(np.asarray(center, dtype=float) + whole.points, whole.triangles, name)


def torus(major: Number, minor: Number, *, around: int = 48, center: Vector = ORIGIN, name: str = "torus") -> Surface:
    """Torus around z (one handle: genus 1), for tests of topology.

    Parameters
    ----------
    major, minor
        Radius of the ring and of the tube, mm.
    around
        Nodes around the ring; the tube gets as many as match.
    center
        mm.
    name
        Name of the surface.
    """
    _check_positive(minor=minor, gap=major - minor)
    n = _check_count(around, 3, "around")
    m = max(3, round(n * minor / major))
    u = 2 * np.pi * np.arange(n)[:, None] / n
    v = 2 * np.pi * np.arange(m)[None, :] / m
    rho = major + minor * np.cos(v)
    points = np.stack(np.broadcast_arrays(rho * np.cos(u), rho * np.sin(u), minor * np.sin(v)), axis=2)
    i, j = np.meshgrid(np.arange(n), np.arange(m), indexing="ij")
    a, b = i * m + j, (i + 1) % n * m + j
    c, d = (i + 1) % n * m + (j + 1) % m, i * m + (j + 1) % m
    triangles = np.concatenate([np.stack(t, axis=-1).reshape(-1, 3) for t in ((a, b, c), (a, c, d))])
    return Surface(np.asarray(center, dtype=float) + points.reshape(-1, 3), triangles, name)


def rectangle(size: Sequence[Number], *, segments: int = 8, name: str = "rectangle") -> Surface:
    """Open flat patch in the plane z = 0, centered, normal along +z.

    Parameters
    ----------
    size
        Lengths along x and y, mm.
    segments
        Per edge; every square is cut into two triangles.
    name
        Name of the surface.
    """
    _check_positive(**dict(zip("xy", size, strict=True)))
    n = _check_count(segments, 1, "segments")
    grid = np.arange(n + 1) / n - 0.5
    x, y = np.meshgrid(grid * size[0], grid * size[1], indexing="ij")
    points = np.stack([x, y, np.zeros_like(x)], axis=2).reshape(-1, 3)
    i, j = (v.ravel() for v in np.meshgrid(np.arange(n), np.arange(n), indexing="ij"))
    a, b = i * (n + 1) + j, (i + 1) * (n + 1) + j
    triangles = np.concatenate([np.stack([a, b, b + 1], axis=1), np.stack([a, b + 1, a + 1], axis=1)])
    return Surface(points, triangles, name)


def disk(radius: Number, *, rings: int = 8, name: str = "disk") -> Surface:
    """Open flat disk in the plane z = 0, normal along +z; ring k holds 6 k nodes."""
    _check_positive(radius=radius)
    points, triangles = [np.zeros((1, 2))], []
    for k in range(1, _check_count(rings, 1, "rings") + 1):
        phi = 2 * np.pi * np.arange(6 * k) / (6 * k)
        points.append(radius * k / rings * np.stack([np.cos(phi), np.sin(phi)], axis=1))
        inner, outer = 1 + 3 * (k - 1) * (k - 2) if k > 1 else 0, 1 + 3 * k * (k - 1)
        n_inner, n_outer = max(1, 6 * (k - 1)), 6 * k
        for s in range(6):
            for j in range(k):
                o, i = s * k + j, s * (k - 1) + j
                inside = inner + i % n_inner
                triangles.append((outer + o, outer + (o + 1) % n_outer, inside))
                if j < k - 1:
                    triangles.append((inside, outer + (o + 1) % n_outer, inner + (i + 1) % n_inner))
    flat = np.concatenate(points)
    return Surface(np.column_stack([flat, np.zeros(len(flat))]), np.array(triangles), name)


def joined(surfaces: Sequence[Surface], *, name: str = "joined") -> Surface:
    """Several surfaces as one with several parts; nodes and triangles in the order given, nothing merged."""
    if not surfaces:
        raise InputError("joined: needs at least one surface; got none.")
    offsets = np.cumsum([0, *(s.n_points for s in surfaces)])
    triangles = np.concatenate([s.triangles + o for s, o in zip(surfaces, offsets, strict=False)])
    return Surface(np.concatenate([s.points for s in surfaces]), triangles, name)


def _icosahedron() -> tuple[Float[np.ndarray, "12 3"], Int[np.ndarray, "20 3"]]:
    """Regular icosahedron with circumradius 1, a node at each pole, outward."""
    z, rho = 1 / np.sqrt(5), 2 / np.sqrt(5)
    phi = 2 * np.pi * np.arange(5) / 5
    upper = np.stack([rho * np.cos(phi), rho * np.sin(phi), np.full(5, z)], axis=1)
    lower = np.stack([rho * np.cos(phi + np.pi / 5), rho * np.sin(phi + np.pi / 5), np.full(5, -z)], axis=1)
    points = np.concatenate([[[0.0, 0.0, 1.0]], upper, lower, [[0.0, 0.0, -1.0]]])
    k = np.arange(5)
    u, u_next, v, v_next = 1 + k, 1 + (k + 1) % 5, 6 + k, 6 + (k + 1) % 5
    zero, eleven = np.zeros(5, dtype=np.int64), np.full(5, 11)
    caps = [(zero, u, u_next), (u, v, u_next), (u_next, v, v_next), (eleven, v_next, v)]
    return points, np.concatenate([np.stack(t, axis=1) for t in caps])


def _subdivided(
    points: Float[np.ndarray, "n 3"], triangles: Int[np.ndarray, "m 3"]
) -> tuple[Float[np.ndarray, "n2 3"], Int[np.ndarray, "m4 3"]]:
    """Every triangle cut into four at the midpoints of its edges."""
    from einthoven.core import topology

    table = topology.edges(triangles)
    middle = len(points) + table.of_triangle  # edges (a, b), (b, c), (c, a)
    (a, b, c), (ab, bc, ca) = triangles.T, middle.T
    four = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    finer = np.stack([np.stack(t, axis=1) for t in four], axis=1).reshape(-1, 3)
    return np.concatenate([points, points[table.vertices].mean(axis=1)]), finer


def _merged(surface: Surface) -> Surface:
    """Nodes at the same place (to 1e-9 of the extent) become one."""
    key = np.rint(surface.points / (1e-9 * surface.extent.max())).astype(np.int64)
    _, first, index = np.unique(key, axis=0, return_index=True, return_inverse=True)
    return Surface(surface.points[first], index.reshape(-1)[surface.triangles], surface.name)


def _check_positive(**values: Number) -> None:
    for name, value in values.items():
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"{name} must be positive, in mm; got {value:g}.")


def _check_count(value: int, least: int, name: str) -> int:
    if value < least:
        raise InputError(f"{name} must be at least {least}; got {value}.")
    return value
