"""Gradients through the simulation: agreement with finite differences, cost, memory against the number of steps.

Agreement: the mean square of the potential at all samples, differentiated along one direction of each input, against
central differences of fourth order with steps h and 2 h; relative to the difference. Printed is the best of four h,
3e-5 to 1e-3 of the direction.

Memory: what the compiled program asks for beyond its arguments and results (XLA's own plan), and the growth of the
process' peak resident memory while it runs (Linux only; near 0 where a small program finds room in what the process
already holds). A field is one number per node.

Times are processor time of all threads, the best of three, compilation apart. What is timed is the gradient with
respect to the diffusivity of every node and to all parameters of the membrane. The engine is that of `simulate`.

    python benchmarks/simulate_gradients.py --out out/bench
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numba
import numpy as np

from einthoven.geometry.generators import sphere
from einthoven.ionic.aliev_panfilov_1996 import AlievPanfilov1996
from einthoven.ionic.registry import model, smoothed
from einthoven.protocol import Ball, Protocol, Stimulus
from einthoven.simulate import Explicit, Godunov, Monodomain, Strang
from einthoven.simulate.differentiable import Currents, DifferentiableMonodomain
from einthoven.simulate.engine import Engine
from einthoven.simulate.pulses import Pulses
from einthoven.simulate.run import resting_state
from einthoven.simulate.schemes import Scheme
from einthoven.studies.provenance import machine, versions
from einthoven.tissue import Grid, Tissue

DT, EVERY = 0.05, 0.5

#: Nodes of the sheet of the first table.
SHEET = (10, 6)

#: Membranes of the first table, a parameter of each, and the time step, ms.
MEMBRANES = {
    "aliev-panfilov-1996": ("k", 0.1),
    "mitchell-schaeffer-2003": ("v_gate", 0.05),
    "fenton-karma-1998-mlr-i": ("tau_d", 0.05),
    "bueno-orovio-2008-epi": ("tau_fi", 0.05),
    "ten-tusscher-panfilov-2006-epi": ("g_na", 0.02),
    "courtemanche-ramirez-nattel-1998": ("g_na", 0.02),
}


# -- agreement with finite differences --------------------------------------------------------------------------------


def agreement(name: str, scheme: Scheme) -> dict:
    """One row: the relative difference of the two derivatives for each input."""
    parameter, dt = MEMBRANES[name]
    membrane, sheet = smoothed(model(name)), Tissue.isotropic(Grid(SHEET, 0.5), 0.1)
    run = DifferentiableMonodomain(Monodomain(sheet, membrane, scheme), dt=dt, t_end=15.0, every=0.5)
    currents = Currents.of(corner(sheet, amplitude=60.0), sheet, edge=0.5)

    @jax.jit
    def loss(x: tuple) -> Any:
        value, factor, currents = x
        changed = eqx.tree_at(lambda m: getattr(m, parameter), membrane, value)
        return (run(changed, run.scaled(factor), currents).vm ** 2).mean()

    x = jax.tree.map(jnp.asarray, (getattr(membrane, parameter), np.ones(sheet.n_nodes), currents))
    gradient = jax.jit(jax.grad(loss))(x)
    picks: dict[str, tuple[Callable, Any]] = {
        "diffusivity": (lambda t: t[1], np.random.default_rng(0).normal(size=sheet.n_nodes)),
        "parameter": (lambda t: t[0], np.asarray(x[0])),
        "amplitude": (lambda t: t[2].amplitude, np.asarray(x[2].amplitude)),
        "onset": (lambda t: t[2].onset, np.ones(1)),
        "duration": (lambda t: t[2].duration, np.ones(1)),
    }
    row = {"membrane": name, "scheme": described(scheme), "dt (ms)": dt, "varied parameter": parameter}
    for part, (pick, direction) in picks.items():
        expected = [central(loss, x, pick, direction, h) for h in (1e-3, 3e-4, 1e-4, 3e-5)]
        found = float((pick(gradient) * direction).sum())
        row[part] = f"{min(abs(found - e) / abs(e) for e in expected):.0e}"
    return row


def central(loss: Callable, x: Any, pick: Callable, direction: Any, h: float) -> float:
    """Derivative along a direction, fourth order in h."""
    at = [float(loss(eqx.tree_at(pick, x, pick(x) + k * h * direction))) for k in (-2, -1, 1, 2)]
    return (8 * (at[2] - at[1]) - (at[3] - at[0])) / (12 * h)


def corner(tissue: Tissue, *, amplitude: float) -> Protocol:
    return Protocol((Stimulus(Ball(tuple(tissue.points[0]), 1.6), 0.5, 2.0, amplitude),))


def described(scheme: Scheme) -> str:
    return f"{type(scheme).__name__}, {type(scheme.diffusion).__name__.lower()}"


def agreements(smoke: bool) -> list[dict]:
    """Rows of the first table."""
    names = list(MEMBRANES)[:1] if smoke else list(MEMBRANES)
    rows = [agreement(name, Godunov()) for name in names]
    return [*rows, *(agreement(name, Strang()) for name in (names[:1] if smoke else [names[0], names[4]]))]


# -- cost and memory --------------------------------------------------------------------------------------------------


def loss_of(system: Monodomain, *, steps: int, levels: int) -> Callable:
    """Mean square of the last potential as a function of membrane and factors of the diffusivity."""
    run = DifferentiableMonodomain(system, dt=DT, t_end=steps * DT, every=EVERY, keep_vm=False, levels=levels)
    currents = Currents.of(corner(system.tissue, amplitude=40.0), system.tissue)
    return lambda model, factor: (run(model, run.scaled(factor), currents).last.v ** 2).mean()


def compiled(function: Callable, arguments: tuple) -> tuple:
    """The compiled function and the processor seconds that took."""
    start = time.process_time()
    program = jax.jit(function).lower(*arguments).compile()
    return program, time.process_time() - start


def seconds(program: Callable, arguments: tuple) -> float:
    """Processor time, best of three."""
    taken = []
    for _ in range(3):
        start = time.process_time()
        jax.block_until_ready(program(*arguments))
        taken.append(time.process_time() - start)
    return min(taken)


def resident_growth(program: Callable, arguments: tuple) -> float:
    """By how many MB a run lifts the peak of the resident memory; NaN where the system does not tell."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not status.exists() or not reset.exists():
        return float("nan")

    def kilobytes(key: str) -> int:
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(key))

    reset.write_text("5")
    before = kilobytes("VmRSS:")
    jax.block_until_ready(program(*arguments))
    return (kilobytes("VmHWM:") - before) * 1024 / 1e6


