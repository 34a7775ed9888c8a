"""A still figure with its numbers: picture, JSON and one small page."""

import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from einthoven.report.plain_page import picture, write_plain_page

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_figure_page(
    folder: Path, name: str, figure: "Figure", numbers: Mapping[str, Any], *, title: str, alt: str
) -> Path:
    """Write ``NAME.png``, ``metrics.json`` and ``report.html``, which holds both and needs no other file.

    Parameters
    ----------
    folder
        Made if needed.
    name
        Of the picture.
    figure
        What is shown.
    numbers
        What came out, by name.
    title, alt
        Of the page, and what the picture shows in words.

    Returns
    -------
    Path
        The page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{name}.png", format="png", dpi=120)
    (folder / "metrics.json").write_text(json.dumps([dict(numbers)], indent=1))
    shown = {key: value if isinstance(value, str) else f"{value:.4g}" for key, value in numbers.items()}
    cells = "".join(f"<tr><td>{html.escape(k)}</td><td>{html.escape(v)}</td></tr>" for k, v in shown.items())
    return write_plain_page(folder / "report.html", title, [picture(figure, alt), f"<table>{cells}</table>"])
