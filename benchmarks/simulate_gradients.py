"""Cost and memory of gradients through the simulation: with and without checkpoints, on a grid and on a surface.

Memory is what the compiled program asks for beyond its arguments and results (XLA's own plan), in fields: arrays of
one number per node. Times are processor time of all threads, the best of three, compilation apart. What is timed is
the gradient with respect to the diffusivity of every node and to all parameters of the membrane.

    python benchmarks/simulate_gradients.py --out out/bench
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from einthoven.geometry.generators import sphere
from einthoven.ionic import IonicModel
from einthoven.ionic.aliev_panfilov_1996 import AlievPanfilov1996
from einthoven.ionic.registry import smoothed
from einthoven.ionic.ten_tusscher_panfilov_2006 import TenTusscherPanfilov2006
from einthoven.protocol import Ball, Protocol, Stimulus
from einthoven.simulate import Monodomain
from einthoven.simulate.differentiable import Currents, DifferentiableMonodomain
from einthoven.tissue import Grid, Tissue

DT, EVERY = 0.05, 0.5


def loss_of(tissue: Tissue, model: IonicModel, *, steps: int, levels: int) -> Callable:
    """Mean square of the last potential as a function of membrane and factors of the diffusivity."""
    run = DifferentiableMonodomain(
        Monodomain(tissue, model), dt=DT, t_end=steps * DT, every=EVERY, keep_vm=False, levels=levels
    )
    once = Protocol((Stimulus(Ball(tuple(tissue.points[0]), 3.0), 0.5, 2.0, 40.0),))
    currents = Currents.of(once, tissue)
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


def cell(name: str, tissue: Tissue, model: IonicModel, *, steps: int, levels: int) -> dict:
    """One row of the table."""
    arguments = (model, np.ones(tissue.n_nodes))
    loss = loss_of(tissue, model, steps=steps, levels=levels)
    forward, _ = compiled(loss, arguments)
    gradient, compile_s = compiled(jax.grad(loss, argnums=(0, 1)), arguments)
    memory = gradient.memory_analysis().temp_size_in_bytes
    forward_s, gradient_s = seconds(forward, arguments), seconds(gradient, arguments)
    return {
        "case": name,
        "nodes": tissue.n_nodes,
        "steps": steps,
        "levels": levels,
        "memory_mb": memory / 1e6,
        "fields": memory / (8 * tissue.n_nodes),
        "forward_ns": 1e9 * forward_s / (steps * tissue.n_nodes),
        "gradient_ns": 1e9 * gradient_s / (steps * tissue.n_nodes),
        "gradient_over_forward": gradient_s / forward_s,
        "compile_s": compile_s,
    }


def cells(smoke: bool) -> list[dict]:
    """The rows: memory against steps, then other tissues and membranes."""
    side, membrane = (16, AlievPanfilov1996(time_unit=1.0)) if smoke else (64, AlievPanfilov1996())
    sheet = Tissue.isotropic(Grid((side, side), 0.5), 0.1)
    plan = (
        [(100, 0), (100, 2)]
        if smoke
        else [(s, n) for s in (200, 800, 3200) for n in (0, 1, 2, 3) if s * (n == 0) < 3200]
    )
    rows = [cell("Aliev-Panfilov, sheet", sheet, membrane, steps=s, levels=n) for s, n in plan]
    if smoke:
        return rows
    block = Tissue.isotropic(Grid((16, 16, 16), 0.5), 0.1)
    shell = Tissue.isotropic(sphere(20.0, subdivisions=4), 0.1)
    rich = smoothed(TenTusscherPanfilov2006.epi())
    for name, tissue, model in (
        ("Aliev-Panfilov, block", block, membrane),
        ("Aliev-Panfilov, surface", shell, membrane),
        ("ten Tusscher-Panfilov, sheet", sheet, rich),
    ):
        rows.append(cell(name, tissue, model, steps=400, levels=2))
    return rows


def markdown(rows: list[dict]) -> str:
    """A table."""
    lines = [
        "# Gradients through the simulation",
        "",
        "| case | nodes | steps | levels | memory, fields | MB | forward, ns per node and step | gradient, ns | ratio | "
        "compilation, s |",
        "| compilation, s |",
        "|" + "---|" * 10,
    ]
    lines += [
        f"| {r['case']} | {r['nodes']} | {r['steps']} | {r['levels']} | {r['fields']:.0f} | {r['memory_mb']:.1f} | "
        f"{r['forward_ns']:.1f} | {r['gradient_ns']:.1f} | {r['gradient_over_forward']:.1f} | {r['compile_s']:.1f} |"
        for r in rows
    ]
    return "\n".join(lines) + "\n"


def main(out: Path, smoke: bool) -> dict:
    """Measure, print the table and write it under `out`."""
    with jax.enable_x64(True):
        rows = cells(smoke)
        device = str(jnp.zeros(1).devices().pop())
    text = markdown(rows) + f"\nDevice: {device}; float64.\n"
    out.mkdir(parents=True, exist_ok=True)
    (out / "simulate_gradients.md").write_text(text)
    (out / "simulate_gradients.json").write_text(json.dumps(rows, indent=1))
    print(text)
    return {"cells": rows, "device": device}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="folder for the tables")
    parser.add_argument("--smoke", action="store_true", help="a small sheet, seconds")
    options = parser.parse_args()
    main(options.out, options.smoke)
