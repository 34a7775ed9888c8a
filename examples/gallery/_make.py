"""Make the gallery's page, its pictures and the notebooks from the scripts of this folder.

python examples/gallery/_make.py             # all: runs every script, some minutes
python examples/gallery/_make.py NAME ...    # pictures and numbers of these only
python examples/gallery/_make.py --text      # page and notebooks alone, which runs nothing

Pictures and numbers are kept in ``docs/gallery`` (`numbers.json`: what came out, and what the tests compare with).
"""

import argparse
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DOCS = ROOT / "docs"
NUMBERS = DOCS / "gallery" / "numbers.json"
NOTEBOOKS = HERE.parent / "notebooks"

#: What the page shows, in this order.
SECTIONS = {
    "Imaging": (
        "image_my_case",
        "compare_methods_under_noise",
        "choose_a_weight",
        "electrode_layouts",
        "transmembrane_foci",
    ),
    "Waves and cells": ("spiral_wave", "restitution_curve", "velocity_and_diffusivity"),
    "The ECG": ("twelve_lead_ecg", "picture_to_ecg", "fibrosis_sweep"),
    "Files and signals": ("scirun_to_vtk", "average_beats"),
    "Checking and extending": ("exact_spheres", "add_a_membrane_model", "add_an_inverse_method"),
}

#: Scripts that are notebooks too.
AS_NOTEBOOKS = ("image_my_case", "spiral_wave", "picture_to_ecg")

HEAD = """\
# Gallery

<!-- made by `python examples/gallery/_make.py`: change the scripts, not this page -->

Short scripts, one idea each, in `examples/gallery`: they need no file, run in seconds to a minute, write one picture
and print its numbers, for example `python examples/gallery/spiral_wave.py`. Tests run them and compare. The numbers
here are what they printed (AMD EPYC, two cores). Three are notebooks, too ({notebooks}, in
`examples/notebooks`; they need Jupyter, which einthoven does not install).

"""

LONGER = """\
## Longer examples

In `examples`, with a page each and `--smoke` for a quick look:

"""


def names() -> list[str]:
    """All scripts, in the order of the page."""
    return [name for section in SECTIONS.values() for name in section]


def loaded(name: str) -> Any:
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    if spec is None or spec.loader is None:
        raise ImportError(f"{name} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def parts(path: Path) -> tuple[str, str, str]:
    """Title, text and code of a script."""
    source = path.read_text(encoding="utf-8")
    _, docstring, code = source.split('"""', 2)
    title, _, text = docstring.partition("\n")
    return title.rstrip("."), text.strip(), code.strip()


def numbers_line(name: str, numbers: dict[str, dict[str, float]]) -> str:
    """What came out, on one line."""
    shown = (f"{key.replace('_', ' ')} {value:.4g}" for key, value in numbers.get(name, {}).items())
    return "; ".join(shown)


def page(numbers: dict[str, dict[str, float]]) -> str:
    """The page."""
    text = [HEAD.format(notebooks=", ".join(f"`{name}`" for name in AS_NOTEBOOKS))]
    for section, scripts in SECTIONS.items():
        text.append(f"## {section}\n\n")
        for name in scripts:
            title, words, code = parts(HERE / f"{name}.py")
            inside = "\n".join(f"    {line}".rstrip() for line in f"```python\n{code}\n```".splitlines())
            text += [f"### {title}\n\n{words}\n\n![{title}](gallery/{name}.png)\n\n"]
            text += [f"{numbers_line(name, numbers)}\n\n"]
            text += [f'??? example "`examples/gallery/{name}.py`"\n\n{inside}\n\n']
    text.append(LONGER)
    for path in sorted(HERE.parent.glob("*.py")):
        title, _, _ = parts(path)
        text.append(f"- `examples/{path.name}`: {title[0].lower() + title[1:]}.\n")
    return "".join(text)


def notebook(name: str) -> str:
    """A script as a notebook of version 4, without outputs."""
    title, words, code = parts(HERE / f"{name}.py")
    body = code.partition('\n\nif __name__ == "__main__":')[0].rstrip()
    at = body.index("\n\n\ndef example()")
    cells = [
        ("markdown", f"# {title}\n\n{words}"),
        ("code", f"%matplotlib inline\n{body[:at]}"),
        ("code", body[at:].strip()),
        ("code", "numbers, figure = example()\nnumbers"),
        ("code", "figure"),
    ]
    made = []
    for k, (kind, text) in enumerate(cells):
        cell: dict[str, Any] = {"cell_type": kind, "id": f"cell-{k}", "metadata": {}}
        cell["source"] = text.splitlines(keepends=True)
        made.append(cell | ({"execution_count": None, "outputs": []} if kind == "code" else {}))
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return json.dumps({"cells": made, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"


def run(name: str, numbers: dict[str, dict[str, float]]) -> None:
    """Run a script, keep its picture and its numbers."""
    from _show import save

    found, figure = loaded(name).example()
    save(figure, DOCS / "gallery" / f"{name}.png")
    numbers[name] = {key: float(f"{value:.6g}") for key, value in found.items()}
    print(f"{name}: {numbers_line(name, numbers)}", flush=True)


def main() -> int:
    """Make what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="scripts to run; default: all")
    parser.add_argument("--text", action="store_true", help="run nothing")
    options = parser.parse_args()
    numbers = json.loads(NUMBERS.read_text(encoding="utf-8")) if NUMBERS.is_file() else {}
    for name in () if options.text else options.names or names():
        run(name, numbers)
        kept = {each: numbers[each] for each in names() if each in numbers}
        NUMBERS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    (DOCS / "gallery.md").write_text(page(numbers), encoding="utf-8")
    NOTEBOOKS.mkdir(exist_ok=True)
    for name in AS_NOTEBOOKS:
        (NOTEBOOKS / f"{name}.ipynb").write_text(notebook(name), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
