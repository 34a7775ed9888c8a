"""Fields of a simulation for a page: which cells and frames are shown, so that the page stays small."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray
from jaxtyping import Bool, Float, Int

from einthoven.core import InputError, Recording, Surface
from einthoven.core.sites import match_names
from einthoven.forward.sampling import surface_sampling
from einthoven.report.encoding import bits, deflated, packed
from einthoven.tissue import Grid, Tissue

#: Values (cells x frames) a movie on the page holds at most; beyond it frames and then cells are left out.
MAX_MOVIE_SAMPLES = 12_000_000
#: Characters that a movie takes at most.
MAX_MOVIE_BYTES = 6_000_000
#: Frames are left out before cells while this many remain.
ENOUGH_FRAMES = 150
#: Values (cells x beats) of all activation maps at most, and of all recovery maps.
MAX_MAP_SAMPLES = 400_000
#: Beats are left out before cells while this many remain.
ENOUGH_BEATS = 10
_AXES = ("x", "y", "z")


@dataclass(frozen=True)
class Thinning:
    """What of a field is shown: every `stride`-th frame of every `factor`-th cell along each axis."""

    stride: int = 1
    factor: int = 1

    def coarser(self, n_frames: int) -> "Thinning":
        """Leave out frames while there are enough of them, then cells."""
        if n_frames // (self.stride + 1) >= ENOUGH_FRAMES:
            return replace(self, stride=self.stride + 1)
        return replace(self, factor=self.factor + 1)


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells of a grid that are shown.

    Parameters
    ----------
    axes
        Coordinates along x, y and z, mm; one value along an axis that the grid does not have.
    mask
        Which of the cells conduct; fields have one value for each of those, in C order.
    """

    axes: tuple[Float[np.ndarray, " nx"], Float[np.ndarray, " ny"], Float[np.ndarray, " nz"]]
    mask: Bool[np.ndarray, "nx ny nz"]

    def packed(self, spacing: float) -> dict[str, Any]:
        """As the page reads it; `spacing` (mm) is the width of a cell along an axis that has only one."""
        steps = [float(axis[1] - axis[0]) if axis.size > 1 else spacing for axis in self.axes]
        origin = [float(axis[0]) for axis in self.axes]
        return {"shape": list(self.mask.shape), "spacing": steps, "origin": origin, "mask": bits(self.mask)}


