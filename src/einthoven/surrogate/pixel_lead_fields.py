"""Lead fields for movies: exact potentials need the simulated grid, a movie has pixels of several cells."""

import numpy as np
from jaxtyping import Bool, Float

from einthoven.core import Electrodes
from einthoven.forward.lead_field import lead_field
from einthoven.surrogate.sheets import SheetData
from einthoven.tissue import Tissue


def of_pixels(
    tissue: Tissue, electrodes: Electrodes, factor: int, *, extrapolated: bool = True
) -> Float[np.ndarray, "n_electrodes m m"]:
    """Return what a pixel's mean potential over all its cells contributes to each electrode, mV per mV.

    Parameters
    ----------
    tissue
        On the simulated square grid, with its own D and holes.
    electrodes
        In an infinite medium.
    factor
        Cells of a pixel along each axis.
    extrapolated
        Read the potential at the sheet's border off the two outermost pixels (`border_extrapolated`).

    Notes
    -----
    The movie shows w = (share of the cells that conduct) times (their mean potential above rest), so that the sum of L
    over a pixel's cells is divided by that share. What is lost is how the potential differs within a pixel.
    """
    n = tissue.shape[0]
    m = n // factor
    rows = lead_field(tissue, electrodes).matrix
    full = np.zeros((len(rows), tissue.n_points))
    full[:, tissue.nodes] = rows
    sums = full.reshape(-1, m, factor, m, factor).sum(axis=(2, 4))
    share = np.asarray(tissue.conducting).reshape(m, factor, m, factor).mean(axis=(1, 3))
    if extrapolated:
        sums = border_extrapolated(sums, factor, share > 0)
    return np.where(share > 0, sums / np.maximum(share, 1e-12), 0.0)


def border_extrapolated(
    sums: Float[np.ndarray, "k m m"], factor: int, cells: Bool[np.ndarray, "m m"]
) -> Float[np.ndarray, "k m m"]:
    """Move the lead field of a sheet's outermost pixels so that it sees the potential at the very border.

    L is large in the outermost cells, whose centers lie (factor - 1) / 2 cells outside of that of their pixel. Their
    potential is taken for V_1 + a (V_1 - V_2) with a = (1 - 1 / factor) / 2, linear through the two outermost pixels;
    here is the adjoint of that. Where one of the two holds no cells, nothing is moved.

    Parameters
    ----------
    sums
        Sums of the lead field over pixels.
    factor
        Cells of a pixel along each axis.
    cells
        Pixels that hold some.
    """
    a = 0.5 * (1 - 1 / factor)
    out = np.array(sums)
    for axis in (1, 2):
        moved, here = np.moveaxis(out, axis, 0), np.moveaxis(cells, axis - 1, 0)
        edges = moved[0] * a * (here[0] & here[1]), moved[-1] * a * (here[-1] & here[-2])
        moved[0] += edges[0]
        moved[1] -= edges[0]
        moved[-1] += edges[1]
        moved[-2] -= edges[1]
    return out


def seen(lead: Float[np.ndarray, "k m m"], movie: Float[np.ndarray, "t m m"]) -> Float[np.ndarray, "k t"]:
    """ECG of a movie, mV: one dot product per frame and electrode."""
    return lead.reshape(len(lead), -1) @ movie.reshape(len(movie), -1).T.astype(np.float64)


def true_lead_field(sheet: SheetData, pixel: float, *, extrapolated: bool = True) -> Float[np.ndarray, "k t"]:
    """Predict the ECG at a movie's frames with the true tissue, mV.

    Parameters
    ----------
    sheet
        With its movie.
    pixel
        Edge of the pixels, mm.
    extrapolated
        As in `of_pixels`.
    """
    factor = round(pixel / sheet.spacing)
    lead = of_pixels(sheet.tissue(), sheet.electrode_set(), factor, extrapolated=extrapolated)
    return seen(lead, sheet.coarser(pixel))
