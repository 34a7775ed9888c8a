"""What a release needs: one version everywhere, a citation, a command without the script."""

import re
import runpy
import sys
import tomllib
from pathlib import Path

import pytest

import einthoven

ROOT = Path(__file__).parents[2]


def test_one_version_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    citation = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    assert citation is not None
    assert project == einthoven.__version__ == citation[1]


def test_the_citation_has_what_its_schema_asks_for():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    top = re.findall(r"^([a-z-]+):", text, re.MULTILINE)
    assert {"cff-version", "message", "title", "authors"} <= set(top)
    assert "cff-version: 1.2.0" in text
    assert "license: BSD-3-Clause" in text
    assert re.findall(r'value: "(arXiv:\S+)"', text) == ["arXiv:2502.11378", "arXiv:2512.13765"]


@pytest.mark.parametrize(
    ("words", "shown"), [(["--version"], f"einthoven {einthoven.__version__}"), (["info"], "numpy")]
)
def test_python_m_einthoven(monkeypatch, capsys, words, shown):
    monkeypatch.setattr(sys, "argv", ["einthoven", *words])
    with pytest.raises(SystemExit) as stop:
        runpy.run_module("einthoven", run_name="__main__")
    assert not stop.value.code
    assert shown in capsys.readouterr().out


def test_the_workflow_calls_no_make_and_says_that_it_is_not_verified():
    text = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    assert text.startswith("# Not verified")
    commands = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    assert "make " not in commands
    assert all(name in commands for name in ("ubuntu", "macos", "windows", '"3.11", "3.12", "3.13"'))
