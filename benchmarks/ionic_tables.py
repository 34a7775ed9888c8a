"""Membrane models: action potentials, restitution, planar waves, smooth thresholds, drift at rest, cost.

    python benchmarks/ionic_tables.py --out out/bench [--smoke]

Prints and writes ``ionic_tables.json`` and ``ionic_tables.md``: the tables of docs/concepts/membrane-models.md.
"""

import argparse
import dataclasses
import json
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from _tables import markdown

from einthoven.ionic.action_potential import action_potentials, restitution
from einthoven.ionic.cell import pace, recorded, start
from einthoven.ionic.model import IonicModel
from einthoven.ionic.registry import MODELS, by_label, model, smoothed
from einthoven.ionic.stepping import reaction_step
from einthoven.ionic.ten_tusscher_panfilov_2006 import TenTusscherPanfilov2006

# mm2/ms; the papers' values where they name one, else the project's atrial value
DIFFUSIVITY = {"ten-tusscher": 0.154, "bueno-orovio": 0.1171}


def of(name: str, table: dict[str, float], default: float = 0.1) -> float:
    return next((value for key, value in table.items() if name.startswith(key)), default)


def groups(*prefixes: str) -> list[list[str]]:
    """Names by class: cells of one class run together."""
    found: dict[str, list[str]] = {}
    for name in MODELS:
        if not prefixes or name.startswith(prefixes):
            found.setdefault(type(model(name)).__name__, []).append(name)
    return list(found.values())


def together(names: list[str], **change: float) -> IonicModel:
    """One uncoupled cell of every kind."""
    return by_label(np.array(names), {n: model(n, **change) for n in names})


def planar_wave(membrane: IonicModel, diffusivity: float, *, dx: float, dt: float) -> tuple[float, float]:
    """Speed, mm/ms, from 8 to 16 mm of a 20 mm cable, at -40 mV, and largest dV/dt, V/s, at 12 mm; NaN if it stops."""
    n = round(20.0 / dx)
    with jax.enable_x64(True):
        v, states = jax.tree.map(lambda x: jnp.full(n, x), start(membrane))
        drive = jnp.where(jnp.arange(n) * dx < 2.0, 60.0 / membrane.scale.amplitude, 0.0)
        at, steps = np.float64(dt), np.int64(round(160.0 / dt))
        arrival, upstroke = cable(
            membrane, v, states, drive, np.float64(diffusivity / dx**2), at, steps, round(12.0 / dx)
        )
        arrival = np.asarray(arrival)
    a, b = round(8.0 / dx), round(16.0 / dx)
    if not np.isfinite(arrival[b]):
        return float("nan"), float("nan")
    return float((b - a) * dx / (arrival[b] - arrival[a])), float(upstroke)


@eqx.filter_jit
def cable(membrane, v, states, drive, rate, dt, n_steps, probe):
    """Times at which every node passes -40 mV first, and the largest dV/dt at the probe."""
    level = membrane.scale.from_mv(-40.0)

    def step(k, carry):
        v, states, arrival, upstroke = carry
        ends = jnp.pad(v, 1, mode="edge")
        spread = rate * (ends[2:] - 2.0 * v + ends[:-2]) + jnp.where(k * dt < 2.0, drive, 0.0)
        new, states = reaction_step(membrane, v + dt * spread, states, dt)
        first = jnp.isinf(arrival) & (v < level) & (new >= level)
        time = (k + (level - v) / jnp.where(first, new - v, 1.0)) * dt
        return new, states, jnp.where(first, time, arrival), jnp.maximum(upstroke, (new - v)[probe] / dt)

    def going(carry):
        return (carry[0] < n_steps) & jnp.isinf(carry[1][2][-1])

    def both(carry):
        return carry[0] + 1, step(*carry)

    first = (v, states, jnp.full_like(v, jnp.inf), jnp.zeros_like(v[0]))
    _, (_, _, arrival, upstroke) = jax.lax.while_loop(going, both, (jnp.zeros_like(n_steps), first))
    return arrival, membrane.scale.amplitude * upstroke


def potentials(n_beats: int, dt: float) -> list[dict]:
    """1 Hz, last of n_beats, 52 mV/ms for 1 ms."""
    rows = []
    for names in groups():
        for name, ap in zip(names, action_potentials(pace(together(names), n_beats=n_beats, dt=dt)), strict=True):
            row = {"model": name, "rest (mV)": ap.resting, "amplitude (mV)": ap.amplitude}
            row |= {"dV/dt max (V/s)": ap.upstroke_velocity, "APD50 (ms)": ap.apd(50.0), "APD90 (ms)": ap.apd(90.0)}
            rows.append(row)
    return rows


