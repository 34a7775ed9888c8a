"""Every example runs and gives what it promises."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))

#: Take ten seconds or more even as a smoke run.
LONG = ("demo", "eikonal_sheet", "fibrosis_and_ecg", "fit_conductivity", "fit_ecg")

CASES = [pytest.param(e, id=e.stem, marks=[pytest.mark.long] if e.stem in LONG else []) for e in EXAMPLES]


def run(script: Path, out: Path, monkeypatch) -> None:
    spec = importlib.util.spec_from_file_location(script.stem, script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", [str(script), "--smoke", "--out", str(out)])
    assert module.main() == 0


@pytest.mark.slow
@pytest.mark.parametrize("script", CASES)
def test_an_example_runs_and_writes_a_page(script, tmp_path, monkeypatch):
    run(script, tmp_path, monkeypatch)
    pages = list(tmp_path.rglob("report.html"))
    assert pages
    for metrics in tmp_path.rglob("metrics.json"):
        rows = json.loads(metrics.read_text())
        images = [row for row in rows if "correlation" in row] if isinstance(rows, list) else []
        assert all(row["correlation"] > 0.7 for row in images), "an image that is worth showing"
