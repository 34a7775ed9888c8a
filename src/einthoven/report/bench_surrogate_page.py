"""The page of a comparison of surrogates: R2 of every training beside the baselines, learning curves, tables."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from einthoven.report.plain_page import picture, plain_ticks, table, write_plain_page
from einthoven.studies.bench_output import BenchResult
from einthoven.studies.surrogates import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Columns of the tables, with the number of digits.
COLUMNS = {
    "model": ("model", 0),
    "training_sheets": ("sheets", 0),
    "seeds": ("seeds", 0),
    "r2_mean": ("R² mean", 4),
    "r2_mean_low": ("of the worst seed", 4),
    "r2_mean_high": ("of the best seed", 4),
    "r2_p05": ("R² 5 %", 4),
    "r2_min": ("R² least", 3),
    "r2_first_electrode": ("R² electrode 1", 4),
    "mae": ("MAE, mV", 5),
    "correlation": ("correlation", 4),
    "amplitude_ratio": ("amplitude ratio", 3),
    "peak_time_error": ("peak error, ms", 1),
    "activation_error_ms": ("activation error, ms", 2),
    "training_seconds": ("training, s", 0),
    "parameters": ("parameters", 0),
}


def write_surrogate_bench_page(result: BenchResult, path: Path) -> Path:
    """Write one self-contained HTML page.

    Parameters
    ----------
    result
        As returned by `einthoven.studies.bench_output.write_bench`.
    path
        The file; its folder must exist.
    """
    parts = [f"<p>{_introduction()}</p>"]
    for part in dict.fromkeys(row["scored_on"] for row in result.table):
        rows = [row for row in result.table if row["scored_on"] == part]
        parts.append(f"<h2>Scored on {html.escape(part)}</h2>")
        everything = [row for row in rows if row["condition"] == "all"]
        parts.append(picture(ranking_figure(everything), f"R2 of every model, {part}"))
        if len({row["training_sheets"] for row in everything if row["learned"]}) > 1:
            parts.append(picture(curve_figure(everything), f"R2 against training sheets, {part}"))
        for condition in dict.fromkeys(row["condition"] for row in rows):
            parts.append(f"<h3>{html.escape(condition)}</h3>")
            parts.append(_table([row for row in rows if row["condition"] == condition]))
    return write_plain_page(path, result.study.title, parts, result.provenance)


def _introduction() -> str:
    return (
        "Means over seeds of scores over sheets and electrodes; R² is of raw amplitudes. Gray rows are baselines that "
        "need no training or know what is to be predicted. Seconds of trainings are of this machine, other work beside "
        "them included."
    )


def ranking_figure(rows: Sequence[Row]) -> "Figure":
    """1 - mean R2 of every model and number of sheets, with the range of its seeds."""
    from matplotlib.figure import Figure

    rows = sorted(rows, key=lambda r: r["r2_mean"])
    figure = Figure(figsize=(8.5, 0.9 + 0.28 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    for k, row in enumerate(rows):
        color = "C0" if row["learned"] else "#9aa2ad"
        low, mean, high = (max(1e-6, 1 - row[f"r2_mean{end}"]) for end in ("_high", "", "_low"))
        axes.plot([low, high], [k, k], color=color, lw=3)
        axes.plot([mean], [k], "o", color=color, ms=5)
    axes.set(xscale="log", xlabel="1 - mean R²  (dot: mean over seeds, bar: their range)", ylim=(-0.6, len(rows) - 0.4))
    axes.set_yticks(range(len(rows)), [_label(row) for row in rows])
    axes.axvline(0.01, color="#c05050", lw=0.8, ls="--")
    axes.grid(axis="x", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _label(row: Row) -> str:
    return f"{row['model']}, {row['training_sheets']:.0f} sheets" if row["learned"] else row["model"]


def curve_figure(rows: Sequence[Row]) -> "Figure":
    """1 - mean R2 against the number of training sheets, and against the seconds of the training."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 3.4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    learned = [row for row in rows if row["learned"]]
    for i, name in enumerate(dict.fromkeys(row["model"] for row in learned)):
        own = sorted((r for r in learned if r["model"] == name), key=lambda r: r["training_sheets"])
        y = [max(1e-6, 1 - r["r2_mean"]) for r in own]
        axes[0].plot([r["training_sheets"] for r in own], y, "o-", lw=1.4, ms=5, color=f"C{i}", label=name)
        axes[1].plot([r["training_seconds"] / 60 for r in own], y, "o-", lw=1.4, ms=5, color=f"C{i}")
    axes[0].set(xscale="log", yscale="log", xlabel="training sheets", ylabel="1 - mean R²")
    counts = sorted({round(r["training_sheets"]) for r in learned})
    axes[0].set_xticks(counts, [str(n) for n in counts])
    axes[0].minorticks_off()
    axes[1].set(xscale="log", xlabel="minutes of training")
    plain_ticks(axes[1].xaxis)
    for a in axes:
        a.grid(alpha=0.25)
        a.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, fontsize=8)
    return figure


def _table(rows: Sequence[Row]) -> str:
    return table(sorted(rows, key=lambda r: -r["r2_mean"]), COLUMNS, gray=lambda row: not row["learned"])
