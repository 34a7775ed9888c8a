"""From diffusivity to the eikonal's squared speed: V = D / kappa, kappa tabulated for every membrane."""

import csv
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
from jaxtyping import Float

from einthoven.core import InputError, Surface
from einthoven.core.arrays import frozen
from einthoven.core.errors import some
from einthoven.tissue import Tissue

Number = float | int

#: The packaged table, written by ``benchmarks/conduction_table.py --write``.
TABLE = "conduction.csv"


def zeta_of(diffusivity: Any, spacing: Number) -> Float[np.ndarray, "..."]:
    """How coarse a grid is for a diffusivity (mm2/ms): spacing / sqrt(D), sqrt(ms)."""
    return np.asarray(spacing / np.sqrt(np.asarray(diffusivity, dtype=np.float64)))


@dataclass(frozen=True, eq=False)
class Conduction:
    """How fast plane waves of a membrane run: c^2 = D / kappa(spacing / sqrt(D)).

    1 / kappa is interpolated in zeta^2 = spacing^2 / D by monotone cubics (Fritsch and Carlson 1980,
    doi:10.1137/0717021): near 0 it is linear there, and where conduction on a coarse grid fails it falls to 0 like
    a straight line.

    Parameters
    ----------
    zetas
        Where kappa was measured, sqrt(ms), increasing from 0 (the limit of a fine grid) or more.
    kappas
        D / c^2 there, ms.
    name
        Of the membrane.

    Raises
    ------
    InputError
        If there are fewer than two zetas, they do not increase, or a value is not positive and finite.

    Examples
    --------
    >>> atrium = Conduction.of("fenton-karma-1998-mlr-i")
    >>> round(float(atrium.speed(0.1, 0.5)), 2), round(float(atrium.speed(0.1, 0.0)), 2)
    (0.54, 0.62)
    """

    zetas: Float[np.ndarray, " n"]
    kappas: Float[np.ndarray, " n"]
    name: str

    def __post_init__(self):
        zetas, kappas = (np.asarray(v, dtype=np.float64) for v in (self.zetas, self.kappas))
        if zetas.ndim != 1 or zetas.shape != kappas.shape or len(zetas) < 2:
            raise InputError(
                f"conduction: zetas and kappas must be lists of the same length, at least two; got shapes "
                f"{zetas.shape} and {kappas.shape}."
            )
        if not (zetas[0] >= 0 and (np.diff(zetas) > 0).all() and np.isfinite(zetas).all()):
            raise InputError("conduction: zetas (spacing / sqrt(D), sqrt(ms)) must be 0 or more, finite, and increase.")
        if not ((kappas > 0).all() and np.isfinite(kappas).all()):
            raise InputError("conduction: kappas (D / c^2, ms) must be positive and finite.")
        object.__setattr__(self, "zetas", frozen(zetas, np.float64))
        object.__setattr__(self, "kappas", frozen(kappas, np.float64))

    @classmethod
    def of(cls, name: str) -> "Conduction":
        """Packaged values of a membrane of `einthoven.ionic.registry` with its published parameters.

        Raises
        ------
        InputError
            If there is no such membrane; the message lists those there are.
        """
        table = _packaged()
        if name not in table:
            raise InputError(
                f"conduction: no membrane {name!r} in the table; there is {', '.join(table)}. For a membrane with "
                "other parameters measure it: `einthoven.simulate.planar.planar_conduction`."
            )
        return table[name]

    def __repr__(self) -> str:
        return (
            f"Conduction({self.name!r}, kappa {self.kappas[0]:.3g} ms on a fine grid, up to spacing / sqrt(D) = "
            f"{self.zetas[-1]:.3g} sqrt(ms))"
        )

    def kappa(self, diffusivity: Any, spacing: Number) -> Float[np.ndarray, "..."]:
        """D / c^2 on a grid, ms.

        Below the smallest zeta of the table its first value is taken.

        Parameters
        ----------
        diffusivity
            D, mm2/ms: a number or an array of any shape.
        spacing
            Of the grid, mm; 0 is the limit of a fine grid.

        Raises
        ------
        InputError
            If a diffusivity is not positive, or so small that on a grid so coarse no wave was seen.
        """
        d = np.asarray(diffusivity, dtype=np.float64)
        if not (np.isfinite(d) & (d > 0)).all():
            raise InputError("conduction: diffusivities must be positive and finite, in mm2/ms; some are not.")
        if not 0 <= spacing < np.inf:
            raise InputError(f"conduction: spacing must be a length in mm, or 0 for a fine grid; got {spacing:g}.")
        zetas = zeta_of(d, spacing)
        self._check_fine(zetas, d, spacing)
        return np.asarray(1 / self._inverse(np.clip(zetas, self.zetas[0], self.zetas[-1]) ** 2))

    def speed(self, diffusivity: Any, spacing: Number) -> Float[np.ndarray, "..."]:
        """Conduction velocity c = sqrt(D / kappa), mm/ms; arguments as of `kappa`."""
        return np.asarray(np.sqrt(np.asarray(diffusivity, dtype=np.float64) / self.kappa(diffusivity, spacing)))

    def squared_speed(self, tissue: Tissue, spacing: Number | None = None) -> Float[np.ndarray, "..."]:
        """V of a tissue for `einthoven.eikonal.Eikonal`, mm2/ms2, in the form of its diffusivity.

        A number or one per node becomes D / kappa. A tensor becomes the sum of D_i / kappa(spacing / sqrt(D_i))
        f_i f_i^T over its eigenvectors f_i: exact for waves along the axes of a grid with fibers along one of them. In
        other directions a grid slows waves differently; docs/concepts/conduction.md has the size of that error.

        Parameters
        ----------
        tissue
            Grid or surface with its diffusivity.
        spacing
            mm; None: that of the grid; on a surface the mean length of edges, an approximation, because elements of
            several sizes and shapes slow a wave differently. 0: the limit of a fine grid, which is V = D / kappa(0).

        Raises
        ------
        InputError
            As `kappa`.
        """
        h = mean_spacing(tissue) if spacing is None else float(spacing)
        d = tissue.diffusivity
        if d.ndim < 2:
            return np.asarray(d / self.kappa(d, h))
        along, vectors = np.linalg.eigh(d)
        squares = along / self.kappa(along, h)
        v = np.einsum("...ik,...k,...jk->...ij", vectors, squares, vectors)
        return 0.5 * (v + np.swapaxes(v, -1, -2))

    @cached_property
    def _inverse(self) -> Any:
        """1 / kappa as a function of zeta^2."""
        from scipy.interpolate import PchipInterpolator

        return PchipInterpolator(self.zetas**2, 1 / self.kappas)

    def _check_fine(self, zetas: np.ndarray, diffusivity: np.ndarray, spacing: Number) -> None:
        largest = self.zetas[-1]
        wrong = np.flatnonzero(np.atleast_1d(zetas) > largest * (1 + 1e-9))
        if wrong.size:
            lowest = float(np.min(diffusivity))
            where = f" (at {some(wrong)} of {zetas.size})" if zetas.ndim else ""
            raise InputError(
                f"conduction: a spacing of {spacing:g} mm is too coarse for a diffusivity of {lowest:.4g} "
                f"mm2/ms{where}: waves of {self.name} were seen up to spacing / sqrt(D) = {largest:.3g} sqrt(ms). Take "
                f"a spacing of at most {largest * np.sqrt(lowest):.3g} mm, or spacing=0 for the limit of a fine grid."
            )


def mean_spacing(tissue: Tissue) -> float:
    """Spacing of a tissue's grid, or the mean length of the edges of its surface, mm."""
    if not isinstance(tissue.domain, Surface):
        return float(tissue.domain.spacing)
    ends = tissue.domain.points[tissue.domain.edges.vertices]
    return float(np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1).mean())


@lru_cache(maxsize=1)
def _packaged() -> dict[str, Conduction]:
    """All rows of the table, by membrane."""
    text = files("einthoven.eikonal").joinpath(TABLE).read_text(encoding="utf-8")
    rows: dict[str, list[tuple[float, float]]] = {}
    for row in csv.DictReader(text.splitlines()):
        rows.setdefault(row["membrane"], []).append((float(row["zeta"]), float(row["kappa"])))
    return {name: Conduction(*np.array(pairs).T, name=name) for name, pairs in rows.items()}
