"""Electrodes on the skin: linear interpolation from its nodes."""

import numpy as np

from einthoven.core import Electrodes, ForwardOperator, Surface


def interpolation(skin: Surface, electrodes: Electrodes, *, max_distance: float = 10.0) -> ForwardOperator:
    """Return the operator from potentials at the skin's nodes to potentials at electrodes.

    Every electrode takes the linear interpolant at the closest point of the skin.

    Parameters
    ----------
    skin
        The body surface.
    electrodes
        On or near the skin.
    max_distance
        Farthest an electrode may be from the skin, mm.

    Returns
    -------
    ForwardOperator
        bsp -> bsp, shape (n_electrodes, n_skin_nodes); at most three entries per row, nonnegative, summing to 1. It
        carries the electrodes, with an identity as their lead matrix.

    Raises
    ------
    GeometryError
        If an electrode is farther than `max_distance` from the skin; the message names it.
    """
    from einthoven.geometry.checks import check_electrodes
    from einthoven.geometry.locate import closest_points

    check_electrodes(electrodes, skin, max_distance=max_distance)
    closest = closest_points(skin, electrodes.positions)
    matrix = np.zeros((len(electrodes), skin.n_points))
    np.add.at(matrix, (np.arange(len(electrodes))[:, None], skin.triangles[closest.triangle]), closest.barycentric)
    return ForwardOperator(
        matrix,
        skin.node_names,
        electrodes.names,
        "bsp",
        "bsp",
        electrodes=electrodes,
        lead_matrix=np.eye(len(electrodes)),
    )
