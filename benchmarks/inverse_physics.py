"""Imaging with cell physics beside the classical yardsticks: the study ``inverse-core``.

The same as ``einthoven bench inverse inverse-core``: it takes up to two hours, cells are stored as they finish, and an
interrupted run goes on.

    python benchmarks/inverse_physics.py --out out/bench [--smoke]
"""

import argparse
from pathlib import Path

from einthoven.cli import console
from einthoven.report.bench_page import write_bench_page
from einthoven.studies.bench_inverse import INVERSE, load_bench
from einthoven.studies.bench_output import write_bench


def main(out: Path, smoke: bool) -> dict:
    """Compute what is missing, and write tables and page."""
    study = load_bench("inverse-smoke" if smoke else "inverse-core")
    with console.progress(quiet=False) as advance:
        result = write_bench(INVERSE, study, out / "inverse_physics", page=write_bench_page, progress=advance)
    return {"table": result.table, **result.provenance}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    main(options.out, options.smoke)
