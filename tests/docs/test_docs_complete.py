"""The docs name every public module, every command and every method."""

import re
import tomllib
from pathlib import Path

import pytest

from einthoven.inverse.registry import METHODS, RULES

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "einthoven"


def public_modules() -> list[str]:
    names = []
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        private = any(p.startswith("_") for p in parts) or parts[0] in ("cli", "core")
        if not private and re.search(r"^(def [a-z]|class [A-Z])", path.read_text(), re.MULTILINE):
            names.append(".".join(("einthoven", *parts)))
    return names


@pytest.mark.parametrize("module", public_modules())
def test_every_public_module_is_in_the_api_pages(module):
    pages = "\n".join(page.read_text() for page in (ROOT / "docs" / "api").glob("*.md"))
    assert re.search(rf"^::: {re.escape(module)}$", pages, re.MULTILINE), f"add '::: {module}' to docs/api"


def test_every_page_is_in_the_navigation():
    nav = (ROOT / "mkdocs.yml").read_text()
    for page in (ROOT / "docs").rglob("*.md"):
        assert page.relative_to(ROOT / "docs").as_posix() in nav


def test_methods_and_rules_are_explained():
    text = (ROOT / "docs" / "concepts" / "inverse.md").read_text()
    for name in (*METHODS, *RULES):
        assert f"`{name}`" in text


def test_commands_are_in_the_readme():
    from einthoven.cli.main import app

    readme = (ROOT / "README.md").read_text()
    commands = [c.callback.__name__ for c in app.registered_commands] + [g.name for g in app.registered_groups]
    assert len(commands) >= 6
    for name in commands:
        assert f"`einthoven {name}" in readme


def test_every_dependency_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = list(project["project"]["dependencies"])
    for group in (*project["project"]["optional-dependencies"].values(), *project["dependency-groups"].values()):
        wanted += group
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().split()}
    for requirement in wanted:
        name = re.split(r"[\[><=]", requirement)[0].lower().replace("_", "-")
        if requirement not in project["project"]["optional-dependencies"]["cuda"]:
            assert name in pinned, f"{name} is not in constraints.txt"
