"""Plane fronts of two-variable membranes: speed, diffusivity, and the mesh that carries them.

With the recovery variable at rest the rate of excitation of the membranes used here is a cubic,

    du/dt = k u (u - a) (b - u)

(Aliev-Panfilov: k / T, a, b = 1; Mitchell-Schaeffer with the gate open: k = 1 / tau_in, a and b the roots of
u (1 - u) = tau_in / tau_out). Its front on a fine mesh runs at c = sqrt(D k / 2) (b - 2 a), exactly (Nagumo, Arimoto
and Yoshizawa 1962); recovery during the upstroke slows it by a few percent.
"""

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from einthoven.core import InputError, Surface
from einthoven.geometry.quality import edge_lengths
from einthoven.ionic import IonicModel
from einthoven.ionic.aliev_panfilov_1996 import AlievPanfilov1996
from einthoven.ionic.mitchell_schaeffer_2003 import MitchellSchaeffer2003

Number = float | int

#: Least D / (k b^2 h^2), h the mean edge. Measured for Aliev-Panfilov cells: at 0.05 a front is 8 % (sphere) to 12 %
#: (strand) slow, at 0.01 28 to 35 %, and below about 0.003 the mesh stops it, however long one waits.
RESOLVED = 0.05


def imaging_cells() -> AlievPanfilov1996:
    """The parameters of the imaging papers: a = 0.1, mu1 = mu2 = 0.3, the others those of 1996."""
    return AlievPanfilov1996(a=0.1, mu1=0.3, mu2=0.3)


def published_cells() -> AlievPanfilov1996:
    """The parameters of Aliev and Panfilov 1996: a = 0.15, mu1 = 0.2, mu2 = 0.3."""
    return AlievPanfilov1996()


def wide_front_cells() -> MitchellSchaeffer2003:
    """Mitchell-Schaeffer cells whose front a mesh of the heart can carry.

    The published ratio and time constants of the gate; both currents are 8.3 times slower (tau_in = 2.5 ms), and the
    gate has a width. The front is wider, at the same conduction velocity; repolarization hardly changes.
    """
    return MitchellSchaeffer2003(tau_in=2.5, tau_out=50.0, gate_width=0.02)


class Excitation(NamedTuple):
    """The cubic k u (u - a) (b - u) of a membrane whose recovery variable is at rest.

    Parameters
    ----------
    rate
        k, 1/ms.
    threshold, peak
        a and b, model unit.
    """

    rate: float
    threshold: float
    peak: float

    @property
    def steepest(self) -> float:
        """Largest du/dt, 1/ms."""
        a, b = self.threshold, self.peak
        u = (a + b + np.sqrt(a * a - a * b + b * b)) / 3
        return float(self.rate * u * (u - a) * (b - u))

    @property
    def kappa(self) -> float:
        """D / c^2 of a plane front on a fine mesh, ms."""
        return float(2 / (self.rate * (self.peak - 2 * self.threshold) ** 2))

    def speed(self, diffusivity: Number) -> float:
        """Speed of a plane front, mm/ms, at a diffusivity in mm2/ms."""
        return float(np.sqrt(diffusivity / self.kappa))

    def diffusivity(self, speed: Number) -> float:
        """Diffusivity, mm2/ms, of a plane front's speed in mm/ms."""
        return float(self.kappa * speed**2)

    def spread(self, diffusivity: Number) -> float:
        """D / (k b^2), the square of the front's length scale, mm2."""
        return float(diffusivity / (self.rate * self.peak**2))


def excitation(membrane: IonicModel) -> Excitation:
    """Read the cubic off the rates of a membrane.

    Raises
    ------
    InputError
        If it has not two variables, not the same parameters everywhere, or its rate of excitation is no cubic with a
        threshold.
    """
    import jax

    name = type(membrane).__name__
    if len(membrane.states) != 1:
        raise InputError(
            f"imaging with cell physics takes a membrane of two variables; {name} has {1 + len(membrane.states)}. Use "
            "AlievPanfilov1996 or MitchellSchaeffer2003."
        )
    if any(np.ndim(p) for p in jax.tree.leaves(membrane)):
        raise InputError(f"imaging with cell physics takes the same {name} everywhere; a parameter has one per node.")
    with jax.enable_x64(True):
        _, states = membrane.rest()
        u = np.linspace(0.0, 1.0, 7)
        rates = np.array([float(membrane.rates(x, states)[0]) for x in u])
    fit = np.polyfit(u, rates, 3)
    cubic = fit[0] < 0 and np.abs(np.polyval(fit, u) - rates).max() <= 1e-6 * np.abs(rates).max()
    roots = np.asarray(np.roots(fit) if cubic else np.full(3, np.nan), dtype=np.complex128)
    _, a, b = np.sort(np.real(roots))
    if not (np.abs(np.imag(roots)).max() <= 1e-9 and 0 < 2 * a < b):
        raise InputError(f"{name}: with recovery at rest its rate of excitation is no cubic whose fronts advance.")
    return Excitation(float(-fit[0]), float(a), float(b))