def engine_seconds(system: Monodomain, steps: int) -> float:
    """Processor time of the compiled engine for the same steps, one thread (waiting ones count), best of three."""
    engine, state = Engine(system, DT), resting_state(system.model, system.tissue.n_nodes)
    pulses = Pulses.of(corner(system.tissue, amplitude=40.0), system.tissue, system.model, DT)

    def go() -> None:
        engine.load(*state)
        engine.advance(steps, 0, pulses)

    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    go()
    taken = seconds(go, ())
    numba.set_num_threads(threads)
    return taken


def cost(name: str, system: Monodomain, *, steps: int, levels: int) -> dict:
    """One row of the second table."""
    n = system.tissue.n_nodes
    arguments = (system.model, np.ones(n))
    loss = loss_of(system, steps=steps, levels=levels)
    forward, _ = compiled(loss, arguments)
    gradient, compile_s = compiled(jax.grad(loss, argnums=(0, 1)), arguments)
    planned = gradient.memory_analysis().temp_size_in_bytes
    grown = resident_growth(gradient, arguments)
    forward_s, gradient_s = seconds(forward, arguments), seconds(gradient, arguments)
    return {
        "case": name,
        "nodes": n,
        "steps": steps,
        "levels": levels,
        "memory, fields": round(planned / (8 * n)),
        "memory, MB": planned / 1e6,
        "resident, MB": grown,
        "engine, ns per node and step": 1e9 * engine_seconds(system, steps) / (steps * n),
        "forward, ns": 1e9 * forward_s / (steps * n),
        "gradient, ns": 1e9 * gradient_s / (steps * n),
        "gradient over forward": gradient_s / forward_s,
        "compilation, s": compile_s,
    }


def costs(smoke: bool) -> list[dict]:
    """Memory against steps, then other tissues, membranes and schemes."""
    side, membrane = (16, AlievPanfilov1996(time_unit=1.0)) if smoke else (64, AlievPanfilov1996())
    sheet = Tissue.isotropic(Grid((side, side), 0.5), 0.1)
    plan = [(s, n) for n in (0, 2) for s in (100, 200)]
    if not smoke:
        plan = [(s, n) for n in (0, 1, 2, 3) for s in (200, 800, 3200) if s * (n == 0) < 3200]
    rows = [cost("Aliev-Panfilov, sheet", Monodomain(sheet, membrane), steps=s, levels=n) for s, n in plan]
    if smoke:
        return rows
    block = Tissue.isotropic(Grid((16, 16, 16), 0.5), 0.1)
    shell = Tissue.isotropic(sphere(20.0, subdivisions=4), 0.1)
    rich = smoothed(model("ten-tusscher-panfilov-2006-epi"))
    others = {
        "Aliev-Panfilov, sheet, Strang": Monodomain(sheet, membrane, Strang(Explicit(order=2))),
        "Aliev-Panfilov, block": Monodomain(block, membrane),
        "Aliev-Panfilov, surface": Monodomain(shell, membrane),
        "ten Tusscher-Panfilov, sheet": Monodomain(sheet, rich),
    }
    return rows + [cost(name, system, steps=400, levels=2) for name, system in others.items()]


# -- tables -----------------------------------------------------------------------------------------------------------


def markdown(rows: list[dict]) -> str:
    """A table."""
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    for row in rows:
        lines.append("| " + " | ".join(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()) + " |")
    return "\n".join(lines) + "\n"


def main(out: Path, smoke: bool) -> dict:
    """Measure, print the tables and write them under `out`."""
    facts = machine()
    with jax.enable_x64(True):
        device = f"{jnp.zeros(1).devices().pop()}; {facts['processor']}, {facts['cores']} cores; float64"
        tables = {"Agreement with central differences": agreements(smoke), "Cost and memory": costs(smoke)}
    text = "# Gradients through the simulation\n\n"
    text += "\n".join(f"## {title}\n\n{markdown(rows)}" for title, rows in tables.items())
    text += f"\nDevice: {device}. The sheet of the first table has {SHEET[0]} x {SHEET[1]} nodes.\n"
    out.mkdir(parents=True, exist_ok=True)
    (out / "simulate_gradients.md").write_text(text)
    result = {"tables": tables, "machine": facts, "versions": versions()}
    (out / "simulate_gradients.json").write_text(json.dumps(result, indent=1))
    print(text)
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="folder for the tables")
    parser.add_argument("--smoke", action="store_true", help="a small sheet, seconds")
    options = parser.parse_args()
    main(options.out, options.smoke)