def convergence(n_beats: int, steps: tuple[float, ...]) -> list[dict]:
    """APD90 of the last of n_beats at 1 Hz for several dt."""
    rows = []
    for names in groups("bueno", "ten", "court"):
        found = {dt: action_potentials(pace(together(names), n_beats=n_beats, dt=dt)) for dt in steps}
        for k, name in enumerate(names):
            rows.append({"model": name} | {f"dt {dt:g} ms": aps[k].apd(90.0) for dt, aps in found.items()})
    return rows


def accommodation(counts: tuple[int, ...], dt: float) -> list[dict]:
    """APD90 at 1 Hz after more and more beats, for the models whose concentrations drift."""
    rows = []
    for names in groups("ten", "court"):
        membrane, state, done = together(names), None, 0
        part: list[dict] = [{"model": name} for name in names]
        for count in counts:
            paced = pace(membrane, n_beats=count - done, dt=dt, state=state)
            state, done = paced.state, count
            for row, ap in zip(part, action_potentials(paced), strict=True):
                row[f"APD90 of beat {count} (ms)"] = ap.apd(90.0)
            for k, row in enumerate(part):
                for ion in ("na_i", "k_i"):
                    row[f"{ion} (mM)"] = float(np.atleast_1d(state[1][membrane.states.index(ion)])[k])
        rows += part
    return rows


def restitutions(intervals: np.ndarray, n_s1: int, dt: float) -> list[dict]:
    """S1 1000 ms."""
    rows = []
    for name in MODELS:
        curve = restitution(model(name), intervals, n_s1=n_s1, dt=dt)
        row: dict = {"model": name}
        row |= {f"APD90 (ms) at DI {di:g} ms": curve.at(di) for di in (30.0, 60.0, 100.0, 200.0, 400.0)}
        rows.append(row | {"largest slope above 30 ms": curve.largest_slope(30.0)})
    return rows


def waves(grids: tuple[tuple[float, float], ...]) -> list[dict]:
    """First wave from rest."""
    rows = []
    for name in MODELS:
        d = of(name, DIFFUSIVITY)
        row: dict = {"model": name, "D (mm2/ms)": d}
        for dx, dt in grids:
            row[f"dx {dx:g} mm, dt {dt:g} ms"], upstroke = planar_wave(model(name), d, dx=dx, dt=dt)
        rows.append(row | {"dV/dt max there (V/s)": upstroke})
    return rows


def widths(factors: tuple[float, ...], n_beats: int, dt: float, dx: float) -> list[dict]:
    """Shift of APD90 and of the planar speed by logistic thresholds, against the exact ones at the same dt and dx."""
    rows = []
    for names in [g for g in groups() if not model(g[0]).is_smooth]:
        unit = type(model(names[0])).smooth_width
        part: list[dict] = [{"model": name, "recommended width": unit} for name in names]
        exact = action_potentials(pace(together(names), n_beats=n_beats, dt=dt))
        speed = [planar_wave(model(n), of(n, DIFFUSIVITY), dx=dx, dt=0.01)[0] for n in names]
        for factor, width in ((f, f * unit) for f in factors):
            smooth = action_potentials(pace(together(names, gate_width=width), n_beats=n_beats, dt=dt))
            for k, name in enumerate(names):
                now, _ = planar_wave(model(name, gate_width=width), of(name, DIFFUSIVITY), dx=dx, dt=0.01)
                shift, change = smooth[k].apd(90.0) - exact[k].apd(90.0), 100 * (now / speed[k] - 1)
                part[k][f"{factor:g} times that"] = f"{shift:+.2f} ms, {change:+.2f} %"
        rows += part
    return rows


def gradients(dt: float) -> list[dict]:
    """Derivative of a beat's mean potential with respect to the logarithm of a parameter: automatic over difference."""
    probes = (("mitchell-schaeffer-2003", ("tau_in", "tau_close", "v_gate"), 400.0),)
    probes += (("fenton-karma-1998-mlr-i", ("tau_d", "tau_si", "u_c"), 400.0),)
    probes += (("bueno-orovio-2008-epi", ("tau_fi", "tau_si", "theta_w"), 400.0),)
    probes += (("ten-tusscher-panfilov-2006-epi", ("g_na", "g_ca_l", "g_kr"), 400.0),)
    rows = []
    for name, fields, duration in probes:
        for membrane in (model(name), smoothed(model(name))):
            row: dict = {"model": name, "gate_width": membrane.gate_width}
            for k, field in enumerate(fields):
                automatic, difference = slope(membrane, field, duration, dt)
                row[f"parameter {k + 1}"] = f"{field}: {automatic:.4g} for {difference:.4g}"
            rows.append(row)
    return rows


