"""The simulator against exact solutions: orders of convergence in space and time, on grids and on spheres.

    python benchmarks/simulate_verification.py --out out/bench [--smoke]

Every study returns rows of errors at several spacings or steps; the tests of the simulator run the same studies on
fewer levels. Prints and writes ``simulate_verification.json`` and ``simulate_verification.md``.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from _tables import markdown

from einthoven.geometry.generators import sphere
from einthoven.geometry.operators import node_areas
from einthoven.ionic import Gate, IonicModel, parameter
from einthoven.simulate import Godunov, Monodomain, SemiImplicit, Strang
from einthoven.simulate.crossings import Crossings
from einthoven.simulate.engine import Engine
from einthoven.simulate.pulses import Pulses
from einthoven.simulate.schemes import Scheme
from einthoven.tissue import Grid, Tissue
from einthoven.verify import convergence, harmonics, manufactured, nagumo

D, K, A = 0.1, 1.0, 0.25
FRONT_LEVELS = (0.4, 0.2, 0.1, 0.05)
SCHEMES: dict[str, tuple[Scheme, int]] = {
    "Godunov, explicit": (Godunov(), 1),
    "Godunov, Crank-Nicolson": (Godunov(SemiImplicit(tolerance=1e-13)), 1),
    "Godunov, backward Euler": (Godunov(SemiImplicit(theta=1.0, tolerance=1e-13)), 1),
    "Strang, explicit (Heun)": (Strang(), 2),
    "Strang, Crank-Nicolson": (Strang(SemiImplicit(tolerance=1e-13)), 2),
}


# -- membranes with exact solutions -----------------------------------------------------------------------------------


class Nagumo(IonicModel):
    """dv/dt = k v (1 - v) (v - a): see `einthoven.verify.nagumo`."""

    states: ClassVar[tuple[str, ...]] = ()

    rate: Any = parameter(K)
    threshold: Any = parameter(A)

    @property
    def is_smooth(self) -> bool:
        """True."""
        return True

    def rest(self) -> tuple[Any, tuple[Any, ...]]:
        """At v = 0."""
        return 0.0, ()

    def rates(self, v: Any, states: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
        """Rate of v."""
        return self.rate * v * (1 - v) * (v - self.threshold), ()


class Leak(IonicModel):
    """dv/dt = -leak v: pure diffusion where the leak is 0."""

    states: ClassVar[tuple[str, ...]] = ()

    leak: Any = parameter(0.0)

    @property
    def is_smooth(self) -> bool:
        """True."""
        return True

    def rest(self) -> tuple[Any, tuple[Any, ...]]:
        """At v = 0."""
        return 0.0, ()

    def rates(self, v: Any, states: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
        """Rate of v."""
        return -self.leak * v, ()


class Driven(IonicModel):
    """Carries the manufactured solution v = phi(x) g(t), g = exp(-t / tau), through a cubic reaction.

    dv/dt = -k v^3 + linear g + k phi^3 g^3 with linear = -phi / tau - div(D grad phi), and g a gate that relaxes to 0:
    the source depends on place and time, yet everything is a parameter per cell and a state.
    """

    states: ClassVar[tuple[str, ...]] = ("clock",)

    potential: Any = parameter(0.0)
    divergence: Any = parameter(0.0)
    tau: Any = parameter(10.0)
    rate: Any = parameter(1.0)

    @property
    def is_smooth(self) -> bool:
        """True."""
        return True

    def rest(self) -> tuple[Any, tuple[Any, ...]]:
        """The manufactured solution at time 0."""
        return self.potential, (1.0,)

    def rates(self, v: Any, states: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
        """Rate of v, and the gate g."""
        (g,) = states
        source = -self.potential / self.tau - self.divergence
        driven = source * g + self.rate * (self.potential * g) ** 3
        return driven - self.rate * v**3, (Gate(0.0 * v, self.tau + 0.0 * v),)


class Gated(IonicModel):
    """Nagumo with a gate that closes as v rises: two variables, one of them stepped by Rush & Larsen."""

    states: ClassVar[tuple[str, ...]] = ("gate",)

    rate: Any = parameter(K)
    threshold: Any = parameter(A)
    tau: Any = parameter(6.0)

    @property
    def is_smooth(self) -> bool:
        """True."""
        return True

    def rest(self) -> tuple[Any, tuple[Any, ...]]:
        """At v = 0, with the gate open."""
        return 0.0, (1.0,)

    def rates(self, v: Any, states: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
        """Rate of v, and the gate."""
        (gate,) = states
        return self.rate * v * (gate - v) * (v - self.threshold), (Gate(1.0 / (1.0 + 4.0 * v * v), self.tau + v),)


# -- running ----------------------------------------------------------------------------------------------------------


def stepped(
    tissue: Tissue,
    model: IonicModel,
    v: np.ndarray,
    *,
    t_end: float,
    dt: float,
    scheme: Scheme | None = None,
    states: Sequence[float] = (),
    crossings: Crossings | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Potential and states after `t_end`, from given ones; dt is lowered until it divides t_end."""
    steps = int(np.ceil(t_end / dt - 1e-9))
    engine = Engine(Monodomain(tissue, model, scheme or Godunov()), t_end / steps)
    engine.load(v, np.repeat(np.array(states, dtype=float)[:, None], len(v), axis=1).reshape(len(states), len(v)))
    engine.advance(steps, 0, Pulses.none(), crossings)
    return engine.state()


