"""The page of a calibration: figures, scores, parameters, provenance. It needs no script."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from einthoven.report.calibration_figures import frame_figure, lead_figure, parameter_figure
from einthoven.report.template import filled, write_page_text
from einthoven.studies.calibration import CalibrationResult
from einthoven.studies.calibration_output import WORSE, calibrations, metric_rows, notes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Columns of the table of scores: what stands in a cell, one value or two with an arrow between.
SCORES = {
    "Model": ("model",),
    "Calibrated on → judged on": ("split",),
    "Method": ("method",),
    "Rule": ("rule",),
    "Error": ("error_before", "error_after"),
    "Change %": ("change_percent",),
    "Correlation": ("correlation_before", "correlation_after"),
    "Misfit, fitted": ("misfit_fit_before", "misfit_fit_after"),
    "Misfit, held out": ("misfit_test_before", "misfit_test_after"),
}
#: Rows of the table of parameters at most.
MOST_PARAMETERS = 32


def write_calibration_page(result: CalibrationResult, path: Path) -> Path:
    """Write one self-contained HTML page.

    Parameters
    ----------
    result
        As returned by `einthoven.studies.calibration.calibrate_case`; figures are of its first model.
    path
        The file; its folder must exist.

    Returns
    -------
    Path
        The file.
    """
    model = next(iter(result.calibrated))
    parts = [
        _top(result, model),
        "<main>",
        _card("What was found", "".join(f"<p class='note'>{html.escape(line)}</p>" for line in notes(result))),
        _card(
            "Error of the heart's image, frame by frame",
            _picture(frame_figure(result, model), "Error of the image per frame held out, before and after"),
            "every frame is imaged with an operator that was calibrated on other frames",
        ),
        _card("Scores", _scores(result), "relative errors at frames held out; shaded: worse than as built"),
        _card(
            "Parameters",
            _picture(parameter_figure(result, model), "Parameters with standard errors") + _parameters(result, model),
            "standard errors; those of single electrodes and leads are in parameters.csv",
        ),
        _card(
            "What the operator leaves of every lead",
            _picture(lead_figure(result, model), "Residual per lead before and after"),
            "from the measured heart potentials, at frames held out",
        ),
        _card("How it was made", _provenance(result.provenance)),
        "</main>",
    ]
    title = f"{result.case.name}: calibrated operator - einthoven"
    assets = ("head.html", "page.css")
    return write_page_text(path, filled("calibration.html", assets, title=title, data="\n".join(parts)))


def _top(result: CalibrationResult, model: str) -> str:
    recording = result.recording
    line = (
        f"model {model}, {len(result.first.names)} parameters; {result.heart.n_sites} heart nodes, {recording.n_sites} "
        f"leads, {recording.n_times} frames, reference {recording.reference}"
    )
    return (
        "<header class='top'><div class='heading'><span class='brand'>einthoven</span>"
        f"<h1>{html.escape(result.case.name)}: calibrated operator</h1><p>{html.escape(line)}</p></div></header>"
    )


def _card(title: str, body: str, line: str = "") -> str:
    below = f"<p>{html.escape(line)}</p>" if line else ""
    return f"<section class='card'><header><h2>{html.escape(title)}</h2>{below}</header>{body}</section>"


def _picture(figure: "Figure", alt: str) -> str:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=150)
    embedded = base64.b64encode(picture.getvalue()).decode("ascii")
    return f"<img alt='{html.escape(alt)}' src='data:image/png;base64,{embedded}'>"


def _scores(result: CalibrationResult) -> str:
    rows = []
    for row in metric_rows(result):
        worse = row["change_percent"] > WORSE
        shown = [" → ".join(_shown(row[k], signed=k == "change_percent") for k in keys) for keys in SCORES.values()]
        rows.append((shown, worse))
    return _table(list(SCORES), rows, text=4, marked=list(SCORES).index("Change %"))


def _parameters(result: CalibrationResult, model: str) -> str:
    found = calibrations(result, model)
    names = next(iter(found.values())).names
    kept = [i for i, name in enumerate(names) if name.startswith(("heart", "skin", "gain"))][:MOST_PARAMETERS]
    rows = []
    for i in kept:
        cells = [names[i], f"{next(iter(found.values())).sizes[i]:g}"]
        cells += [f"{one.q[i]:+.2f} ± {one.errors[i]:.2f}" for one in found.values()]
        rows.append((cells, False))
    return _table(["Parameter", "Expected error", *(f"From {name}" for name in found)], rows, text=1)


def _table(heads: Sequence[str], rows: list[tuple[list[str], bool]], *, text: int, marked: int = -1) -> str:
    """Cells of the first `text` columns to the left; cell `marked` shaded in rows that say so."""

    def style(i: int, shaded: bool) -> str:
        classes = ["text"] * (i < text) + ["worse"] * (shaded and i == marked)
        return f" class='{' '.join(classes)}'" if classes else ""

    top = "".join(f"<th{style(i, False)}>{html.escape(head)}</th>" for i, head in enumerate(heads))
    body = "".join(
        "<tr>" + "".join(f"<td{style(i, shaded)}>{html.escape(c)}</td>" for i, c in enumerate(cells)) + "</tr>"
        for cells, shaded in rows
    )
    return f"<div class='scroll'><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"


def _provenance(values: dict[str, Any]) -> str:
    items = []
    for key, value in values.items():
        if isinstance(value, dict):
            inner = "".join(f"<dt>{html.escape(str(k))}</dt><dd>{html.escape(str(v))}</dd>" for k, v in value.items())
            items.append(f"<details><summary>{html.escape(key)}</summary><dl>{inner}</dl></details>")
        else:
            items.append(f"<dl><dt>{html.escape(key.replace('_', ' '))}</dt><dd>{html.escape(str(value))}</dd></dl>")
    return f"<div class='provenance'>{''.join(items)}</div>"


def _shown(value: Any, *, signed: bool = False) -> str:
    if isinstance(value, float):
        return f"{value:+.1f}" if signed else f"{value:.3f}"
    return str(value)
