"""Cases on disk: a folder with ``case.toml``, or one Zarr store.

``case.toml`` names the files of a geometry and a recording and says what they do not say themselves:
units, conductivities, which row belongs to which electrode. Its fields are those of
`einthoven.io.case_file.CaseFile`; ``docs/how-to/my-files.md`` walks through one.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from einthoven.core import (
    Case,
    Electrodes,
    FileFormatError,
    ForwardOperator,
    GeometryError,
    InputError,
    Recording,
    Region,
    Source,
    Surface,
    VolumeConductor,
    from_twelve_lead,
)
from einthoven.core.errors import some
from einthoven.core.leads import TWELVE_LEAD_ELECTRODES
from einthoven.io import tables, zarr_store
from einthoven.io.atomic import replacing
from einthoven.io.case_file import (
    CaseFile,
    ElectrodesTable,
    HeartTable,
    RecordingTable,
    RegionTable,
    TruthTable,
    field_error,
    parse,
)
from einthoven.io.content import Content, millimeters, millivolts
from einthoven.io.registry import read, write

#: Peaks (mV) outside these limits are taken for a wrong unit; shorter steps (ms) for seconds.
LARGEST_BSP_MV, SMALLEST_BSP_MV, SHORTEST_STEP_MS = 100.0, 1e-4, 0.01
#: Mean over the leads, relative to their size, below which data called average-referenced is believed.
AVERAGE_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class CaseOnDisk:
    """A case, and what was done to its files on the way.

    Parameters
    ----------
    case
        The case.
    notes
        One sentence for every winding that was mended, mean that was removed, distance that was found.
    """

    case: Case
    notes: tuple[str, ...] = ()


def read_case(path: str | Path) -> Case:
    """Read a case and check its geometry.

    Winding is mended only where ``case.toml`` says ``repair = true``; what changed is in
    ``case.info["repairs"]``.

    Parameters
    ----------
    path
        A folder with ``case.toml``, that file itself, or a Zarr store written by `write_case`.

    Raises
    ------
    FileFormatError
        If ``case.toml`` or a file it names is wrong; the message names file and field.
    GeometryError
        If surfaces are not closed, nested and outward, or electrodes are not on the skin.
    """
    return read_case_with_notes(path).case


def read_case_with_notes(path: str | Path) -> CaseOnDisk:
    """Read a case as `read_case` does, and tell what was done to its files."""
    from einthoven.geometry.checks import check_case

    path = Path(path)
    if path.suffix == ".zarr" and not (path / "case.toml").exists():
        stored = zarr_store.load_zarr(path)
        if not isinstance(stored, Case):
            raise FileFormatError(path, f"holds a {type(stored).__name__}, not a case.")
        check_case(stored)
        return CaseOnDisk(stored)
    return _Folder(_case_toml(path)).read()


def read_case_beats(path: str | Path) -> dict[str, Case]:
    """Read a case whose recording is a pattern, ``file = "Beats/*-ts.mat"``: one case per file, geometry shared.

    Parameters
    ----------
    path
        A folder with ``case.toml``, or that file.

    Returns
    -------
    dict
        Cases by what the ``*`` stands for, sorted.

    Raises
    ------
    FileFormatError
        If ``case.toml`` or a file it names is wrong, the recording is no such pattern, or no file fits it.
    GeometryError
        As `read_case`.
    """
    return _Folder(_case_toml(Path(path))).read_beats()


def is_case(path: str | Path) -> bool:
    """Whether there is a case at `path`: a folder with ``case.toml``, that file, or a Zarr store of one."""
    path = Path(path)
    if path.is_file():
        return path.name == "case.toml"
    if (path / "case.toml").is_file():
        return True
    if not (path / "zarr.json").is_file():
        return False
    import json

    try:
        attributes = json.loads((path / "zarr.json").read_text(encoding="utf-8"))["attributes"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return isinstance(attributes, dict) and attributes.get("kind") == "case"


def _case_toml(path: Path) -> Path:
    if path.is_dir():
        toml = path / "case.toml"
        if not toml.is_file():
            raise InputError(f"{path}: the folder has no case.toml. See docs/how-to/my-files.md for how to write one.")
        return toml
    if not path.exists():
        raise InputError(f"{path}: there is no such case folder, case.toml or Zarr store.")
    if path.suffix != ".toml":
        raise InputError(f"{path}: is not a case; a case is a folder with case.toml, or a Zarr store.")
    return path


# --- reading a folder ----------------------------------------------------------------------------


@dataclass
class _Folder:
    """Reads one ``case.toml``; collects notes on the way."""

    toml: Path
    notes: list[str] = field(default_factory=list)
    _contents: dict[Path, Content] = field(default_factory=dict)

    def read(self) -> CaseOnDisk:
        spec = parse(self.toml)
        if spec.recording is not None and "*" in spec.recording.file:
            raise field_error(
                self.toml,
                "recording.file",
                f"{spec.recording.file} stands for several beats, which `einthoven challenge image` takes; name one "
                "file.",
            )
        case = self.geometry(spec)
        recording = self.recording(spec.recording, case.electrodes) if spec.recording is not None else None
        return CaseOnDisk(self.with_recording(case, recording), tuple(self.notes))

    def read_beats(self) -> dict[str, Case]:
        spec = parse(self.toml)
        files = self.beat_files(spec)
        for key, heart in spec.hearts.items():
            if heart.truth is not None:
                raise field_error(self.toml, f"hearts.{key}.truth", "belongs to one recording, not to all beats.")
        case = self.geometry(spec)
        assert spec.recording is not None
        found = {}
        for name, file in files.items():
            table = spec.recording.model_copy(update={"file": file})
            found[name] = self.with_recording(case, self.recording(table, case.electrodes), name=f"{case.name} {name}")
            self._contents.pop(self.toml.parent / file, None)
        return found

    def beat_files(self, spec: CaseFile) -> dict[str, str]:
        """Files that fit the recording's pattern, relative to the folder, by what its ``*`` stands for."""
        pattern = "" if spec.recording is None else spec.recording.file
        folder, _, last = pattern.replace("\\", "/").rpartition("/")
        before, star, after = last.partition("*")
        if not star or "*" in after or "*" in folder or Path(pattern).is_absolute():
            raise field_error(
                self.toml,
                "recording.file",
                "must name the files of the beats by one *, relative to the folder, as in Beats/*-ts.mat; got "
                f"{pattern!r}.",
            )
        there = self.toml.parent / folder
        names = sorted(f.name for f in there.iterdir()) if there.is_dir() else []
        fit = [n for n in names if n.startswith(before) and n.endswith(after) and len(n) > len(before) + len(after)]
        if not fit:
            raise field_error(self.toml, "recording.file", f"no file in {there} fits {last}.")
        prefix = f"{folder}/" if folder else ""
        return {n[len(before) : len(n) - len(after)]: prefix + n for n in fit}

    def geometry(self, spec: CaseFile) -> Case:
        """The case without its recording, checked."""
        from einthoven.geometry.checks import MAX_ELECTRODE_DISTANCE_MM, check_case

        torso = self.region(spec, "torso")
        inner = tuple(self.region(spec, key) for key in spec.surfaces if key != "torso")
        with self.within("surfaces"):
            conductor = VolumeConductor(torso, inner)
        sources = tuple(self.source(spec, key) for key in spec.hearts)
        electrodes = self.electrodes(spec, torso.surface)
        name = spec.name or self.toml.absolute().parent.name or "case"
        case = Case(name, conductor, sources, electrodes, None, dict(spec.info))
        allowed = spec.electrodes.max_distance
        check_case(case, max_electrode_distance=MAX_ELECTRODE_DISTANCE_MM if allowed is None else allowed)
        return case

    def with_recording(self, case: Case, recording: Recording | None, *, name: str | None = None) -> Case:
        """The case with a recording, and what was done to its files so far."""
        info = dict(case.info)
        if self.notes:
            info["repairs"] = " ".join([*([info["repairs"]] if "repairs" in info else []), *dict.fromkeys(self.notes)])
        with self.within("recording"):
            return replace(case, name=name or case.name, recording=recording, info=info)

    @contextmanager
    def within(self, field_name: str) -> Iterator[None]:
        """Say which field an error is about."""
        try:
            yield
        except FileFormatError as error:
            if error.path == self.toml:
                raise
            raise FileFormatError(self.toml, f"{field_name}: {error}") from error
        except GeometryError as error:
            raise GeometryError(f"{self.toml}: {field_name}: {error}") from error
        except InputError as error:
            raise InputError(f"{self.toml}: {field_name}: {error}") from error

    def content(self, file: str, field_name: str) -> Content:
        path = self.toml.parent / file
        if not path.exists():
            raise field_error(self.toml, field_name, f"no such file {path}.")
        if path not in self._contents:
            with self.within(field_name):
                self._contents[path] = read(path)
        return self._contents[path]

    def surface(self, spec: CaseFile, table: RegionTable | HeartTable, *, key: str, place: str) -> Surface:
        content = self.content(table.file, f"{place}.file")
        name = table.name or key
        if table.triangles is not None:
            surface = self.assembled(content, table, name=name, place=place)
        else:
            if not content.surfaces:
                raise field_error(
                    self.toml,
                    f"{place}.file",
                    f"{table.file} holds no triangles ({content!r}); name their file with `triangles`.",
                )
            with self.within(f"{place}.part"):
                surface = content.surface(table.part).renamed(name)
        factor = millimeters(table.unit or _length_unit(content) or spec.length_unit)
        surface = surface.with_points(surface.points * factor) if factor != 1 else surface
        return self.repaired(surface, place) if table.repair else surface

    def assembled(self, content: Content, table: RegionTable | HeartTable, *, name: str, place: str) -> Surface:
        """Points of one file, triangles of another."""
        assert table.triangles is not None
        other = self.content(table.triangles, f"{place}.triangles")
        with self.within(f"{place}.file"):
            points = content.point_set(table.part)
        with self.within(f"{place}.triangles"):
            if other.surfaces:
                return Surface(points, other.surface().triangles, name)
            stored = np.asarray(other.array())
            if stored.ndim != 2 or stored.shape[1] != 3 or (stored != np.round(stored)).any():
                raise InputError(f"must hold three node numbers per row; got {other!r}.")
            first = table.first_index
            if first is None and other.info.get("first_index") in ("0", "1"):
                first = int(other.info["first_index"])
            triangles = tables.triangles_from(
                stored.astype(np.int64), len(points), path=self.toml.parent / table.triangles, first_index=first
            )
            return Surface(points, triangles, name)

    def repaired(self, surface: Surface, place: str) -> Surface:
        with self.within(place):
            flips = int(surface.flips().sum())
        if not flips:
            self.notes.append(f"{surface.name}: repair was asked for, the winding needed none.")
            return surface
        self.notes.append(f"{surface.name}: the winding of {flips} of {surface.n_triangles} triangles was mended.")
        return surface.repaired()

    def region(self, spec: CaseFile, key: str) -> Region:
        table, place = spec.surfaces[key], f"surfaces.{key}"
        surface = self.surface(spec, table, key=key, place=place)
        with self.within(place):
            return Region(surface, table.conductivity)

    def source(self, spec: CaseFile, key: str) -> Source:
        table, place = spec.hearts[key], f"hearts.{key}"
        surface = self.surface(spec, table, key=key, place=place)
        truth = self.truth(table.truth, surface, quantity=table.quantity, place=place) if table.truth else None
        with self.within(place):
            return Source(surface, table.quantity, truth, table.intracellular_conductivity)

    def truth(self, table: TruthTable, surface: Surface, *, quantity: Any, place: str) -> Recording:
        place = f"{place}.truth"
        series = self.series(table, place)
        if table.nodes is not None:
            nodes = self.counted(table.nodes, table, f"{place}.nodes", count=surface.n_points)
            sites = tuple(surface.node_names[i] for i in nodes)
            what = f"nodes names {len(sites)} nodes"
        elif series.names is not None and set(series.names) <= set(surface.node_names):
            sites, what = series.names, ""
        else:
            sites, what = surface.node_names, f"{surface.name} has {surface.n_points} nodes"
        if len(sites) != len(series.values):
            raise field_error(
                self.toml, place, f"{table.file} gives {len(series.values)} rows, {what}; say which nodes with `nodes`."
            )
        with self.within(place):
            found = Recording(series.values, series.times, sites, quantity, table.reference)
            return found.window(*table.window) if table.window else found

    def electrodes(self, spec: CaseFile, skin: Surface) -> Electrodes:
        table = spec.electrodes
        names, positions = self.electrode_positions(table, spec, skin)
        if table.names is not None:
            if len(table.names) != len(positions):
                raise field_error(
                    self.toml, "electrodes.names", f"{len(table.names)} names for {len(positions)} electrodes."
                )
            names = tuple(table.names)
        strange = [n for n in table.rename if n not in names]
        if strange:
            raise field_error(
                self.toml, "electrodes.rename", f"no electrode is named {some(strange)}; there are {some(names)}."
            )
        with self.within("electrodes"):
            return Electrodes(tuple(table.rename.get(n, n) for n in names), positions)

    def electrode_positions(
        self, table: ElectrodesTable, spec: CaseFile, skin: Surface
    ) -> tuple[tuple[str, ...], Float[np.ndarray, "n_electrodes 3"]]:
        if table.nodes is not None:
            return self.electrode_nodes(table, table.nodes, skin, place="electrodes.nodes")
        factor = millimeters(table.unit or spec.length_unit)
        if table.positions is not None:
            return tuple(table.positions), np.array(list(table.positions.values()), dtype=np.float64) * factor
        assert table.file is not None
        content = self.content(table.file, "electrodes.file")
        if not content.points and not content.surfaces and content.arrays:
            with self.within("electrodes.part"):
                values = np.asarray(content.array(table.part))
            if values.size != max(values.shape, default=0) or (values != np.round(values)).any():
                raise field_error(self.toml, "electrodes.file", f"must hold points or node numbers; got {content!r}.")
            return self.electrode_nodes(table, [int(v) for v in values.reshape(-1)], skin, place="electrodes.file")
        if table.unit is None:
            factor = millimeters(_length_unit(content) or spec.length_unit)
        with self.within("electrodes.part"):
            positions = np.asarray(content.point_set(table.part), dtype=np.float64) * factor
        key = table.part or next(iter(content.points), "")
        return content.names.get(key) or tuple(str(i + 1) for i in range(len(positions))), positions

    def electrode_nodes(
        self, table: ElectrodesTable, nodes: Sequence[int], skin: Surface, *, place: str
    ) -> tuple[tuple[str, ...], Float[np.ndarray, "n_electrodes 3"]]:
        """Electrodes that are nodes of the skin, named as those."""
        if table.first_index is None:
            raise field_error(self.toml, place, "say whether nodes are counted from 0 or from 1: first_index = 0 or 1.")
        index = [n - table.first_index for n in nodes]
        self.check_index(index, skin.n_points, place=place, first=table.first_index)
        return tuple(skin.node_names[i] for i in index), skin.points[index]

    def recording(self, table: RecordingTable, electrodes: Electrodes) -> Recording:
        series = self.series(table, "recording")
        if series.names is not None and table.electrodes is None and _is_twelve_lead(series.names, electrodes):
            series = self.electrodes_of(series, series.names, table)
        sites = self.lead_names(table, series, electrodes)
        with self.within("recording"):
            found = Recording(series.values, series.times, sites, "bsp", table.reference)
            if table.average:
                found = found.average_referenced()
                self.notes.append(f"recording: the mean over the {found.n_sites} leads was removed from every frame.")
            elif table.reference == "average":
                self.check_average(found)
            self.check_plausible(found)
            return found.window(*table.window) if table.window else found

    def electrodes_of(self, series: "_Series", leads: tuple[str, ...], table: RecordingTable) -> "_Series":
        """A 12-lead ECG as potentials of its electrodes."""
        if table.reference != "wilson":
            raise field_error(
                self.toml,
                "recording.reference",
                f"{table.file} holds a 12-lead ECG, whose electrode potentials are those against Wilson's terminal; "
                f'say reference = "wilson", not {table.reference!r}.',
            )
        with self.within("recording"):
            ecg = Recording(series.values, series.times, leads, "ecg", "wilson")
            found = from_twelve_lead(ecg)
        self.notes.append("recording: electrode potentials against Wilson's terminal were made from the 12-lead ECG.")
        return _Series(found.values, found.times, found.sites)

    def lead_names(self, table: RecordingTable, series: "_Series", electrodes: Electrodes) -> tuple[str, ...]:
        n = len(series.values)
        if table.electrodes is not None:
            names, what = tuple(table.electrodes), "recording.electrodes names"
        elif series.names is not None and set(series.names) <= set(electrodes.names):
            return series.names
        elif series.names is not None and not all(s.isdigit() for s in series.names):
            strange = [s for s in series.names if s not in set(electrodes.names)]
            raise field_error(
                self.toml,
                "recording",
                f"{table.file} has leads {some(strange)} without an electrode of that name; there are "
                f"{some(electrodes.names)}. Choose with `channels`, assign with `electrodes`, or use "
                "`electrodes.rename`.",
            )
        else:
            names, what = electrodes.names, "there are"
        if len(names) != n:
            lies = series.values.shape[1] == len(names)
            mend = "set `transpose = true` if its rows are times" if lies else "choose rows with `rows`"
            raise field_error(
                self.toml,
                "recording",
                f"{table.file} gives {n} rows, {what} {len(names)} electrodes; {mend}, or assign electrodes with "
                "`electrodes`.",
            )
        return names

    def check_plausible(self, found: Recording) -> None:
        """Refuse amplitudes and rates that no body surface has, and a reference lead that is not zero."""
        peak = float(np.abs(found.values).max())
        if peak > LARGEST_BSP_MV or 0 < peak < SMALLEST_BSP_MV:
            raise field_error(
                self.toml,
                "recording.unit",
                f"the largest potential is {peak:.3g} mV; body-surface potentials reach 0.1 to 10 mV. Are these "
                f"{'microvolts' if peak > 1 else 'volts'}?",
            )
        if found.n_times > 1 and found.dt < SHORTEST_STEP_MS:
            raise field_error(
                self.toml,
                "recording",
                f"the time step is {found.dt:.3g} ms; are the times in seconds, not milliseconds?",
            )
        if found.reference in found.sites:
            left = float(np.abs(found.select([found.reference]).values).max())
            if left > AVERAGE_TOLERANCE * peak:
                raise field_error(
                    self.toml,
                    "recording.reference",
                    f"is {found.reference!r}, but that lead reaches {left:.3g} mV where it should be zero; name the "
                    "reference the amplifier used, or use `average = true`.",
                )

    def check_average(self, found: Recording) -> None:
        mean = float(np.abs(found.values.mean(axis=0)).max())
        if mean > AVERAGE_TOLERANCE * float(np.sqrt(np.mean(found.values**2))):
            raise field_error(
                self.toml,
                "recording.reference",
                f"is 'average', but the mean over the {found.n_sites} leads reaches {mean:.3g} mV; "
                "`average = true` removes it.",
            )

    def series(self, table: TruthTable | RecordingTable, place: str) -> "_Series":
        """Values in mV, times in ms, names if the file has them; rows and channels chosen."""
        content = self.content(table.file, f"{place}.file")
        if content.time_series is not None and table.array is None:
            found = self.own_series(content, table, place)
        else:
            found = self.array_series(content, table, place)
        if table.channels is not None:
            lacking = [c for c in table.channels if c not in (found.names or ())]
            if lacking:
                there = some(found.names) if found.names else "the file names none"
                raise field_error(self.toml, f"{place}.channels", f"no channel named {some(lacking)}; there: {there}.")
            found = found.take([found.names.index(c) for c in table.channels]) if found.names else found
        if table.rows is not None:
            found = found.take(self.counted(table.rows, table, f"{place}.rows", count=len(found.values)))
        return found

    def own_series(self, content: Content, table: TruthTable | RecordingTable, place: str) -> "_Series":
        """A file that knows its times."""
        series = content.time_series
        assert series is not None
        if table.rate_hz is not None:
            raise field_error(
                self.toml, f"{place}.rate_hz", f"{table.file} holds its own times ({series!r}); leave rate_hz out."
            )
        if table.transpose:
            raise field_error(
                self.toml, f"{place}.transpose", f"{table.file} says which way round it is; leave it out."
            )
        factor = self.unit_factor(content, table, place)
        return _Series(series.values * factor, series.times, series.sites)

    def array_series(self, content: Content, table: TruthTable | RecordingTable, place: str) -> "_Series":
        with self.within(f"{place}.array"):
            values = np.atleast_2d(np.asarray(content.array(table.array)))
        if values.ndim != 2 or not (np.issubdtype(values.dtype, np.number) and np.isrealobj(values)):
            raise field_error(self.toml, f"{place}.array", f"must be a table of real numbers; got {content!r}.")
        if table.rate_hz is None:
            raise field_error(self.toml, f"{place}.rate_hz", f"is missing; {table.file} does not hold its times.")
        factor = self.unit_factor(content, table, place)
        values = (values.T if table.transpose else values).astype(np.float64) * factor
        names = content.names.get(table.array or next(iter(content.arrays)))
        names = names if names is not None and len(names) == len(values) else None
        return _Series(values, np.arange(values.shape[1]) * (1000.0 / table.rate_hz), names)

    def unit_factor(self, content: Content, table: TruthTable | RecordingTable, place: str) -> float:
        """Factor to mV of a file's values: stated by the file (and perhaps applied already), or by the case."""
        stated, applied = _potential_unit(content)
        if stated and table.unit is not None and table.unit != stated:
            raise field_error(
                self.toml, f"{place}.unit", f"is {table.unit!r}, but {table.file} itself says {stated!r}; leave it out."
            )
        if stated is None and table.unit is None:
            raise field_error(self.toml, f"{place}.unit", f"is missing; {table.file} does not hold it (mV, uV or V).")
        return 1.0 if stated and applied else millivolts(table.unit or stated or "mV")

    def counted(
        self, numbers: Sequence[int], table: TruthTable | RecordingTable, place: str, *, count: int
    ) -> list[int]:
        first = table.first_index or 0
        index = [n - first for n in numbers]
        self.check_index(index, count, place=place, first=first)
        return index

    def check_index(self, index: Sequence[int], count: int, *, place: str, first: int) -> None:
        outside = [i + first for i in index if not 0 <= i < count]
        if outside:
            raise field_error(
                self.toml, place, f"{some(outside)} lie outside {first}..{count - 1 + first} (first_index = {first})."
            )
        if len(set(index)) < len(index):
            twice = sorted({i + first for i in index if list(index).count(i) > 1})
            raise field_error(self.toml, place, f"{some(twice)} occur more than once.")


