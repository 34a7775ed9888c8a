"""Trains one surrogate of each kind for one epoch, and an ensemble of the cell-physics network; prints numbers as JSON.

Run by `test_surrogate_devices.py` in processes with one and with four devices.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np

from einthoven.core.devices import over_devices
from einthoven.inverse.physics.eand_arn import SeparableArn
from einthoven.inverse.physics.fields import CellPhysics
from einthoven.inverse.physics.network import Blocks
from einthoven.inverse.physics.spread import ensemble
from einthoven.inverse.physics.training import Schedule
from einthoven.surrogate.configuration import load_configuration
from einthoven.surrogate.models import Origin, train_surrogate
from physics_cases import SIGMA, wave
from surrogate_cases import recipe, sheet


def main() -> None:
    origin = Origin(recipe().membrane, recipe().spacing, recipe().size)
    sheets = [sheet("fibrotic", k) for k in range(5)]
    found = {"devices": jax.local_device_count()}
    for name in ("lead-field-net-2mm", "seq2seq", "neural-eikonal"):
        c = load_configuration(name)
        c = c.model_copy(update={"epochs": 1, "batch": 4})
        _, trained = train_surrogate(c, origin, sheets[:4], sheets[4:], seed=1)
        found[name] = [[row["loss"], row["score"]] for row in trained.history]
    w, cells = wave(), CellPhysics(sigma=SIGMA, extracellular=True, diffusivity=4.0)
    solver = SeparableArn(cells, Schedule(8, 0.01), width=16, blocks=Blocks(1), n_modes=60, n_frequencies=8, seed=3)
    image, spread = ensemble(solver, w.operator, w.recording, members=4)
    found["ensemble"] = [float(np.linalg.norm(image.u)), float(spread.potential.values.mean())]
    halves = over_devices({"a": jnp.arange(8.0), "b": jnp.ones((8, 3))})
    found["pieces"] = [len({s.device for s in x.addressable_shards if s.data.shape[0] == 2}) for x in halves.values()]
    odd = over_devices(jnp.arange(7.0))
    found["odd"] = [s.data.shape[0] for s in odd.addressable_shards]
    print(json.dumps(found))


main()
