"""Image a case of your own from PLY and CSV files.

A case is a folder with your files and a `case.toml` that says what the files do not say: units, conductivities, what
zero means. The files here are made up, so that the script runs anywhere: a wave on an egg-shaped heart in an oval
torso.
"""

from pathlib import Path
from tempfile import mkdtemp

import numpy as np
from matplotlib.figure import Figure

from einthoven.core import Electrodes, LeadSystem, Recording, Region, VolumeConductor
from einthoven.forward import bem
from einthoven.geometry.generators import ellipsoid
from einthoven.inverse import LCurve, Tikhonov
from einthoven.io import write
from einthoven.io.cases import read_case
from einthoven.metrics import score
from einthoven.report.figures import surface_map

TIMES = np.arange(0.0, 80.0, 4.0)
CASE = """
surfaces.torso = { file = "torso.ply", conductivity = 0.2 }
hearts.heart = { file = "heart.ply", quantity = "hsp" }
electrodes.file = "electrodes.csv"
recording = { file = "recording.csv", unit = "mV", reference = "average", average = true }
"""


def wave(heart):
    """A front that rises from the apex, mV."""
    ahead = heart.points[:, 2:] - heart.points[:, 2].min() - 1.2 * TIMES
    values = 8.0 * np.tanh(ahead / 12.0) * np.exp(-((ahead / 60.0) ** 2))
    return Recording(values, TIMES, heart.node_names, "hsp")


def write_files(folder):
    """What you have: two surfaces, electrodes, a recording; and the truth at the nodes, which you have not."""
    torso = ellipsoid((170.0, 110.0, 240.0), name="torso")
    fine, heart = (ellipsoid((40.0, 40.0, 55.0), subdivisions=n, name="heart") for n in (3, 2))
    electrodes = Electrodes(tuple(f"E{k}" for k in range(64)), torso.points[:640:10])
    seen = bem.transfer(fine, VolumeConductor(Region(torso, 0.2)), electrodes).record(wave(fine))
    noise = 0.01 * seen.values.std() * np.random.default_rng(1).standard_normal(seen.values.shape)
    things = {"torso.ply": torso, "heart.ply": heart, "electrodes.csv": electrodes}
    for name, thing in (things | {"recording.csv": seen.with_values(seen.values + noise)}).items():
        write(thing, folder / name)
    (folder / "case.toml").write_text(CASE)
    return wave(heart)


def example():
    """Scores, and one frame of truth and image."""
    truth = write_files(folder := Path(mkdtemp()))
    case = read_case(folder)
    operator = bem.transfer(case.source().surface, case.conductor, case.electrodes)
    operator = LeadSystem.average(case.recording.sites).operator() @ operator
    image = Tikhonov(order=2, rule=LCurve()).reconstruct(operator, case.recording)
    found = score(image.estimate, truth)
    figure = Figure(figsize=(8.0, 3.4), layout="constrained")
    for axes, (name, shown) in zip(
        figure.subplots(1, 2), {"truth": truth, "image": image.estimate}.items(), strict=True
    ):
        values = shown.values[:, 10] - shown.values[:, 10].mean()
        surface_map(operator.source, values, limits=(-9.0, 9.0), axes=axes)
        axes.set_title(f"{name}, 40 ms", fontsize=10)
    return {k: found[k] for k in ("relative_error", "correlation")}, figure


if __name__ == "__main__":
    from _show import show

    show(__file__, *example())