@dataclass(frozen=True, eq=False)
class _Series:
    """Rows of potentials, mV, with times, ms, and names where the file has them."""

    values: Float[np.ndarray, "n_rows n_times"]
    times: Float[np.ndarray, " n_times"]
    names: tuple[str, ...] | None

    def take(self, index: list[int]) -> "_Series":
        names = None if self.names is None else tuple(self.names[i] for i in index)
        return replace(self, values=self.values[index], names=names)


def _is_twelve_lead(names: Sequence[str], electrodes: Electrodes) -> bool:
    """Whether these are derived limb leads, which no electrode has as its name, and the electrodes that make them."""
    derived = {"I", "II"} <= set(names) and not {"I", "II"} & set(electrodes.names)
    return derived and set(TWELVE_LEAD_ELECTRODES) <= set(electrodes.names)


def _length_unit(content: Content) -> str | None:
    unit = content.info.get("length_unit")
    return unit if unit in ("mm", "cm", "m", "um") else None


def _potential_unit(content: Content) -> tuple[str | None, bool]:
    """Unit that the file states, or None, and whether the reader has already turned its values into mV."""
    applied = content.time_series is not None or content.format == "csv"
    unit = content.info.get("unit", "mV" if content.time_series is not None else "")
    unit = {"µV": "uV"}.get(unit, unit)
    return (unit if unit in ("mV", "uV", "V", "nV") else None), applied


