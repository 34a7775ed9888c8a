"""Several devices of one machine: what a training step holds is laid out over all of them."""

from typing import TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

Tree = TypeVar("Tree")


def over_devices(tree: Tree) -> Tree:
    """Lay arrays out over all local devices along their first axis; compiled functions of them then run on all.

    With one device nothing is done. Where the length of the first axis is no multiple of the number of devices, every
    device gets everything: right, but no faster.

    Parameters
    ----------
    tree
        Arrays in any nesting, all with the same length of their first axis.
    """
    devices = jax.local_devices()
    if len(devices) == 1:
        return tree
    lengths = {np.shape(leaf)[0] for leaf in jax.tree.leaves(tree)}
    if len(lengths) != 1:
        raise ValueError(f"arrays over devices must agree in the length of their first axis; got {sorted(lengths)}")
    axis = "items" if lengths.pop() % len(devices) == 0 else None
    return jax.device_put(tree, NamedSharding(Mesh(np.array(devices), ("items",)), PartitionSpec(axis)))
