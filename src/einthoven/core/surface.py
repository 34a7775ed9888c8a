"""The `Surface` noun: a triangulated surface in millimeters."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from einthoven.core import topology
from einthoven.core.arrays import frozen
from einthoven.core.errors import GeometryError, some


@dataclass(frozen=True, eq=False)
class Surface:
    """A triangulated surface.

    Construction checks shapes, finiteness, index range and triangles that repeat a node. Whether
    the surface is closed, manifold, outward and free of intersections is asked for where it
    matters, by `check_closed` and by `einthoven.geometry.checks`.

    Parameters
    ----------
    points
        Node coordinates, shape (n_points, 3), mm.
    triangles
        Node indices, 0-based, shape (n_triangles, 3), counter-clockwise seen from outside.
    name
        Used in messages and results.

    Raises
    ------
    GeometryError
        If a coordinate is not finite, an index is out of range, or a triangle repeats a node.

    Examples
    --------
    >>> tetra = Surface(np.eye(4, 3) * 10.0, np.array([[0, 1, 2], [0, 3, 1], [1, 3, 2], [2, 3, 0]]))
    >>> tetra.is_closed, round(tetra.volume, 1)
    (True, 166.7)
    """

    points: Float[np.ndarray, "n_points 3"]
    triangles: Int[np.ndarray, "n_triangles 3"]
    name: str = "surface"

    def __post_init__(self):
        points, triangles = np.asarray(self.points), np.asarray(self.triangles)
        if points.ndim != 2 or points.shape[1] != 3:
            raise GeometryError(f"{self.name}: points must have shape (n, 3); got {points.shape}.")
        if triangles.ndim != 2 or triangles.shape[1] != 3:
            raise GeometryError(f"{self.name}: triangles must have shape (n, 3); got {triangles.shape}.")
        if len(triangles) == 0:
            raise GeometryError(f"{self.name}: a surface needs at least one triangle; got none.")
        bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
        if bad.size:
            raise GeometryError(
                f"{self.name}: coordinates must be finite; nodes {some(bad)} hold NaN or infinity. "
                "Remove or re-digitize these nodes."
            )
        bad = np.flatnonzero(((triangles < 0) | (triangles >= len(points))).any(axis=1))
        if bad.size:
            raise GeometryError(
                f"{self.name}: node indices must be 0..{len(points) - 1}; faces {some(bad)} point outside. "
                "Is the file 1-based, or are nodes missing?"
            )
        bad = np.flatnonzero((triangles != np.round(triangles)).any(axis=1))
        if bad.size:
            raise GeometryError(
                f"{self.name}: node indices must be whole numbers; faces {some(bad)} hold others. Is this the array of "
                "the triangles?"
            )
        a, b, c = triangles.T
        bad = np.flatnonzero((a == b) | (b == c) | (c == a))
        if bad.size:
            raise GeometryError(
                f"{self.name}: a triangle must have three different nodes; faces {some(bad)} repeat one. "
                "Delete these faces."
            )
        object.__setattr__(self, "points", frozen(points, np.float64))
        object.__setattr__(self, "triangles", frozen(triangles, np.int64))

    def __repr__(self) -> str:
        kind = "closed" if self.is_closed else "open"
        size = " x ".join(f"{v:.0f}" for v in self.extent)
        return f"Surface({self.name!r}, {self.n_points} nodes, {self.n_triangles} triangles, {kind}, {size} mm)"

    @property
    def n_points(self) -> int:
        """Number of nodes."""
        return len(self.points)

    @property
    def n_triangles(self) -> int:
        """Number of triangles."""
        return len(self.triangles)

    @property
    def extent(self) -> Float[np.ndarray, " 3"]:
        """Size of the bounding box, mm."""
        return np.ptp(self.points, axis=0)

    @cached_property
    def node_names(self) -> tuple[str, ...]:
        """Names of the nodes as sites of a recording: ``"name:0"``, ``"name:1"``, ..."""
        return tuple(f"{self.name}:{i}" for i in range(self.n_points))

    @cached_property
    def corners(self) -> Float[np.ndarray, "n_triangles 3 3"]:
        """Coordinates of the triangles' corners, mm."""
        return self.points[self.triangles]

    @cached_property
    def edges(self) -> topology.Edges:
        """Undirected edges with use counts and winding balance."""
        return topology.edges(self.triangles)

    @property
    def is_closed(self) -> bool:
        """Whether every edge belongs to exactly two triangles."""
        return bool((self.edges.count == 2).all())

    @property
    def is_consistent(self) -> bool:
        """Whether neighboring triangles are wound alike."""
        return bool((np.abs(self.edges.balance) <= (self.edges.count == 1)).all())

    @cached_property
    def volume(self) -> float:
        """Signed enclosed volume, mm3: positive if the triangles are wound outward."""
        a, b, c = (self.corners - self.points.mean(axis=0)).transpose(1, 0, 2)
        return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)

    def check_closed(self) -> None:
        """Raise `GeometryError` unless closed, manifold, consistently wound and outward."""
        table = self.edges
        loose = table.vertices[table.count == 1]
        if len(loose):
            raise GeometryError(
                f"{self.name}: must be closed; {len(loose)} edges belong to one triangle only, at nodes "
                f"{some(np.unique(loose))}. Fill the hole, or close the surface in a mesh editor."
            )
        self._check_edges_manifold()
        touching = topology.bowtie_nodes(self.triangles, self.n_points)
        if touching.size:
            raise GeometryError(
                f"{self.name}: must be manifold; at nodes {some(touching)} two sheets touch in a point. "
                "Split these nodes."
            )
        self._check_winding()

    def _check_edges_manifold(self) -> None:
        multiple = self.edges.vertices[self.edges.count > 2]
        if len(multiple):
            raise GeometryError(
                f"{self.name}: must be manifold; edges {some(tuple(map(int, e)) for e in multiple)} belong to more "
                "than two triangles. Delete the doubled or inner faces."
            )

    def _check_winding(self) -> None:
        twisted = self.edges.balance != 0
        if twisted.any():
            faces = np.flatnonzero(twisted[self.edges.of_triangle].any(axis=1))
            raise GeometryError(
                f"{self.name}: triangles must be wound alike; {int(twisted.sum())} edges are walked twice in the "
                f"same direction, around faces {some(faces)}. Use `surface.repaired()`, or "
                "`repair = true` for this surface in case.toml."
            )
        inward = np.flatnonzero(self._inward(self.triangles))
        if inward.size:
            which = f"all {inward.size} faces" if inward.size == self.n_triangles else f"faces {some(inward)}"
            raise GeometryError(
                f"{self.name}: triangles must be wound outward (counter-clockwise seen from outside, or from within "
                f"a cavity); {which} point the other way. Use `surface.repaired()`, or "
                "`repair = true` for this surface in case.toml."
            )
        if self.volume <= 0:
            raise GeometryError(f"{self.name}: encloses no volume; it is flat. Check the coordinates.")

    def _inward(self, triangles: Int[np.ndarray, "n_triangles 3"]) -> Bool[np.ndarray, " n_triangles"]:
        """Which triangles of closed parts point into the body: parts nested an odd number deep bound cavities."""
        part = topology.triangle_components(triangles)
        corners = self.points[triangles]
        depth = nesting_depths(corners, part)
        local = corners - np.stack([corners[part == p].mean(axis=(0, 1)) for p in range(len(depth))])[part][:, None]
        six_volumes = np.einsum("ij,ij->i", local[:, 0], np.cross(local[:, 1], local[:, 2]))
        volumes = np.bincount(part, weights=six_volumes)
        return np.where(depth % 2 == 0, volumes < 0, volumes > 0)[part]

    def flips(self) -> Bool[np.ndarray, " n_triangles"]:
        """Which triangles `repaired` would flip.

        A closed surface of several parts is the boundary of one body: a part inside an even number of the others
        points outward, a part inside an odd number bounds a cavity and points into it.

        Raises
        ------
        GeometryError
            If the surface is not manifold, or not orientable (a Moebius strip).
        """
        self._check_edges_manifold()
        flip = topology.consistent_flips(self.triangles)
        if flip is None:
            raise GeometryError(
                f"{self.name}: is not orientable (one-sided, as a Moebius strip); no winding can be consistent. "
                "Cut it open, or segment it again."
            )
        if self.is_closed:
            flip = flip ^ self._inward(np.where(flip[:, None], self.triangles[:, ::-1], self.triangles))
        return flip

    def repaired(self) -> "Surface":
        """Return a copy whose triangles are wound alike and, if closed, outward.

        Only the winding changes, never nodes or faces. `flips` tells which triangles differ.
        """
        flip = self.flips()
        return replace(self, triangles=np.where(flip[:, None], self.triangles[:, ::-1], self.triangles))

    def renamed(self, name: str) -> "Surface":
        """Return the same surface under another name."""
        return replace(self, name=name)

    def with_points(self, points: Float[np.ndarray, "n_points 3"]) -> "Surface":
        """Return the same triangles on moved nodes."""
        return replace(self, points=points)


