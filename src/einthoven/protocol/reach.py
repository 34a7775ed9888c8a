"""Which cells a protocol can never excite, because no path leads there."""

import warnings
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int

from einthoven.core import InputError
from einthoven.core.errors import some
from einthoven.protocol import regions, stimuli


@runtime_checkable
class Connected(regions.Excitable, Protocol):
    """What is asked of a tissue beside what regions need; `einthoven.tissue.Tissue` has it."""

    def components(self) -> Int[np.ndarray, " n_nodes"]:
        """Which connected part each node belongs to, the largest first."""
        ...


def check_connected(
    tissue: Connected, protocol: stimuli.Protocol, *, refuse: bool = True
) -> Int[np.ndarray, " n_unreached"]:
    """Find the nodes in parts of the tissue that no stimulus touches; they stay at rest forever.

    Parameters
    ----------
    tissue
        Where.
    protocol
        What is to excite it.
    refuse
        Raise if there are such nodes (default); otherwise warn.

    Returns
    -------
    np.ndarray
        Their positions among the nodes; empty when all can be reached.

    Raises
    ------
    InputError
        If there are such nodes and `refuse` is true; and if a stimulus is outside of the tissue.
    """
    part = tissue.components()
    touched = np.zeros(part.max() + 1, dtype=bool)
    for selected in protocol.select(tissue):
        touched[part[selected]] = True
    lost = np.flatnonzero(~touched[part])
    if lost.size and protocol.stimuli:
        sizes = np.bincount(part)[~touched]
        where = ", ".join(f"{x:g}" for x in tissue.points[lost[np.argmin(part[lost])]])
        text = (
            f"tissue: {lost.size} of {tissue.n_nodes} nodes lie in {sizes.size} parts that no stimulus reaches (of "
            f"{some(sizes)} nodes; the largest at ({where}) mm): the mask cuts the tissue. Stimulate each part, "
            "take them out by `tissue.without`, or accept that they stay at rest."
        )
        if refuse:
            raise InputError(text)
        warnings.warn(text, stacklevel=2)
    return lost if protocol.stimuli else lost[:0]
