"""Turning option texts into settings."""

from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import BaseModel, ValidationError

from einthoven.core import InputError
from einthoven.studies.settings import ImagingSettings

Settings = TypeVar("Settings", bound=BaseModel)

WorkersOption = Annotated[int, typer.Option(help="Processes.")]
SchedulerOption = Annotated[
    str | None, typer.Option(help="Address of a dask scheduler, whose workers compute (see `einthoven worker`).")
]
StudyArgument = Annotated[str | None, typer.Argument(help="A study file (.toml), or the name of a ready-made study.")]
OutOption = Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the results; made if needed.")]
ListOption = Annotated[bool, typer.Option("--list", help="List the ready-made studies, and what a study can name.")]
ShowOption = Annotated[bool, typer.Option("--show", help="Print the study file, to start your own from.")]
PageOption = Annotated[bool, typer.Option("--page/--no-page", help="Write report.html.")]
ParquetOption = Annotated[bool, typer.Option("--parquet", help="Write the tables as Parquet too.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the table as JSON and nothing else.")]


def workers_or(workers: int, scheduler: str | None) -> int | str:
    """Processes, unless a scheduler is named."""
    if scheduler is None:
        return workers
    if workers != 1:
        raise InputError("give --workers, or --scheduler, whose workers compute; not both.")
    return scheduler


def names(text: str | None) -> tuple[str, ...] | None:
    """Split a comma-separated list; None stays None."""
    if text is None:
        return None
    return tuple(part.strip() for part in text.split(",") if part.strip())


def span(text: str | None, option: str) -> tuple[float, float] | None:
    """Parse ``START:STOP`` in ms."""
    if text is None:
        return None
    start, colon, stop = text.partition(":")
    try:
        limits = (float(start), float(stop))
    except ValueError:
        limits = None
    if not colon or limits is None or not limits[0] < limits[1]:
        raise InputError(
            f"{option} must be START:STOP in ms with START < STOP; got {text!r}. Example: {option} 90:190."
        )
    return limits


def numbers(text: str, option: str, *, example: str) -> tuple[float, ...]:
    """Parse numbers separated by commas."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            f"{option} must be numbers separated by commas; got {text!r}. Example: {option} {example}."
        ) from None


def settings_from(**values: Any) -> ImagingSettings:
    """Build the settings of an imaging run; a wrong value is named in one line."""
    return checked(ImagingSettings, values)


def checked(kind: type[Settings], values: dict[str, Any]) -> Settings:
    """Build settings; a wrong value is named in one line."""
    try:
        return kind(**values)
    except ValidationError as problem:
        first = problem.errors()[0]
        field = ".".join(str(p) for p in first["loc"])
        raise InputError(f"{field.replace('_', '-')}: {first['msg']}; got {first['input']!r}.") from None
