"""A spiral wave: re-entry by cross-field stimulation, and the point that it turns around.

A plane wave, then a stimulus of one quadrant just behind its tail: the new wave can only turn into what has
recovered. Its core is a phase singularity, found while the simulation runs. The same as a study file: `einthoven
simulate spiral-wave`.
"""

import numpy as np
from matplotlib.figure import Figure

from einthoven.ionic.registry import model
from einthoven.protocol import cross_field
from einthoven.report.figures import slice_map
from einthoven.simulate import Monodomain, Movie, PhaseSingularities, Probes, simulate
from einthoven.tissue import Grid, Tissue


def example():
    """Number of cores at the end, period of the rotation; the last frame with the path of the core."""
    sheet = Tissue.isotropic(Grid((80, 80), 1.0), 0.1)
    keep = [
        Movie(every=10.0),
        PhaseSingularities(every=5.0, delay=10.0, center=-30.0),
        Probes([[70.0, 70.0]], every=1.0),
    ]
    cells = Monodomain(sheet, model("aliev-panfilov-1996"))
    data = simulate(cells, cross_field(sheet, 640.0), 2400.0, dt=0.2, keep=keep).data
    probe = data["probes"].values[0]
    up = data["probes"]["time"].values[1:][(probe[:-1] < -40.0) & (probe[1:] >= -40.0)]
    cores, paths = data["phase_singularities"].values, data["phase_singularity_paths"].values
    longest = cores[paths == np.bincount(paths[paths >= 0]).argmax()]
    figure = Figure(figsize=(9.0, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.0, 1.1))
    slice_map(sheet, data["movie"].values[-1].ravel(), colors="magma", axes=left)
    left.plot(longest[:, 2], longest[:, 3], color="c", lw=0.8)
    left.plot(*longest[-1, 2:4], "co", ms=5)
    right.plot(data["probes"]["time"].values, probe, color="C0")
    right.set(xlabel="time (ms)", ylabel="potential at (70, 70) mm (mV)")
    right.spines[["top", "right"]].set_visible(False)
    numbers = {
        "cores_at_the_end": float(data["phase_singularity_count"].values[-1]),
        "life_of_the_core_ms": float(np.ptp(longest[:, 0])),
        "period_ms": float(np.mean(np.diff(up)[-2:])),
    }
    return numbers, figure


if __name__ == "__main__":
    from _show import show

    show(__file__, *example())
