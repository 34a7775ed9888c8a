"""Code on the how-to pages runs as printed, and their commands exist."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from einthoven.cli.main import app

DOCS = Path(__file__).parents[2] / "docs"

#: Pages whose Python blocks are run one after the other, as a reader would.
RUN = [
    pytest.param("how-to/electrodes.md"),
    pytest.param("how-to/choose-method.md"),
    pytest.param("how-to/gpu.md"),
    pytest.param("how-to/add-inverse-method.md"),
    pytest.param("how-to/add-membrane-model.md", marks=pytest.mark.long),
]

PAGES = sorted(str(p.relative_to(DOCS)) for p in DOCS.rglob("*.md"))


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page in a language (``""``: none named) that stand at the left edge."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def run_page(page: str) -> dict:
    """Run the Python blocks of a page; what they leave."""
    space: dict = {"__name__": "page"}
    for number, code in enumerate(blocks(page, "python")):
        exec(compile(code, f"{page}, block {number + 1}", "exec"), space)
    return space


@pytest.mark.parametrize("page", RUN)
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    space = run_page(page)
    {
        "how-to/electrodes.md": check_electrodes,
        "how-to/choose-method.md": check_weights,
        "how-to/gpu.md": lambda s: s["platform"] in ("cpu", "gpu") or pytest.fail("no such platform"),
        "how-to/add-inverse-method.md": check_method,
        "how-to/add-membrane-model.md": check_membrane,
    }[page](space)


def check_electrodes(space: dict) -> None:
    assert space["found"].bad == ("E4",)
    assert space["snapped"].distance.max() < 10.0
    assert space["wilson"].reference == "wilson"


def check_weights(space: dict) -> None:
    first, second = space["weights"]
    assert 1 / 3 < first / second < 3
    assert Path("curve.png").stat().st_size > 10_000
    assert all(flag == 0.0 for flag in space["edge"])


def check_method(space: dict) -> None:
    assert space["error"] < 0.1


def check_membrane(space: dict) -> None:
    assert 0.0 < space["difference"] < 0.1
    assert 200 < space["duration"] < 350
    assert 0.3 < space["speed"] < 0.4


COMMANDS = [
    (page, line)
    for page in PAGES
    for language in ("", "text")
    for block in blocks(page, language)
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith(("einthoven ", ".venv/bin/einthoven "))
]


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=[f"{p}: {c}" for p, c in COMMANDS])
def test_a_printed_command_has_the_options_it_prints(page, line):
    words, command = shlex.split(line, comments=True)[1:], typer.main.get_command(app)
    while commands := getattr(command, "commands", None):
        if not words or words[0].startswith("-"):
            break
        assert words[0] in commands, f"{page}: there is no command {words[0]}"
        command = commands[words.pop(0)]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    given = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    assert given <= known | {"--help"}, f"{page}: {command.name} has no {given - known}"
