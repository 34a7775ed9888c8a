"""The page of a training of a surrogate: its course, its card."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from einthoven.report.plain_page import picture, write_plain_page
from einthoven.studies.surrogates import TrainingResult
from einthoven.surrogate.cards import card_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_training_page(result: TrainingResult, path: Path) -> Path:
    """Write one self-contained HTML page.

    Parameters
    ----------
    result
        As returned by `einthoven.studies.surrogates.write_training`.
    path
        The file; its folder must exist.
    """
    model = result.card["configuration"]["model"]
    parts = [picture(course_figure({"": result.card["course"]}), "Course of the training")]
    parts.append(f"<pre>{html.escape(card_text(model, result.card))}</pre>")
    return write_plain_page(path, f"Training of {model}", parts)


def course_figure(courses: Mapping[str, Mapping[str, Sequence[float]]]) -> "Figure":
    """Loss and validation score of trainings against minutes.

    Parameters
    ----------
    courses
        By name, with ``minutes``, ``loss`` and ``score`` after each epoch.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 3.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, course in courses.items():
        left.plot(course["minutes"], course["loss"], lw=1.4, label=name)
        right.plot(course["minutes"], _shown(course["score"]), lw=1.4, label=name)
    left.set(xlabel="minutes", ylabel="loss", yscale="log" if _all_positive(courses) else "linear")
    r2 = all(max(c["score"]) > 0 for c in courses.values())
    right.set(xlabel="minutes", ylabel="R² of the validation sheets" if r2 else "validation score")
    if r2:
        right.set_ylim(0, 1)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    if any(courses):
        right.legend(frameon=False, fontsize=8)
    return figure


def _shown(score: Sequence[float]) -> list[float]:
    return [max(s, -1.0) if max(score) > 0 else s for s in score]


def _all_positive(courses: Mapping[str, Any]) -> bool:
    return all(min(c["loss"]) > 0 for c in courses.values())
