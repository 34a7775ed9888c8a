"""The page of a comparison of imaging methods: figures, tables, the gate, what was run."""

import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from einthoven.report.plain_page import cell, picture, table, write_plain_page
from einthoven.studies.bench_output import BenchResult, Row, grouped
from einthoven.studies.bench_tables import CURVE, error_key

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Columns of the tables, with the number of digits.
COLUMNS = {
    "method": ("method", 0),
    "sigma": ("noise, mV", 0),
    "data_sets": ("data sets", 0),
    "error": ("relative error", 4),
    "over_stre": ("over STRE, oracle", 2),
    "correlation": ("correlation", 4),
    "mse_mv2": ("MSE, mV²", 2),
    "relative_error_mean_removed": ("error, mean removed", 4),
    "activation_error_ms": ("activation error, ms", 2),
    "localization_error_mm": ("site error, mm", 1),
    "told_chi2": ("χ²", 3),
    "coverage_90": ("90 % interval covers", 2),
    "seconds": ("seconds", 1),
    "peak_mb": ("peak MB", 0),
}


def write_bench_page(result: BenchResult, path: Path) -> Path:
    """Write one self-contained HTML page; figures of disturbances also as files in ``curves`` beside it.

    Parameters
    ----------
    result
        As returned by `einthoven.studies.bench_output.write_bench`.
    path
        The file; its folder must exist.
    """
    parts = [f"<p>{_introduction()}</p>"]
    for key, rows in grouped(result.tables.get("curves", []), CURVE).items():
        parts += _disturbed(key, rows, path.parent / "curves")
    undisturbed = [row for row in result.table if not row.get("disturbance")]
    for key, rows in grouped(undisturbed, ("geometry", "case", "reference")).items():
        heading = html.escape(", ".join((key[0], key[1], f"{key[2]} reference")))
        parts += [f"<h2>{heading}</h2>", picture(error_figure(rows), f"Relative errors: {heading}")]
        parts.append(_table(rows))
    gate = result.tables.get("gate")
    if gate:
        parts += [
            "<h2>The gate</h2>",
            f"<p>{_about_the_gate()}</p>",
            table(gate, {k: (k.replace("_", " "), 0) for k in gate[0]}),
        ]
    return write_plain_page(path, result.study.title, parts, result.provenance)


def _introduction() -> str:
    return (
        "Medians over data sets, in parentheses the quartiles. Truth is computed on a finer heart and seen through "
        "another operator than the one that images. Gray rows saw the truth (oracle): bounds, not results. Relative "
        "errors are without the mean over the nodes where the reference is average. Seconds are of calls after the "
        "first of a process, which compiles."
    )


def _about_the_gate() -> str:
    return (
        "An image by cell physics is accepted where its misfit is that of noise. False accepts are images let through "
        "although stre with robust GCV is better, false rejects images held back although they are "
        "better."
    )


def _disturbed(key: tuple, rows: Sequence[Row], folder: Path) -> list[str]:
    """Heading, figure (kept as PNG and SVG, too) and table of one disturbance."""
    geometry, case, reference, sigma, name = key
    heading = f"{name}: {geometry}, {case}, {reference} reference, noise {sigma:g} mV"
    figure = disturbance_figure(rows)
    folder.mkdir(exist_ok=True)
    stem = re.sub(r"[^a-z0-9]+", "-", f"{name} {geometry} {case} {reference} {sigma:g}mV".lower())
    for kind in ("png", "svg"):
        figure.savefig(folder / f"{stem}.{kind}", dpi=130)
    columns = {"method": COLUMNS["method"], "size": (_axis_label(rows[0]), 0), **COLUMNS}
    return [f"<h2>{html.escape(heading)}</h2>", picture(figure, heading), _table(rows, columns)]


def disturbance_figure(rows: Sequence[Row]) -> "Figure":
    """Median error, correlation and localization error against the size of a disturbance, with quartiles.

    Of electrodes, none missing (size 0) stands at the right end. An error whose upper quartile is beyond 3 is cut off.
    """
    from matplotlib.figure import Figure

    error = error_key(rows[0]["reference"])
    panels = {error: "relative error", error.replace("relative_error", "correlation"): "correlation"}
    panels["localization_error_mm"] = "localization error (mm)"
    panels = {key: label for key, label in panels.items() if any(key in row for row in rows)}
    sizes = sorted({row["size"] for row in rows}, key=lambda s: (rows[0]["disturbance"] == "electrodes" and s == 0, s))
    figure = Figure(figsize=(1.2 + 3.6 * len(panels), 3.6), layout="constrained")
    for axes, (key, label) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels.items(), strict=True):
        for i, ((method,), here) in enumerate(grouped(rows, ("method",)).items()):
            _curve(axes, [r for r in here if key in r], key, sizes, i, method)
        axes.set(xlabel=_axis_label(rows[0]), ylabel=label)
        axes.set_xticks(range(len(sizes)), [_size_label(s, rows[0]["disturbance"]) for s in sizes])
        if "error" in key:
            limit = 3.0 if key.startswith("relative") else np.inf
            axes.set_ylim(0, min(limit, axes.get_ylim()[1]))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside center right", frameon=False, fontsize=8)  # type: ignore[arg-type]
    return figure


