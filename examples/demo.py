"""Image a simulated wave with cell physics, a simulated beat, and the measured Utah beat if its data can be had."""

import argparse
import sys
from pathlib import Path

from einthoven.cli import console
from einthoven.cli.image import show
from einthoven.core import InputError
from einthoven.report.page import write_page
from einthoven.studies.imaging import image_case
from einthoven.studies.output import write_imaging
from einthoven.studies.ready import open_case
from einthoven.studies.settings import ImagingSettings

METHODS = ("tikhonov0", "tikhonov1", "tikhonov2", "tsvd", "greensite", "stre", "tv", "mfs")

#: A short training of the predecessor, which is slow.
SHORT = Path(__file__).with_name("p-dl-short.toml")

#: The papers' model; its noise is known, and the gate is left open to show every image as it is.
PHYSICS = ImagingSettings(
    methods=("stre", "eand-arn-separable", str(SHORT)),
    rule="discrepancy",
    sigma_mv=1.0,
    extracellular=True,
    gate=False,
)


def run_case(name: str, out: Path, settings: ImagingSettings) -> None:
    """Image one case by all methods, print the comparison, say where the page is."""
    with console.progress(quiet=False) as advance:
        result = image_case(open_case(name, keep=False, progress=advance), settings, case_name=name, progress=advance)
        files = write_imaging(result, out / name, page=write_page, progress=advance)
    show(result, title=f"\n{name}: {result.recording!r}")
    console.say(f"page: {files['report.html']}")


def main() -> int:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/demo"))
    parser.add_argument("--smoke", action="store_true", help="two classical methods only")
    options = parser.parse_args()
    classical = ImagingSettings(methods=METHODS[:1] + METHODS[2:3] if options.smoke else METHODS, rule="lcurve")
    if not options.smoke:
        run_case("phantom-surface", options.out, PHYSICS)
        console.say(
            "This is the model of physics-informed imaging papers: excitation of cells on the heart surface taken for "
            "the extracellular potential. Measured potentials are not like this."
        )
    run_case("phantom", options.out, classical)
    try:
        run_case("utah-cage-tank", options.out, classical)
    except InputError as missing:
        console.say(f"\nutah-cage-tank was not imaged: {missing}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
