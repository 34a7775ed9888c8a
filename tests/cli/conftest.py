"""A hand-made case to image and to break, and the command line run in this process."""

import importlib.util
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from einthoven.cli.main import run

EXAMPLES = Path(__file__).parents[2] / "examples"


class Outcome(NamedTuple):
    """Exit code and what was printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def einthoven(capsys, monkeypatch) -> Callable[..., Outcome]:
    """Run the command line with the given words."""

    def call(*words: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["einthoven", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            run()
        captured = capsys.readouterr()
        return Outcome(int(stop.value.code or 0), captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def handmade(tmp_path_factory) -> Path:
    """A case folder of PLY and CSV files, written by the example that shows how; not to be changed."""
    spec = importlib.util.spec_from_file_location("handmade_case", EXAMPLES / "handmade_case.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.write_case_folder(tmp_path_factory.mktemp("handmade") / "case", subdivisions=2)


@pytest.fixture
def case(handmade, tmp_path) -> Path:
    """A copy of the hand-made case, to break."""
    return Path(shutil.copytree(handmade, tmp_path / "case"))
