"""A still figure with its numbers: picture, JSON and one small page."""

import base64
import html
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from einthoven.report.template import write_page_text

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
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    (folder / f"{name}.png").write_bytes(picture.getvalue())
    (folder / "metrics.json").write_text(json.dumps([dict(numbers)], indent=1))
    shown = {key: value if isinstance(value, str) else f"{value:.4g}" for key, value in numbers.items()}
    cells = "".join(f"<tr><td>{html.escape(k)}</td><td>{html.escape(v)}</td></tr>" for k, v in shown.items())
    embedded, head = base64.b64encode(picture.getvalue()).decode("ascii"), html.escape(title)
    return write_page_text(
        folder / "report.html",
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{head}</title><h1>{head}</h1>"
        f"<img alt='{html.escape(alt)}' src='data:image/png;base64,{embedded}'><table>{cells}</table></html>\n",
    )
