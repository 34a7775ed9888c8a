"""Conduction velocity against diffusivity: c = sqrt(D / kappa), and what a coarse grid takes away.

On a fine grid four times the diffusivity doubles the velocity. On a grid of 0.5 mm waves are slower, the more so the
smaller D is, since fewer cells carry the front. Measured on strands, beside the table that the eikonal equation uses.
"""

import numpy as np
from matplotlib.figure import Figure

from einthoven.eikonal.conduction import Conduction
from einthoven.ionic.registry import model
from einthoven.simulate.planar import planar_speed

NAME = "fenton-karma-1998-atrial"
DIFFUSIVITIES = (0.05, 0.1, 0.2, 0.4)


def example():
    """Measured velocities at two spacings, and how far the table is off."""
    table, cell = Conduction.of(NAME), model(NAME)
    figure, numbers = Figure(figsize=(6.0, 3.6), layout="constrained"), {}
    axes, many = figure.subplots(), np.geomspace(0.03, 0.6, 60)
    axes.loglog(many, [table.speed(d, 0.0) for d in many], "k:", label="sqrt(D / kappa(0))")
    off = []
    for color, spacing in (("C0", 0.1), ("C3", 0.5)):
        speeds = np.array([planar_speed(cell, d, spacing) for d in DIFFUSIVITIES])
        axes.loglog(DIFFUSIVITIES, speeds, "o", color=color, label=f"strand of {spacing:g} mm")
        axes.loglog(many, [table.speed(d, spacing) for d in many], color=color, lw=1)
        off.append(np.abs(speeds / [table.speed(d, spacing) for d in DIFFUSIVITIES] - 1).max())
        numbers[f"velocity at D 0.1, {spacing:g} mm"] = float(speeds[1])
        numbers[f"velocity at D 0.4 over 0.1, {spacing:g} mm"] = float(speeds[3] / speeds[1])
    axes.set(xlabel="D (mm2/ms)", ylabel="conduction velocity (mm/ms)")
    axes.set_yticks((0.3, 0.5, 1.0), ("0.3", "0.5", "1"))
    axes.set_xticks(DIFFUSIVITIES, [str(d) for d in DIFFUSIVITIES])
    axes.minorticks_off()
    axes.legend(frameon=False)
    return numbers | {"table_off_by": float(max(off))}, figure


if __name__ == "__main__":
    from _show import show

    show(__file__, *example())
