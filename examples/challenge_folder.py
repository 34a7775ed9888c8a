"""Write data in the shape of the 2026 ECGI Data Challenge, image them with three baselines, and score those.

Without ``--case`` the beats are simulated: waves from three sites of an egg-shaped heart in an ellipsoidal torso, the
leads computed on finer meshes than those the images are made on, with 1 % noise. With ``--case NAME`` the one beat is
that of a case with measured heart potentials (``utah-cage-tank``); its site is the node activated first in them.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from einthoven import Case, Region, Surface, VolumeConductor
from einthoven.cli import console
from einthoven.core import Electrodes
from einthoven.forward import bem
from einthoven.geometry.generators import ellipsoid
from einthoven.io import Content, write
from einthoven.io.cases import read_case_beats
from einthoven.io.challenge import write_beats
from einthoven.metrics import CHALLENGE_DATASETS, ChallengeBeat, earliest_node
from einthoven.report.page import write_page
from einthoven.studies.challenge import image_beats, score_submission, write_images, write_score
from einthoven.studies.imaging import activation_map, image_case
from einthoven.studies.output import write_imaging
from einthoven.studies.ready import open_case
from einthoven.studies.settings import ImagingSettings

CASE_TOML = """\
name = "P001"
length_unit = "mm"

[surfaces.torso]
file = "Geometries/P001_torso.mat"
conductivity = 0.2                 # S/m; cancels where nothing but the torso is known

[hearts.heart]
file = "Geometries/P001_EndoEpi.mat"
quantity = "hsp"

[electrodes]
file = "Geometries/P001_electrodes.mat"
part = "electrodes"

[recording]
file = "Beats/*-ts.mat"            # one file per beat; what the * stands for is the beat's name
array = "potvals"
unit = "mV"
rate_hz = {rate_hz:g}
reference = "average"

[info]
origin = "{origin}"
"""

#: What is scored: name, method, where the site comes from.
BASELINES = (
    ("space", "tikhonov2", "activation"),
    ("space-time", "greensite", "activation"),
    ("wave", "greensite", "wave"),
)

#: Where the simulated beats begin, as directions from the center of the heart.
DIRECTIONS = {"Run0001-b1": (0.2, -0.6, -0.77), "Run0001-b2": (0.9, 0.1, 0.42), "Run0002-b1": (-0.8, 0.5, 0.33)}


def front(points: np.ndarray, site: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Extracellular potential (mV) of a front from a site, 1 mm/ms: positive ahead of it, negative behind."""
    ahead = np.linalg.norm(points - site, axis=1)[:, None] - 1.0 * (times - 20.0)
    return 8.0 * np.tanh(ahead / 10.0) * np.exp(-((ahead / 60.0) ** 2)) * (1 / (1 + np.exp((20.0 - times) / 2)))


def surfaces(subdivisions: int) -> tuple[Surface, Surface]:
    """Torso and heart at a resolution."""
    torso = ellipsoid((170.0, 110.0, 240.0), subdivisions=subdivisions, name="torso")
    heart = ellipsoid((40.0, 40.0, 55.0), subdivisions=subdivisions, center=(25.0, -30.0, 20.0), name="heart")
    return torso, heart


def write_folder(folder: Path, skin: Surface, heart: Surface, electrodes: Electrodes, toml: str) -> None:
    """Write geometry and ``case.toml``."""
    (folder / "Geometries").mkdir(parents=True, exist_ok=True)
    (folder / "Beats").mkdir(exist_ok=True)
    write(skin, folder / "Geometries" / "P001_torso.mat")
    write(heart, folder / "Geometries" / "P001_EndoEpi.mat")
    places = Content(folder, "matlab", points={"electrodes": electrodes.positions})
    write(places, folder / "Geometries" / "P001_electrodes.mat")
    (folder / "case.toml").write_text(toml, encoding="utf-8")


