"""Tables of the benchmarks as Markdown."""

from collections.abc import Sequence
from typing import Any


def lines(rows: Sequence[dict[str, Any]], digits: int = 4) -> list[str]:
    """Lines of one table, with all columns that any of its rows has; None and what is missing stay empty."""
    columns = list(dict.fromkeys(key for row in rows for key, value in row.items() if value is not None))
    found = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        found.append("| " + " | ".join(_shown(row.get(c), digits) for c in columns) + " |")
    return found


def markdown(tables: dict[str, list[dict]], digits: int = 4) -> str:
    """All tables that have rows, each under its title."""
    text = []
    for title, rows in tables.items():
        if rows:
            text += [f"## {title}", "", *lines(rows, digits), ""]
    return "\n".join(text)


def _shown(value: Any, digits: int) -> str:
    if value is None:
        return ""
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)
