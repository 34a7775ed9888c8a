"""Check the forward operator against an exact answer: concentric spheres.

The potential of one degree on the inner sphere has a closed form on the outer one. Boundary elements should come
nearer to it with every refinement. Run it after touching anything below `einthoven.forward`.
"""

import numpy as np
from matplotlib.figure import Figure

from einthoven.core import Region, VolumeConductor
from einthoven.forward import bem
from einthoven.geometry.generators import concentric
from einthoven.verify.spheres import concentric_factor, legendre

AXIS = (0.3, 0.5, 0.8)


def error(degree, heart, skin, operator):
    """Relative error on the skin, percent."""
    exact = concentric_factor(degree, 2.0) * legendre(degree, skin.points, AXIS)
    found = operator.apply(legendre(degree, heart.points, AXIS)[:, None])[:, 0]
    return float(100 * np.linalg.norm(found - exact) / np.linalg.norm(exact))


def example():
    """Errors of degrees 1 to 3 on three meshes."""
    errors, nodes = [], []
    for subdivisions in (1, 2, 3):
        heart, skin = concentric((50.0, 100.0), subdivisions=subdivisions)
        operator = bem.transfer(heart, VolumeConductor(Region(skin, 0.2)))
        errors.append([error(degree, heart, skin, operator) for degree in (1, 2, 3)])
        nodes.append(heart.n_points)
    figure = Figure(figsize=(5.0, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.loglog(nodes, errors, "o-", label=["degree 1", "degree 2", "degree 3"])
    axes.loglog(nodes, 100.0 / np.array(nodes), "k:", lw=0.8, label="second order")
    axes.set_xticks(nodes, [str(n) for n in nodes], minor=False)
    axes.set_yticks((0.1, 1.0), ("0.1", "1"))
    axes.minorticks_off()
    axes.set(xlabel="nodes of each sphere", ylabel="error on the outer sphere (%)")
    axes.legend(frameon=False)
    return {f"degree_{k + 1}_error_percent": e for k, e in enumerate(errors[-1])}, figure


if __name__ == "__main__":
    from _show import show

    show(__file__, *example())