def slope(membrane: IonicModel, field: str, duration: float, dt: float) -> tuple[float, float]:
    """Derivative of the mean potential, mV, with respect to log(field): automatic, and by a difference over 2 %."""
    with jax.enable_x64(True):
        v, states = start(membrane)
        current = jnp.where(jnp.arange(round(duration / dt)) * dt < 1.0, 52.0 / membrane.scale.amplitude, 0.0)
        value = float(getattr(membrane, field))

        def mean(logarithm):
            m = dataclasses.replace(membrane, **{field: value * jnp.exp(logarithm)})

            def step(state, i):
                new = reaction_step(m, state[0] + dt * i, state[1], dt)
                return new, new[0]

            return m.scale.amplitude * jax.lax.scan(step, (v, states), current)[1].mean()

        both = jax.jit(lambda x: jax.jvp(mean, (x,), (jnp.ones_like(x),)))
        automatic = float(both(np.float64(0.0))[1])
        return automatic, (float(both(np.float64(0.01))[0]) - float(both(np.float64(-0.01))[0])) / 0.02


def drifts(dt: float) -> list[dict]:
    """What rest() does in 1 s without a stimulus."""
    rows = []
    for name in MODELS:
        membrane = model(name)
        with jax.enable_x64(True):
            v, states = start(membrane)
            (_, after), trace = recorded(membrane, v, states, jnp.zeros(round(1000 / dt)), np.float64(dt))
            trace = np.asarray(membrane.scale.to_mv(trace))
            change = {n: float(abs(b - a)) for n, a, b in zip(membrane.states, states, after, strict=True)}
        most = max(change, key=change.__getitem__)
        row = {"model": name, "v (mV)": float(abs(trace - trace[0]).max())}
        rows.append(row | {"most changed state": most, "by": change[most]})
    return rows


def costs() -> list[dict]:
    """Operations of one reaction_step as the kernels see them."""
    rows = []
    for name in dict.fromkeys(type(model(n)).__name__ for n in MODELS):
        membrane = next(model(n) for n in MODELS if type(model(n)).__name__ == name)
        with jax.enable_x64(True):
            v, states = start(membrane)
            jaxpr = jax.make_jaxpr(lambda v, s, m=membrane: reaction_step(m, v, s, 0.02))(v, states)
        used = [e.primitive.name for e in jaxpr.eqns]
        row = {"class": name, "states besides v": len(membrane.states), "operations": len(used)}
        row["exp, logistic, log, sqrt"] = sum(used.count(p) for p in ("exp", "logistic", "log", "sqrt"))
        rows.append(row | {"divisions": used.count("div")})
    return rows


def f2_variants(n_beats: int, dt: float) -> list[dict]:
    """The two time constants of f2 in circulation."""
    rows = []
    (names,) = groups("ten")
    for title, change in (("CellML", {}), ("authors' program", TenTusscherPanfilov2006.authors_f2())):
        aps = action_potentials(pace(together(names, **change), n_beats=n_beats, dt=dt))
        rows.append({"time constant of f2": title} | {n: ap.apd(90.0) for n, ap in zip(names, aps, strict=True)})
    return rows


def main(out: Path, smoke: bool) -> dict:
    """Compute all tables, print them and write them under `out`."""
    n_beats, dt = (2, 0.05) if smoke else (10, 0.02)
    intervals = [400.0, 600.0] if smoke else [*np.arange(160.0, 500.0, 10.0), 550.0, 600.0, 700.0, 850.0, 1000.0]
    grids = ((0.25, 0.02),) if smoke else ((0.5, 0.02), (0.25, 0.02), (0.1, 0.01), (0.05, 0.005))
    factors, dx = ((1.0,), 0.25) if smoke else ((0.5, 1.0, 2.0), 0.1)
    tables = {
        "Action potentials at 1 Hz": potentials(n_beats, dt),
        "Time step": convergence(2, (0.05,) if smoke else (0.05, 0.02, 0.01, 0.005)),
        "Accommodation at 1 Hz": accommodation((1, 2) if smoke else (1, 10, 100), 0.05),
        "S1-S2 restitution": restitutions(np.array(intervals), n_beats, 0.05),
        "Planar waves": waves(grids),
        "Smooth thresholds": widths(factors, 2, dt, dx),
        "Gradients": gradients(0.05),
        "Drift at rest": drifts(0.05),
        "Two time constants of f2": f2_variants(n_beats, 0.05),
        "Cost": costs(),
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "ionic_tables.json").write_text(json.dumps(tables, indent=1))
    (out / "ionic_tables.md").write_text("# Membrane models\n\n" + markdown(tables))
    print(markdown(tables))
    return tables


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="folder for the tables")
    parser.add_argument("--smoke", action="store_true", help="few beats, coarse grids")
    arguments = parser.parse_args()
    main(arguments.out, arguments.smoke)
