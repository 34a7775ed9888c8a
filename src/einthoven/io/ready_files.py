"""TOML files that come with the package, found by their name, and those of users by their path."""

import tomllib
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from einthoven.core import FileFormatError, InputError

Model = TypeVar("Model", bound=BaseModel)


def ready_titles(folder: Traversable) -> dict[str, str]:
    """Names and titles of the files of a folder of the package."""
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    return {f.name.removesuffix(".toml"): tomllib.loads(f.read_text(encoding="utf-8"))["title"] for f in files}


def ready_text(text: str | Path, folder: Traversable, kind: str) -> str:
    """Return the text of a file: one of the folder by its name, or any by a path that ends in ``.toml``.

    Parameters
    ----------
    text
        Name or path.
    folder
        Of the package.
    kind
        What such a file is called in messages.

    Raises
    ------
    InputError
        If there is none, or it cannot be read.
    """
    path, ready = Path(text), folder / f"{text}.toml"
    if path.suffix != ".toml" and not ready.is_file():
        raise InputError(f"{text}: no such {kind}; give a TOML file, or one of: {', '.join(ready_titles(folder))}.")
    try:
        return (ready if path.suffix != ".toml" else path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise FileFormatError(path, "is no text in UTF-8.") from None
    except OSError as problem:
        raise InputError(f"{text}: cannot be read ({problem.strerror}).") from None


def checked_model(kind: type[Model], text: str, name: str | Path) -> Model:
    """Read a model from the text of a TOML file.

    Parameters
    ----------
    kind
        The model.
    text
        Of the file.
    name
        Of the file, for messages.

    Raises
    ------
    FileFormatError
        If the text is no TOML.
    InputError
        For the first thing that is wrong in it.
    """
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as problem:  # a number of thousands of digits is a ValueError
        raise FileFormatError(name, f"is no TOML file ({problem}).") from None
    try:
        return kind.model_validate(values)
    except ValidationError as problem:
        raise InputError(f"{name}: {first_problem(problem)}") from None


def first_problem(problem: ValidationError) -> str:
    """The first thing that is wrong, in a sentence: where, what, what was given."""
    first = problem.errors()[0]
    place = ".".join(str(p) for p in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    given = repr(first["input"])
    got = f"; got {given if len(given) <= 60 else given[:57] + '...'}" if first["type"] != "value_error" else ""
    return f"{place + ': ' if place else ''}{message}{got}."
