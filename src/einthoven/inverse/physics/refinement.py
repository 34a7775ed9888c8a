"""Diffusivity read off a better map than the classical one.

The classical estimate flattens the map where waves meet or begin, so that the median of 1 / |grad lat|, and with it D,
is too large, most of all with two foci. A short training of free fields with that D gives a map with sharper
fronts, off which D is read again.
"""

from dataclasses import replace

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from einthoven.core.progress import Progress, silent
from einthoven.inverse.physics.fields import Prepared, speed_of
from einthoven.inverse.physics.training import Schedule, train
from einthoven.inverse.physics.waves import diffusivity_on, excitation
from einthoven.inverse.physics.weak import FreeFields
from einthoven.ionic import IonicModel

#: D of the equations over that of the map's speed: differences in time and the smoothing of the fit slow fronts, too.
#: Chosen on positions 1 and 2 of `einthoven.studies.bench_cases` (best between 1.2 and 1.5 times the true D).
FASTER = 1.2

#: The short training.
FIRST = Schedule(steps=400, rate=0.02)


def with_refined_diffusivity(prepared: Prepared, membrane: IonicModel, *, progress: Progress = silent) -> Prepared:
    """Return the same start with D read off the map of a short training.

    Parameters
    ----------
    prepared
        With D of the start.
    membrane
        The cells.
    progress
        Told about the steps.
    """
    trained = train(
        FreeFields(prepared.u, prepared.v), prepared.cost, FIRST, step_name="diffusivity", progress=progress
    )
    cells = excitation(membrane)
    found = prepared.potential(np.asarray(trained.fields()[0], dtype=np.float64))
    diffusivity = FASTER * diffusivity_on(
        prepared.surface, cells, speed_of(found, prepared.scale, cells, prepared.surface)
    )
    cost = eqx.tree_at(
        lambda c: c.diffusivity, prepared.cost, jnp.asarray(diffusivity, prepared.cost.diffusivity.dtype)
    )
    return replace(prepared, diffusivity=diffusivity, cost=cost)
