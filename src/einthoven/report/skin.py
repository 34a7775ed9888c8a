"""Body-surface maps from electrodes: weights that interpolate over the skin."""

import numpy as np
from jaxtyping import Float

from einthoven.core import Electrodes, Surface

#: How much more an electrode counts than the smoothness of the map.
_FIDELITY = 1e6


def map_weights(skin: Surface, electrodes: Electrodes) -> Float[np.ndarray, "n_points n_electrodes"]:
    """Return W such that W v is the smoothest map on the skin through the electrode potentials v.

    Minimizes |M^-1/2 K phi|^2 + w |E phi - v|^2 with the cotangent stiffness K, the lumped mass M, the
    electrodes' barycentric interpolation E and a large w. Every row sums to 1.

    Parameters
    ----------
    skin
        Body surface, (n_points, 3) mm.
    electrodes
        At or near the skin, (n_electrodes, 3) mm.

    Returns
    -------
    Float[np.ndarray, "n_points n_electrodes"]
        Dimensionless weights.

    Source: Oostendorp, van Oosterom and Huiskamp 1989, doi:10.1016/0021-9991(89)90103-4.
    """
    from scipy.sparse import coo_matrix, diags
    from scipy.sparse.linalg import splu

    from einthoven.geometry.locate import closest_points
    from einthoven.geometry.operators import mass, stiffness

    place = closest_points(skin, electrodes.positions)
    rows = np.repeat(np.arange(len(electrodes)), 3)
    columns = skin.triangles[place.triangle].reshape(-1)
    shape = (len(electrodes), skin.n_points)
    at_electrodes = coo_matrix((place.barycentric.reshape(-1), (rows, columns)), shape=shape).tocsr()
    laplacian = stiffness(skin)
    smoothness = laplacian.T @ diags(1 / mass(skin).diagonal()) @ laplacian
    smoothness = smoothness / smoothness.diagonal().mean()
    system = (smoothness + _FIDELITY * at_electrodes.T @ at_electrodes).tocsc()
    weights = splu(system).solve((_FIDELITY * at_electrodes.T).toarray())
    return weights / weights.sum(axis=1, keepdims=True)
