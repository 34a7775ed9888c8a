"""Recover a map of diffusivity from activation times: gradient descent through the whole simulation.

A sheet holds a slow patch. Two paced beats give noisy activation times; log D on a coarse grid of knots is fitted to
them by Adam, with the exact gradient of the simulation. Writes the maps, the scores and a page.
"""

import argparse
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from einthoven.cli import console
from einthoven.ionic.aliev_panfilov_1996 import AlievPanfilov1996
from einthoven.protocol import Box, Protocol, Stimulus
from einthoven.report.figure_page import write_figure_page
from einthoven.simulate import Monodomain
from einthoven.simulate.differentiable import Currents, DifferentiableMonodomain
from einthoven.tissue import Grid, Tissue

HEALTHY, SPACING, DT, NOISE_MS, SEED = 0.1, 0.5, 0.25, 0.3, 7


def slow_patch(tissue: Tissue) -> np.ndarray:
    """Factor of the diffusivity: 0.35 in a soft-edged disk."""
    size = np.ptp(tissue.coordinates, axis=0)
    distance = np.linalg.norm(tissue.coordinates - np.array([0.62, 0.4]) * size, axis=1)
    return 1.0 - 0.65 / (1.0 + np.exp((distance - 0.22 * size[0]) / 0.4))


def knots_to_nodes(tissue: Tissue, knots: int) -> np.ndarray:
    """Bilinear interpolation from knots x knots values to the nodes, as a matrix."""
    place = tissue.coordinates / np.ptp(tissue.coordinates, axis=0) * (knots - 1)
    hats = np.clip(1.0 - np.abs(place[:, :, None] - np.arange(knots)), 0.0, None)
    return (hats[:, 0, :, None] * hats[:, 1, None, :]).reshape(tissue.n_nodes, knots**2)


def beats(tissue: Tissue) -> list[Currents]:
    """One beat from the left edge, one from the lower edge."""
    far, edge = 1e3, 1.2
    boxes = (Box((-far, -far), (edge, far)), Box((-far, -far), (far, edge)))
    return [Currents.of(Protocol((Stimulus(box, 0.0, 2.0, 40.0),)), tissue) for box in boxes]


def fit(side: int, knots: int, iterations: int) -> dict:
    """Simulate the measurement, then fit it."""
    tissue, model = Tissue.isotropic(Grid((side, side), SPACING), HEALTHY), AlievPanfilov1996(time_unit=2.0)
    run = DifferentiableMonodomain(Monodomain(tissue, model), dt=DT, t_end=5.0 * side, every=5.0, keep_vm=False)
    currents, spread, truth = beats(tissue), knots_to_nodes(tissue, knots), slow_patch(tissue)

    def activation(factor):
        return jnp.stack([run(model, run.scaled(factor), c).activation for c in currents])

    clean = np.asarray(activation(truth))
    measured = clean + NOISE_MS * np.random.default_rng(SEED).standard_normal(clean.shape)

    def misfit(log_knots):
        simulated = activation(jnp.exp(spread @ log_knots))
        both = jnp.isfinite(simulated) & np.isfinite(measured)
        return jnp.where(both, (jnp.where(both, simulated, 0.0) - measured) ** 2, 0.0).sum() / both.sum()

    optimizer = optax.adam(0.1)

    @jax.jit
    def update(log_knots, memory):
        value, gradient = jax.value_and_grad(misfit)(log_knots)
        change, memory = optimizer.update(gradient, memory)
        return optax.apply_updates(log_knots, change), memory, value

    log_knots, history = jnp.zeros(knots**2), []
    memory = optimizer.init(log_knots)
    for _ in range(iterations):
        log_knots, memory, value = update(log_knots, memory)
        history.append(float(value) ** 0.5)
    found = np.exp(spread @ np.asarray(log_knots))
    return {"tissue": tissue, "truth": truth, "found": found, "measured": measured, "misfit_ms": np.array(history)}


def scores(result: dict) -> dict:
    """How near the fitted map is to the truth; the misfit can fall to the noise and not below."""
    truth, found = HEALTHY * result["truth"], HEALTHY * result["found"]
    return {
        "method": "activation times, gradient descent",
        "correlation": float(np.corrcoef(truth, found)[0, 1]),
        "relative_error": float(np.linalg.norm(found - truth) / np.linalg.norm(truth)),
        "relative_error_of_a_uniform_map": float(np.linalg.norm(HEALTHY - truth) / np.linalg.norm(truth)),
        "misfit_before_ms": float(result["misfit_ms"][0]),
        "misfit_after_ms": float(result["misfit_ms"][-1]),
        "noise_ms": NOISE_MS,
        "seed": SEED,
    }


def figure(result: dict):
    """True map, fitted map, measured times of both beats, misfit."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    canvas = Figure(figsize=(13.5, 2.7), layout="constrained")
    axes, tissue = canvas.subplots(1, 5), result["tissue"]
    truth, found = HEALTHY * result["truth"], HEALTHY * result["found"]
    conductive = (min(truth.min(), found.min()), max(truth.max(), found.max()))
    times = (0.0, float(np.nanmax(result["measured"])))
    maps = (
        (truth, "true D (mm2/ms)", "viridis", conductive),
        (found, "fitted D (mm2/ms)", "viridis", conductive),
        (result["measured"][0], "measured, from the left (ms)", "RdYlBu", times),
        (result["measured"][1], "measured, from below (ms)", "RdYlBu", times),
    )
    extent = [b for n in tissue.domain.shape for b in (0.0, n * SPACING)]
    for panel, (values, title, colors, (low, high)) in zip(axes, maps, strict=False):
        image = panel.imshow(tissue.fill(values).T, origin="lower", cmap=colors, vmin=low, vmax=high, extent=extent)
        canvas.colorbar(image, ax=panel, shrink=0.8)
        panel.set_title(title, fontsize=9)
        panel.set_xlabel("x (mm)", fontsize=8)
        panel.tick_params(labelsize=8)
    last = axes[4]
    last.semilogy(result["misfit_ms"])
    last.axhline(NOISE_MS, color="gray", linestyle=":")
    ticks = [t for t in (0.3, 0.5, 1.0, 2.0, 3.0, 5.0) if t <= 1.1 * result["misfit_ms"][0]]
    last.set_yticks(ticks, [f"{t:g}" for t in ticks])
    last.yaxis.set_minor_formatter(NullFormatter())
    last.set_xlabel("iteration", fontsize=8)
    last.set_title("misfit (ms), noise dotted", fontsize=9)
    last.tick_params(labelsize=8)
    last.set_box_aspect(1.0)
    return canvas


def write(result: dict, out: Path) -> Path:
    """Write figure, scores, arrays and page."""
    page = write_figure_page(
        out,
        "fit_conductivity",
        figure(result),
        scores(result),
        title="Diffusivity from activation times",
        alt="True and fitted map, measured times, misfit",
    )
    np.savez(out / "maps.npz", truth=HEALTHY * result["truth"], found=HEALTHY * result["found"])
    return page


def main() -> int:
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/fit_conductivity"))
    parser.add_argument("--smoke", action="store_true", help="a smaller sheet and fewer iterations")
    options = parser.parse_args()
    with jax.enable_x64(True):
        result = fit(16, 4, 25) if options.smoke else fit(32, 7, 80)
    page, row = write(result, options.out), scores(result)
    console.say(
        f"correlation of the fitted with the true diffusivity {row['correlation']:.3f}; misfit "
        f"{row['misfit_before_ms']:.2f} -> {row['misfit_after_ms']:.2f} ms at noise {NOISE_MS:g} ms"
    )
    console.say(f"page: {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
