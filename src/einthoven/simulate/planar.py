"""Planar waves: how fast a membrane conducts on a grid, measured on strands.

A plane wave along an axis of a grid obeys dv_i/dt = (v_{i+1} - 2 v_i + v_{i-1}) / zeta^2 + rates, zeta = spacing /
sqrt(D): diffusivity and spacing enter through zeta (sqrt(ms)) alone. Its speed c therefore gives a number that depends
on the membrane, zeta and the time step only, kappa = D / c^2 (ms).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from einthoven.core import InputError
from einthoven.eikonal.conduction import Conduction, zeta_of
from einthoven.ionic import IonicModel
from einthoven.protocol import Protocol, Stimulus
from einthoven.protocol.regions import Nodes
from einthoven.simulate.crossings import Crossings
from einthoven.simulate.engine import BlowUp, Engine
from einthoven.simulate.monodomain import Monodomain
from einthoven.simulate.pulses import Pulses
from einthoven.simulate.run import resting_state
from einthoven.simulate.schemes import Scheme, Strang
from einthoven.tissue import Grid, Tissue

Number = float | int

#: zetas of `planar_conduction`, sqrt(ms): at D = 0.1 mm2/ms spacings of 0.08 to 2.5 mm.
ZETAS = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
#: Longest default time step, ms.
LONGEST_DT = 0.01
#: Fewest cells of a strand.
FEWEST_CELLS = 60
#: Ends of the two stretches on which the speed is measured, shares of a strand.
STRETCHES = (0.5, 0.7, 0.9)
#: The speeds of both stretches may differ by this share.
STEADY = 5e-3
#: A wave that reaches no further cell of any strand for so long (ms) has stopped.
PATIENCE = 60.0
#: Diffusivity of the finest strand of a table, mm2/ms; any would do.
_REFERENCE = 0.5


@dataclass(frozen=True)
class Launch:
    """How a wave is started on a strand, where it is seen, and how far it runs.

    Parameters
    ----------
    amplitude
        Stimulus, mV/ms.
    duration
        Of the stimulus, ms.
    stimulated
        Length that is stimulated, over sqrt(D 1 ms); four cells at least.
    length
        Of a strand, over sqrt(D 1 ms): at D = 0.1 mm2/ms 100 is 31.6 mm.
    level
        Potential at which a cell counts as active, mV; any between rest and peak gives the same speed.
    scheme
        How time is stepped. `Strang` has the smallest error at a given dt; to repeat a simulation take its own.
    """

    amplitude: Number = 60.0
    duration: Number = 2.0
    stimulated: Number = 8.0
    length: Number = 100.0
    level: Number = -40.0
    scheme: Scheme = field(default_factory=Strang)

    def __post_init__(self):
        if not 4 * self.stimulated <= self.length <= 1e4:
            raise InputError(
                f"planar wave: a strand must be at least four times as long as its stimulated part, and at most 10000; "
                f"got lengths of {self.length:g} and {self.stimulated:g}."
            )


#: The default: enough for all membranes of `einthoven.ionic.registry`.
LAUNCH = Launch()


def planar_speed(
    model: IonicModel,
    diffusivity: Number,
    spacing: Number,
    *,
    dt: Number | None = None,
    launch: Launch = LAUNCH,
) -> float:
    """Conduction velocity of a plane wave along an axis of a grid, mm/ms.

    The first wave from rest, on a strand of that spacing: after its first half, from the times at which cells are
    active, interpolated between steps. Two stretches must agree within 0.5 %.

    Parameters
    ----------
    model
        Any membrane; its parameters must be numbers.
    diffusivity
        D, mm2/ms.
    spacing
        Of the grid, mm.
    dt
        Time step, ms; None: 0.01, or half of the largest stable one where that is less. The speed's error is of the
        scheme's order in dt (docs/concepts/conduction.md has figures).
    launch
        Stimulus, level, length of the strand and scheme.

    Raises
    ------
    InputError
        If no wave comes through, it is not steady, dt is unstable or the potential leaves all bounds.

    Examples
    --------
    >>> from einthoven.ionic.mitchell_schaeffer_2003 import MitchellSchaeffer2003
    >>> round(planar_speed(MitchellSchaeffer2003(tau_in=0.4, tau_out=8.0), 0.2, 1.0), 2)
    0.39
    """
    _check_positive(diffusivity, "diffusivity", "mm2/ms")
    strands = _Strands.of(np.array([float(diffusivity)]), spacing, launch)
    first, second = (float(v[0]) for v in _speeds(model, strands, dt, launch))
    if np.isnan(second):
        zeta = float(zeta_of(diffusivity, spacing))
        raise InputError(
            f"planar wave: no wave of {type(model).__name__} runs along a strand of {spacing:g} mm at a diffusivity of "
            f"{diffusivity:g} mm2/ms (spacing / sqrt(D) = {zeta:.3g} sqrt(ms)). Take a finer spacing or a higher "
            f"diffusivity; if that does not help, a stronger stimulus than {launch.amplitude:g} mV/ms."
        )
    if not _is_steady(first, second):
        raise InputError(
            f"planar wave: the wave of {type(model).__name__} is not steady: it runs at {first:.5g} and then at "
            f"{second:.5g} mm/ms. Take a longer strand, `launch=Launch(length=...)`; close to where waves stop "
            "there is no steady one."
        )
    return second


def planar_conduction(
    model: IonicModel,
    zetas: Sequence[float] | Float[np.ndarray, " n"] = ZETAS,
    *,
    name: str | None = None,
    dt: Number | None = None,
    launch: Launch = LAUNCH,
) -> Conduction:
    """Measure how a membrane conducts: kappa at several zetas, all in one run, and its limit for a fine grid.

    zetas at which no steady wave runs are left out if they are the largest ones: the table then ends before them, and a
    grid so coarse is refused by `Conduction`. The limit zeta -> 0 is extrapolated from the two finest zetas, because
    errors in space are of second order.

    Parameters
    ----------
    model
        Any membrane; its parameters must be numbers.
    zetas
        spacing / sqrt(D), sqrt(ms), increasing, at least two.
    name
        Of the result; None: that of the model's class.
    dt, launch
        As in `planar_speed`; one dt for all, None: 0.01 ms, or half of the largest stable one at the finest zeta.

    Raises
    ------
    InputError
        If steady waves run at fewer than two zetas, or not at one that is not among the largest, or as in
        `planar_speed`.

    Examples
    --------
    >>> from einthoven.ionic.mitchell_schaeffer_2003 import MitchellSchaeffer2003
    >>> heart = planar_conduction(MitchellSchaeffer2003(tau_in=0.4, tau_out=8.0), (0.5, 1.0, 2.0, 3.0), name="phantom")
    >>> heart
    Conduction('phantom', kappa 1.15 ms on a fine grid, up to spacing / sqrt(D) = 3 sqrt(ms))
    """
    steps, called = np.asarray(zetas, dtype=np.float64), name or type(model).__name__
    kappas = planar_kappas(model, steps, dt=dt, launch=launch)
    runs = np.isfinite(kappas)
    n = int(runs.sum())
    if n < 2 or not runs[:n].all():
        stopped = ", ".join(f"{z:g}" for z in steps[~runs])
        raise InputError(
            f"planar wave: no steady wave of {called} runs at spacing / sqrt(D) = {stopped} sqrt(ms), so that there "
            "is no table. Give smaller zetas, or a stronger stimulus or a longer strand by `launch`."
        )
    fine = _limit(steps, kappas)
    if not fine > 0.8 * kappas[0]:
        raise InputError(
            f"planar wave: the smallest zetas ({steps[0]:g} and {steps[1]:g} sqrt(ms)) are too coarse to extrapolate "
            f"to a fine grid for {called}. Begin with smaller ones."
        )
    return Conduction(np.append(0.0, steps[:n]), np.append(fine, kappas[:n]), called)


def planar_kappas(
    model: IonicModel,
    zetas: Sequence[float] | Float[np.ndarray, " n"],
    *,
    dt: Number | None = None,
    launch: Launch = LAUNCH,
) -> Float[np.ndarray, " n"]:
    """D / c^2 (ms) at several zetas, NaN where no steady wave runs; arguments and errors as of `planar_conduction`."""
    steps = np.asarray(zetas, dtype=np.float64)
    if steps.ndim != 1 or len(steps) < 1 or not (steps > 0).all() or not (np.diff(steps) > 0).all():
        raise InputError(
            f"planar wave: zetas must be a list of positive numbers (sqrt(ms)) that increase; got {zetas!r}."
        )
    spacing = float(steps[0] * np.sqrt(_REFERENCE))
    diffusivities = (spacing / steps) ** 2
    first, second = _speeds(model, _Strands.of(diffusivities, spacing, launch), dt, launch)
    return np.where(_is_steady(first, second), diffusivities / second**2, np.nan)


def _limit(zetas: Float[np.ndarray, " n"], kappas: Float[np.ndarray, " n"]) -> float:
    """Of kappa at zeta -> 0, from the two finest, whose errors are proportional to zeta^2."""
    squares = zetas[:2] ** 2
    return float((squares[1] * kappas[0] - squares[0] * kappas[1]) / (squares[1] - squares[0]))


# -- strands ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Strands:
    """Strands in one row of cells, a hole between each two.

    Parameters
    ----------
    tissue
        All of them.
    first, counts
        First node and number of nodes of each.
    stimulated
        Number of cells at the start of each that are stimulated.
    """

    tissue: Tissue
    first: Int[np.ndarray, " n"]
    counts: Int[np.ndarray, " n"]
    stimulated: Int[np.ndarray, " n"]

    @classmethod
    def of(cls, diffusivities: Float[np.ndarray, " n"], spacing: Number, launch: Launch) -> "_Strands":
        """One strand for each diffusivity."""
        _check_positive(spacing, "spacing", "mm")
        zetas = spacing / np.sqrt(diffusivities)
        stimulated = np.maximum(np.ceil(launch.stimulated / zetas), 4).astype(np.int64)
        counts = np.maximum(np.ceil(launch.length / zetas), FEWEST_CELLS).astype(np.int64)
        strand = np.repeat(np.arange(len(counts)), counts + 1)
        conducting = np.ones(len(strand), dtype=bool)
        conducting[np.cumsum(counts + 1) - 1] = False
        tissue = Tissue(Grid((len(strand),), float(spacing)), diffusivities[strand], conducting)
        return cls(tissue, np.cumsum(counts) - counts, counts, stimulated)

    @property
    def spacing(self) -> float:
        """Of the grid, mm."""
        return float(self.tissue.domain.spacing)  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def default_dt(self) -> float:
        """`LONGEST_DT`, or half of the largest stable step of explicit diffusion, ms."""
        return min(LONGEST_DT, 1.0 / self.tissue.coupling.largest_rate())

    def node(self, share: float) -> Int[np.ndarray, " n"]:
        """Node at a share of each strand's length."""
        return self.first + np.round(share * (self.counts - 1)).astype(np.int64)

    def protocol(self, launch: Launch) -> Protocol:
        """A stimulus at the start of every strand."""
        cells = np.concatenate([f + np.arange(k) for f, k in zip(self.first, self.stimulated, strict=True)])
        region = Nodes(self.tissue.nodes[cells])
        return Protocol((Stimulus(region, 0.0, launch.duration, launch.amplitude),))