def nesting_depths(
    corners: Float[np.ndarray, "n_triangles 3 3"], part: Int[np.ndarray, " n_triangles"]
) -> Int[np.ndarray, " n_parts"]:
    """How many of the other closed parts each part lies in, by the majority of up to five of its face centers.

    Parameters
    ----------
    corners
        Corners of all triangles, mm.
    part
        Label of the part each triangle belongs to, 0, 1, ...; triangles of a part are wound alike.
    """
    n_parts = int(part.max()) + 1
    depth = np.zeros(n_parts, dtype=np.int64)
    if n_parts == 1:
        return depth
    members = [corners[part == p] for p in range(n_parts)]
    low = np.stack([m.min(axis=(0, 1)) for m in members])
    high = np.stack([m.max(axis=(0, 1)) for m in members])
    for p, own in enumerate(members):
        probes = own[np.linspace(0, len(own) - 1, min(5, len(own))).astype(int)].mean(axis=1)
        boxed = (low <= low[p]).all(axis=1) & (high >= high[p]).all(axis=1)
        for q in np.flatnonzero(boxed):
            if q != p:
                winding = np.abs(solid_angles(probes, members[q])) / (4 * np.pi)
                depth[p] += int((winding > 0.5).mean() > 0.5)
    return depth


def solid_angles(
    points: Float[np.ndarray, "n 3"], corners: Float[np.ndarray, "n_triangles 3 3"]
) -> Float[np.ndarray, " n"]:
    """Solid angle of a surface at a few points, steradians (doi:10.1109/TBME.1983.325207).

    For many points use `einthoven.geometry.locate.winding_numbers`, which is compiled.
    """
    total = np.empty(len(points))
    for i, point in enumerate(points):
        a, b, c = (corners - point).transpose(1, 0, 2)
        la, lb, lc = (np.linalg.norm(v, axis=1) for v in (a, b, c))
        volume = np.einsum("ij,ij->i", a, np.cross(b, c))
        dots = (np.einsum("ij,ij->i", u, v) for u, v in ((a, b), (b, c), (c, a)))
        below = la * lb * lc + sum(d * length for d, length in zip(dots, (lc, la, lb), strict=True))
        total[i] = 2 * np.arctan2(volume, below).sum()
    return total
