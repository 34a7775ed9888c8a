"""Fibrosis: cells that do not conduct, in textures of a stated density and size, reproducible from a seed.

A texture is a field over the tissue; the cells where it is highest, exactly the asked share of them, become fibrotic.
Lengths are in mm: except for single cells, the same seed gives the same texture at any spacing of the grid.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from einthoven.core import InputError
from einthoven.tissue.grid import Grid
from einthoven.tissue.random_field import SmoothField, lattice_noise
from einthoven.tissue.tissue import Tissue

Number = float | int


@dataclass(frozen=True)
class Texture(ABC):
    """What all textures share.

    Parameters
    ----------
    density
        Share of the cells that become fibrotic, 0 to below 1; it is met to half a cell.
    """

    density: Number

    @abstractmethod
    def field(self, tissue: Tissue, seed: int) -> Float[np.ndarray, " n_nodes"]:
        """Values at the nodes: fibrosis starts where they are highest."""

    def mask(
        self, tissue: Tissue, seed: int, *, within: Bool[np.ndarray, " n_nodes"] | None = None
    ) -> Bool[np.ndarray, " n_nodes"]:
        """Which nodes become fibrotic.

        Parameters
        ----------
        tissue
            Where.
        seed
            The same seed gives the same texture.
        within
            Only these nodes may become fibrotic, and the density is a share of them; None: all.
        """
        if not 0 <= self.density < 1:
            raise InputError(
                f"fibrosis: density is a share of the cells, 0 to below 1; got {self.density:g}. With all "
                "cells fibrotic nothing conducts; per cent are divided by 100."
            )
        allowed = np.arange(tissue.n_nodes) if within is None else np.flatnonzero(within)
        count = round(float(self.density) * len(allowed))
        chosen = np.zeros(tissue.n_nodes, dtype=bool)
        if count:
            values = self.field(tissue, seed)[allowed]
            chosen[allowed[np.argpartition(-values, count - 1)[:count]]] = True
        return chosen

    def apply(self, tissue: Tissue, seed: int, *, within: Bool[np.ndarray, " n_nodes"] | None = None) -> Tissue:
        """The tissue without the cells that become fibrotic; parameters as for `mask`."""
        return tissue.without(self.mask(tissue, seed, within=within))


@dataclass(frozen=True)
class Diffuse(Texture):
    """Single cells, independent of each other."""

    def field(self, tissue: Tissue, seed: int) -> Float[np.ndarray, " n_nodes"]:
        """White noise."""
        return _white(tissue, seed, "diffuse")


@dataclass(frozen=True)
class ThresholdedField(Texture):
    """Islands: where a smooth Gaussian random field is highest.

    Parameters
    ----------
    density
        Share of the cells.
    correlation_length
        Of the field, mm: its correlation is exp(-(r / correlation_length)^2).
    """

    correlation_length: Number = 2.0

    def field(self, tissue: Tissue, seed: int) -> Float[np.ndarray, " n_nodes"]:
        """The smooth field."""
        return _smooth(tissue, self.correlation_length, seed, "thresholded")


@dataclass(frozen=True)
class Patchy(Texture):
    """Patches of diffuse fibrosis between healthy tissue.

    Parameters
    ----------
    density
        Share of all cells.
    patch_size
        Correlation length of the field whose highest part is patches, mm.
    cover
        Share of the tissue that is patches; above the density.
    """

    patch_size: Number = 6.0
    cover: Number = 0.4

    def __post_init__(self):
        if not self.density <= self.cover <= 1:
            raise InputError(
                f"fibrosis: patches must cover at least the density {self.density:g} and at most 1; got {self.cover:g}."
            )

    def field(self, tissue: Tissue, seed: int) -> Float[np.ndarray, " n_nodes"]:
        """White noise, in the patches above that outside."""
        smooth = _smooth(tissue, self.patch_size, seed, "patches")
        count = round(float(self.cover) * tissue.n_nodes)
        values = _uniform(tissue, seed, "patchy")
        values[np.argpartition(-smooth, count - 1)[:count]] += 1.0
        return values


@dataclass(frozen=True)
class Interstitial(Texture):
    """Thin long strands along the fibers or along a direction.

    A field of the strands' width is averaged along the fibers through every cell over the strands' length.

    Parameters
    ----------
    density
        Share of the cells.
    length, width
        Of the strands, mm: the correlation falls to 0 at the length along, and to 1/e at the width across.
    direction
        Where the strands run, as many numbers as the grid has dimensions; None: along the tissue's fibers.
    """

    length: Number = 8.0
    width: Number = 0.5
    direction: tuple[float, ...] | None = None

    def __post_init__(self):
        if not 0 < self.width <= self.length:
            raise InputError(
                f"fibrosis: strands are at least as long as wide, in mm; got length {self.length:g}, width "
                f"{self.width:g}."
            )

    def field(self, tissue: Tissue, seed: int) -> Float[np.ndarray, " n_nodes"]:
        """The averaged field."""
        points = tissue.coordinates
        _check_resolved(tissue, self.width)
        half = 0.5 * self.length
        box = np.stack([points.min(axis=0) - half, points.max(axis=0) + half])
        noise = SmoothField.over(box, float(self.width), seed=seed, name="interstitial")
        start = _start_directions(tissue, self.direction)
        follow = None if self.direction is not None else _directions(tissue, start)
        step = half / np.ceil(half / (0.4 * self.width))
        total = noise(points)
        for sign in (1.0, -1.0):
            at, heading = points, sign * start
            for _ in range(round(half / step)):
                at = at + step * heading
                heading = heading if follow is None else follow(at, heading)
                total += noise(at)
        return total


@dataclass(frozen=True)
class Compact(Texture):
    """One or a few solid blobs with an uneven rim.

    Parameters
    ----------
    density
        Share of the cells.
    blobs
        How many; they may merge, and the uneven rim may shed an islet.
    centers
        mm, shape (blobs, 3) as nested tuples; None: at random places of the tissue.
    roughness
        Standard deviation of the rim's unevenness as a share of a blob's radius.
    """

    blobs: int = 1
    centers: tuple[tuple[float, ...], ...] | None = None
    roughness: Number = 0.2

    def __post_init__(self):
        if self.blobs < 1 or (self.centers is not None and len(self.centers) != self.blobs) or not self.roughness >= 0:
            raise InputError(
                "fibrosis: compact fibrosis needs one blob or more, one center for each, and a roughness of 0 or more; "
                f"got {self.blobs} blobs, {'no' if self.centers is None else len(self.centers)} centers, roughness "
                f"{self.roughness:g}."
            )

    def field(self, tissue: Tissue, seed: int) -> Float[np.ndarray, " n_nodes"]:
        """Distance inside the nearest blob, roughened."""
        points = tissue.coordinates
        centers = self._places(tissue, points, seed)
        distance = np.min([np.linalg.norm(points - center, axis=1) for center in centers], axis=0)
        radius = _radius(tissue, self.density, self.blobs)
        if self.roughness == 0:
            return -distance
        rim = SmoothField.over(points, radius, seed=seed, name="compact")(points)
        return self.roughness * radius * rim - distance

    def _places(self, tissue: Tissue, points: np.ndarray, seed: int) -> np.ndarray:
        """Given centers, or random ones far from each other: the best of 16 candidates for each."""
        d = points.shape[1]
        if self.centers is not None:
            given = [center[:d] for center in self.centers]
            if any(len(center) != d for center in given):
                raise InputError(f"fibrosis: centers of blobs need {d} coordinates in mm; got {self.centers}.")
            return np.array(given, dtype=np.float64)
        rng = np.random.default_rng([seed, 5])
        low, high = points.min(axis=0), points.max(axis=0)
        found = np.empty((0, d))
        for _ in range(self.blobs):
            candidates = low + (high - low) * rng.random((16, d))
            candidates = np.array([points[np.argmin(((points - c) ** 2).sum(axis=1))] for c in candidates])
            apart = np.linalg.norm(candidates[:, None] - found[None], axis=2).min(axis=1, initial=1e9)
            found = np.concatenate([found, candidates[[int(np.argmax(apart))]]])
        return found


def _uniform(tissue: Tissue, seed: int, name: str) -> Float[np.ndarray, " n_nodes"]:
    from scipy.special import ndtr

    return ndtr(_white(tissue, seed, name))


def _white(tissue: Tissue, seed: int, name: str) -> Float[np.ndarray, " n_nodes"]:
    """Independent numbers of the points of the domain, at the nodes."""
    noise = lattice_noise(np.zeros(1, dtype=np.int64), np.array([tissue.n_points]), seed=seed, name=name)
    return noise[tissue.nodes]


def _smooth(tissue: Tissue, length: Number, seed: int, name: str) -> Float[np.ndarray, " n_nodes"]:
    _check_resolved(tissue, length)
    points = tissue.coordinates
    return SmoothField.over(points, float(length), seed=seed, name=name)(points)


def _check_resolved(tissue: Tissue, length: Number) -> None:
    spacing = tissue.domain.spacing if isinstance(tissue.domain, Grid) else 0.0
    if not length >= spacing or not length > 0:
        raise InputError(
            f"fibrosis: a texture of {length:g} mm cannot be seen on cells of {spacing:g} mm. Take a longer length, a "
            "finer grid, or diffuse fibrosis."
        )


def _radius(tissue: Tissue, density: Number, blobs: int) -> float:
    """Radius of the balls (in the tissue's own dimension) that hold the fibrotic share together, mm."""
    d = tissue.domain.dimension if isinstance(tissue.domain, Grid) else 2
    size = float(density) * float(tissue.volumes.sum()) / tissue.thickness ** (3 - d) / blobs
    return float((size / {1: 2.0, 2: np.pi, 3: 4 / 3 * np.pi}[d]) ** (1 / d))


def _start_directions(tissue: Tissue, direction: tuple[float, ...] | None) -> Float[np.ndarray, "n_nodes d"]:
    """Unit directions of the strands at the nodes."""
    if direction is None:
        return tissue.fibers
    d = tissue.domain.dimension if isinstance(tissue.domain, Grid) else 3
    vector = np.asarray(direction, dtype=np.float64)
    if vector.shape != (d,) or not np.linalg.norm(vector) > 0:
        raise InputError(f"fibrosis: the direction of strands needs {d} numbers, not all 0; got {direction}.")
    return np.broadcast_to(vector / np.linalg.norm(vector), (tissue.n_nodes, d))


def _directions(
    tissue: Tissue, fibers: Float[np.ndarray, "n_nodes d"]
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Fiber direction at points, on the side of a heading; the heading itself where there is no tissue."""
    nearest = _nearest_cell(tissue.domain, tissue) if isinstance(tissue.domain, Grid) else _nearest_node(tissue)

    def follow(points: np.ndarray, heading: np.ndarray) -> np.ndarray:
        node = nearest(points)
        fiber = fibers[node]
        fiber = fiber * np.where((fiber * heading).sum(axis=1, keepdims=True) < 0, -1.0, 1.0)
        return np.where((node >= 0)[:, None], fiber, heading)

    return follow


def _nearest_node(tissue: Tissue) -> Callable[[np.ndarray], np.ndarray]:
    from scipy.spatial import KDTree

    tree = KDTree(tissue.points)
    return lambda points: np.asarray(tree.query(points)[1])


def _nearest_cell(grid: Grid, tissue: Tissue) -> Callable[[np.ndarray], np.ndarray]:
    """Node whose cell holds a point; -1 where nothing conducts."""
    index = np.full(grid.n_points, -1, dtype=np.int32)
    index[tissue.nodes] = np.arange(tissue.n_nodes, dtype=np.int32)
    origin = np.array(grid.origin)[: grid.dimension]
    last = np.array(grid.shape) - 1

    def nearest(points: np.ndarray) -> np.ndarray:
        places = np.rint((points - origin) / grid.spacing).astype(np.int64)
        inside = ((places >= 0) & (places <= last)).all(axis=1)
        flat = np.ravel_multi_index(tuple(np.clip(places, 0, last).T), grid.shape)
        return np.where(inside, index[flat], -1)

    return nearest
