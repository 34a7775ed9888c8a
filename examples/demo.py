"""Simulate a beat of the phantom and image it; image the measured Utah beat wherever its data can be had."""

import argparse
import sys
from pathlib import Path

from einthoven.cli import console
from einthoven.cli.image import COLUMNS, summary
from einthoven.core import InputError
from einthoven.report.page import write_page
from einthoven.studies.imaging import image_case
from einthoven.studies.output import write_imaging
from einthoven.studies.ready import open_case
from einthoven.studies.settings import ImagingSettings

METHODS = ("tikhonov0", "tikhonov1", "tikhonov2", "tsvd", "greensite", "stre", "tv", "mfs")


def run_case(name: str, out: Path, methods: tuple[str, ...]) -> None:
    """Image one case by all methods, print the comparison, say where the page is."""
    settings = ImagingSettings(methods=methods, rule="lcurve")
    with console.progress(quiet=False) as advance:
        result = image_case(open_case(name, keep=False, progress=advance), settings, progress=advance)
        files = write_imaging(result, out / name, page=write_page, progress=advance)
    rows = [picture.metrics for picture in result.images]
    console.table(rows, COLUMNS, title=f"\n{name}: {result.recording!r}")
    console.say(summary(rows))
    console.say(f"page: {files['report.html']}")


def main() -> int:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/demo"))
    parser.add_argument("--smoke", action="store_true", help="two methods only")
    options = parser.parse_args()
    methods = METHODS[:1] + METHODS[2:3] if options.smoke else METHODS
    run_case("phantom", options.out, methods)
    try:
        run_case("utah-cage-tank", options.out, methods)
    except InputError as missing:
        console.say(f"\nutah-cage-tank was not imaged: {missing}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
