"""Tables of the benchmarks as Markdown, and the files they are written to."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from einthoven.studies.provenance import machine, versions


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


def written(
    out: Path, name: str, title: str, rows: Sequence[dict[str, Any]], digits: int = 4, **others: Any
) -> dict[str, Any]:
    """Write ``NAME.json`` (rows, machine, versions and others) and ``NAME.md``, print the table, return all."""
    tables = {"rows": list(rows), **others, "machine": machine(), "versions": versions()}
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps(tables, indent=1))
    text = "\n".join([f"# {title}", "", *lines(rows, digits), ""])
    (out / f"{name}.md").write_text(text)
    print(text)
    return tables


def _shown(value: Any, digits: int) -> str:
    if value is None:
        return ""
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)
