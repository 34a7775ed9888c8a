"""Write a case folder by hand from PLY and CSV files, as one would for one's own recording, and image it.

The geometry is an ellipsoidal torso around an egg-shaped heart, the beat a wave that runs from the apex upward. The
recording is computed on finer meshes than those the image is made on, with 1 % noise.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from einthoven import Region, Surface, VolumeConductor
from einthoven.cli import console
from einthoven.cli.image import COLUMNS, summary
from einthoven.core import Electrodes
from einthoven.forward import bem
from einthoven.geometry.generators import ellipsoid
from einthoven.io import write
from einthoven.report.page import write_page
from einthoven.studies.imaging import image_case
from einthoven.studies.output import write_imaging
from einthoven.studies.ready import open_case
from einthoven.studies.settings import ImagingSettings

CASE_TOML = """\
name = "handmade"
length_unit = "mm"

[surfaces.torso]
file = "torso.ply"
conductivity = 0.2            # S/m

[hearts.heart]
file = "heart_nodes.csv"      # x, y, z
triangles = "heart_faces.csv" # three node numbers a row, counted from 1
first_index = 1
quantity = "hsp"              # extracellular potentials

[hearts.heart.truth]          # optional: measured heart potentials, to score the image
file = "heart_potentials.csv"
unit = "mV"
rate_hz = 500

[electrodes]
file = "electrodes.csv"       # name, x, y, z
unit = "cm"

[recording]
file = "recording.csv"        # one row per electrode
unit = "uV"
rate_hz = 500
reference = "average"

[info]
origin = "simulated by examples/handmade_case.py"
"""


def wave(points: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Extracellular potential (mV) of a front that rises from the apex: positive ahead of it, negative behind."""
    height = points[:, 2] - points[:, 2].min()
    distance = height[:, None] - 1.2 * times  # mm ahead of the front, 1.2 mm/ms
    return 8.0 * np.tanh(distance / 12.0) * np.exp(-((distance / 60.0) ** 2))


def surfaces(subdivisions: int) -> tuple[Surface, Surface]:
    """Torso and heart at a resolution."""
    torso = ellipsoid((170.0, 110.0, 240.0), subdivisions=subdivisions, name="torso")
    heart = ellipsoid((40.0, 40.0, 55.0), subdivisions=subdivisions, center=(25.0, -30.0, 20.0), name="heart")
    return torso, heart


def simulate(electrodes: Electrodes, times: np.ndarray, *, subdivisions: int) -> np.ndarray:
    """Potentials at the electrodes (mV) on meshes finer than those of the case."""
    torso, heart = surfaces(subdivisions)
    operator = bem.transfer(heart, VolumeConductor(Region(torso, 0.2)), electrodes)
    return operator.apply(wave(heart.points, times))


def write_case_folder(folder: Path, *, subdivisions: int = 3, seed: int = 1) -> Path:
    """Write the files of a case and its ``case.toml``; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    torso, heart = surfaces(subdivisions)
    times = np.arange(0.0, 120.0, 2.0)
    chosen = np.arange(0, torso.n_points, torso.n_points // 80)
    electrodes = Electrodes(tuple(f"E{i + 1}" for i in range(len(chosen))), torso.points[chosen])
    values = simulate(electrodes, times, subdivisions=subdivisions + 1)
    values += 0.01 * values.std() * np.random.default_rng(seed).normal(size=values.shape)
    values -= values.mean(axis=0)

    write(torso, folder / "torso.ply")
    np.savetxt(folder / "heart_nodes.csv", heart.points, delimiter=",", header="x,y,z", comments="", fmt="%.6f")
    np.savetxt(folder / "heart_faces.csv", heart.triangles + 1, delimiter=",", fmt="%d")
    np.savetxt(folder / "heart_potentials.csv", wave(heart.points, times), delimiter=",", fmt="%.6f")
    rows = (
        f"{n},{x:.6f},{y:.6f},{z:.6f}" for n, (x, y, z) in zip(electrodes.names, torso.points[chosen] / 10, strict=True)
    )
    (folder / "electrodes.csv").write_text("name,x,y,z\n" + "\n".join(rows) + "\n", encoding="utf-8")
    np.savetxt(folder / "recording.csv", values * 1000, delimiter=",", fmt="%.3f")
    (folder / "case.toml").write_text(CASE_TOML, encoding="utf-8")
    return folder


def main() -> int:
    """Write the case, image it, print the scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/handmade"))
    parser.add_argument("--smoke", action="store_true", help="coarse meshes")
    options = parser.parse_args()
    folder = write_case_folder(options.out / "case", subdivisions=2 if options.smoke else 3)
    result = image_case(
        open_case(str(folder)), ImagingSettings(methods=("tikhonov0", "tikhonov2", "stre"), rule="lcurve")
    )
    files = write_imaging(result, options.out / "image", page=write_page)
    rows = [picture.metrics for picture in result.images]
    console.table(rows, COLUMNS)
    console.say(summary(rows))
    console.say(f"case: {folder / 'case.toml'}\npage: {files['report.html']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
