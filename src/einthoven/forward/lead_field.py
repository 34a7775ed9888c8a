r"""The ECG of tissue in an infinite medium: linear in the transmembrane potential.

A volume of tissue in an unbounded medium of conductivity sigma_b makes, far from it or near,

    phi(r) = 1 / (4 pi sigma_b) integral of div(sigma_i grad v) / |r - r'| dV

(no current of sigma_i grad v crosses the tissue's border). The discrete potential uses the tissue's own operator A,
the one that spreads the wave (dv/dt = A v, so that div(sigma_i grad v) = s A v with s = sigma_i / D), and the volumes
V_k of the cells: phi = sum_k L_k v_k, with the *lead field*

    L = s / (4 pi sigma_b) A^T (V / |r - r_k|).

V_k A_kl is symmetric, so this equals s V_k / (4 pi sigma_b) sum_l A_kl (1/r_l - 1/r_k): the flux that a unit current
at the electrode would drive through the faces of the cell (reciprocity). Masks, anisotropy, heterogeneity and surfaces
enter through A alone. One dot product per frame and electrode.

Tissue in a torso: see `einthoven.forward.sampling`.
"""

import numpy as np

from einthoven.core import Electrodes, ForwardOperator, InputError, Quantity
from einthoven.core.errors import some
from einthoven.tissue import Grid, Tissue

#: sigma_i / D, mS/mm per mm2/ms: chi c_m (1 + sigma_i / sigma_e), with 140/mm, 0.01 uF/mm2 and sigma_i / sigma_e =
#: 0.17 / 0.62 along the fibers, the values of Niederer et al. 2011 (doi:10.1098/rsta.2011.0139). D = 0.0953 mm2/ms then
#: gives back sigma_i = 0.17 mS/mm. (Across the fibers they have 0.019 / 0.24, so 15 % less.)
INTRACELLULAR_PER_DIFFUSIVITY = 140.0 * 0.01 * (1.0 + 0.17 / 0.62)

#: Conductivity of the medium, mS/mm: the torso of body-surface mapping.
BATH_CONDUCTIVITY = 0.2


def lead_field(
    tissue: Tissue,
    electrodes: Electrodes,
    *,
    intracellular_per_diffusivity: float = INTRACELLULAR_PER_DIFFUSIVITY,
    bath_conductivity: float = BATH_CONDUCTIVITY,
    out_quantity: Quantity = "egm",
) -> ForwardOperator:
    """Return the operator from the tissue's transmembrane potentials to electrodes in an infinite medium.

    Parameters
    ----------
    tissue
        On a grid or on a surface; the `thickness` of a sheet or surface enters its volumes, so that the result is in
        millivolts in any dimension and does not depend on the mesh.
    electrodes
        Anywhere but within half a cell of a conducting node.
    intracellular_per_diffusivity
        sigma_i / D, mS/mm per mm2/ms. Where D was chosen for a conduction velocity on a coarse mesh it says little
        about the conductivity: choose this number so that sigma_i is the one meant.
    bath_conductivity
        sigma_b, mS/mm.
    out_quantity
        ``"egm"`` near the tissue, ``"bsp"`` for electrodes that stand for the body surface.

    Returns
    -------
    ForwardOperator
        vm -> egm, shape (n_electrodes, n_nodes), reference ``"absolute"`` (zero far away). Columns are named as by
        `node_names`; every row sums to zero.

    Raises
    ------
    InputError
        If an electrode is too near to a node, or a conductivity is not positive.

    Notes
    -----
    A million nodes and 12 electrodes take a few seconds and 8 bytes per node and electrode.
    """
    for name, value in (
        ("intracellular_per_diffusivity", intracellular_per_diffusivity),
        ("bath_conductivity", bath_conductivity),
    ):
        if not 0 < value < 1e4:
            raise InputError(f"{name} must be positive; got {value:g}. Conductivities are in mS/mm (= S/m).")
    _check_apart(tissue, electrodes)
    adjoint = tissue.coupling.matrix().T
    matrix = np.empty((len(electrodes), tissue.n_nodes))
    for row, position in zip(matrix, electrodes.positions, strict=True):
        row[:] = adjoint @ (tissue.volumes / np.linalg.norm(tissue.points - position, axis=1))
    matrix *= intracellular_per_diffusivity / (4 * np.pi * bath_conductivity)
    matrix.flags.writeable = False  # spares the operator a copy
    return ForwardOperator(
        matrix,
        node_names(tissue),
        electrodes.names,
        "vm",
        out_quantity,
        electrodes=electrodes,
        lead_matrix=np.eye(len(electrodes)),
    )


def node_names(tissue: Tissue) -> tuple[str, ...]:
    """Names of a tissue's nodes as sites: ``"node:17"``, the index among all points of its domain."""
    return tuple(f"node:{i}" for i in tissue.nodes.tolist())


def _check_apart(tissue: Tissue, electrodes: Electrodes) -> None:
    """Refuse electrodes at which the potential of a single cell would be anything."""
    from scipy.spatial import KDTree

    distance, nearest = KDTree(tissue.points).query(electrodes.positions)
    half = 0.5 * _sizes(tissue)[nearest]
    near = np.flatnonzero(distance < half)
    if near.size:
        k = near[0]
        raise InputError(
            f"electrode {some(electrodes.names[i] for i in near)}: is {distance[k]:.3g} mm from a conducting node, "
            f"less than half its size ({half[k]:.3g} mm), where the discrete potential has no meaning. Move it off "
            "the tissue, between nodes, or refine the mesh."
        )


def _sizes(tissue: Tissue) -> np.ndarray:
    """Edge length of each node's cell, mm."""
    if isinstance(tissue.domain, Grid):
        return np.full(tissue.n_nodes, tissue.domain.spacing)
    return np.sqrt(tissue.volumes / tissue.thickness)
