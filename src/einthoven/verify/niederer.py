"""The slab of Niederer et al. 2011: its definition, and what others computed.

S. A. Niederer et al., Verification of cardiac tissue electrophysiology simulators using an N-version benchmark, Phil.
Trans. R. Soc. A 369:4331-4351, 2011, doi:10.1098/rsta.2011.0139. A slab of human ventricle (TenTusscherPanfilov2006,
epicardial) with fibers along x is stimulated in one corner; a point is activated when its potential first passes 0 mV.

Corners are named by coordinates here, with the usual names P1 to P9 beside them: the paper's figure and the codes built
on it do not agree on which corner is P2, P3, ... Only P1 (stimulus), P8 (opposite corner) and P9 (center) are the same
everywhere.
"""

from collections.abc import Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

#: Sides of the slab along x, y, z, mm.
SIZE = (20.0, 7.0, 3.0)
#: Intra- and extracellular conductivity along and across the fibers, mS/mm.
INTRACELLULAR, EXTRACELLULAR = (0.17, 0.019), (0.62, 0.24)
#: Membrane area per volume, 1/mm.
SURFACE_TO_VOLUME = 140.0
#: uF/mm2.
CAPACITANCE = 0.01
#: Side of the stimulated cube at the corner P1, mm; current, uA/mm3; duration, ms.
STIMULUS_SIDE, STIMULUS_CURRENT, STIMULUS_DURATION = 1.5, 50.0, 2.0
#: Potential at which a point counts as activated, mV.
ACTIVATION_LEVEL = 0.0
#: Spacings (mm) and steps (ms) of the paper.
SPACINGS, STEPS = (0.5, 0.2, 0.1), (0.05, 0.01, 0.005)

#: Where activation is reported, mm.
POINTS = MappingProxyType(
    {
        "P1": (0.0, 0.0, 0.0),
        "P2": (0.0, 7.0, 0.0),
        "P3": (20.0, 0.0, 0.0),
        "P4": (20.0, 7.0, 0.0),
        "P5": (0.0, 0.0, 3.0),
        "P6": (0.0, 7.0, 3.0),
        "P7": (20.0, 0.0, 3.0),
        "P8": (20.0, 7.0, 3.0),
        "P9": (10.0, 3.5, 1.5),
    }
)

#: Last activation (P8) over the eleven codes of the paper at 0.1 mm and 0.005 ms, lowest and highest, ms.
PUBLISHED_RANGE = (37.8, 48.7)
#: Where the eleven codes of the paper settle, ms.
PUBLISHED_CONSENSUS = (42.0, 43.0)


class Published(NamedTuple):
    """Activation (ms) over the codes that took part: mean and standard deviation."""

    mean: float
    deviation: float


#: Per spacing (mm) and point, at 0.01 ms: eleven codes, from the paper's electronic supplement as tabulated by
#: github.com/vittal2026/HrdayaPy (niederer_values.py); corners renamed to those of `POINTS` by their coordinates.
PUBLISHED = MappingProxyType(
    {
        0.5: MappingProxyType(
            {
                "P1": Published(1.04, 0.38),
                "P2": Published(105.66, 33.36),
                "P3": Published(47.73, 8.33),
                "P4": Published(117.34, 34.83),
                "P5": Published(27.37, 11.04),
                "P6": Published(106.80, 35.08),
                "P7": Published(54.57, 11.97),
                "P8": Published(117.86, 36.11),
                "P9": Published(55.17, 17.40),
            }
        ),
        0.2: MappingProxyType(
            {
                "P1": Published(1.05, 0.40),
                "P2": Published(38.56, 5.00),
                "P3": Published(34.43, 1.48),
                "P4": Published(52.56, 7.10),
                "P5": Published(11.29, 1.60),
                "P6": Published(40.52, 6.08),
                "P7": Published(36.67, 2.98),
                "P8": Published(53.81, 8.17),
                "P9": Published(24.58, 3.76),
            }
        ),
        0.1: MappingProxyType(
            {
                "P1": Published(1.04, 0.38),
                "P2": Published(29.76, 1.65),
                "P3": Published(32.23, 0.56),
                "P4": Published(43.97, 2.83),
                "P5": Published(8.95, 0.56),
                "P6": Published(31.32, 2.12),
                "P7": Published(33.70, 1.00),
                "P8": Published(44.93, 3.22),
                "P9": Published(20.50, 1.30),
            }
        ),
    }
)


def diffusivities() -> tuple[float, float]:
    """Along and across the fibers, mm2/ms: s_i s_e / (s_i + s_e) / (surface to volume x capacitance).

    Examples
    --------
    >>> [round(d, 6) for d in diffusivities()]
    [0.095298, 0.012576]
    """
    inside, outside = np.array(INTRACELLULAR), np.array(EXTRACELLULAR)
    along, across = inside * outside / (inside + outside) / (SURFACE_TO_VOLUME * CAPACITANCE)
    return float(along), float(across)


def stimulus_rate() -> float:
    """What the stimulus adds to the potential, mV/ms.

    Examples
    --------
    >>> round(stimulus_rate(), 4)
    35.7143
    """
    return STIMULUS_CURRENT / (SURFACE_TO_VOLUME * CAPACITANCE)


def stimulated_share(points: Float[np.ndarray, "n 3"], spacing: float) -> Float[np.ndarray, " n"]:
    """Part of each cell's volume that lies in the stimulated cube, 0 to 1.

    The cube's side is 7.5 cells of 0.2 mm: whole cells alone would stimulate too much or too little.

    Parameters
    ----------
    points
        Centers of the cells, mm; the slab begins at 0.
    spacing
        mm.
    """
    return np.clip((STIMULUS_SIDE - points) / spacing + 0.5, 0.0, 1.0).prod(axis=1)


def at_points(
    values: Float[np.ndarray, "x y z"], spacing: float, points: Sequence[Sequence[float | int]] | None = None
) -> Float[np.ndarray, " n"]:
    """Values at cell centers, linearly inter- or extrapolated to points: the corners lie half a cell off the centers.

    Parameters
    ----------
    values
        At the centers (i + 1/2) `spacing`, at least two cells along each axis.
    spacing
        mm.
    points
        mm; default: P1 to P9.
    """
    wanted = np.asarray(list(POINTS.values()) if points is None else points, dtype=float)
    place = wanted / spacing - 0.5
    base = np.clip(np.floor(place).astype(int), 0, np.array(values.shape) - 2)
    share = place - base
    total = np.zeros(len(wanted))
    for corner in np.ndindex(2, 2, 2):
        weight = np.where(np.array(corner) == 1, share, 1 - share).prod(axis=1)
        total += weight * values[tuple((base + corner).T)]
    return total