# --- writing -------------------------------------------------------------------------------------


def write_case(case: Case, path: str | Path) -> None:
    """Write a case as a folder of CSV and PLY files with ``case.toml``, or as one ``.zarr`` store.

    `read_case` gives back the same numbers to the last bit, the same names and the same info.

    Parameters
    ----------
    case
        What to write.
    path
        A folder that does not exist yet or is empty, or a path ending in ``.zarr``.

    Raises
    ------
    InputError
        If something is in the way.
    """
    path = Path(path)
    if path.suffix == ".zarr":
        zarr_store.save_zarr(case, path)
        return
    if path.suffix:
        raise InputError(f"{path}: a case is written to a folder or to a .zarr store; {path.suffix!r} is neither.")
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise InputError(f"{path}: is in the way and not empty; name a new folder for the case.")
    with replacing(path) as partial:
        partial.mkdir()
        _write_folder(case, partial)


def _write_folder(case: Case, folder: Path) -> None:
    import tomli_w

    used: set[str] = {"torso"}
    content: dict[str, Any] = {"name": case.name, "length_unit": "mm", "surfaces": {}, "hearts": {}}
    for i, region in enumerate(case.conductor.regions):
        key = "torso" if i == 0 else _key(region.surface.name, used)
        table = _surface_table(region.surface, folder, key=key)
        content["surfaces"][key] = table | {"conductivity": float(region.conductivity)}
    for source in case.sources:
        key = _key(source.surface.name, used)
        table = _surface_table(source.surface, folder, key=key) | {"quantity": source.quantity}
        if source.intracellular_conductivity is not None:
            table["intracellular_conductivity"] = float(source.intracellular_conductivity)
        if source.truth is not None:
            tables.write_recording(folder / f"{key}_truth.csv", source.truth)
            table["truth"] = {"file": f"{key}_truth.csv", "reference": source.truth.reference}
        content["hearts"][key] = table
    tables.write_points(folder / "electrodes.csv", case.electrodes.positions, names=case.electrodes.names)
    content["electrodes"] = {"file": "electrodes.csv"} | _allowed_distance(case)
    if case.recording is not None:
        tables.write_recording(folder / "recording.csv", case.recording)
        content["recording"] = {"file": "recording.csv", "reference": case.recording.reference}
    content["info"] = dict(case.info)
    (folder / "case.toml").write_text(tomli_w.dumps(content), encoding="utf-8")


