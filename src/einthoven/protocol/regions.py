"""Parts of a tissue: balls, boxes, lines, named nodes. Each finds its nodes, or says why there are none."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from einthoven.core import InputError
from einthoven.core.errors import some

#: Slack of comparisons, mm: nodes on the border belong to the region.
SLACK = 1e-9

Vector = Sequence[float | int] | Float[np.ndarray, " d"] | Int[np.ndarray, " d"]


@runtime_checkable
class Excitable(Protocol):
    """What regions need of a tissue; `einthoven.tissue.Tissue` has it."""

    @property
    def n_points(self) -> int:
        """Points of the domain."""
        ...

    @property
    def nodes(self) -> Int[np.ndarray, " n_nodes"]:
        """Points that conduct."""
        ...

    @property
    def n_nodes(self) -> int:
        """Number of conducting points."""
        ...

    @property
    def points(self) -> Float[np.ndarray, "n_nodes 3"]:
        """Their coordinates, mm."""
        ...


@runtime_checkable
class Region(Protocol):
    """A part of a tissue."""

    def select(self, tissue: Excitable) -> Int[np.ndarray, " n"]:
        """Positions among the conducting nodes, increasing; `InputError` if there are none."""
        ...


@dataclass(frozen=True)
class Ball:
    """All nodes within a distance of a point.

    Parameters
    ----------
    center
        mm; one to three coordinates. Those not given are not looked at: two make a cylinder along z.
    radius
        mm.
    """

    center: Vector
    radius: float | int

    def __post_init__(self):
        object.__setattr__(self, "center", _vector(self.center, "the center of a ball"))
        object.__setattr__(self, "radius", _length(self.radius, "the radius of a ball"))

    def select(self, tissue: Excitable) -> Int[np.ndarray, " n"]:
        """Positions of its nodes."""
        return _found(self, tissue, lambda p: _distance(p, self.center) <= self.radius + SLACK)


@dataclass(frozen=True)
class Box:
    """All nodes between two corners, borders included.

    Parameters
    ----------
    low, high
        mm; one to three coordinates, infinite where the box is open. Those not given are not looked at:
        ``Box((-inf,), (2.0,))`` is the edge x <= 2.
    """

    low: Vector
    high: Vector

    def __post_init__(self):
        low, high = (_vector(v, "a corner of a box", finite=False) for v in (self.low, self.high))
        if len(low) != len(high) or any(a > b for a, b in zip(low, high, strict=True)):
            raise InputError(f"protocol: a box goes from its low to its high corner; got {low} and {high}.")
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)

    def select(self, tissue: Excitable) -> Int[np.ndarray, " n"]:
        """Positions of its nodes."""
        low, high, d = np.array(self.low), np.array(self.high), len(self.low)
        return _found(self, tissue, lambda p: ((p[:, :d] >= low - SLACK) & (p[:, :d] <= high + SLACK)).all(axis=1))


@dataclass(frozen=True)
class Line:
    """All nodes within half a width of a straight line between two points.

    Parameters
    ----------
    start, stop
        mm; one to three coordinates, those not given are not looked at.
    width
        mm.
    """

    start: Vector
    stop: Vector
    width: float | int

    def __post_init__(self):
        start, stop = (_vector(v, "an end of a line") for v in (self.start, self.stop))
        if len(start) != len(stop):
            raise InputError(f"protocol: both ends of a line need as many coordinates; got {start} and {stop}.")
        object.__setattr__(self, "start", start)
        object.__setattr__(self, "stop", stop)
        object.__setattr__(self, "width", _length(self.width, "the width of a line"))

    def select(self, tissue: Excitable) -> Int[np.ndarray, " n"]:
        """Positions of its nodes."""
        start, axis = np.array(self.start), np.array(self.stop) - np.array(self.start)

        def inside(points: np.ndarray) -> np.ndarray:
            off = points[:, : len(start)] - start
            t = np.clip(off @ axis / max(float(axis @ axis), 1e-300), 0.0, 1.0)
            return np.linalg.norm(off - t[:, None] * axis, axis=1) <= 0.5 * self.width + SLACK

        return _found(self, tissue, inside)


@dataclass(frozen=True)
class Nearest:
    """The one conducting node nearest to a point.

    Parameters
    ----------
    point
        mm; one to three coordinates, those not given are not looked at.
    within
        Largest distance allowed, mm.
    """

    point: Vector
    within: float | int = 2.0

    def __post_init__(self):
        object.__setattr__(self, "point", _vector(self.point, "a point"))
        object.__setattr__(self, "within", _length(self.within, "the largest distance of a node"))

    def select(self, tissue: Excitable) -> Int[np.ndarray, " n"]:
        """Position of the node, as an array of one."""
        distance = _distance(tissue.points, self.point)
        nearest = int(np.argmin(distance))
        if distance[nearest] > self.within:
            raise _empty(self, tissue, f"the nearest is {distance[nearest]:.3g} mm away")
        return np.array([nearest])


@dataclass(frozen=True, eq=False)
class Nodes:
    """Named points of the domain: flat indices of a grid's cells, nodes of a surface (conducting or not, all counted).

    Parameters
    ----------
    indices
        Points of the domain; all must conduct.
    """

    indices: Any

    def __post_init__(self):
        indices = np.atleast_1d(np.asarray(self.indices))
        if indices.ndim != 1 or not np.issubdtype(indices.dtype, np.integer) or not indices.size:
            raise InputError(f"protocol: nodes are named by a list of whole numbers; got {self.indices!r}.")
        indices = np.unique(indices).astype(np.int64)
        indices.flags.writeable = False
        object.__setattr__(self, "indices", indices)

    def __repr__(self) -> str:
        return f"Nodes({some(self.indices)})"

    def select(self, tissue: Excitable) -> Int[np.ndarray, " n"]:
        """Positions of the points among the conducting nodes."""
        outside = self.indices[(self.indices < 0) | (self.indices >= tissue.n_points)]
        if outside.size:
            raise InputError(
                f"protocol: nodes {some(outside)} are not in the tissue, which has {tissue.n_points} points (0-based)."
            )
        positions = np.searchsorted(tissue.nodes, self.indices)
        positions = np.minimum(positions, tissue.n_nodes - 1)
        wrong = self.indices[tissue.nodes[positions] != self.indices]
        if wrong.size:
            raise InputError(f"protocol: nodes {some(wrong)} do not conduct and cannot be stimulated. Take others.")
        return positions


@dataclass(frozen=True)
class Whole:
    """Every conducting node."""

    def select(self, tissue: Excitable) -> Int[np.ndarray, " n"]:
        """All positions."""
        return np.arange(tissue.n_nodes)


@dataclass(frozen=True)
class Together:
    """Several regions as one; none of them may be empty.

    Parameters
    ----------
    regions
        The parts; they may overlap.
    """

    regions: tuple[Region, ...]

    def __post_init__(self):
        object.__setattr__(self, "regions", tuple(self.regions))
        if not self.regions:
            raise InputError("protocol: a region of several parts needs at least one; got none.")

    def select(self, tissue: Excitable) -> Int[np.ndarray, " n"]:
        """Positions of the nodes of all parts."""
        return np.unique(np.concatenate([region.select(tissue) for region in self.regions]))


def _found(region: Region, tissue: Excitable, inside: Callable[[np.ndarray], Any]) -> np.ndarray:
    """Positions of the nodes inside."""
    found = np.flatnonzero(inside(tissue.points))
    if not found.size:
        raise _empty(region, tissue, "none lies in it")
    return found


def _empty(region: Region, tissue: Excitable, why: str) -> InputError:
    low, high = tissue.points.min(axis=0), tissue.points.max(axis=0)
    extent = " to ".join(f"({', '.join(f'{x:g}' for x in corner)})" for corner in (low, high))
    return InputError(
        f"protocol: {region} holds no conducting node of the tissue, whose {tissue.n_nodes} nodes extend from {extent} "
        f"mm; {why}. Move or enlarge it (in mm)."
    )


def _distance(points: np.ndarray, center: Vector) -> Float[np.ndarray, " n"]:
    return np.linalg.norm(points[:, : len(center)] - np.asarray(center), axis=1)


def _vector(values: Any, name: str, *, finite: bool = True) -> tuple[float, ...]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not 1 <= len(array) <= 3:
        raise InputError(f"protocol: {name} needs one to three coordinates in mm; got {values!r}.")
    if np.isnan(array).any() or (finite and not np.isfinite(array).all()):
        raise InputError(f"protocol: {name} must be finite, in mm; got {values!r}.")
    return tuple(float(x) for x in array)


def _length(value: Any, name: str) -> float:
    if not 0 < float(value) < 1e4:
        raise InputError(f"protocol: {name} must be a positive length in mm; got {value:g}.")
    return float(value)
