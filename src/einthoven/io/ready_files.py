"""TOML files that come with the package, found by their name, and those of users by their path."""

import tomllib
from importlib.resources.abc import Traversable
from pathlib import Path

from einthoven.core import FileFormatError, InputError


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
