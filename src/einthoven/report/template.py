"""One self-contained HTML file from a template, its scripts and styles, and data."""

import html
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from einthoven.io.atomic import replacing

#: Assets that every page has.
SHARED = ("head.html", "top.html", "transport.html", "page.css", "maps.js", "charts.js", "kit.js")


def filled(template: str, assets: Sequence[str], *, title: str, data: str) -> str:
    """Return a template with its assets, title and data in place.

    Placeholders are ``{{file name}}``, ``{{title}}`` and ``{{data}}``; they are replaced in one pass, so that text from
    files is never searched for placeholders.

    Parameters
    ----------
    template, assets
        Names of files in ``report/assets``.
    title
        Any text; it is escaped.
    data
        JSON made by `einthoven.report.encoding.script_json`.

    Returns
    -------
    str
        The page.
    """
    folder = resources.files("einthoven.report") / "assets"
    parts = {name: (folder / name).read_text(encoding="utf-8").removesuffix("\n") for name in assets}
    parts |= {"title": html.escape(title), "data": data}
    text = (folder / template).read_text(encoding="utf-8")
    return re.sub(r"\{\{([a-z._]+)\}\}", lambda match: parts[match.group(1)], text)


def write_page_text(path: Path, text: str) -> Path:
    """Write the text of a page so that it is there whole or not at all; return the path."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return Path(path)