def clocked(membrane: IonicModel, clock: Number) -> IonicModel:
    """The same cells with all rates multiplied by a factor: everything happens that much faster.

    Raises
    ------
    InputError
        If the factor is not positive, or the membrane is neither Aliev-Panfilov nor Mitchell-Schaeffer.
    """
    if not 0 < clock < np.inf:
        raise InputError(f"the clock must be positive; got {clock!r}.")
    if isinstance(membrane, AlievPanfilov1996):
        return replace(membrane, time_unit=membrane.time_unit / clock)
    if isinstance(membrane, MitchellSchaeffer2003):
        times = ("tau_in", "tau_out", "tau_open", "tau_close")
        return replace(membrane, **{name: getattr(membrane, name) / clock for name in times})
    raise InputError(
        f"the clock of {type(membrane).__name__} cannot be changed; use AlievPanfilov1996 or MitchellSchaeffer2003."
    )


def least_diffusivity(surface: Surface, membrane: IonicModel) -> float:
    """The smallest diffusivity, mm2/ms, whose front the mesh carries (`RESOLVED`)."""
    edge = float(edge_lengths(surface).mean())
    return float(RESOLVED * edge**2 / excitation(membrane).spread(1.0))


#: Distance along a front's path between neighbors of a triangular lattice, over the edge: between rows sqrt(3) / 2 and
#: 1 / 2, the mean.
ROWS = (np.sqrt(3) + 1) / 4


@lru_cache(maxsize=8)
def slowness(threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """How much a chain of nodes slows a front: log spread over squared spacing, and speed over that of a fine mesh.

    du_i/dt = rho (u_{i-1} - 2 u_i + u_{i+1}) + u (u - a) (1 - u), solved from a step; the speed is measured between the
    15th and the 30th node.

    Parameters
    ----------
    threshold
        a over the peak.
    """
    rho = np.geomspace(0.02, 2.0, 7)
    u, dt = np.zeros((7, 40)), 0.05
    u[:, :6] = 1.0
    times = np.full((2, 7), np.nan)
    for step in range(20_000):
        padded = np.pad(u, ((0, 0), (1, 1)), mode="edge")
        lap = padded[:, :-2] - 2 * u + padded[:, 2:]
        u = u + np.minimum(dt, 0.2 / rho)[:, None] * (rho[:, None] * lap + u * (u - threshold) * (1 - u))
        for row, node in zip(times, (15, 30), strict=True):
            new = np.isnan(row) & (u[:, node] > 0.5)
            row[new] = (step * np.minimum(dt, 0.2 / rho))[new]
        if np.isfinite(times).all():
            break
    speed = 15 / (times[1] - times[0])
    return np.log(rho), speed / (np.sqrt(rho / 2) * (1 - 2 * threshold))


def diffusivity_on(surface: Surface, cells: Excitation, speed: Number) -> float:
    """Diffusivity, mm2/ms, whose front runs at a speed (mm/ms) on a mesh, which slows it; at least what it carries.

    Parameters
    ----------
    surface
        Its mean edge says how much it slows a front.
    cells
        Whose front it is.
    speed
        As measured.
    """
    edge = float(edge_lengths(surface).mean())
    logs, shares = slowness(round(cells.threshold / cells.peak, 4))
    found = cells.diffusivity(speed)
    for _ in range(20):
        rho = cells.spread(found) / (ROWS * edge) ** 2
        found = cells.diffusivity(speed / float(np.interp(np.log(rho), logs, shares)))
    return max(found, float(RESOLVED * edge**2 / cells.spread(1.0)))


def check_resolved(surface: Surface, diffusivity: Number, membrane: IonicModel) -> None:
    """Raise `InputError` if D / (k b^2 h^2) is below `RESOLVED`: the mesh would slow the front, or stop it.

    Parameters
    ----------
    surface
        h is the mean length of its edges.
    diffusivity
        D, mm2/ms.
    membrane
        Whose front it is.
    """
    edge = float(edge_lengths(surface).mean())
    cubic = excitation(membrane)
    spread = cubic.spread(diffusivity)
    if not spread / edge**2 >= RESOLVED:
        least = least_diffusivity(surface, membrane)
        raise InputError(
            f"{surface.name}: edges of {edge:.3g} mm (mean) are too coarse for a front of {diffusivity:g} mm2/ms: the "
            f"mesh would slow it or stop it. Take edges of at most {np.sqrt(max(spread, 0.0) / RESOLVED):.2g} mm, or "
            f"at least {least:.2g} mm2/ms."
        )
