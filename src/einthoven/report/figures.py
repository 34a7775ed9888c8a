"""Still figures: maps on surfaces and slices, action potentials, butterfly plots, weight curves.

The 12-lead plot on paper is `einthoven.report.ecg_paper`. Every function returns a matplotlib
`Figure` that belongs to no window; save it with ``figure.savefig(path)``.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from einthoven.core import InputError, Recording, Surface, WeightCurve
from einthoven.tissue import Grid, Tissue

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colors of potentials and of activation times, as on the page.
POTENTIAL_COLORS, ACTIVATION_COLORS = "RdBu_r", "RdYlBu"
#: Cells without a value, and cells that do not conduct.
_UNKNOWN, _HOLE = "#eef0f3", "#a9adb5"


def surface_map(
    surface: Surface,
    values: Float[np.ndarray, " n_points"],
    *,
    view: tuple[float, float] = (0.0, -90.0),
    limits: tuple[float, float] | None = None,
    levels: Sequence[float] | None = None,
    colors: str = POTENTIAL_COLORS,
    label: str = "Potential (mV)",
    axes: "Axes | None" = None,
) -> "Figure":
    """Draw a field on a surface as seen from one side (orthographic, back faces hidden).

    Parameters
    ----------
    surface
        Closed and wound outward.
    values
        At the nodes; NaN is drawn gray.
    view
        Elevation and azimuth of the viewer, degrees; (0, -90) looks along +y: the phantom from the front.
    limits
        Color range; default symmetric about zero.
    levels
        Edges of discrete bands (isochrones) instead of a continuous scale.
    colors
        Name of a matplotlib color map.
    label
        Of the color bar, with unit.
    axes
        Draw here; default: a new figure.

    Returns
    -------
    Figure
    """
    from matplotlib.cm import ScalarMappable

    values = np.asarray(values, dtype=np.float64)
    if values.shape != (surface.n_points,):
        raise InputError(
            f"{surface.name}: a map needs one value per node ({surface.n_points}); got shape {values.shape}."
        )
    if limits is None:
        most = float(np.nanmax(np.abs(values), initial=0.0)) or 1.0
        limits = (-most, most)
    norm, palette = _norm(limits, levels, colors)
    axes = _figure(4.2, 4.2).add_subplot() if axes is None else axes
    flat, light, order = _projected(surface, view)
    cut = 4 if levels is None else 10
    _draw_faces(axes, (flat, light, values), surface.triangles[order], cut=cut, norm=norm, palette=palette)
    axes.set_aspect("equal")
    axes.set_axis_off()
    bar = axes.figure.colorbar(ScalarMappable(norm, palette), ax=axes, shrink=0.75, pad=0.02)
    bar.set_label(label)
    if levels is not None and levels[0] < levels[-1]:
        bar.ax.invert_yaxis()
    return axes.figure  # pyright: ignore[reportReturnType]


def activation_map(
    surface: Surface,
    times: Float[np.ndarray, " n_points"],
    *,
    step: float = 10.0,
    view: tuple[float, float] = (0.0, -90.0),
    axes: "Axes | None" = None,
) -> "Figure":
    """Draw activation times as isochrone bands of `step` ms, early red to late blue; see `surface_map`."""
    levels = _isochrones(times, step, surface.name)
    limits = (float(levels[0]), float(levels[-1]))
    return surface_map(
        surface,
        times,
        view=view,
        limits=limits,
        levels=levels.tolist(),
        colors=ACTIVATION_COLORS,
        label="Activation (ms)",
        axes=axes,
    )


def slice_map(
    tissue: Tissue,
    values: Float[np.ndarray, " n_nodes"],
    *,
    axis: int = 2,
    at: float | None = None,
    limits: tuple[float, float] | None = None,
    levels: Sequence[float] | None = None,
    colors: str = POTENTIAL_COLORS,
    label: str = "Potential (mV)",
    axes: "Axes | None" = None,
) -> "Figure":
    """Draw a field on a sheet, or on a slice of a volume; the first axis to the right, the second upwards.

    Parameters
    ----------
    tissue
        On a grid of two or three dimensions; cells that do not conduct are drawn dark gray.
    values
        At the conducting nodes; NaN is drawn light gray.
    axis, at
        The slice lies across this axis (0, 1, 2) at this coordinate, mm; default: the middle. A sheet has no choice.
    limits
        Color range; default: that of the values.
    levels
        Edges of discrete bands with lines between them (isochrones) instead of a continuous scale.
    colors
        Name of a matplotlib color map.
    label
        Of the color bar, with unit.
    axes
        Draw here; default: a new figure.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If the tissue is not on such a grid, or the number of values is not that of the nodes.
    """
    shown, holes, extent, names = _slice(tissue, values, axis, at)
    known = shown[np.isfinite(shown)]
    if limits is None:
        limits = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    norm, palette = _norm(limits, levels, colors)
    axes = _figure(5.0, 4.2).add_subplot() if axes is None else axes
    how: dict[str, Any] = {"origin": "lower", "extent": extent, "interpolation": "nearest"}
    drawn = axes.imshow(np.ma.masked_invalid(shown), norm=norm, cmap=palette.with_extremes(bad=_UNKNOWN), **how)
    axes.imshow(np.ma.masked_where(~holes, holes), cmap=_one_color(_HOLE), **how)
    if levels is not None and known.size > 3:
        axes.contour(shown, levels=list(levels)[1:-1], colors="black", linewidths=0.5, origin="lower", extent=extent)
    axes.set_xlabel(f"{names[0]} (mm)")
    axes.set_ylabel(f"{names[1]} (mm)")
    bar = axes.figure.colorbar(drawn, ax=axes, shrink=0.9, pad=0.02)
    bar.set_label(label)
    if levels is not None:
        bar.ax.invert_yaxis()
    return axes.figure  # pyright: ignore[reportReturnType]


def slice_activation_map(
    tissue: Tissue,
    times: Float[np.ndarray, " n_nodes"],
    *,
    step: float = 10.0,
    axis: int = 2,
    at: float | None = None,
    axes: "Axes | None" = None,
) -> "Figure":
    """Draw activation times of a sheet or a slice as isochrone bands of `step` ms; see `slice_map`."""
    levels = _isochrones(times, step, "tissue")
    limits = (float(levels[0]), float(levels[-1]))
    colors, label = ACTIVATION_COLORS, "Activation (ms)"
    return slice_map(
        tissue, times, axis=axis, at=at, limits=limits, levels=levels.tolist(), colors=colors, label=label, axes=axes
    )


def action_potentials(recording: Recording, *, axes: "Axes | None" = None) -> "Figure":
    """Draw the transmembrane potential at every site, each in its own color."""
    axes = _figure(6.4, 3.0).add_subplot() if axes is None else axes
    for site, values in zip(recording.sites, recording.values, strict=True):
        axes.plot(recording.times, values, linewidth=1.4, label=site)
    axes.legend(frameon=False)
    _label(axes, "Time (ms)", "Transmembrane potential (mV)", "")
    return axes.figure  # pyright: ignore[reportReturnType]


def butterfly(recording: Recording, *, title: str = "", axes: "Axes | None" = None) -> "Figure":
    """Draw all sites over each other, and their root mean square."""
    axes = _figure(6.4, 3.0).add_subplot() if axes is None else axes
    axes.plot(recording.times, recording.values.T, color="#1f5f9e", linewidth=0.5, alpha=0.35)
    rms = np.sqrt((recording.values**2).mean(axis=0))
    axes.plot(recording.times, rms, color="#c8102e", linewidth=1.6, label=f"RMS of {recording.n_sites} sites")
    axes.legend(frameon=False, loc="upper right")
    _label(axes, "Time (ms)", "Potential (mV)", title)
    return axes.figure  # pyright: ignore[reportReturnType]


def electrograms(series: dict[str, Recording], site: str, *, axes: "Axes | None" = None) -> "Figure":
    """Draw one site of several recordings; the first (the measured one) in black."""
    axes = _figure(6.4, 3.0).add_subplot() if axes is None else axes
    for number, (name, recording) in enumerate(series.items()):
        color = "#1c2430" if number == 0 else f"C{number - 1}"
        axes.plot(recording.times, recording.select([site]).values[0], color=color, linewidth=1.4, label=name)
    axes.legend(frameon=False)
    _label(axes, "Time (ms)", "Potential (mV)", site)
    return axes.figure  # pyright: ignore[reportReturnType]


def weight_curve(curve: WeightCurve, *, title: str = "") -> "Figure":
    """Draw the L-curve and the rule's criterion with the chosen weight."""
    figure = _figure(8.0, 3.2)
    left, right = figure.subplots(1, 2)
    chosen = int(np.argmin(np.abs(np.log(curve.lambdas / curve.chosen))))
    left.loglog(curve.residual_norms, curve.seminorms, color="#1f5f9e")
    left.plot(curve.residual_norms[chosen], curve.seminorms[chosen], "o", color="#c8102e")
    _label(left, "Residual norm (mV)", "Seminorm", title or "L-curve")
    right.semilogx(curve.lambdas, curve.criterion, color="#1f5f9e")
    right.plot(curve.lambdas[chosen], curve.criterion[chosen], "o", color="#c8102e")
    _label(right, "λ", curve.label, f"λ = {curve.chosen:.3g}")
    return figure


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _label(axes: "Axes", x: str, y: str, title: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#eceef1", linewidth=0.8)
    axes.set_axisbelow(True)


def _norm(limits: tuple[float, float], levels: Sequence[float] | None, colors: str) -> tuple[Any, Any]:
    from matplotlib import colormaps
    from matplotlib.colors import BoundaryNorm, Normalize

    palette = colormaps[colors].with_extremes(bad="#cccfd4")
    if levels is None:
        return Normalize(*limits), palette
    return BoundaryNorm(list(levels), palette.N), palette


def _isochrones(times: np.ndarray, step: float, name: str) -> Float[np.ndarray, " n"]:
    """Edges of whole bands that hold all times."""
    known = times[np.isfinite(times)]
    if not known.size:
        raise InputError(f"{name}: an activation map needs at least one time; all are NaN.")
    first = np.floor(known.min() / step) * step
    count = max(2, int(np.ceil((known.max() - first) / step + 1e-9)))
    return first + step * np.arange(count + 1)


def _slice(
    tissue: Tissue, values: np.ndarray, axis: int, at: float | None
) -> tuple[np.ndarray, np.ndarray, tuple[float, float, float, float], tuple[str, str]]:
    """Values of a slice (rows upwards) and which cells do not conduct; its borders, mm, and the names of its axes."""
    grid = tissue.domain
    if isinstance(grid, Surface) or grid.dimension < 2:
        raise InputError("a slice needs tissue on a grid of two or three dimensions; use `surface_map` for surfaces.")
    if np.shape(values) != (tissue.n_nodes,):
        raise InputError(f"a map needs one value per conducting node ({tissue.n_nodes}); got shape {np.shape(values)}.")
    axis = 2 if grid.dimension == 2 else axis
    shape = (*grid.shape, 1)[:3]
    everywhere = np.full(grid.n_points, np.nan)
    everywhere[tissue.nodes] = values
    index = _position(grid, axis, at)
    shown, holes = (np.take(a.reshape(shape), index, axis=axis).T for a in (everywhere, ~tissue.conducting))
    k, m = (n for n in range(3) if n != axis)
    start, size = np.asarray(grid.origin) - grid.spacing / 2, grid.spacing * np.asarray(shape)
    extent = (float(start[k]), float(start[k] + size[k]), float(start[m]), float(start[m] + size[m]))
    return shown, holes, extent, ("xyz"[k], "xyz"[m])


def _position(grid: Grid, axis: int, at: float | None) -> int:
    """Index of a slice across an axis at a coordinate (mm), or in the middle."""
    if axis not in (0, 1, 2):
        raise InputError(f"a slice lies across axis 0, 1 or 2; got {axis}.")
    size = (*grid.shape, 1)[axis]
    if at is None or grid.dimension == 2:
        return size // 2
    index = round((at - grid.origin[axis]) / grid.spacing)
    if not 0 <= index < size:
        low, high = grid.origin[axis], grid.origin[axis] + grid.spacing * (size - 1)
        raise InputError(f"the slice at {at:g} mm misses the tissue ({low:g}..{high:g} mm along {'xyz'[axis]}).")
    return index


def _one_color(color: str) -> Any:
    from matplotlib.colors import ListedColormap

    return ListedColormap([color])


def _projected(
    surface: Surface, view: tuple[float, float]
) -> tuple[Float[np.ndarray, "n_points 2"], Float[np.ndarray, " n_points"], np.ndarray]:
    """Nodes in the picture's plane (mm), light on every node, and the faces seen, far ones first."""
    from einthoven.geometry.operators import node_normals, normals

    elevation, azimuth = np.radians(view)
    towards = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    right = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    up = np.cross(towards, right)
    lamp = (towards + 0.45 * up - 0.35 * right) / 1.15
    light = 0.68 + 0.32 * np.clip(node_normals(surface) @ lamp, 0, 1)
    depth = surface.corners.mean(axis=1) @ towards
    seen = np.flatnonzero(normals(surface) @ towards > 0)
    return surface.points @ np.stack([right, up], axis=1), light, seen[np.argsort(depth[seen])]


def _draw_faces(
    axes: "Axes",
    nodes: tuple[np.ndarray, np.ndarray, np.ndarray],
    triangles: np.ndarray,
    *,
    cut: int,
    norm: Any,
    palette: Any,
) -> None:
    """Paint faces in order, each cut into `cut` squared, so that colors change smoothly and bands have sharp edges."""
    from matplotlib.collections import PolyCollection

    flat, light, values = nodes
    weights = _subdivision(cut)
    middle = weights.mean(axis=1)
    polygons = np.einsum("kcv,tvx->tkcx", weights, flat[triangles]).reshape(-1, 3, 2)
    centers = np.einsum("kv,tv->tk", middle, values[triangles]).reshape(-1)
    rgba = palette(norm(np.ma.masked_invalid(centers)))
    rgba[:, :3] *= np.einsum("kv,tv->tk", middle, light[triangles]).reshape(-1, 1)
    axes.add_collection(PolyCollection(list(polygons), facecolors=rgba, edgecolors=rgba, linewidths=0.2))
    axes.autoscale_view()


def _subdivision(n: int) -> Float[np.ndarray, "k 3 3"]:
    """Barycentric corners of the n^2 triangles that an n-fold cut makes of one."""
    cells = []
    for i in range(n):
        for j in range(n - i):
            cells.append([(i, j), (i + 1, j), (i, j + 1)])
            if i + j < n - 1:
                cells.append([(i + 1, j), (i + 1, j + 1), (i, j + 1)])
    pairs = np.array(cells, dtype=np.float64) / n
    return np.concatenate([1 - pairs.sum(axis=2, keepdims=True), pairs], axis=2)
