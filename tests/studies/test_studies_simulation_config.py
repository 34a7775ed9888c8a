"""Study files: every mistake is one sentence that names the field; sweeps; the files that come with the package."""

import copy
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from einthoven.core import FileFormatError, InputError
from einthoven.studies.simulation_config import load_study, ready_studies, runs_of, study_text, validated
from einthoven.studies.simulation_tables import SimulationStudy, documented_fields

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "simulate.md").read_text(encoding="utf-8")
READY = (
    "fibrotic-sheet",
    "gap-junction",
    "healthy-sheet",
    "phantom-paced",
    "phantom-surface",
    "spiral-wave",
    "twelve-lead-beat",
    "ventricular-slab",
)

SMALL: dict[str, Any] = {
    "name": "small",
    "tissue": {"kind": "sheet", "size": [5.0, 5.0], "spacing": 0.5, "diffusivity": 0.1},
    "model": {"name": "aliev-panfilov-1996"},
    "protocol": {"stimuli": [{"region": {"kind": "ball", "center": [0.0, 0.0], "radius": 1.0}}]},
    "time": {"t_end": 50.0, "dt": 0.1},
    "ecg": {"positions": {"a": [2.0, 2.0, 5.0]}},
    "keep": {"probes": {"points": {"p": [2.0, 2.0]}}},
}


def changed(where: str, value: Any) -> dict[str, Any]:
    """The small study with one dotted field set; None removes it."""
    values = copy.deepcopy(SMALL)
    *way, last = where.split(".")
    place: Any = values
    for step in way:
        place = place[int(step)] if step.isdecimal() else place.setdefault(step, {})
    if value is None:
        del place[last]
    else:
        place[int(last) if last.isdecimal() else last] = value
    return values


FAULTS = [
    ("tissue.spacing", -1, "tissue.spacing: must be positive; got -1"),
    ("tissue.spacing", "thin", "tissue.spacing: must be a number; got 'thin'"),
    ("tissue.spacing", None, "tissue.spacing: is missing"),
    ("tissue.spcing", 0.5, "tissue.spcing: unknown field (did you mean 'spacing'?)"),
    ("tissue.size", [5.0], "tissue.size: a sheet has 2 sides; got 1"),
    ("tissue.size", [5.0, 5.1], "tissue.size: must be a multiple of the spacing 0.5; got 5.1, nearest 5"),
    ("tissue.kind", "shet", "tissue: kind must be one of sheet, slab, cable, surface, phantom-ventricles; got 'shet'"),
    ("tissue.kind", None, "tissue: kind is missing"),
    ("tissue.diffusivity", None, "tissue: give diffusivity or fibers; got neither"),
    ("tissue.fibers", {"along": 0.1, "across": 0.02}, "tissue: give diffusivity or fibers; got both"),
    ("tissue", 3, "tissue: must be a table; got 3"),
    (
        "tissue.fibrosis",
        [{"kind": "islands", "density": 0.1}, {"kind": "patchy", "density": 1.2}],
        "tissue.fibrosis[1].density: must be below 1; got 1.2",
    ),
    (
        "tissue.fibrosis",
        [{"kind": "patchy", "density": 0.2, "path_size": 3.0}],
        "tissue.fibrosis[0].path_size: unknown field (did you mean 'patch_size'?)",
    ),
    (
        "tissue.fibrosis",
        [{"kind": "patches", "density": 0.2}],
        "tissue.fibrosis[0]: kind must be one of diffuse, islands, patchy, interstitial, compact; got 'patches'",
    ),
    ("time", None, "time: is missing"),
    ("time.scheme", "euler", "time.scheme: must be godunov or strang; got 'euler'"),
    ("time.dt", 0, "time.dt: must be positive; got 0"),
    ("time.t_end", 50.03, "time.t_end: must be a multiple of time.dt = 0.1; got 50.03, nearest 50"),
    ("ecg.every", 0.25, "ecg.every: must be a multiple of time.dt = 0.1; got 0.25, nearest 0.2"),
    ("ecg.every", 51.0, "ecg.every: must be at most time.t_end = 50 ms; got 51"),
    ("keep.movie", {"every": 100.0}, "keep.movie.every: must be at most time.t_end = 50 ms; got 100"),
    ("keep.movie", {"every": 0.01}, "keep.movie.every: must be a multiple of time.dt = 0.1; got 0.01, nearest 0.1"),
    ("keep.movie", 3, "keep.movie: must be a table; got 3"),
    ("keep.probes.points", {}, "keep.probes.points: must hold at least 1; got {}"),
    ("ecg.torso", "phantom", "ecg: give positions or torso; got both"),
    ("ecg.positions", None, "ecg: give positions or torso; got neither"),
    ("ecg.positions.a", [1.0, 2.0], "ecg.positions.a: must hold at least 3; got [1.0, 2.0]"),
    ("model.parameters", {"k": float("nan")}, "model.parameters.k: must be finite; got nan"),
    ("model.parameters", {"k": "high"}, "model.parameters.k: must be a number; got 'high'"),
    ("protocol.kind", "brust", "protocol: kind must be stimuli, burst, s1-s2, cross-field or early-sites"),
    ("protocol.stimuli.0.start", -1.0, "protocol.stimuli[0].start: must be at least 0; got -1"),
    ("protocol.stimuli.0.region.radius", None, "protocol.stimuli[0].region.radius: is missing"),
    ("protocol.stimuli.0.region.kind", None, "protocol.stimuli[0].region: kind is missing"),
    ("protocol.stimuli", [], "protocol.stimuli: must hold at least 1; got []"),
    ("seed", -3, "seed: must be at least 0; got -3"),
    ("seed", 1.5, "seed: must be a whole number; got 1.5"),
    ("dtype", "float16", "dtype: must be float64 or float32; got 'float16'"),
    ("tme", {}, "tme: unknown field (did you mean 'time'?)"),
    ("zzzz", {}, "zzzz: unknown field (there are name, title, seed, dtype, tissue, model, protocol, "),
    ("sweep", {"seed": []}, "sweep.seed: must hold at least 1; got []"),
    ("sweep", {"seed": list(range(400)), "dtype": ["float64"] * 400}, "sweep: makes 160000 runs; at most 100000"),
]


