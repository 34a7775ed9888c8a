"""Study files of simulations: reading them, the sentence for what is wrong in one, sweeps.

``docs/how-to/simulate.md`` walks through a study file; its tables are those of `einthoven.studies.simulation_tables`.
"""

import json
import tomllib
from collections.abc import Mapping
from importlib import resources
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from einthoven.core import FileFormatError, InputError
from einthoven.studies.simulation_tables import SimulationStudy, close_to

# --- reading ----------------------------------------------------------------------------------------

_READY = "ready_studies"


def ready_studies() -> dict[str, str]:
    """Names and titles of the studies that come with the package."""
    found = {}
    for file in sorted(_ready_folder().iterdir(), key=lambda f: f.name):
        if file.name.endswith(".toml"):
            found[file.name.removesuffix(".toml")] = tomllib.loads(file.read_text(encoding="utf-8"))["title"]
    return found


def _ready_folder():
    return resources.files("einthoven.studies") / _READY


def load_study(text: str | Path) -> SimulationStudy:
    """Read a study file, or a study that comes with the package by its name.

    Parameters
    ----------
    text
        Path of a TOML file, or one of `ready_studies`. What ends in ``.toml`` is a path.

    Raises
    ------
    InputError
        Naming the line for a fault in the TOML, the field for a fault in what it says.

    Examples
    --------
    >>> load_study("healthy-sheet").tissue.kind
    'sheet'
    """
    path = _path(text)
    if path is None:
        return validated(tomllib.loads(study_text(text)), str(text))
    values = _toml(path)
    tissue = values.get("tissue")
    if isinstance(tissue, dict) and isinstance(tissue.get("surface"), str) and tissue["surface"] != "phantom":
        tissue["surface"] = str(path.parent / tissue["surface"])  # named as seen from the study file
    return validated(values, str(path))


def study_text(text: str | Path) -> str:
    """Return the TOML of a study file or of a study that comes with the package."""
    path = _path(text)
    source = _ready_folder() / f"{text}.toml" if path is None else path
    try:
        return source.read_text(encoding="utf-8")
    except OSError as problem:
        raise FileFormatError(str(text), f"cannot be read: {problem.strerror or problem}.") from None


def _path(text: str | Path) -> Path | None:
    """Path of a study file; None for one that comes with the package."""
    name, path = str(text), Path(text).expanduser()
    if name.endswith(".toml") or path.is_file():
        return path
    known = ready_studies()
    if name in known:
        return None
    raise InputError(
        f"{name or 'an empty name'}: no such study; give a file ending in .toml, or one of "
        f"{', '.join(known)}{close_to(name, list(known))}."
    )


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as problem:
        raise FileFormatError(path, f"cannot be read: {problem.strerror or problem}.") from None
    except UnicodeDecodeError as problem:
        raise FileFormatError(path, "is not text in UTF-8.", where=f"byte {problem.start}") from None
    except (ValueError, RecursionError) as problem:  # a number of thousands of digits is a ValueError
        what, _, place = str(problem).partition(" (at ")
        raise FileFormatError(path, f"is not valid TOML: {what.rstrip('.')}.", where=place.rstrip(")")) from None


def validated(values: Mapping[str, Any], source: str) -> SimulationStudy:
    """Check the values of a study; `source` is named in what is wrong.

    Raises
    ------
    InputError
        One sentence: field, problem, what was given, source.
    """
    try:
        return SimulationStudy.model_validate(dict(values))
    except ValidationError as problem:
        raise InputError(f"{_sentence(problem)} ({source})") from None


def runs_of(study: SimulationStudy) -> list[tuple[dict[str, Any], SimulationStudy]]:
    """Return every run of a study: the swept values that are its own, and its study without a sweep.

    Raises
    ------
    InputError
        If a swept field does not exist, or a value does not fit.
    """
    base = study.model_dump(mode="json", exclude={"sweep"}, exclude_unset=True)
    made = []
    for values in product(*study.sweep.values()):
        own = dict(zip(study.sweep, values, strict=True))
        made.append((own, validated(_replaced(base, own), f"sweep of {study.name}")))
    return made