def every(n: int, factor: int) -> slice:
    """Every `factor`-th of n cells, starting in the middle of the first `factor`."""
    return slice(min(factor // 2, (n - 1) // 2), None, factor)


def cells_of(tissue: Tissue, grid: Grid, factor: int) -> tuple[Cells, Int[np.ndarray, " n_cells"]]:
    """Every `factor`-th cell along each axis, and the tissue's node at each conducting one."""
    shape = (*grid.shape, 1, 1)[:3]
    shown = tuple(every(n, factor) for n in shape)
    x, y, z = (o + grid.spacing * np.arange(n)[s] for o, n, s in zip(grid.origin, shape, shown, strict=True))
    position = np.full(grid.n_points, -1, dtype=np.int64)
    position[tissue.nodes] = np.arange(tissue.n_nodes)
    found = position.reshape(shape)[shown]
    return Cells((x, y, z), found >= 0), found[found >= 0]


def grid_movie(movie: xarray.DataArray, tissue: Tissue, grid: Grid) -> dict[str, Any]:
    """Pack a movie over a grid, thinned until it fits.

    Parameters
    ----------
    movie
        Dims (time, x, y, z) as far as the grid has them, with coordinates in mm, or (time, node); mV; NaN where nothing
        conducts.
    tissue, grid
        The tissue and its domain.

    Returns
    -------
    dict
        ``grid, times, values`` (frames x conducting cells shown), ``stride, factor, n_frames``.
    """
    movie = movie.transpose("time", ...) if "node" in movie.dims else _with_axes(movie, grid)

    def frames(thinning: Thinning) -> tuple[Cells, np.ndarray]:
        part = movie[:: thinning.stride]
        if "node" in movie.dims:
            cells, nodes = cells_of(tissue, grid, thinning.factor)
            return cells, part.values[:, nodes]
        part = part.isel({name: every(part.sizes[name], thinning.factor) for name in _AXES})
        mask = np.isfinite(part.values[0])
        x, y, z = (np.asarray(part[name].values, dtype=np.float64) for name in _AXES)
        return Cells((x, y, z), mask), part.values[:, mask]

    share = tissue.n_nodes / tissue.n_points if "node" not in movie.dims else 1.0
    most = int(share * movie.size)
    cells, packet = _fitting(frames, most, movie.sizes["time"], grid.dimension)
    return packet | {"grid": cells.packed(grid.spacing), "times": packed(_times(movie, packet["stride"]))}


def surface_movie(movie: xarray.DataArray, tissue: Tissue, surface: Surface) -> dict[str, Any]:
    """Pack a movie over the nodes of a surface that conduct, dims (time, node), thinned in time until it fits."""
    values = movie.transpose("time", "node").values
    everywhere = np.full((len(values), surface.n_points), np.nan, dtype=np.float32)
    everywhere[:, tissue.nodes] = values
    return _surface_frames(everywhere, np.asarray(movie["time"].values, dtype=np.float64))


def recorded_movie(recording: Recording, surface: Surface) -> dict[str, Any]:
    """Pack potentials at all nodes of a surface, thinned in time until they fit."""
    index = match_names(surface.node_names, recording.sites, f"potentials on {surface.name}")
    return _surface_frames(recording.values[index].T, recording.times)


def _surface_frames(frames: np.ndarray, times: np.ndarray) -> dict[str, Any]:
    def thinned(thinning: Thinning) -> tuple[None, np.ndarray]:
        return None, frames[:: thinning.stride * thinning.factor]

    _, packet = _fitting(thinned, frames.size, len(frames), 1)
    packet |= {"stride": packet["stride"] * packet["factor"], "factor": 1}
    return packet | {"times": packed(times[:: packet["stride"]])}


def _fitting(frames: Callable[[Thinning], tuple[Any, np.ndarray]], most: int, n_frames: int, dimension: int) -> Any:
    """Pack frames, thinned as little as fits."""
    if not n_frames:
        raise InputError("the movie holds no frame; keep it with an interval shorter than the simulation.")
    thinning = Thinning()
    while most / (thinning.stride * thinning.factor**dimension) > MAX_MOVIE_SAMPLES:
        thinning = thinning.coarser(n_frames)
    cells, values = frames(thinning)
    packet = deflated(values)
    while len(packet["data"]) > MAX_MOVIE_BYTES:
        thinning = thinning.coarser(n_frames)
        cells, values = frames(thinning)
        packet = deflated(values)
    span = color_range(values)
    shown = {"stride": thinning.stride, "factor": thinning.factor, "n_frames": n_frames, "range": span}
    return cells, {"values": packet} | shown


def color_range(values: np.ndarray) -> tuple[float, float]:
    """Ends of the color scale, mV: multiples of 5 around all but the outermost thousandth of the values."""
    sample = values.reshape(-1)[:: max(1, values.size // 200_000) | 1]
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return -90.0, 40.0
    low, high = np.quantile(sample, [0.001, 0.999])
    low, high = 5 * np.floor(low / 5 + 1e-6), 5 * np.ceil(high / 5 - 1e-6)
    return float(low), float(max(high, low + 5))


def grid_maps(arrays: dict[str, xarray.DataArray], tissue: Tissue, grid: Grid) -> dict[str, Any] | None:
    """Pack activation and recovery times over a grid.

    Parameters
    ----------
    arrays
        ``activation`` and perhaps ``recovery``, dims (beat, node), ms, NaN where there was none.
    tissue, grid
        The tissue and its domain.

    Returns
    -------
    dict or None
        ``grid, factor, beats`` (number of each, from 1), ``n_beats``, ``activation, recovery`` (beats x conducting
        cells shown); None if nothing was activated.
    """
    beats = _beats(arrays["activation"], tissue.n_nodes)
    if not beats.size:
        return None
    factor = 1
    while tissue.n_nodes * beats.size / factor**grid.dimension > MAX_MAP_SAMPLES:
        factor += 1
    cells, nodes = cells_of(tissue, grid, factor)
    packet = _packed_maps(arrays, beats, lambda times: times[:, nodes])
    return packet | {"grid": cells.packed(factor * grid.spacing), "factor": factor}


def surface_maps(
    arrays: dict[str, xarray.DataArray], surface: Surface, place: Callable[[np.ndarray], np.ndarray]
) -> dict[str, Any] | None:
    """Pack activation and recovery times on a surface; `place` turns (n_beats, n_nodes) into (n_beats, n_points)."""
    beats = _beats(arrays["activation"], surface.n_points)
    return _packed_maps(arrays, beats, place) | {"factor": 1} if beats.size else None


def _packed_maps(
    arrays: dict[str, xarray.DataArray], beats: np.ndarray, place: Callable[[np.ndarray], np.ndarray]
) -> dict[str, Any]:
    found: dict[str, Any] = {"recovery": None}
    for name, array in arrays.items():
        times = place(array.transpose("beat", "node").values[beats])
        found[name] = deflated(times, levels=65534) if np.isfinite(times).any() else None
    total = int(np.isfinite(arrays["activation"].values).any(axis=arrays["activation"].dims.index("node")).sum())
    return found | {"beats": (beats + 1).tolist(), "n_beats": total}


def _beats(activation: xarray.DataArray, n_cells: int) -> Int[np.ndarray, " n_beats"]:
    """Beats that activated any cell: as many as there is room for, at least `ENOUGH_BEATS`."""
    found = np.flatnonzero(np.isfinite(activation.transpose("beat", "node").values).any(axis=1))
    return found[: max(ENOUGH_BEATS, MAX_MAP_SAMPLES // n_cells)]


def on_surface(tissue: Tissue, surface: Surface) -> Callable[[np.ndarray], np.ndarray]:
    """Turn times at the tissue's nodes, (n_beats, n_nodes), into times on the surface, (n_beats, n_points).

    Of a volume they are means over the cells around a surface node that have one (`surface_sampling`); NaN where fewer
    than half have.
    """
    if isinstance(tissue.domain, Surface):
        place = np.full(surface.n_points, -1)
        place[tissue.nodes] = np.arange(tissue.n_nodes)
        return lambda times: np.where(place >= 0, times[:, place], np.nan)
    matrix = surface_sampling(tissue, surface).matrix

    def mean(times: np.ndarray) -> np.ndarray:
        known = np.isfinite(times)
        share = matrix @ known.T.astype(np.float64)
        total = matrix @ np.where(known, times, 0.0).T
        return np.divide(total, share, out=np.full(share.shape, np.nan), where=share > 0.5).T

    return mean


def _with_axes(movie: xarray.DataArray, grid: Grid) -> xarray.DataArray:
    """With dims (time, x, y, z), and coordinates in mm for all of them."""
    names = _AXES[: grid.dimension]
    lacking = [name for name in names if name not in movie.dims or name not in movie.coords]
    if lacking:
        raise InputError(
            f"movie: needs dims (time, {', '.join(names)}) with coordinates in mm; got {movie.dims}, without "
            f"coordinates for {', '.join(lacking)}. Keep it with `Movie`."
        )
    missing = {name: [grid.origin[k]] for k, name in enumerate(_AXES) if name not in names}
    return movie.expand_dims(missing).transpose("time", *_AXES)


def _times(array: xarray.DataArray, stride: int) -> Float[np.ndarray, " n_times"]:
    return np.asarray(array["time"].values, dtype=np.float64)[::stride]