@pytest.mark.parametrize(("where", "value", "message"), FAULTS, ids=[f"{w}={str(v)[:20]}" for w, v, _ in FAULTS])
def test_a_fault_is_one_sentence_that_names_the_field_and_the_file(tmp_path, where, value, message):
    (tmp_path / "study.toml").write_text(tomli_w.dumps(changed(where, value)))
    with pytest.raises(InputError) as caught:
        load_study(tmp_path / "study.toml")
    said = str(caught.value)
    assert said.startswith(message)
    assert said.endswith("study.toml)")
    assert "\n" not in said


def test_several_faults_are_counted():
    values = changed("time", {})
    with pytest.raises(InputError, match=r"time\.t_end: is missing; and 1 more: time\.dt \(s\)"):
        validated(values, "s")


def test_a_cable_takes_no_fibers():
    tissue = {"kind": "cable", "size": [5.0], "spacing": 0.5, "fibers": {"along": 0.1, "across": 0.02}}
    with pytest.raises(InputError, match=r"tissue\.fibers: a cable has no direction"):
        validated(changed("tissue", tissue), "s")


def test_broken_toml_names_the_line(tmp_path):
    (tmp_path / "s.toml").write_text('name = "x"\n[tissue\nkind = "sheet"\n')
    with pytest.raises(FileFormatError, match=r"s\.toml, line 2.*is not valid TOML"):
        load_study(tmp_path / "s.toml")
    (tmp_path / "s.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(FileFormatError, match=r"byte 8: is not text in UTF-8"):
        load_study(tmp_path / "s.toml")


def test_an_unknown_study_lists_what_there_is():
    with pytest.raises(InputError, match=r"no such study.*healthy-sheet.*did you mean 'healthy-sheet'"):
        load_study("helthy-sheet")
    with pytest.raises(FileFormatError, match="cannot be read: No such file"):
        load_study("nowhere.toml")
    with pytest.raises(InputError, match="an empty name: no such study"):
        load_study("")


def test_whole_numbers_do_for_lengths(tmp_path):
    study = validated(changed("tissue.size", [5, 5]), "s")
    assert study.config == validated(SMALL, "s").config


# --- sweeps -----------------------------------------------------------------------------------------


def test_a_sweep_is_every_combination():
    study = validated(SMALL | {"sweep": {"tissue.spacing": [0.5, 0.25], "seed": [1, 2, 3]}}, "s")
    runs = runs_of(study)
    assert [own for own, _ in runs] == [{"tissue.spacing": h, "seed": s} for h in (0.5, 0.25) for s in (1, 2, 3)]
    assert [(run.tissue.spacing, run.seed, run.sweep) for _, run in runs][3] == (0.25, 1, {})
    assert runs_of(validated(SMALL, "s"))[0][0] == {}


def test_a_sweep_reaches_lists_and_tables_that_are_not_there_yet():
    study = validated(SMALL | {"sweep": {"protocol.stimuli.0.start": [3.0], "model.parameters.k": [7.5]}}, "s")
    _, run = runs_of(study)[0]
    assert run.protocol.stimuli[0].start == 3.0
    assert run.model.parameters == {"k": 7.5}
    assert study.model.parameters == {}


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ({"tissue.spacng": [1.0]}, r"tissue\.spacng: unknown field \(did you mean 'spacing'\?\) \(sweep of small\)"),
        ({"tissue.spacing": [-1.0]}, r"tissue\.spacing: must be positive; got -1 \(sweep of small\)"),
        (
            {"protocol.stimuli.4.start": [1.0]},
            r'sweep\."protocol\.stimuli\.4\.start": there is no protocol\.stimuli\.4',
        ),
        ({"seed.first": [1]}, r'sweep\."seed\.first": there is no seed\.first in the study'),
    ],
)
def test_a_faulty_sweep_is_told(sweep, message):
    with pytest.raises(InputError, match=message):
        runs_of(validated(SMALL | {"seed": 1, "sweep": sweep}, "s"))


