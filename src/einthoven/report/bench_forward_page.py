"""The page of a comparison of forward operators: errors and costs against resolution, tables, what was run."""

import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from einthoven.report.plain_page import picture, plain_ticks, table, write_plain_page
from einthoven.studies.bench_output import BenchResult, Row, grouped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Columns of the tables, with the number of digits.
COLUMNS = {
    "operator": ("operator", 0),
    "layers": ("layers, S/m", 0),
    "left_out": ("left out", 0),
    "level": ("level", 2),
    "heart_nodes": ("nodes of the heart", 0),
    "other_nodes": ("other nodes", 0),
    "leads": ("leads", 0),
    "sources": ("sources", 0),
    "relative_error": ("relative error", 5),
    "worst_relative_error": ("worst source", 5),
    "rdm": ("RDM", 5),
    "mag": ("MAG", 4),
    "correlation": ("correlation", 5),
    "seconds": ("seconds", 2),
    "processor_seconds": ("processor seconds", 2),
    "peak_mb": ("peak MB", 0),
}


def write_forward_bench_page(result: BenchResult, path: Path) -> Path:
    """Write one self-contained HTML page; its figures also as files in ``figures`` beside it.

    Parameters
    ----------
    result
        As returned by `einthoven.studies.bench_output.write_bench`.
    path
        The file; its folder must exist.
    """
    parts = [f"<p>{_introduction()}</p>"]
    folder = path.parent / "figures"
    folder.mkdir(exist_ok=True)
    for (case, reference), rows in grouped(result.table, ("case", "reference")).items():
        heading = f"{case}, {reference} reference"
        figure = resolution_figure(rows)
        stem = re.sub(r"[^a-z0-9]+", "-", heading.lower())
        for kind in ("png", "svg"):
            figure.savefig(folder / f"{stem}.{kind}", dpi=130)
        degrees = sorted({key for row in rows for key in row if key.startswith("error_degree_")})
        columns = COLUMNS | {key: (key.removeprefix("error_").replace("_", " "), 5) for key in degrees}
        parts += [f"<h2>{html.escape(heading)}</h2>", picture(figure, f"Errors and seconds: {heading}")]
        parts.append(table(rows, columns, gray=lambda row: row["left_out"] != "none"))
    return write_plain_page(path, result.study.title, parts, result.provenance)


def _introduction() -> str:
    return (
        "Predicted leads against exact ones (spheres), those of a finer mesh (bodies) or measured ones (tank). Medians "
        "over sources; RDM is |a/|a| - b/|b||, MAG |a|/|b|. Gray rows leave regions out that the truth has. Seconds "
        "are of one operator, kernels compiled, checks of the geometry included; peak MB of the whole process."
    )


def resolution_figure(rows: Sequence[Row]) -> "Figure":
    """Relative error, RDM and seconds against all nodes: one line per operator, layers and what is left out."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.5, 3.8), layout="constrained")
    panels = {"relative_error": "relative error", "rdm": "RDM", "seconds": "seconds"}
    for axes, (key, label) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        for i, (names, here) in enumerate(grouped(rows, ("operator", "layers", "left_out")).items()):
            own = sorted((r for r in here if r.get(key, 0) > 0), key=lambda r: r["level"])
            x = [r["heart_nodes"] + r["other_nodes"] for r in own]
            left_out = {"none": "", "all": "torso alone"}.get(names[2], f"no {names[2]}")
            called = ", ".join(name for name in (*names[:2], left_out) if name)
            style = {"ls": "-" if names[2] == "none" else "--", "marker": "os^Dv<>*"[i // 10 % 8]}
            axes.plot(x, [r[key] for r in own], color=f"C{i % 10}", ms=4, lw=1.3, label=called, **style)
        axes.set(xscale="log", yscale="log", xlabel="nodes of all surfaces", ylabel=label)
        plain_ticks(axes.xaxis)
        axes.tick_params(axis="x", labelsize=7)
        plain_ticks(axes.yaxis)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside center right", frameon=False, fontsize=8)  # type: ignore[arg-type]
    return figure