def write_recording(folder: Path, name: str, leads: np.ndarray) -> None:
    """Write the body-surface potentials of a beat, as the challenge names its struct."""
    from scipy.io import savemat

    savemat(folder / "Beats" / f"{name}-ts.mat", {"ts": {"potvals": leads, "filename": name}}, do_compression=True)


def write_simulated(folder: Path, truth: Path, *, subdivisions: int = 3, seed: int = 1) -> None:
    """Write three simulated beats and their truth."""
    skin, heart = surfaces(subdivisions)
    fine_skin, fine_heart = surfaces(subdivisions + 1)
    chosen = np.arange(0, skin.n_points, max(1, skin.n_points // 120))
    electrodes = Electrodes(tuple(f"E{i + 1}" for i in range(len(chosen))), skin.points[chosen])
    origin = "simulated by examples/challenge_folder.py"
    write_folder(folder, skin, heart, electrodes, CASE_TOML.format(rate_hz=500, origin=origin))
    operator = bem.transfer(fine_heart, VolumeConductor(Region(fine_skin, 0.2)), electrodes)
    random, times, beats = np.random.default_rng(seed), np.arange(0.0, 150.0, 2.0), {}
    for name, direction in DIRECTIONS.items():
        site = heart.points[int(((heart.points - heart.points.mean(axis=0)) @ np.array(direction)).argmax())]
        leads = operator.apply(front(fine_heart.points, site, times))
        leads += 0.01 * leads.std() * random.normal(size=leads.shape)
        write_recording(folder, name, leads - leads.mean(axis=0))
        beats[name] = ChallengeBeat(front(heart.points, site, times), site)
    truth.mkdir(parents=True, exist_ok=True)
    write_beats(beats, truth)


def write_measured(folder: Path, truth: Path, case: Case) -> None:
    """Write the beat of a case that has heart potentials at all nodes; its site is that activated first."""
    source, recording = case.source("hsp"), case.recording
    assert recording is not None
    assert source.truth is not None
    toml = CASE_TOML.format(rate_hz=1000.0 / recording.dt, origin=case.name)
    electrodes = Electrodes(
        recording.sites, np.array([case.electrodes.positions[case.electrodes.names.index(s)] for s in recording.sites])
    )
    write_folder(folder, case.conductor.skin, source.surface, electrodes, toml)
    write_recording(folder, case.name, recording.values)
    measured = source.truth.select(source.surface.node_names)
    first = earliest_node(activation_map(measured, recording, source.surface))
    truth.mkdir(parents=True, exist_ok=True)
    write_beats({case.name: ChallengeBeat(np.array(measured.values), source.surface.points[first])}, truth)


def main() -> int:
    """Write the folder, image it with every baseline, print the parts of the score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/challenge"))
    parser.add_argument("--case", help="a case with heart potentials, in place of simulated beats")
    parser.add_argument("--dataset", choices=tuple(CHALLENGE_DATASETS), default="utah", help="whose weights")
    parser.add_argument("--smoke", action="store_true", help="coarse meshes, no fitted wave")
    options = parser.parse_args()
    folder, truth = options.out / "data", options.out / "truth"
    if options.case:
        write_measured(folder, truth, open_case(options.case))
    else:
        write_simulated(folder, truth, subdivisions=2 if options.smoke else 3)
    rows = []
    for name, method, site in BASELINES:
        if options.smoke and site == "wave":
            continue
        settings = ImagingSettings(methods=(method,), quantity="hsp")
        write_images(image_beats([folder], settings, site=site), options.out / name)
        scored = score_submission(options.out / name, truth, dataset=options.dataset)
        write_score(scored, options.out / f"{name}-score")
        rows.append({"baseline": name, "method": method, "site": site, **scored.summary()})
    console.table(rows, {key: key for key in rows[0]})
    name, case = next(iter(read_case_beats(folder).items()))
    result = image_case(case, ImagingSettings(methods=tuple(dict.fromkeys(m for _, m, _ in BASELINES))))
    files = write_imaging(result, options.out / "first-beat", page=write_page)
    console.say(f"data: {folder}\npage of beat {name}: {files['report.html']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