def test_the_configuration_is_what_decides_the_numbers():
    base = validated(SMALL, "s").config
    assert validated(SMALL | {"name": "other", "title": "t", "versions": {"numpy": "0"}}, "s").config == base
    for where, value in (("seed", 1), ("tissue.spacing", 0.25), ("keep.movie", {}), ("model.parameters", {"k": 7.0})):
        assert validated(changed(where, value), "s").config != base


def test_a_swept_run_has_the_configuration_of_the_same_study_written_out():
    swept = validated(SMALL | {"sweep": {"tissue.spacing": [0.25]}}, "s")
    assert runs_of(swept)[0][1].config == validated(changed("tissue.spacing", 0.25), "s").config


# --- what comes with the package ----------------------------------------------------------------------


def test_the_ready_made_studies_are_these():
    assert tuple(ready_studies()) == READY


@pytest.mark.parametrize("name", READY)
def test_a_ready_made_study_is_valid_and_titled(name):
    study = load_study(name)
    assert study.name == name
    assert study.title
    assert f"`{name}`" in PAGE


def test_a_file_wins_over_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("healthy-sheet").write_text(tomli_w.dumps(SMALL))
    assert load_study("healthy-sheet").name == "small"
    assert tomllib.loads(study_text("healthy-sheet"))["name"] == "small"


def test_a_surface_is_looked_for_beside_the_study(tmp_path):
    tissue = {"kind": "surface", "surface": "heart.ply", "diffusivity": 0.1}
    (tmp_path / "s.toml").write_text(tomli_w.dumps(changed("tissue", tissue)))
    assert load_study(tmp_path / "s.toml").tissue.surface == str(tmp_path / "heart.ply")


# --- documentation ----------------------------------------------------------------------------------


def test_every_field_is_documented_in_the_schema():
    for heading, rows in documented_fields():
        for name, _, meaning in rows:
            assert meaning.strip(), f"{heading}.{name} has no docstring"


def test_every_table_of_the_schema_is_listed():
    listed = {heading.split(" (")[0] for heading, _ in documented_fields()}
    seen: set[str] = set()

    def walk(schema: dict[str, Any], definitions: dict[str, Any]) -> None:
        for name in re.findall(r"#/\$defs/(\w+)", str(schema)):
            if name not in seen:
                seen.add(name)
                walk(definitions[name], definitions)

    schema = SimulationStudy.model_json_schema()
    walk(schema, schema["$defs"])
    from einthoven.studies.simulation_tables import TABLES

    assert seen | {"SimulationStudy"} == {table.__name__ for _, table in TABLES}
    assert "tissue.fibrosis" in listed


def table_of(heading: str, rows: list[tuple[str, str, str]]) -> str:
    """A table as the page prints it."""
    lines = [f"### {f'`{heading}`' if heading else 'Top level'}", "", "| field | default | meaning |", "|---|---|---|"]
    for name, default, meaning in rows:
        shown = default if default == "required" or not default else f"`{default}`"
        lines.append(f"| `{name}` | {shown} | {' '.join(meaning.split())} |")
    return "\n".join(lines)


@pytest.mark.parametrize(("heading", "rows"), documented_fields(), ids=[h or "top" for h, _ in documented_fields()])
def test_the_page_lists_every_field(heading, rows):
    assert table_of(heading, rows) in PAGE


def test_every_printed_study_is_valid():
    blocks = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    whole = [tomllib.loads(b) for b in blocks]
    assert len(whole) >= 4
    first = whole[0]
    for block in whole:
        validated(first | block, "page")