def explicit_dt(tissue: Tissue, share: float) -> float:
    """Share of the largest stable step of forward Euler, ms: falls with the square of the spacing."""
    return share * 2.0 / tissue.coupling.largest_rate()


def box_grid(lengths: Sequence[float], cells: int) -> Grid:
    """Grid of the box [0, L_k] with `cells` cells along its first side."""
    h = lengths[0] / cells
    return Grid(tuple(round(x / h) for x in lengths), h, (h / 2, h / 2, h / 2))


def relative(found: np.ndarray, exact: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Relative L2 error."""
    w = np.ones(len(exact)) if weights is None else weights
    return float(np.sqrt((w * (found - exact) ** 2).sum() / (w * exact**2).sum()))


def with_orders(rows: list[dict], at: str) -> list[dict]:
    """Add the observed order of every error against the row before."""
    for key in [k for k in rows[0] if k.endswith("error")]:
        orders = convergence.observed_orders([row[at] for row in rows], [row[key] for row in rows])
        for row, order in zip(rows[1:], orders, strict=True):
            row[key.replace("error", "order")] = float(order)
    return rows


# -- studies: space, dt falling with h^2 ------------------------------------------------------------------------------


def front(levels: Sequence[float] = FRONT_LEVELS, scheme: Scheme | None = None) -> list[dict]:
    """Nagumo's front along a cable of 30 mm: speed over its second half, and profile around v = 1/2."""
    exact = nagumo.speed(diffusivity=D, rate=K, threshold=A)
    rows = []
    for h in levels:
        cable = Tissue.isotropic(Grid((round(30 / h),), h, (h / 2, 0.0, 0.0)), D)
        x = cable.points[:, 0]
        passed = Crossings.empty(1, cable.n_nodes, rise_level=0.5, fall_level=-1.0)
        start = nagumo.front(x - 8.0, diffusivity=D, rate=K)
        v, _ = stepped(cable, Nagumo(), start, t_end=120.0, dt=0.1 * h**2 / D, scheme=scheme, crossings=passed)
        seen = (x > 14) & np.isfinite(passed.rise[0])
        speed = 1 / np.polyfit(x[seen], passed.rise[0, seen], 1)[0]
        half = np.interp(-0.5, -v, x)  # v falls along x
        profile = nagumo.front(x - half, diffusivity=D, rate=K)
        near = np.abs(x - half) < 5
        rows.append(
            {"h (mm)": h, "speed (mm/ms)": speed, "speed error": abs(speed / exact - 1)}
            | {"profile error": float(np.sqrt(np.mean((v - profile)[near] ** 2)))}
        )
    return with_orders(rows, "h (mm)")


def oblique_front(levels: Sequence[float], fiber_angle: float, wave_angle: float) -> list[dict]:
    """A plane front at an angle to the grid and to the fibers of a sheet: its speed is that of n . D n.

    The sheet is so large (28 mm) that its borders are not felt in the middle, where a plane is fitted to activation.
    """
    n = np.array([np.cos(np.radians(wave_angle)), np.sin(np.radians(wave_angle))])
    f = np.array([np.cos(np.radians(fiber_angle)), np.sin(np.radians(fiber_angle))])
    along, across, a = 0.1, 0.04, 0.1
    d_n = across + (along - across) * float(n @ f) ** 2
    exact = nagumo.speed(diffusivity=d_n, rate=K, threshold=a)
    rows = []
    for h in levels:
        sheet = Tissue.anisotropic(box_grid((28.0, 28.0), round(28 / h)), along, across, f)
        passed = Crossings.empty(1, sheet.n_nodes, rise_level=0.5, fall_level=-1.0)
        ahead = (sheet.points[:, :2] - 14) @ n + 2.5
        start = nagumo.front(ahead, diffusivity=d_n, rate=K)
        stepped(sheet, Nagumo(threshold=a), start, t_end=4.0 / exact, dt=explicit_dt(sheet, 0.4), crossings=passed)
        seen = (np.abs(sheet.points[:, :2] - 14) < 1.01).all(axis=1)
        design = np.c_[sheet.points[seen, :2] - 14, np.ones(seen.sum())]
        slowness = np.linalg.lstsq(design, passed.rise[0, seen], rcond=None)[0][:2]
        speed = 1 / np.linalg.norm(slowness)
        turned = np.degrees(np.arctan2(slowness[1], slowness[0])) - wave_angle
        rows.append(
            {"fibers (deg)": fiber_angle, "front (deg)": wave_angle, "h (mm)": h, "speed (mm/ms)": speed}
            | {"speed error": abs(speed / exact - 1), "turned (deg)": abs(turned)}
        )
    return with_orders(rows, "h (mm)")


def box_mode(lengths: Sequence[float], degrees: Sequence[int], cells: Sequence[int]) -> list[dict]:
    """A cosine mode with a leak in an anisotropic box, fibers along x."""
    d, along, across, leak = len(lengths), 0.1, 0.04, 0.02
    rate = manufactured.cosine_rate([along, across, across][:d], lengths, degrees) + leak
    rows = []
    for n in cells:
        box = Tissue.anisotropic(box_grid(lengths, n), along, across, np.eye(d)[0])
        start = manufactured.cosine(box.points, lengths, degrees)
        v, _ = stepped(box, Leak(leak=leak), start, t_end=1 / rate, dt=explicit_dt(box, 0.2))
        rows.append({"h (mm)": lengths[0] / n, "error": relative(v, start / np.e)})
    return with_orders(rows, "h (mm)")


def oblique_gaussian(dimension: int, cells: Sequence[int]) -> list[dict]:
    """A Gaussian far from the borders, with fibers oblique to all axes."""
    fiber = np.array([[0.8, 0.6], [0.6, 0.64, 0.48]][dimension - 2])
    tensor = 0.02 * np.eye(dimension) + 0.08 * np.outer(fiber, fiber)
    side, center = 16.0, (8.0,) * dimension
    rows = []
    for n in cells:
        box = Tissue.anisotropic(box_grid((side,) * dimension, n), 0.1, 0.02, fiber)
        start, exact = (
            manufactured.gaussian(box.points, center, spread=1.2, tensor=tensor, time=t) for t in (0.0, 8.0)
        )
        v, _ = stepped(box, Leak(), start, t_end=8.0, dt=explicit_dt(box, 0.2))
        rows.append({"h (mm)": side / n, "error": relative(v, exact), "lowest v": float(v.min())})
    return with_orders(rows, "h (mm)")


def rotating_fibers(dimension: int, cells: Sequence[int], scheme: Scheme | None = None) -> list[dict]:
    """Manufactured solution: fibers that turn, conductivity that varies, a cubic reaction and a source in time."""
    lengths, degrees, tilt = (8.0, 6.0, 4.0)[:dimension], (1, 2, 1)[:dimension], (1.0, -0.6)[: dimension - 1]
    exact = manufactured.RotatingFibers(lengths, degrees, 0.1, 0.03, tilt, 0.4)
    rows = []
    for n in cells:
        grid = box_grid(lengths, n)
        scale, phi = exact.scale(grid.points), exact.potential(grid.points)
        box = Tissue.anisotropic(grid, 0.1 * scale, 0.03 * scale, exact.fibers(grid.points))
        model = Driven(potential=phi, divergence=exact.divergence(grid.points))
        v, _ = stepped(box, model, phi, t_end=8.0, dt=explicit_dt(box, 0.2), scheme=scheme, states=(1.0,))
        rows.append({"h (mm)": grid.spacing, "error": relative(v, phi * np.exp(-8.0 / 10.0))})
    return with_orders(rows, "h (mm)")


def sphere_mode(degree: int, subdivisions: Sequence[int], scheme: Scheme | None = None) -> list[dict]:
    """A harmonic on a sphere of 10 mm, until it has decayed to 1/e; all orders of the degree, the worst counts."""
    radius = 10.0
    rate = harmonics.decay_rate(degree, radius=radius, diffusivity=D)
    rows = []
    for k in subdivisions:
        surface = sphere(radius, subdivisions=k)
        tissue, area = Tissue.isotropic(surface, D), node_areas(surface)
        errors = []
        for order in range(-degree, degree + 1):
            start = harmonics.harmonic(degree, order, surface.points)
            v, _ = stepped(tissue, Leak(), start, t_end=1 / rate, dt=explicit_dt(tissue, 0.1), scheme=scheme)
            errors.append(relative(v, start / np.e, area))
        rows.append(
            {"degree": degree, "nodes": surface.n_points, "h (mm)": float(np.sqrt(area.sum() / len(area)))}
            | {"error": max(errors)}
        )
    return with_orders(rows, "h (mm)")


# -- studies: time, at a fixed spacing --------------------------------------------------------------------------------


def cable_reference(cable: Tissue, model: IonicModel, v: np.ndarray, states: np.ndarray, t_end: float) -> np.ndarray:
    """The cable's own equations without any splitting, by an adaptive method of order 8 to 1e-12."""
    import jax
    from scipy.integrate import solve_ivp

    matrix, n = cable.coupling.matrix(), len(v)
    rates = jax.jit(lambda v, states: model.rates(v, states))

    def slope(_: float, y: np.ndarray) -> np.ndarray:
        v, states = y[:n], tuple(y[n:].reshape(-1, n))
        dv, changes = rates(v, states)
        slopes = [np.asarray(dv) + matrix @ v]
        for x, change in zip(states, changes, strict=True):
            slopes.append(np.asarray((change.steady - x) / change.tau if isinstance(change, Gate) else change))
        return np.concatenate(slopes)

    with jax.enable_x64(True):
        y0 = np.concatenate([v, states.ravel()])
        return solve_ivp(slope, (0, t_end), y0, method="DOP853", rtol=1e-12, atol=1e-13).y[:n, -1]


def time_order(scheme: Scheme, model: IonicModel, steps: Sequence[int]) -> list[dict]:
    """A front on a cable at 0.25 mm over 8 ms, against the same cable stepped exactly in time."""
    cable = Tissue.isotropic(Grid((64,), 0.25), D)
    start, t_end = nagumo.front(cable.points[:, 0] - 7.0, diffusivity=D, rate=K), 8.0
    _, resting = model.rest()
    states = np.array([np.full(cable.n_nodes, x) for x in resting]).reshape(len(resting), cable.n_nodes)
    exact = cable_reference(cable, model, start, states, t_end)
    rows = []
    for n in steps:
        v, _ = stepped(cable, model, start, t_end=t_end, dt=t_end / n, scheme=scheme, states=resting)
        rows.append({"dt (ms)": t_end / n, "error": relative(v, exact)})
    return with_orders(rows, "dt (ms)")


def time_orders(steps: Sequence[int]) -> list[dict]:
    """All schemes, with and without a gate; the order of the finest pair."""
    rows = []
    for name, (scheme, expected) in SCHEMES.items():
        for model in (Nagumo(), Gated()):
            found = time_order(scheme, model, steps)
            row: dict = {"scheme": name, "membrane": type(model).__name__}
            row |= {f"error at dt = {r['dt (ms)']:g} ms": r["error"] for r in found}
            rows.append(row | {"order": found[-1]["order"], "expected": expected})
    return rows


# -- tables -----------------------------------------------------------------------------------------------------------


def studies(smoke: bool) -> dict[str, Callable[[], list[dict]]]:
    """Title and function of every table."""
    fronts = FRONT_LEVELS[:2] if smoke else FRONT_LEVELS
    flat, solid = ((16, 32), (8, 16)) if smoke else ((32, 64, 128, 256), (16, 32, 64))
    angles = ((30.0, 0.0),) if smoke else ((0.0, 0.0), (0.0, 90.0), (30.0, 0.0), (30.0, 75.0), (45.0, 20.0))
    spheres = (1, 2) if smoke else (2, 3, 4, 5)
    return {
        "Nagumo front on a cable, Godunov, explicit": lambda: front(fronts),
        "Nagumo front on a cable, Strang, explicit (Heun)": lambda: front(fronts, Strang()),
        "Plane fronts on an anisotropic sheet": lambda: [
            row for a in angles for row in oblique_front((0.4, 0.2) if smoke else (0.4, 0.2, 0.1), *a)
        ],
        "Cosine mode, 2-D, anisotropic": lambda: box_mode((8.0, 6.0), (1, 2), flat),
        "Cosine mode, 3-D, anisotropic": lambda: box_mode((8.0, 6.0, 4.0), (1, 2, 1), solid),
        "Gaussian, 2-D, oblique fibers": lambda: oblique_gaussian(2, flat),
        "Gaussian, 3-D, oblique fibers": lambda: oblique_gaussian(3, solid),
        "Rotating fibers, heterogeneous, cubic reaction, 2-D": lambda: rotating_fibers(2, flat),
        "Rotating fibers, heterogeneous, cubic reaction, 3-D": lambda: rotating_fibers(3, solid),
        "Spherical harmonics on icospheres": lambda: [row for k in (1, 2, 3) for row in sphere_mode(k, spheres)],
        "Time, at a fixed spacing": lambda: time_orders((40, 80) if smoke else (40, 80, 160, 320)),
    }


def main(out: Path, smoke: bool) -> dict:
    """Compute all tables, print them and write them under `out`."""
    tables, seconds = {}, {}
    for title, study in studies(smoke).items():
        begun = time.perf_counter()
        tables[title] = study()
        seconds[title] = time.perf_counter() - begun
        print(markdown({title: tables[title]}) + f"{seconds[title]:.1f} s\n", flush=True)
    out.mkdir(parents=True, exist_ok=True)
    (out / "simulate_verification.json").write_text(json.dumps({"tables": tables, "seconds": seconds}, indent=1))
    (out / "simulate_verification.md").write_text("# The simulator against exact solutions\n\n" + markdown(tables))
    return tables


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="folder for the tables")
    parser.add_argument("--smoke", action="store_true", help="coarse levels, seconds")
    arguments = parser.parse_args()
    main(arguments.out, arguments.smoke)
