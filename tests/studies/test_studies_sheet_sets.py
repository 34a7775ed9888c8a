"""Stored sets of sheets: made once, grown, read again; what a damaged or foreign one says."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from einthoven.core import FileFormatError, InputError
from einthoven.studies import sheet_sets
from einthoven.studies.sheet_sets import SheetSet, load_recipe, make_sheets, ready_recipes, sheet_cells
from surrogate_cases import recipe, sheet


def test_a_set_is_read_as_it_was_simulated(sheet_folder):
    sheets = SheetSet.open(sheet_folder)
    assert repr(sheets).endswith("20 sheets of 16 mm)")
    found = next(s for s in sheets.sheets("training", "fibrotic") if s.number == 0)
    made = sheet("fibrotic", 0)
    for name in ("conducting", "diffusivity", "sites", "onsets", "electrodes", "activation", "recovery", "ecg"):
        assert np.array_equal(
            getattr(found, name), getattr(made, name), equal_nan=getattr(made, name).dtype.kind == "f"
        )
    assert np.abs(found.movie - made.movie).max() <= sheet_sets.MOVIE_STEP / 2 + 1e-6
    assert [s.number for s in sheets.sheets("test")] == [9, 9]
    assert len(sheets.cells("training")) == 16


def test_a_set_that_is_there_is_not_made_again(sheet_folder, tmp_path):
    path = Path(shutil.copytree(sheet_folder, tmp_path / "set"))
    assert make_sheets(recipe(), path).computed == 0
    grown = recipe(condition=tuple(c.model_copy(update={"sheets": 11}) for c in recipe().conditions))
    sweep = make_sheets(grown, path)
    assert (sweep.computed, sweep.reused) == (2, 20)
    assert SheetSet.open(path).recipe.n_sheets == 22


def test_batches(sheet_folder):
    sheets = SheetSet.open(sheet_folder)
    batches = list(sheets.batches("training", size=6, seed=0, fields=("movie", "ecg", "number"), pixel=2.0))
    assert [len(b["movie"]) for b in batches] == [6, 6, 4]
    assert batches[0]["movie"].shape == (6, 101, 8, 8)
    assert sorted(np.concatenate([b["number"] for b in batches])) == sorted([*range(8)] * 2)
    again = list(sheets.batches("training", size=6, seed=0, fields=("number",)))
    other = list(sheets.batches("training", size=6, seed=1, fields=("number",)))
    assert np.array_equal(batches[0]["number"], again[0]["number"])
    assert not np.array_equal(again[0]["number"], other[0]["number"])
    with pytest.raises(InputError, match="a positive size and fields of"):
        list(sheets.batches("training", size=4, fields=("pixels",)))


def test_what_is_missing_is_said(sheet_folder, tmp_path):
    with pytest.raises(InputError, match=r"holds no set of sheets \(no recipe.toml\)"):
        SheetSet.open(tmp_path)
    path = Path(shutil.copytree(sheet_folder, tmp_path / "set"))
    shutil.rmtree(next((path / "store" / "cells").iterdir()))
    with pytest.raises(InputError, match="1 of 20 sheets are not there"):
        SheetSet.open(path).cells()
    sheets = SheetSet.open(sheet_folder)
    with pytest.raises(InputError, match="the parts training, validation, test; got 'all'"):
        sheets.cells("all")
    with pytest.raises(InputError, match="the conditions healthy, fibrotic; got 'ill'"):
        sheets.cells("test", "ill")


def test_a_folder_of_another_recipe_is_refused(sheet_folder):
    with pytest.raises(InputError, match="holds sheets of a recipe with another t_end, seed; choose another --out"):
        make_sheets(recipe(t_end=404.0, seed=5), sheet_folder)


def test_no_room(sheet_folder, monkeypatch, tmp_path):
    path = Path(shutil.copytree(sheet_folder, tmp_path / "set"))
    grown = recipe(condition=tuple(c.model_copy(update={"sheets": 40}) for c in recipe().conditions))
    full = shutil.disk_usage(path)._replace(free=1000)
    monkeypatch.setattr(sheet_sets.shutil, "disk_usage", lambda _: full)
    with pytest.raises(InputError, match=r"the disk has 0.0 GB left and the set needs 0\.\d"):
        make_sheets(grown, path)


def test_costs_in_a_sentence():
    cost = sheet_sets.Cost(300, 20.0, 6e6)
    assert cost.said(2) == (
        "300 sheets to simulate: about 50 minutes with 2 process(es), 1.8 GB of disk (20 s and 6 MB each)."
    )
    assert sheet_sets.Cost(0, 1.0, 1.0).said(1) == "all sheets are there."


@pytest.mark.parametrize("name", sorted(ready_recipes()))
def test_ready_recipes(name):
    loaded = load_recipe(name)
    assert len(sheet_cells(loaded)) == loaded.n_sheets
    if name == "published-200mm":
        assert [c.sheets for c in loaded.conditions] == [60, 60, 120, 60]
        assert loaded.size == 200


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title = ", "is no TOML file"),
        ('title = "a"', "t_end: Field required"),
        ('title = "a"\nt_end = -1.0', "t_end: Input should be greater than 0; got -1.0"),
    ],
)
def test_wrong_files(tmp_path, text, words):
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        load_recipe(path)


def test_recipes_that_are_not_there(tmp_path):
    with pytest.raises(InputError, match="no such recipe; give a TOML file, or one of: published-200mm"):
        load_recipe("sheets")
    with pytest.raises(InputError, match="cannot be read"):
        load_recipe(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileFormatError, match="no text in UTF-8"):
        load_recipe(tmp_path / "binary.toml")


def test_a_large_movie_has_larger_steps():
    """A second stimulus on a plateau drives the potential far above it."""
    for largest, step in ((100.0, 1 / 256), (140.0, 1 / 128), (300.0, 1 / 64)):
        movie = np.linspace(0, largest, 50)
        found, used = sheet_sets.packed(movie)
        assert used == step
        assert np.abs(found * used - movie).max() <= step / 2
