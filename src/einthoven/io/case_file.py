"""The fields of ``case.toml``: what may be written there, and the sentence for what may not."""

import difflib
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from einthoven.core import FileFormatError

LengthUnit = Literal["mm", "cm", "m", "um"]
PotentialUnit = Literal["mV", "uV", "V", "nV"]
FirstIndex = Literal[0, 1]

_RANGE = re.compile(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?")


def _numbers(value: Any) -> Any:
    """``"1-3"``, ``5`` or ``["1-3", 5]`` to (1, 2, 3, 5)."""
    if value is None:
        return None
    found: list[int] = []
    for item in value if isinstance(value, list | tuple) else [value]:
        match = _RANGE.fullmatch(item) if isinstance(item, str) else None
        if isinstance(item, int) and not isinstance(item, bool):
            found.append(item)
        elif match:
            start, stop = int(match[1]), int(match[2] or match[1])
            if not start <= stop < start + 1_000_000:
                raise PydanticCustomError("range", "range {item} runs backwards or is too long", {"item": repr(item)})
            found.extend(range(start, stop + 1))
        else:
            raise PydanticCustomError(
                "range", 'must be numbers and ranges such as [1, "5-8"]; got {item}', {"item": repr(item)}
            )
    return tuple(found)


Numbers = Annotated[tuple[int, ...] | None, BeforeValidator(_numbers)]
Position = Annotated[list[float], Field(min_length=3, max_length=3)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class _SurfaceTable(_Table):
    file: str = Field(min_length=1, description="File of the surface, relative to the case's folder.")
    part: str | None = Field(None, description="Name of the surface, where the file holds several.")
    triangles: str | None = Field(None, description="Second file with the triangles, where `file` holds only points.")
    first_index: FirstIndex | None = Field(
        None, description="Number of the first node in `triangles` (0 or 1); needed only where it cannot be told."
    )
    unit: LengthUnit | None = Field(None, description="Unit of this file's coordinates; default: `length_unit`.")
    repair: bool = Field(
        False, description="Mend the winding (triangles not outward or not alike); what changed is reported."
    )
    name: str | None = Field(
        None, min_length=1, description="Name of the surface in results and node names; default: the table's name."
    )


class RegionTable(_SurfaceTable):
    """``[surfaces.NAME]``: a closed surface and the conductivity inside it."""

    conductivity: float = Field(gt=0, lt=1e4, description="S/m directly inside (torso 0.2, lungs 0.05, blood 0.6).")


class _SignalTable(_Table):
    file: str = Field(min_length=1, description="File of the potentials, relative to the case's folder.")
    array: str | None = Field(None, description="Name of the array, where the file holds several.")
    transpose: bool = Field(False, description="The array is stored times x sites.")
    rows: Numbers = Field(None, description='Rows of the array to take, in order: [1, "5-8"]; default: all.')
    channels: list[str] | None = Field(None, description="Channels to take by name, where the file names them.")
    first_index: FirstIndex | None = Field(
        None, description="Number of the first row (and node) in `rows` (and `nodes`): 0 or 1. Needed with them."
    )
    unit: PotentialUnit | None = Field(None, description="Unit of the values; needed where the file does not hold it.")
    rate_hz: float | None = Field(
        None, gt=0, description="Sampling rate; needed where the file does not hold its times."
    )
    window: Annotated[list[float], Field(min_length=2, max_length=2)] | None = Field(
        None, description="[start, stop] in ms: keep these times only."
    )

    @model_validator(mode="after")
    def _one_choice(self):
        if self.rows is not None and self.channels is not None:
            raise PydanticCustomError("choice", "give rows or channels, not both")
        nodes = getattr(self, "nodes", None)
        if (self.rows is not None or nodes is not None) and self.first_index is None:
            raise PydanticCustomError(
                "first_index", "say whether rows and nodes are counted from 0 or from 1: first_index = 0 or 1"
            )
        return self


class TruthTable(_SignalTable):
    """``[hearts.NAME.truth]``: measured or simulated potentials on the heart surface."""

    nodes: Numbers = Field(None, description="Node of the heart for every row, in order; default: all nodes.")
    reference: str = Field("absolute", min_length=1, description="What zero means.")


class HeartTable(_SurfaceTable):
    """``[hearts.NAME]``: a heart surface to image."""

    quantity: Literal["hsp", "vm"] = Field(
        description="`hsp`: extracellular potential on a closed envelope; `vm`: transmembrane potential on a closed "
        "endo+epicardial surface."
    )
    truth: TruthTable | None = Field(None, description="Potentials to compare with, if there are any.")
    intracellular_conductivity: float | None = Field(
        None, gt=0, lt=1e4, description="S/m, of a `vm` heart: potentials outside are proportional to it."
    )


class ElectrodesTable(_Table):
    """``[electrodes]``: where the body surface was recorded; one of `file`, `nodes`, `positions`."""

    file: str | None = Field(
        None, min_length=1, description="File of points with or without names, or of node numbers of the torso."
    )
    part: str | None = Field(None, description="Name of the point set or array, where the file holds several.")
    nodes: Numbers = Field(None, description="Node numbers of the torso, for electrodes that are its nodes.")
    first_index: FirstIndex | None = Field(
        None, description="Number of the first node: 0 or 1. Needed with node numbers."
    )
    positions: dict[str, Position] | None = Field(None, description="Name = [x, y, z] for each electrode.")
    names: list[str] | None = Field(None, description="Names in the order of the file or of `nodes`.")
    rename: dict[str, str] = Field(default_factory=dict, description="Old name = new name.")
    unit: LengthUnit | None = Field(None, description="Unit of the positions; default: `length_unit`.")
    max_distance: float | None = Field(
        None, ge=0, description="Largest distance of an electrode from the skin that is accepted, mm."
    )

    @model_validator(mode="after")
    def _one_origin(self):
        given = [k for k in ("file", "nodes", "positions") if getattr(self, k) is not None]
        if len(given) != 1:
            raise PydanticCustomError(
                "origin",
                "give one of file, nodes and positions; there is {given}",
                {"given": " and ".join(given) or "none"},
            )
        if self.nodes is not None and self.first_index is None:
            raise PydanticCustomError(
                "first_index", "say whether nodes are counted from 0 or from 1: first_index = 0 or 1"
            )
        return self


class RecordingTable(_SignalTable):
    """``[recording]``: body-surface potentials."""

    file: str = Field(
        min_length=1,
        description="File of the potentials, relative to the case's folder; `Beats/*-ts.mat` for many beats of one "
        "geometry, which `einthoven challenge image` takes.",
    )
    electrodes: list[str] | None = Field(
        None, description="Electrode of every row, in order; default: by the file's names, or all in order."
    )
    reference: str = Field(
        min_length=1, description='What zero means: "average", "wilson", "absolute" or an electrode\'s name.'
    )
    average: bool = Field(False, description="Remove the mean over the leads; the reference becomes `average`.")


class CaseFile(_Table):
    """``case.toml`` as a whole."""

    name: str | None = Field(None, min_length=1, description="Short name, used in results; default: the folder's.")
    length_unit: LengthUnit = Field("mm", description="Unit of coordinates, where a table has no `unit` of its own.")
    surfaces: dict[str, RegionTable] = Field(description="`torso` and any inner regions.")
    hearts: dict[str, HeartTable] = Field(min_length=1, description="Heart surfaces; the first is imaged by default.")
    electrodes: ElectrodesTable = Field(description="Where the body surface was recorded.")
    recording: RecordingTable | None = Field(None, description="Body-surface potentials; absent for a geometry alone.")
    info: dict[str, str] = Field(default_factory=dict, description="`origin`, `licence`, `citation`, `notes`, ...")

    @model_validator(mode="after")
    def _torso(self):
        if "torso" not in self.surfaces:
            raise PydanticCustomError("torso", "surfaces.torso is missing; the outermost surface must have that name")
        return self


def parse(path: Path) -> CaseFile:
    """Read and check a ``case.toml``.

    Raises
    ------
    FileFormatError
        Naming the line for a fault in the TOML, the field for a fault in what it says.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise FileFormatError(path, f"cannot be read: {error.strerror or error}.") from None
    try:
        values = tomllib.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise FileFormatError(path, "is not text in UTF-8.", where=f"byte {error.start}") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is a ValueError
        problem, _, place = str(error).partition(" (at ")
        raise FileFormatError(path, f"is not valid TOML: {problem.rstrip('.')}.", where=place.rstrip(")")) from None
    try:
        return CaseFile.model_validate(values)
    except ValidationError as error:
        raise FileFormatError(path, _sentence(error)) from None


def field_error(path: Path, field: str, problem: str) -> FileFormatError:
    """Error about what a field names (a file that is missing, a part that is not there)."""
    return FileFormatError(path, f"{field}: {problem}")


def _sentence(error: ValidationError) -> str:
    # a misspelled field is also a missing one: its right name comes first
    faults = sorted(error.errors(include_url=False), key=lambda fault: fault["type"] != "extra_forbidden")
    first = faults[0]
    more = f" (and {len(faults) - 1} more: {', '.join(_place(f) for f in faults[1:4])})" if len(faults) > 1 else ""
    place = _place(first)
    return f"{place + ': ' if place else ''}{_problem(first)}{more}."


def _place(fault: ErrorDetails) -> str:
    return ".".join(str(p) for p in fault["loc"] if not (isinstance(p, str) and p.startswith(("function-", "tuple["))))


def _problem(fault: ErrorDetails) -> str:
    given = repr(fault["input"])
    given = given if len(given) <= 60 else given[:57] + "..."
    match fault["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return f"unknown field{_suggestion(fault)}"
        case "literal_error":
            return f"must be {fault.get('ctx', {}).get('expected')}; got {given}"
        case "range" | "choice" | "first_index" | "origin" | "torso":
            return fault["msg"]
    return f"{fault['msg'][0].lower()}{fault['msg'][1:]}; got {given}"


def _suggestion(fault: ErrorDetails) -> str:
    place = [p for p in fault["loc"] if isinstance(p, str)]
    known = sorted(_fields_at(place[:-1]))
    close = difflib.get_close_matches(place[-1], known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else f" (there are {', '.join(known)})"


def _fields_at(place: list[str]) -> set[str]:
    model: type[BaseModel] = CaseFile
    tables: dict[str, type[BaseModel]] = {
        "surfaces": RegionTable,
        "hearts": HeartTable,
        "truth": TruthTable,
        "electrodes": ElectrodesTable,
        "recording": RecordingTable,
    }
    for i, step in enumerate(place):
        if step in tables and (i == 0 or step == "truth"):
            model = tables[step]
    return set(model.model_fields)


def documented_fields() -> list[tuple[str, str, str]]:
    """Every field of ``case.toml`` as (dotted name, default or ``"required"``, meaning)."""
    tables = [
        ("", CaseFile),
        ("surfaces.NAME.", RegionTable),
        ("hearts.NAME.", HeartTable),
        ("hearts.NAME.truth.", TruthTable),
        ("electrodes.", ElectrodesTable),
        ("recording.", RecordingTable),
    ]
    rows = []
    for prefix, model in tables:
        for name, info in model.model_fields.items():
            default = "required" if info.is_required() else _default(info.get_default(call_default_factory=True))
            rows.append((prefix + name, default, info.description or ""))
    return rows


def _default(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None or value == {} else repr(value).replace("'", '"')