def _speeds(model: IonicModel, strands: _Strands, dt: Number | None, launch: Launch) -> Float[np.ndarray, "2 n"]:
    """Speeds on both stretches of every strand, mm/ms; NaN where no wave comes through."""
    tissue, name = strands.tissue, type(model).__name__
    _check_parameters(model)
    _check_level(model, launch.level)
    engine = Engine(Monodomain(tissue, model, launch.scheme), strands.default_dt if dt is None else float(dt))
    engine.load(*resting_state(model, tissue.n_nodes))
    marks = np.stack([strands.node(share) for share in STRETCHES])
    pulses = Pulses.of(strands.protocol(launch), tissue, model, engine.dt)
    try:
        times = _arrivals(engine, pulses, marks[-1], launch.level)[marks]
    except BlowUp as trouble:
        raise InputError(
            f"planar wave: the potential of {name} left all bounds after {trouble.step * engine.dt:g} ms; take a "
            f"smaller dt than {engine.dt:g} ms or a weaker stimulus than {launch.amplitude:g} mV/ms."
        ) from None
    return np.diff(marks, axis=0) * strands.spacing / np.diff(times, axis=0)


def _arrivals(
    engine: Engine, pulses: Pulses, ends: Int[np.ndarray, " n"], level: float
) -> Float[np.ndarray, " n_nodes"]:
    """Times at which nodes become active, until all `ends` are or the wave has stopped everywhere; NaN: never."""
    at = float(engine.monodomain.model.scale.from_mv(level))
    found = Crossings.empty(1, engine.n_nodes, rise_level=at, fall_level=at)
    patience = max(round(PATIENCE / engine.dt), 1)
    chunk = max(patience // 12, 1)
    step, reached, since = 0, 0, 0
    while np.isnan(found.rise[0, ends]).any() and step - since < patience:
        engine.advance(chunk, step, pulses, found)
        step += chunk
        now = int(np.isfinite(found.rise[0]).sum())
        if now > reached:
            reached, since = now, step
    return found.rise[0]


# -- checks -----------------------------------------------------------------------------------------------------------


def _is_steady(first: Any, second: Any) -> Any:
    """Whether speeds on both stretches agree; not where there is none."""
    return np.abs(second - first) <= STEADY * np.abs(second)


def _check_positive(value: Number, name: str, unit: str) -> None:
    if not 0 < value < np.inf:
        raise InputError(f"planar wave: {name} must be a positive number, in {unit}; got {value:g}.")


def _check_parameters(model: IonicModel) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(model):
        where, value = jax.tree_util.keystr(path).lstrip("."), np.asarray(leaf)
        if value.ndim or not np.isfinite(value):
            raise InputError(
                f"planar wave: {type(model).__name__}.{where} must be one finite number; got "
                f"{f'shape {value.shape}' if value.ndim else value}. Measure one kind of cell at a time."
            )


def _check_level(model: IonicModel, level: Number) -> None:
    with jax.enable_x64(True):
        rest = float(model.scale.to_mv(np.asarray(model.rest()[0])))
    if not level > rest:
        raise InputError(
            f"planar wave: the level of activation ({level:g} mV) must lie above rest ({rest:g} mV); choose it by "
            "`launch=Launch(level=...)`."
        )
