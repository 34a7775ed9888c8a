"""What the command line prints: tables, progress, one-line errors, JSON for scripts."""

import json
import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from einthoven.core.progress import Progress as ProgressCallback
from einthoven.core.progress import silent
from einthoven.studies.output import plain

#: People read stderr's progress and stdout's results; scripts read stdout.
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Print a line for people, as it stands (no markup)."""
    out.print(printable(text), markup=False)


def printable(text: str) -> str:
    """Write control characters, with which a text from a file could steer the terminal, as escapes; lines stay."""
    return "".join(c if c in "\n\t" or unicodedata.category(c) != "Cc" else f"\\x{ord(c):02x}" for c in text)


def say_json(value: Any) -> None:
    """Print one JSON value for scripts."""
    json.dump(plain(value), sys.stdout, indent=2, default=str, allow_nan=False)
    sys.stdout.write("\n")


def fail(message: str, *, code: int = 2) -> NoReturn:
    """Print one clear line and leave with a non-zero code."""
    err.print("error: " + printable(" ".join(message.split())), markup=False, style="red" if err.is_terminal else None)
    raise SystemExit(code)


@contextmanager
def progress(*, quiet: bool) -> Iterator[ProgressCallback]:
    """Show a bar per step on a terminal; nothing in a pipe or when quiet."""
    if quiet or not err.is_terminal:
        yield silent
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True) as bar:
        tasks: dict[str, Any] = {}

        def advance(step: str, done: int, total: int) -> None:
            name = step.split(": ")[0]
            if name not in tasks:
                tasks[name] = bar.add_task(step, total=total)
            bar.update(tasks[name], completed=done, total=total, description=step)

        yield advance


def table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], *, title: str | None = None) -> None:
    """Print rows as a table; `columns` maps keys to headings, keys absent from all rows are left out."""
    shown = {key: head for key, head in columns.items() if any(row.get(key) is not None for row in rows)}
    grid = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for key, head in shown.items():
        numeric = all(isinstance(row.get(key), (int, float, type(None))) for row in rows)
        grid.add_column(head, justify="right" if numeric else "left", no_wrap=True, min_width=len(head))
    for row in rows:
        grid.add_row(*(_cell(row.get(key)) for key in shown))
    out.print(grid)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}" if 0 < abs(value) < 1e-2 or abs(value) >= 1e3 else f"{value:.3f}"
    return printable(str(value)).replace("[", r"\[")
