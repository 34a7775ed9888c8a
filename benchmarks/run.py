"""Run every benchmark of this folder: tables of speed and accuracy under ``--out``.

Each benchmark is a module with ``main(out, smoke) -> dict``. Timings are worth something on an idle machine only.
"""

import argparse
import importlib.util
import sys
from pathlib import Path

from einthoven.cli import console
from einthoven.studies.provenance import machine

HERE = Path(__file__).parent


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
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    facts = machine()
    console.say(f"machine: {facts['processor']}, {facts['cores']} cores, {facts['system']}; float64 unless said")
    found = sorted(p for p in HERE.glob("*.py") if p.stem != "run" and not p.stem.startswith("_"))
    for path in found:
        if options.names and path.stem not in options.names:
            continue
        console.say(f"\n== {path.stem}")
        load(path).main(options.out, options.smoke)
    console.say(f"\ntables: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
