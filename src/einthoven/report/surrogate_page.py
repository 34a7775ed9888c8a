"""The page of an evaluation of surrogates: predicted against true ECGs, scores per condition, tables."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from einthoven.report.plain_page import picture, table, write_plain_page
from einthoven.report.training_page import course_figure
from einthoven.studies.surrogates import Evaluation, Row
from einthoven.surrogate.lead_field_net import PixelTissue

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Columns of the tables, with the number of digits.
COLUMNS = {
    "predictor": ("predictor", 0),
    "n": ("ECGs", 0),
    "r2_mean": ("R² mean", 4),
    "r2_p05": ("R² 5 %", 4),
    "r2_min": ("R² least", 4),
    "r2_floored_p05": ("floored R² 5 %", 4),
    "r2_first_electrode": ("R² electrode 1", 4),
    "mae": ("MAE, mV", 5),
    "correlation": ("correlation", 4),
    "amplitude_ratio": ("amplitude ratio", 3),
    "peak_time_error": ("peak error, ms", 1),
    "activation_error_ms": ("activation error, ms", 2),
    "milliseconds": ("ms per sheet", 1),
    "flagged": ("flagged", 2),
    "below": ("error within its bound", 2),
}


def write_surrogate_page(result: Evaluation, path: Path) -> Path:
    """Write one self-contained HTML page.

    Parameters
    ----------
    result
        As returned by `einthoven.studies.surrogates.evaluate`.
    path
        The file; its folder must exist.
    """
    recipe = result.sheets.recipe
    parts = [f"<p>{_introduction()}</p>"]
    parts.append(picture(box_figure(result.rows), "R2 of every predictor"))
    parts.append(_table([row for row in result.table if row["condition"] == "all"]))
    for condition in dict.fromkeys(row["condition"] for row in result.table if row["condition"] != "all"):
        rows = [row for row in result.table if row["condition"] == condition]
        own = [row for row in result.rows if row["condition"] == condition]
        boxes = picture(box_figure(own), f"R2 of every predictor, {condition}")
        parts += [f"<h2>{html.escape(condition)}</h2>", boxes, _table(rows)]
    parts.append("<h2>Predicted and true</h2>")
    for name in dict.fromkeys(e["predictor"] for e in result.examples):
        own = [e for e in result.examples if e["predictor"] == name]
        parts += [f"<h3>{html.escape(name)}</h3>", picture(example_figure(own), f"ECGs predicted by {name}")]
        if name in result.tissues:
            parts.append(
                picture(tissue_figure(*result.tissues[name]), f"Tissue that {name} reads off the median movie")
            )
    parts += _learning(result)
    return write_plain_page(path, f"{recipe.title}: {result.split} sheets", parts, result.provenance)


def _introduction() -> str:
    return (
        "R² of every sheet and electrode, raw amplitudes. Those that look at a movie predict the ECG at its frames, "
        "those that look at the tissue at the ECG's own samples. True lead fields and true activation know what is to "
        "be predicted: bounds, not results (gray). Floored R² counts an electrode's variance as at least a hundredth "
        "of the largest one of its sheet. The exact lead field on the simulated grid is the truth itself: R² is 1. "
        "Flagged: share of the sheets that a model calls unlike its training data; error within its bound: share of "
        "the sheets, nine of ten where they are familiar."
    )


def _learning(result: Evaluation) -> list[str]:
    """Courses of the trainings, and R2 against sheets where weights were trained on different numbers of them."""
    courses = {name: card["course"] for name, card in result.cards.items() if "course" in card}
    if not courses:
        return []
    parts = ["<h2>Learning</h2>", picture(course_figure(courses), "Courses of the trainings")]
    if len({result.cards[name].get("training_sheets") for name in courses}) > 1:
        parts.append(picture(learning_figure(result), "R2 against the number of training sheets"))
    return parts


def learning_figure(result: Evaluation) -> "Figure":
    """1 - R2 against the number of training sheets, one line per model and title."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 3.0), layout="constrained")
    axes = figure.add_subplot()
    means = {row["predictor"]: row["r2_mean"] for row in result.table if row["condition"] == "all"}
    groups: dict[str, list[tuple[int, float]]] = {}
    for name, card in result.cards.items():
        groups.setdefault(card["title"], []).append((card["training_sheets"], max(1e-6, 1 - means[name])))
    for title, points in groups.items():
        axes.plot(*zip(*sorted(points), strict=True), "o-", lw=1.3, ms=5, label=title)
    axes.set(xscale="log", yscale="log", xlabel="training sheets", ylabel="1 - mean R²")
    axes.grid(alpha=0.25, which="both")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return figure


