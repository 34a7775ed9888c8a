"""Comparison of forward operators: cells, exact answers, measured leads, resumption, table, page, mistakes."""

import shutil

import numpy as np
import pytest
from pyarrow import parquet

from einthoven.core import InputError
from einthoven.report.bench_forward_page import resolution_figure, write_forward_bench_page
from einthoven.studies import bench_forward, forward_cases
from einthoven.studies.bench_forward import (
    FORWARD,
    ForwardStudy,
    cell_name,
    compute_cell,
    forward_cells,
    forward_table,
    load_forward_bench,
    ready_forward_benches,
)
from einthoven.studies.bench_output import write_bench
from einthoven.studies.forward_cases import OPERATORS, body, heart_radius, layers_of, radii_of
from einthoven.studies.output import write_parquet


def study(**block) -> ForwardStudy:
    return ForwardStudy.model_validate({"title": "t", "block": [block]})


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The smoke study, run."""
    out = tmp_path_factory.mktemp("forward") / "out"
    return out, write_bench(FORWARD, load_forward_bench("forward-smoke"), out, page=write_forward_bench_page)


# -- studies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ready_forward_benches())
def test_every_study_that_ships_is_one(name):
    cells = forward_cells(load_forward_bench(name))
    assert cells
    assert len({str(sorted(c.items())) for c in cells}) == len(cells)


def test_cells_of_a_body_know_the_level_of_their_truth():
    cells = forward_cells(study(cases=["dalhousie-2007", "spheres"], levels=[-1, 0], degrees=[2], finer=2))
    bodies = [c for c in cells if c["case"] == "dalhousie-2007"]
    assert [(c["level"], c["truth_level"], c["source"]) for c in bodies] == [(-1, 2, "fronts"), (0, 2, "fronts")]
    assert [c["source"] for c in cells if c["case"] == "spheres"] == ["degree 2", "degree 2"]
    assert "truth_level" not in cells[-1]
    assert "layers" not in bodies[0]
    assert cell_name(bodies[0]) == "dalhousie-2007, transfer, none, -1.0, fronts, absolute"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "block: Field required"),
        ("[[block]]\ncases = []", "must not be empty"),
        ('[[block]]\ncases = ["cube"]', "cases.0: .*'spheres'"),
        ('[[block]]\ncases = ["spheres"]\ndegrees = [0]', "must be from 1 to 20"),
        ('[[block]]\ncases = ["spheres"]\nlayers = ["0.2/-1"]', "one to four conductivities"),
        ('[[block]]\ncases = ["spheres"]\nfiner = 0', "finer must be positive"),
        ('[[block]]\ncases = ["utah-cage-tank"]', "take the operator 'transfer' and the reference 'average'"),
        ('[[block]]\ncases = ["dalhousie-2007"]\noperators = ["envelope"]', "needs an envelope"),
        ('[[block]]\ncases = ["spheres"]\noperators = ["finite elements"]', "operators.0"),
    ],
)
def test_mistakes(tmp_path, text, words):
    path = tmp_path / "s.toml"
    path.write_text(f'title = "a"\n{text}')
    with pytest.raises(InputError, match=words):
        load_forward_bench(path)


def test_bodies_that_there_are_not():
    with pytest.raises(InputError, match=r"spheres: the level must be a whole number from 0 to 6; got 1.5"):
        body("spheres", 1.5)
    with pytest.raises(InputError, match="spheres: has no lungs to leave out"):
        body("spheres", 0, layers="0.2/0.05", left_out="lungs")
    with pytest.raises(InputError, match="spheres: has no inner region to leave out"):
        body("spheres", 0, left_out="all")


def test_layers():
    assert radii_of(layers_of("0.2/0.05/0.2")) == (60.0, 80.0, 100.0)
    assert [heart_radius((0.2,) * n) for n in (1, 2, 3, 4)] == [50.0, 40.0, 40.0, 20.0]
    made = body("spheres", 0, layers="0.1/0.2/0.3")
    assert [r.conductivity for r in made.conductor.regions] == [0.3, 0.2, 0.1]
    extent = [np.linalg.norm(r.surface.points, axis=1).mean() for r in made.conductor.regions]
    assert extent[0] > extent[1] > extent[2] > np.linalg.norm(made.heart.points, axis=1).mean()


# -- cells ------------------------------------------------------------------------------------------------------------


def test_errors_on_spheres_are_those_of_the_verification_page():
    """42 + 42 nodes, degrees 1 and 2: 2.08 and 1.1 %; a mesh of 162 + 162: 0.307 %."""
    base = {"case": "spheres", "operator": "transfer", "left_out": "none", "layers": "0.2", "reference": "absolute"}
    first, second = (compute_cell({**base, "level": 1, "source": f"degree {d}"}).record for d in (1, 2))
    assert first["relative_error"] == pytest.approx(0.0208, rel=0.01)
    assert second["relative_error"] == pytest.approx(0.011, rel=0.02)
    assert (first["heart_nodes"], first["other_nodes"], first["leads"]) == (42, 42, 42)
    assert first["mag"] == pytest.approx(1.0, abs=0.03)
    assert first["seconds"] == second["seconds"] > 0  # one operator
    finer = compute_cell({**base, "level": 2, "source": "degree 1"}).record
    assert finer["relative_error"] == pytest.approx(0.00307, rel=0.01)


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_operator_comes_nearer_to_the_exact_answer(operator):
    base = {"case": "spheres", "operator": operator, "left_out": "none", "layers": "0.2/0.05/0.2"}
    errors = [
        compute_cell({**base, "reference": "absolute", "level": k, "source": "degree 1"}).record["relative_error"]
        for k in (0, 1)
    ]
    assert errors[1] < 0.6 * errors[0] < 0.4


def test_layers_that_are_left_out_are_missed():
    base = {"case": "spheres", "operator": "transfer", "layers": "0.2/0.05/0.2", "reference": "absolute", "level": 1}
    whole, less = (
        compute_cell({**base, "left_out": x, "source": "degree 1"}).record["relative_error"] for x in ("none", "all")
    )
    assert less > 5 * whole


def test_a_body_is_judged_by_a_finer_one(monkeypatch):
    """Spheres in place of the torso: the truth is the finer mesh, the front the same function of space."""
    monkeypatch.setattr(forward_cases, "_refined", lambda name, level: forward_cases._spheres(level + 1, (0.2,)))
    for cached in (forward_cases._whole, forward_cases._front, bench_forward.built, bench_forward._truth):
        cached.cache_clear()
    base = {"case": "dalhousie-2007", "operator": "double layer", "left_out": "none", "level": 0, "source": "fronts"}
    near = body("dalhousie-2007", 0)
    leads = forward_cases.front_source("dalhousie-2007", near)
    assert leads.shape == (42, 4)
    assert leads[0].min() > 90.0
    monkeypatch.setattr(bench_forward, "_truth", lambda case, operator, level: np.ones((42, 4)))
    record = compute_cell({**base, "reference": "absolute", "truth_level": 1}).record
    assert record["heart_nodes"] == 42
    assert record["relative_error"] > 0
    for cached in (forward_cases._whole, forward_cases._front, bench_forward.built):
        cached.cache_clear()


def test_the_measured_tank(data_dir):
    cell = {"case": "utah-cage-tank", "operator": "transfer", "left_out": "none", "source": "measured"}
    record = compute_cell({**cell, "reference": "average", "level": 0}).record
    assert record["leads"] == 192
    assert record["relative_error"] == pytest.approx(0.0947, rel=0.01)  # as on the verification page
    assert record["correlation"] == pytest.approx(0.998, abs=0.001)


# -- runs, table, page ------------------------------------------------------------------------------------------------


def test_tables_as_parquet(done, tmp_path):
    out, result = done
    shutil.copytree(out / "store", tmp_path / "store")
    study = FORWARD.load("forward-smoke")
    write_bench(FORWARD, study, tmp_path, page=None, parquet=True)
    cells, table = (parquet.read_table(tmp_path / f"{name}.parquet") for name in ("cells", "table"))
    assert cells.to_pylist() == [{name: row.get(name) for name in cells.column_names} for row in result.rows]
    assert table.num_rows == len(result.table)
    assert str(cells.schema.field("relative_error").type) == "double"
    write_bench(FORWARD, study, tmp_path, page=None)
    assert not list(tmp_path.glob("*.parquet")), "tables of an earlier run"


def test_parquet_of_mixed_columns(tmp_path):
    rows = [{"a": 1, "b": "x", "c": np.float64(2)}, {"a": 2.5, "b": 3, "c": np.nan}, {"a": 4}]
    write_parquet(tmp_path / "t.parquet", rows)
    found = parquet.read_table(tmp_path / "t.parquet").to_pylist()
    assert found == [{"a": 1.0, "b": "x", "c": 2.0}, {"a": 2.5, "b": "3", "c": None}, {"a": 4.0, "b": None, "c": None}]


def test_parquet_without_pyarrow_says_so_first(tmp_path, monkeypatch):
    monkeypatch.setattr("einthoven.studies.output.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"Parquet needs PyArrow.*einthoven\[parquet\]"):
        write_bench(FORWARD, FORWARD.load("forward-smoke"), tmp_path / "out", page=None, parquet=True)
    assert not (tmp_path / "out").exists()


def test_files_table_and_page(done):
    out, result = done
    names = {"store", "cells.csv", "table.csv", "figures", "run.toml", "report.html", "metrics.json"}
    assert {p.name for p in out.iterdir()} == names
    assert len(result.rows) == 3 * 2 * 2 * 2 * 2
    line = next(
        x for x in result.table
        if (x["operator"], x["layers"], x["level"], x["reference"]) == ("transfer", "0.2", 1.0, "absolute")
    )  # fmt: skip
    assert line["sources"] == 2
    errors = [line["error_degree_1"], line["error_degree_2"]]
    assert line["relative_error"] == pytest.approx(np.mean(errors))
    assert line["worst_relative_error"] == max(errors)
    names = {p.name for p in (out / "figures").iterdir()}
    assert names == {f"spheres-{r}-reference.{kind}" for r in ("absolute", "average") for kind in ("png", "svg")}
    page = (out / "report.html").read_text()
    assert page.count("<img") == 2
    assert "RDM" in page


def test_a_second_run_computes_nothing_and_a_changed_line_only_its_own(done, monkeypatch):
    out, result = done
    computed = []
    real = bench_forward.compute_cell
    monkeypatch.setattr(bench_forward, "compute_cell", lambda config: computed.append(config) or real(config))
    again = write_bench(FORWARD, load_forward_bench("forward-smoke"), out, page=None)
    assert again.table == result.table
    assert not computed
    assert not (out / "report.html").exists()
    more = study(cases=["spheres"], levels=[0, 1], degrees=[1, 3])
    write_bench(FORWARD, more, out, page=None)
    assert {(c["source"], c["level"]) for c in computed} == {("degree 3", 0.0), ("degree 3", 1.0)}


def test_lines_of_the_figure():
    base = {
        "case": "c",
        "reference": "average",
        "operator": "transfer",
        "heart_nodes": 10,
        "other_nodes": 10,
        "leads": 9,
    }
    rows = forward_table([
        {**base, "left_out": out, "level": float(k), "source": "fronts", "relative_error": 0.1, "rdm": 0.1, "mag": 1.0,
         "seconds": 1.0}
        for out in ("none", "lungs", "all") for k in (0, 1)
    ])  # fmt: skip
    left, _, right = resolution_figure(rows).axes
    assert [x.get_label() for x in left.get_lines()] == ["transfer", "transfer, no lungs", "transfer, torso alone"]
    assert list(right.get_lines()[0].get_xdata()) == [20, 20]
