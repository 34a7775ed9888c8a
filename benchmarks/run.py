"""Run every benchmark of this folder: tables of speed and accuracy under ``--out``.

Each benchmark is a module with ``main(out, smoke) -> dict``. Timings are worth something on an idle machine only.

``--verification`` runs those behind the pages on verification and then compares, number by number, what they print
with what the pages say (`_docs.py`); ``--compare`` only compares, with what is under ``--out``.
"""

import argparse
import importlib.util
import sys
from pathlib import Path

from einthoven.cli import console
from einthoven.studies.provenance import machine

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"

#: Behind the pages on verification: deterministic, no timings.
VERIFICATION = ("forward_accuracy", "inverse_table", "simulate_verification", "niederer", "eikonal_accuracy")
PAGES = ("verification.md", "verification-simulation.md", "verification-eikonal.md")


def load(path: Path):
    """Import a benchmark from its file."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def main() -> int:
    """Run the benchmarks, all or those named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="benchmarks to run; default: all")
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    parser.add_argument("--smoke", action="store_true", help="seconds instead of minutes; the figures mean nothing")
    parser.add_argument("--verification", action="store_true", help="run what the verification pages need; compare")
    parser.add_argument("--compare", action="store_true", help="run nothing; compare the pages with what is there")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    facts = machine()
    console.say(f"machine: {facts['processor']}, {facts['cores']} cores, {facts['system']}; float64 unless said")
    found = sorted(p for p in HERE.glob("*.py") if p.stem != "run" and not p.stem.startswith("_"))
    wanted = options.names or (VERIFICATION if options.verification else [p.stem for p in found])
    for path in () if options.compare else found:
        if path.stem in wanted:
            console.say(f"\n== {path.stem}")
            load(path).main(options.out, options.smoke)
    console.say(f"\ntables: {options.out}")
    return compared(options.out) if options.verification or options.compare else 0


def compared(out: Path) -> int:
    """Print the pages beside the tables under `out` and write ``verification_report.txt``; 1 if a number differs."""
    text, wrong = load(HERE / "_docs.py").report(DOCS, out, PAGES)
    (out / "verification_report.txt").write_text(text, encoding="utf-8")
    console.say(f"\n{text}\n{wrong} numbers or rows of the pages differ; {out / 'verification_report.txt'}")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
