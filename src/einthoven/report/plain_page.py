"""Pages of text, still figures and tables: one self-contained file, no scripts."""

import base64
import html
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from einthoven.report.template import write_page_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #1d2530; }
table { border-collapse: collapse; font-size: 13px; margin: 1rem 0 2rem; display: block; overflow-x: auto; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #dfe3e9; text-align: right; white-space: nowrap; }
th { font-weight: 600; vertical-align: bottom; white-space: normal; }
th:first-child, td:first-child { text-align: left; }
tr.gray td { color: #7a838f; }
small { color: #6b7480; }
img { max-width: 100%; }
pre { white-space: pre-wrap; font-size: 13px; }
"""

#: Nothing but the page's own style and pictures is loaded or run.
_SOURCES = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
POLICY = f'<meta http-equiv="Content-Security-Policy" content="{_SOURCES}">'

#: Columns of a table: the key of a row to a heading and the number of digits.
Columns = Mapping[str, tuple[str, int]]


def plain_ticks(axis: Any) -> None:
    """Ticks of a logarithmic axis as plain numbers (0.5, 1, 2), which do not run into each other."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def write_plain_page(path: Path, title: str, parts: Sequence[str], provenance: Mapping[str, Any] | None = None) -> Path:
    """Write one self-contained HTML page.

    Parameters
    ----------
    path
        The file; its folder must exist.
    title
        Any text; it is escaped.
    parts
        HTML.
    provenance
        With ``machine`` and ``versions``, told at the end.
    """
    name = html.escape(title)
    body = [f"<h1>{name}</h1>", *parts, *([] if provenance is None else [_told(provenance)])]
    head = f"<!doctype html><html lang='en'><meta charset='utf-8'>{POLICY}<title>{name}</title><style>{STYLE}</style>"
    return write_page_text(path, head + "\n".join(body) + "</html>\n")


def _told(provenance: Mapping[str, Any]) -> str:
    machine = provenance["machine"]
    told = f"{machine['processor']}, {machine['cores']} cores, {machine['system']}"
    versions = ", ".join(f"{k} {v}" for k, v in provenance["versions"].items())
    return f"<p><small>{html.escape(told)}; {html.escape(versions)}</small></p>"


def picture(figure: "Figure", alt: str) -> str:
    """An `img` element that holds the figure."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    encoded = base64.b64encode(content.getvalue()).decode("ascii")
    return f"<img alt='{html.escape(alt)}' src='data:image/png;base64,{encoded}'>"


def cell(row: Mapping[str, Any], key: str, digits: int) -> str:
    """A value as HTML; what is missing is a dash."""
    value = row.get(key)
    if value is None:
        return "–"
    return html.escape(value) if isinstance(value, str) else f"{value:.{digits}f}"


def table(
    rows: Sequence[Mapping[str, Any]],
    columns: Columns,
    *,
    gray: Callable[[Mapping[str, Any]], bool] = lambda row: False,
    shown: Callable[[Mapping[str, Any], str, int], str] = cell,
) -> str:
    """A table; columns that no row fills are left out.

    Parameters
    ----------
    rows
        In their order.
    columns
        Which keys, their headings and digits.
    gray
        Whether a row is no result, but a bound or a yardstick.
    shown
        From a row, a key and digits to the HTML of a cell.
    """
    used = {k: v for k, v in columns.items() if any(row.get(k) is not None for row in rows)}
    head = "".join(f"<th>{html.escape(name)}</th>" for name, _ in used.values())
    lines = []
    for row in rows:
        cells = "".join(f"<td>{shown(row, key, digits)}</td>" for key, (_, digits) in used.items())
        lines.append(f"<tr{' class=gray' if gray(row) else ''}>{cells}</tr>")
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"
