"""Simulate a sheet of atrial cells, healthy and with islands of fibrosis, and compare their ECGs."""

import argparse
import sys
from pathlib import Path

import numpy as np

from einthoven.cli import console
from einthoven.cli.simulate import COLUMNS
from einthoven.report.simulation_page import write_simulation_page
from einthoven.studies.simulation import run_study
from einthoven.studies.simulation_config import load_study, validated
from einthoven.studies.simulation_tables import SimulationStudy
from einthoven.studies.store import read_labelled


def sheets(*, smoke: bool) -> dict[str, SimulationStudy]:
    """The ready-made study, and the same without fibrosis; in a smoke test smaller and shorter."""
    values = load_study("fibrotic-sheet").model_dump(mode="json", exclude_unset=True)
    if smoke:
        values["tissue"] |= {"size": [20.0, 20.0], "spacing": 0.5}
        values["time"]["t_end"] = 60.0
        values["keep"]["probes"]["points"] = {"middle": [10.0, 10.0]}
    healthy = values | {"name": "healthy", "tissue": {k: v for k, v in values["tissue"].items() if k != "fibrosis"}}
    return {
        "healthy": validated(healthy, "example"),
        "fibrotic": validated(values | {"name": "fibrotic"}, "example"),
    }


def main() -> int:
    """Run both sheets, print the metrics and how much the ECGs differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/fibrotic_sheet"))
    parser.add_argument("--smoke", action="store_true", help="a small sheet")
    options = parser.parse_args()
    rows, leads = [], {}
    for name, study in sheets(smoke=options.smoke).items():
        with console.progress(quiet=False) as advance:
            result = run_study(study, options.out / name, advance, page=write_simulation_page)
        rows += result.rows
        leads[name] = read_labelled(options.out / name / "results.zarr", "ecg")["ecg"].values
    console.table(rows, {"study": "sheet"} | COLUMNS)
    change = np.linalg.norm(leads["fibrotic"] - leads["healthy"]) / np.linalg.norm(leads["healthy"])
    console.say(f"the fibrotic sheet's ECG differs from the healthy one's by {change:.0%} of its size")
    console.say(f"pages: {options.out}/healthy/report.html, {options.out}/fibrotic/report.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
