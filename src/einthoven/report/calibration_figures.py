"""Figures of a calibration: errors per frame, parameters, residuals per lead."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from einthoven.inverse.calibration import Calibration
from einthoven.studies.calibration import JUDGES, CalibrationResult, Trial
from einthoven.studies.calibration_output import ALL, calibrations

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BEFORE, AFTER = "#8a929e", "#1f5f9e"
COLORS = ("#1f5f9e", "#c2571a", "#2f7d4f", "#7a4fa3", "#1c2430")
#: Parameters that single electrodes or modes of the skin have, and what their panel is called.
MANY = {
    "skin mode": "Skin modes (mm)",
    " a (mm)": "Electrodes (mm)",
    " b (mm)": "Electrodes (mm)",
    " gain (%)": "Gains of leads (%)",
}


def frame_figure(result: CalibrationResult, model: str) -> "Figure":
    """Error of the heart's image per frame held out, before and after; one panel per pair of splits."""
    trials = [trial for trial in result.trials if trial.model == model]
    pairs = [trials[i : i + 2] for i in range(0, len(trials), 2)]
    figure, panels = _panels(len(pairs), height=3.0)
    for axes, pair in zip(panels, pairs, strict=True):
        for i, trial in enumerate(pair):
            _frames(axes, trial, result.recording.times, labelled=i == 0)
        axes.set_title(
            "held out: " + ", ".join(trial.split.name.split(" -> ")[1] for trial in pair), loc="left", fontsize=10
        )
        axes.set_xlabel("Time (ms)")
        axes.set_ylabel("RMS error (mV)")
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False, title="{}, {}".format(*JUDGES[0]))
    return figure


def _frames(axes: "Axes", trial: Trial, times: Float[np.ndarray, " n"], *, labelled: bool) -> None:
    shown = np.full((2, len(times)), np.nan)
    shown[:, trial.split.test] = trial.before.frame_errors, trial.after.frame_errors
    for values, color, label in zip(shown, (BEFORE, AFTER), ("as built", "calibrated"), strict=True):
        axes.plot(times, values, color=color, lw=1.3, label=label if labelled else None)


def parameter_figure(result: CalibrationResult, model: str) -> "Figure":
    """Parameters: those of the whole heart with standard errors, those of many electrodes from two sets of frames.

    The left panel shows them in units of what was expected, per set of frames they were found on. The others compare
    what the first two sets of frames say of single electrodes, leads or modes of the skin: points on the diagonal are
    found twice.
    """
    found = calibrations(result, model)
    names = next(iter(found.values())).names
    groups = {name: _group(name) for name in names}
    whole = [i for i, name in enumerate(names) if groups[name] is None]
    titles = [t for t in dict.fromkeys(groups.values()) if t is not None]
    figure, panels = _panels(1 + len(titles), height=3.6)
    _whole(panels[0], found, whole)
    for axes, title in zip(panels[1:], titles, strict=True):
        _twice(axes, found, [i for i, name in enumerate(names) if groups[name] == title], title)
    return figure


def _group(name: str) -> str | None:
    for mark, title in MANY.items():
        if (name.startswith(mark) or name.endswith(mark)) and not name.startswith("heart"):
            return title
    return None


def _whole(axes: "Axes", found: dict[str, Calibration], chosen: list[int]) -> None:
    """Points with bars, one row per parameter, one color per set of frames."""
    for k, (frames, one) in enumerate(found.items()):
        rows = np.arange(len(chosen)) + 0.13 * (k - (len(found) - 1) / 2)
        axes.errorbar(
            one.q[chosen] / one.sizes[chosen],
            rows,
            xerr=one.errors[chosen] / one.sizes[chosen],
            fmt="D" if frames == ALL else "o",
            ms=4,
            lw=1.2,
            color=COLORS[k % len(COLORS)],
            label="all frames" if frames == ALL else frames,
        )
    names = next(iter(found.values())).names
    axes.set_yticks(range(len(chosen)), [names[i] for i in chosen])
    axes.set_ylim(len(chosen) - 0.4, -0.6)
    axes.axvline(0, color="#b8bec8", lw=0.8, zorder=0)
    axes.set_xlabel("Value / expected error")
    axes.set_title("Heart and gain", loc="left", fontsize=10)
    axes.legend(frameon=False, fontsize=7.5, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=3)


def _twice(axes: "Axes", found: dict[str, Calibration], chosen: list[int], title: str) -> None:
    sets = [frames for frames in found if frames != ALL]
    one, other = found[sets[0]], found[sets[min(1, len(sets) - 1)]]
    if one is other:
        axes.hist(one.q[chosen], bins=20, color=AFTER)
        axes.set_xlabel(sets[0])
    else:
        axes.plot(one.q[chosen], other.q[chosen], "o", ms=3, color=AFTER, alpha=0.6, mew=0)
        reach = 1.05 * max(float(np.abs(c.q[chosen]).max()) for c in (one, other)) or 1.0
        axes.plot([-reach, reach], [-reach, reach], color="#b8bec8", lw=0.8, zorder=0)
        axes.set_xlim(-reach, reach)
        axes.set_ylim(-reach, reach)
        axes.set_aspect("equal")
        axes.set_xlabel(f"from {sets[0]}")
        axes.set_ylabel(f"from {sets[1]}")
    axes.set_title(title, loc="left", fontsize=10)


def lead_figure(result: CalibrationResult, model: str) -> "Figure":
    """What is left of every lead at frames held out, before and after, leads sorted by what was left before."""
    trials = [trial for trial in result.trials if trial.model == model][:2]
    figure, panels = _panels(len(trials), height=2.8)
    for axes, trial in zip(panels, trials, strict=True):
        order = np.argsort(trial.before.residuals)
        x = np.arange(len(order))
        axes.fill_between(x, 1e3 * trial.before.residuals[order], color=BEFORE, alpha=0.35, lw=0, label="as built")
        axes.plot(x, 1e3 * trial.after.residuals[order], "o", ms=2.6, mew=0, color=AFTER, label="calibrated")
        axes.set_title(f"held out: {trial.split.name.split(' -> ')[1]}", loc="left", fontsize=10)
        axes.set_xlabel("Leads, sorted")
        axes.set_ylabel("RMS residual (µV)")
        axes.set_ylim(bottom=0)
        axes.set_xlim(0, len(order) - 1)
        axes.legend(frameon=False)
    return figure


def _panels(n: int, *, height: float) -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, height), layout="constrained")
    panels = [figure.add_subplot(1, n, i + 1) for i in range(n)]
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    return figure, panels