def _replaced(values: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with some dotted fields replaced; numbers in a dotted name count entries of a list from 0."""
    copied = json.loads(json.dumps(values))
    for name, value in own.items():
        *way, last = name.split(".")
        place: Any = copied
        for i, step in enumerate(way):
            place = place.setdefault(step, {}) if isinstance(place, dict) else _entry(place, step, name, way[: i + 1])
        if isinstance(place, dict):
            place[last] = value
        else:
            _entry(place, last, name, [*way, last])
            place[int(last)] = value
    return copied


def _entry(place: Any, step: str, name: str, way: list[str]) -> Any:
    """An entry of a list."""
    if isinstance(place, list) and step.isdecimal() and int(step) < len(place):
        return place[int(step)]
    raise InputError(
        f'sweep."{name}": there is no {".".join(way)} in the study; name fields as they are nested, lists from 0.'
    )


# --- sentences --------------------------------------------------------------------------------------


def _sentence(problem: ValidationError) -> str:
    faults = problem.errors(include_url=False)
    more = f"; and {len(faults) - 1} more: {', '.join(_place(f) for f in faults[1:4])}" if len(faults) > 1 else ""
    place = _place(faults[0])
    return f"{place}{': ' if place else ''}{_problem(faults[0])}{more}"


#: Fields whose tables come in kinds; pydantic puts the kind into the place of a fault.
_KINDS = ("tissue", "protocol", "region", "s2_region", "fibrosis")


def _place(fault: ErrorDetails) -> str:
    """Dotted name of the field; entries of lists in brackets, counted from 0."""
    name, owner, kind_next = "", "", False
    for step in (*fault["loc"], *filter(None, [fault.get("ctx", {}).get("name")])):
        if isinstance(step, int):
            name += f"[{step}]"
            kind_next = owner == "fibrosis"
        elif kind_next:
            kind_next = False
        else:
            name += f".{step}" if name else step
            owner, kind_next = step, step in _KINDS and step != "fibrosis"
    return name


def _problem(fault: ErrorDetails) -> str:
    """What is wrong with a value, and what was given."""
    context = fault.get("ctx", {})
    wants = {
        "greater_than": "must be positive" if context.get("gt") == 0 else f"must be above {_number(context.get('gt'))}",
        "greater_than_equal": f"must be at least {_number(context.get('ge'))}",
        "less_than": f"must be below {_number(context.get('lt'))}",
        "less_than_equal": f"must be at most {_number(context.get('le'))}",
        "finite_number": "must be finite",
        "float_type": "must be a number",
        "int_type": "must be a whole number",
        "bool_type": "must be true or false",
        "string_type": "must be a text",
        "list_type": "must be a list",
        "dict_type": "must be a table",
        "model_type": "must be a table",
        "model_attributes_type": "must be a table",
        "string_too_short": "must not be empty",
        "too_short": f"must hold at least {context.get('min_length')}",
        "too_long": f"must hold at most {context.get('max_length')}",
        "literal_error": f"must be {context.get('expected', '').replace(chr(39), '')}",
        "union_tag_invalid": f"kind must be one of {context.get('expected_tags', '').replace(chr(39), '')}",
        "kind": fault["msg"],
    }
    match fault["type"]:
        case "missing":
            return "is missing"
        case "union_tag_not_found":
            return "kind is missing"
        case "unknown":
            return f"unknown field{context['hint']}"
        case "fit" | "choice":
            return context["problem"]
        case "kind":
            return f"kind {fault['msg']}"
    given = fault["input"].get("kind") if fault["type"] == "union_tag_invalid" else fault["input"]
    wanted = wants.get(fault["type"], f"{fault['msg'][0].lower()}{fault['msg'][1:]}")
    return f"{wanted}; got {_short(given)}"


def _number(limit: Any) -> str:
    return f"{limit:g}" if isinstance(limit, float) else str(limit)


def _short(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
