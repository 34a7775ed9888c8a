"""Read a MATLAB file in the style of SCIRun and EDGAR, and write VTK for ParaView.

EDGAR's files hold `node` and `face` (or `pts` and `fac`), counted from 1, and `potvals`: einthoven finds out what is
what, in MATLAB 4 to 7.3. Here such a file is made first, with a heart and its potentials; then it is read, checked,
and written with activation times at the nodes.
"""

from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
from matplotlib.figure import Figure
from scipy.io import savemat

from einthoven.core import Recording
from einthoven.geometry.generators import ellipsoid
from einthoven.io import read, write
from einthoven.io.registry import to_content
from einthoven.report.figures import activation_map
from einthoven.signals import activation_times


def downloaded(folder):
    """A file as one gets it: a struct with a mesh, 3 x N, counted from 1, and a struct with potentials in mV."""
    heart, times = ellipsoid((35.0, 35.0, 50.0)), np.arange(0.0, 120.0)
    first = heart.points[(heart.points @ [0.6, 1.0, 0.6]).argmin()]
    arrival = np.linalg.norm(heart.points - first, axis=1) / 0.9 + 10.0
    potentials = -20.0 * np.tanh((times - arrival[:, None]) / 4.0)
    savemat(
        folder / "heart.mat",
        {
            "geom": {"node": heart.points.T, "face": heart.triangles.T + 1.0},
            "ts": {"potvals": potentials, "unit": "mV", "samplerate": 1000.0},
        },
    )
    return folder / "heart.mat"


def example():
    """What was found in the file, and what is left of it after a journey through VTK."""
    path = downloaded(Path(mkdtemp()))
    content = read(path)
    heart, potentials = content.surfaces[0], content.arrays["potvals"]
    recording = Recording(potentials, np.arange(potentials.shape[1], dtype=float), heart.node_names, "hsp")
    times = activation_times(recording)
    write(replace(to_content(heart), arrays={"activation_ms": times}), path.with_suffix(".vtp"))
    again = read(path.with_suffix(".vtp"))
    figure = Figure(figsize=(4.4, 3.6), layout="constrained")
    activation_map(again.surfaces[0], again.arrays["activation_ms"], step=10.0, axes=figure.subplots())
    numbers = {
        "nodes": float(heart.n_points),
        "triangles": float(len(heart.triangles)),
        "frames": float(potentials.shape[1]),
        "last_activation_ms": float(times.max()),
        "difference_after_vtk_mm": float(np.abs(again.surfaces[0].points - heart.points).max()),
    }
    return numbers, figure


if __name__ == "__main__":
    from _show import show

    show(__file__, *example())
