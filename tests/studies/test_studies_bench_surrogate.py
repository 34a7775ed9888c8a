"""Comparisons of surrogates: cells, resumption, tables, the page, mistakes."""

import json

import numpy as np
import pytest
import tomli_w

from einthoven.core import InputError
from einthoven.report.bench_surrogate_page import curve_figure, ranking_figure, write_surrogate_bench_page
from einthoven.studies.bench_output import write_bench
from einthoven.studies.bench_surrogate import (
    SURROGATE,
    load_surrogate_bench,
    parts_of,
    ready_surrogate_benches,
    surrogate_cells,
    surrogate_table,
)
from einthoven.surrogate.configuration import load_configuration
from einthoven.surrogate.models import load_surrogate
from surrogate_cases import recipe

TINY = """
title = "tiny"
model = "neural-eikonal"
epochs = 1
batch = 4

[network]
width = 4
depth = 1
"""

STUDY = """
title = "two sizes"

[[block]]
models = ["{folder}/tiny.toml"]
trained_on = "{folder}/small.toml"
sheets = [4, 8]
seeds = [0, 1]
scored_on = ["{folder}/small.toml", "{folder}/small.toml:validation"]
"""


@pytest.fixture(scope="module")
def study_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    (folder / "tiny.toml").write_text(TINY)
    values = recipe().model_dump(mode="json", by_alias=True, exclude_none=True)
    (folder / "small.toml").write_text(tomli_w.dumps(values))
    (folder / "study.toml").write_text(STUDY.format(folder=folder.as_posix()))
    return folder / "study.toml"


@pytest.fixture(scope="module")
def done(study_file, sheet_folder, tmp_path_factory):
    """The study, on the set of sheets that the tests share."""
    out = tmp_path_factory.mktemp("bench") / "out"
    (out / "sets").mkdir(parents=True)
    (out / "sets" / "small").symlink_to(sheet_folder)
    study = load_surrogate_bench(study_file)
    return study, out, write_bench(SURROGATE, study, out, page=write_surrogate_bench_page)


def test_cells_are_trainings_and_baselines(study_file):
    cells = surrogate_cells(load_surrogate_bench(study_file))
    trainings = [c for c in cells if c["model"] == "tiny"]
    assert [(c["sheets"], c["seed"]) for c in trainings] == [(4, 0), (4, 1), (8, 0), (8, 1)]
    assert [c["parts"][0]["split"] for c in cells if c["model"] == "baselines"] == ["test", "validation"]


def test_a_study_gives_rows_tables_weights_and_a_page(done):
    _, out, result = done
    names = {"sets", "store", "cells.csv", "table.csv", "weights", "run.toml", "report.html", "metrics.json"}
    assert {p.name for p in out.iterdir()} == names
    assert sorted(p.name for p in (out / "weights").iterdir()) == [
        f"tiny-small-{n}-{seed}.npz" for n in (4, 8) for seed in (0, 1)
    ]
    _, card = load_surrogate(out / "weights" / "tiny-small-8-1.npz")
    assert (card["seed"], card["training_sheets"]) == (1, 8)
    table = json.loads((out / "metrics.json").read_text())
    line = next(r for r in table if (r["scored_on"], r["condition"], r["training_sheets"]) == ("small:test", "all", 8))
    own = [
        r for r in result.rows
        if (r["scored_on"], r["condition"], r.get("training_sheets")) == ("small:test", "all", 8)
    ]  # fmt: skip
    assert line["seeds"] == len(own) == 2
    assert line["r2_mean"] == pytest.approx(np.mean([r["r2_mean"] for r in own]))
    assert line["r2_mean_low"] == min(r["r2_mean"] for r in own) < line["r2_mean_high"]
    stored = next(g for g in card["scores"] if g["split"] == "test")["rows"][0]["r2_mean"]
    assert stored in [r["r2_mean"] for r in own]
    baselines = {r["model"] for r in table if not r["learned"]}
    assert {"eikonal, modelled duration", "true activation, modelled duration", "no learning, 1 mm"} <= baselines
    page = (out / "report.html").read_text()
    assert page.count("<img") == 4
    assert "Scored on small:validation" in page


def test_a_second_run_computes_nothing(done, monkeypatch):
    from einthoven.studies import bench_surrogate

    study, out, result = done
    monkeypatch.setattr(bench_surrogate, "trained_on", lambda *a, **k: pytest.fail("trained again"))
    again = write_bench(SURROGATE, study, out, page=None)
    assert again.table == result.table
    assert not (out / "report.html").exists()


def test_figures(done):
    rows = [r for r in done[2].table if r["condition"] == "all" and r["scored_on"] == "small:test"]
    (axes,) = ranking_figure(rows).axes
    labels = [t.get_text() for t in axes.get_yticklabels()]
    assert {"tiny, 4 sheets", "tiny, 8 sheets"} <= set(labels)
    left, _ = curve_figure(rows).axes
    assert list(left.get_lines()[0].get_xdata()) == [4, 8]


def test_a_mean_over_seeds():
    rows = [
        {"scored_on": "a:test", "condition": "all", "trained_on": "a", "model": "m", "training_sheets": 3, "seed": s,
         "learned": True, "r2_mean": r2, "training_seconds": 10.0}
        for s, r2 in ((0, 0.8), (1, 0.9))
    ]  # fmt: skip
    (line,) = surrogate_table(rows)
    assert line["r2_mean"] == pytest.approx(0.85)
    assert (line["r2_mean_low"], line["r2_mean_high"], line["seeds"]) == (0.8, 0.9, 2)


@pytest.mark.parametrize("name", ready_surrogate_benches())
def test_ready_made_studies(name):
    study = load_surrogate_bench(name)
    for block in study.blocks:
        assert parts_of(block)
        assert all(load_configuration(m) for m in block.models)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('title = "a"', "block: Field required"),
        ('title = "a"\n[[block]]\nmodels = []\ntrained_on = "sheets-smoke"', "must not be empty"),
        ('title = "a"\n[[block]]\nmodels = ["u-net"]\ntrained_on = "sheets-smoke"', "u-net: no such surrogate"),
        ('title = "a"\n[[block]]\nmodels = ["seq2seq"]\ntrained_on = "mine"', "mine: no such recipe"),
        ('title = "a"\n[[block]]\nmodels = ["seq2seq"]\ntrained_on = "sheets-smoke"\nsheets = [0]', "must be positive"),
        ("title = ", "is no TOML file"),
    ],
)
def test_mistakes(tmp_path, text, words):
    path = tmp_path / "s.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        load_surrogate_bench(path)