def _curve(axes: "Axes", rows: Sequence[Row], key: str, sizes: Sequence[float], i: int, method: str) -> None:
    """One method: sizes stand evenly, methods a little beside each other."""
    rows = sorted(rows, key=lambda r: sizes.index(r["size"]))
    x = [sizes.index(r["size"]) + 0.02 * i for r in rows]
    bars = [[abs(r[key] - r[f"{key}_{side}"]) for r in rows] for side in ("low", "high")]
    color, line = ("#9aa2ad", "--") if method.endswith(":oracle") else (f"C{i % 10}", "-")
    marker = "os^Dv<>*"[i // 10 % 8]
    y = [r[key] for r in rows]
    axes.errorbar(x, y, bars, marker=marker, ms=4, lw=1.3, capsize=2, label=method, color=color, ls=line)


def _axis_label(row: Row) -> str:
    name, unit = row["disturbance"], row["unit"]
    return name if name == unit else f"{name} ({unit})"


def _size_label(size: float, disturbance: str) -> str:
    return "all" if disturbance == "electrodes" and size == 0 else f"{size:g}"


def error_figure(rows: Sequence[Row]) -> "Figure":
    """Median error of every method against the noise, with quartiles."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 4.2), layout="constrained")
    axes = figure.add_subplot()
    error = error_key(rows[0]["reference"])
    for i, ((method,), here) in enumerate(grouped(rows, ("method",)).items()):
        here = sorted((r for r in here if error in r), key=lambda r: r["sigma"])
        if not here:
            continue
        x, y = [r["sigma"] * (1 + 0.012 * i) for r in here], [r[error] for r in here]
        bars = [[abs(r[error] - r[f"{error}_{side}"]) for r in here] for side in ("low", "high")]
        color, line = ("#9aa2ad", "--") if method.endswith(":oracle") else (f"C{i % 10}", "-")
        marker = "os^Dv<>*"[i // 10 % 8]
        axes.errorbar(x, y, bars, marker=marker, ms=4, lw=1.4, capsize=2, label=method, color=color, ls=line)
    axes.set(xscale="log", yscale="log", xlabel="Noise of the leads (mV)", ylabel="Relative error")
    sigmas = sorted({r["sigma"] for r in rows})
    axes.set_xlim(sigmas[0] / 1.3, sigmas[-1] * 1.5)
    axes.set_xticks(sigmas, [f"{s:g}" for s in sigmas])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter("{x:.3g}")
    axes.set_yticks([t for t in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if _within(t, axes.get_ylim())])
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
    return figure


def _within(value: float, limits: tuple[float, float]) -> bool:
    return bool(limits[0] <= value <= limits[1])


def _table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, tuple[str, int]] = COLUMNS) -> str:
    """All methods and noise levels of one case, or all sizes of one disturbance."""
    error = error_key(rows[0]["reference"])
    shown = [{**r, **{f"error{end}": r.get(f"{error}{end}") for end in ("", "_low", "_high")}} for r in rows]
    ordered = sorted(shown, key=lambda r: (r["sigma"], r.get("size", 0.0)))
    return table(ordered, columns, gray=lambda row: row["method"].endswith(":oracle"), shown=_cell)


def _cell(row: Mapping[str, Any], key: str, digits: int) -> str:
    value = row.get(key)
    if value is None or isinstance(value, str):
        return cell(row, key, digits)
    if key in ("sigma", "size"):
        return f"{value:g}"
    text = f"{value:.{digits}f}"
    low, high = (row.get(f"{key}_{side}") for side in ("low", "high"))
    if low is None or high is None or row["data_sets"] == 1 or key in ("seconds", "peak_mb"):
        return text
    return f"{text} <small>({low:.{digits}f}–{high:.{digits}f})</small>"