def box_figure(rows: Sequence[Row]) -> "Figure":
    """1 - R2 of every predictor: median, quartiles, 5th and 95th percentiles."""
    import numpy as np
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row["predictor"] for row in rows))[::-1]
    values = [[max(1e-6, 1 - row["r2"]) for row in rows if row["predictor"] == name] for name in names]
    figure = Figure(figsize=(8.5, 0.9 + 0.32 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    for k, (name, own) in enumerate(zip(names, values, strict=True)):
        low, q1, median, q3, high = np.quantile(own, (0.05, 0.25, 0.5, 0.75, 0.95))
        color = "#9aa2ad" if name.startswith("true") else "C0"
        axes.plot([low, high], [k, k], color=color, lw=1.2)
        axes.plot([q1, q3], [k, k], color=color, lw=7, solid_capstyle="butt")
        axes.plot([median], [k], "|", color="white", ms=7, mew=2)
    axes.set(xscale="log", xlabel="1 - R²  (median, quartiles, 5 to 95 %)", ylim=(-0.6, len(names) - 0.4))
    axes.set_yticks(range(len(names)), names)
    axes.axvline(0.01, color="#c05050", lw=0.8, ls="--")
    axes.grid(axis="x", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def example_figure(examples: Sequence[dict[str, Any]]) -> "Figure":
    """Predicted and true ECG of the first electrode: best, median, worst sheet."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 2.6), layout="constrained")
    for axes, e in zip(figure.subplots(1, len(examples), squeeze=False)[0], examples, strict=True):
        axes.plot(e["times"], e["true"], color="#9aa2ad", lw=3, label="true")
        axes.plot(e["times"], e["predicted"], color="C3", lw=1.2, label="predicted")
        axes.set_title(f"{e['rank']}: {e['condition']} {e['number']}, R² {e['r2']:.4f}", fontsize=9)
        axes.set_xlabel("Time (ms)")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("mV")
    figure.axes[0].legend(frameon=False, fontsize=8)
    return figure


def tissue_figure(read: PixelTissue, true: PixelTissue) -> "Figure":
    """Diffusivity and share of cells, read off a movie and true."""
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 2.6), layout="constrained")
    axes = figure.subplots(1, 4)
    low, high = np.nanquantile(true.diffusivity, (0.0, 1.0))
    pad = 0.1 * high
    for k, (title, maps) in enumerate((("true", true), ("read", read))):
        d = axes[k].imshow(maps.diffusivity.T, origin="lower", vmin=max(0.0, low - pad), vmax=high + pad)
        s = axes[2 + k].imshow(maps.share.T, origin="lower", vmin=0.0, vmax=1.0, cmap="gray")
        axes[k].set_title(f"D, {title}", fontsize=9)
        axes[2 + k].set_title(f"share of cells, {title}", fontsize=9)
    for a in axes:
        a.set_xticks([])
        a.set_yticks([])
        a.set_facecolor("#30343b")
    figure.colorbar(d, ax=axes[:2], label="mm²/ms", shrink=0.9)
    figure.colorbar(s, ax=axes[2:], shrink=0.9)
    return figure


def _table(rows: Sequence[Row]) -> str:
    return table(rows, COLUMNS, gray=lambda row: row["predictor"].startswith("true"))