def _allowed_distance(case: Case) -> dict[str, float]:
    """``max_distance`` (mm) of electrodes farther from the skin than a case allows by itself."""
    from einthoven.geometry.checks import MAX_ELECTRODE_DISTANCE_MM
    from einthoven.geometry.locate import closest_points

    farthest = float(closest_points(case.conductor.skin, case.electrodes.positions).distance.max(initial=0.0))
    return {"max_distance": float(np.ceil(farthest))} if farthest > MAX_ELECTRODE_DISTANCE_MM else {}


def _surface_table(surface: Surface, folder: Path, *, key: str) -> dict[str, Any]:
    write(surface, folder / f"{key}.ply")
    table: dict[str, Any] = {"file": f"{key}.ply"}
    return table if key == surface.name else table | {"name": surface.name}


def _key(name: str, used: set[str]) -> str:
    """A table and file name made of `name`: plain characters, not used before."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_") or "surface"
    key, n = plain, 2
    while key.lower() in used:
        key, n = f"{plain}_{n}", n + 1
    used.add(key.lower())
    return key


# --- converting ----------------------------------------------------------------------------------


def convert(source: str | Path, target: str | Path) -> None:
    """Convert a case, an operator or a file to the format that the target's name asks for.

    A case folder becomes a Zarr store and the reverse; operators go between ``.npz`` and ``.zarr``;
    every other file goes through `einthoven.io.registry.read` and `write`.

    Raises
    ------
    InputError
        If the source cannot be read, or the target cannot hold what it is.
    """
    source, target = Path(source), Path(target)
    if source.resolve() == target.resolve():
        raise InputError(f"{target}: source and target are the same.")
    if is_case(source):
        write_case(read_case(source), target)
        return
    if not source.exists():
        raise InputError(f"{source}: there is no such file or folder.")
    if not target.suffix:
        raise InputError(f"{target}: the target needs an ending (.csv, .vtp, .zarr, ...) to say its format.")
    if source.suffix == ".npz" or source.suffix == ".zarr":
        stored = zarr_store.load_operator(source) if source.suffix == ".npz" else zarr_store.load_zarr(source)
        if isinstance(stored, ForwardOperator) and target.suffix in (".npz", ".zarr"):
            zarr_store.save_operator(stored, target)
            return
    write(read(source), target)
