"""The pointwise EAND-ARN trained long: loss, misfit and error against seconds. Needs only NumPy and JAX.

One file holds everything (`--prepare` writes it, with einthoven installed): operator, mesh, data, start and truth of
the case `one focus` of `einthoven.studies.bench_cases`. Training knows the truth only to print the error.

    python benchmarks/gpu_eand_arn.py --prepare case.npz
    python benchmarks/gpu_eand_arn.py case.npz --sigma 5 --seconds 180 --out out/gpu
    python benchmarks/gpu_eand_arn.py case.npz --sigma 5 --seconds 180 --out out/gpu --from-scratch --inputs xyz

Stopped runs go on from their last checkpoint with ``--resume``. Writes OUT/NAME.json (the course), OUT/NAME.npz
(weights and fields); NAME says the settings.
"""

import argparse
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

#: Physics, data and the ends of the network need all digits; inside the blocks the device may round (TF32).
EXACT = jax.lax.Precision.HIGHEST
CHUNK = 20
#: Noise of the prepared case, mV.
SIGMAS = (1.0, 5.0)


# -- the case ---------------------------------------------------------------------------------------------------------


def prepare(path: Path, focus: int) -> None:
    """Write the case, both noise levels in one file, with einthoven."""
    from dataclasses import asdict

    from einthoven.inverse.physics.fields import CellPhysics
    from einthoven.inverse.physics.network import surface_modes
    from einthoven.studies.bench_cases import BenchCase, bench_data
    from einthoven.studies.bench_inverse import compute_cell

    cases = [BenchCase(position=focus, sigma=sigma) for sigma in SIGMAS]
    held: dict[str, np.ndarray] = {"truth": bench_data(cases[0]).truth.values / 100.0, "sigmas": np.array(SIGMAS)}
    yardsticks = []
    for case in cases:
        data = bench_data(case)
        cells = CellPhysics(data.membrane, sigma=case.sigma, extracellular=True)
        ready = cells.prepare(data.operator, data.recording)
        table, tag = ready.cost.wave.negative_laplacian, f"@{case.sigma:g}"
        held |= {f"matrix{tag}": ready.cost.matrix, f"data{tag}": ready.cost.data, f"u{tag}": ready.u}
        held |= {f"v{tag}": ready.v, f"diffusivity{tag}": np.array(ready.diffusivity)}
        for method in ("stre:oracle", "stre:rgcv", "weak-4dvar"):
            cell = {**asdict(case), "method": method, "noise": "told", "spread": False}
            yardsticks.append({**cell, **compute_cell(cell).record})
    wave, n = ready.cost.wave, ready.surface.n_points
    dense = np.zeros((n, n), np.float32)
    np.add.at(dense, (np.arange(n)[None], np.asarray(table.index)), np.asarray(table.weight))
    modes, values = surface_modes(ready.surface, 256)
    cell = cells.membrane
    constants = [cell.a, cell.k, cell.e0, cell.mu1, cell.mu2, cell.time_unit, wave.step, wave.unit, wave.floor]
    held |= {"laplacian": dense, "root": wave.root, "modes": modes, "eigenvalues": values}
    held |= {"points": ready.surface.points, "constants": np.array([float(c) for c in constants]), "focus": focus}
    held["yardsticks"] = np.array(json.dumps(yardsticks))
    whole = {k: np.asarray(v, np.float32) if np.asarray(v).dtype == np.float64 else v for k, v in held.items()}
    np.savez_compressed(path, **whole)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def load(path: Path, sigma: float) -> dict[str, np.ndarray]:
    """The case at one noise level."""
    with np.load(path) as held:
        tag = f"@{sigma:g}"
        if f"data{tag}" not in held:
            raise SystemExit(f"{path} holds sigma {', '.join(f'{s:g}' for s in held['sigmas'])} mV; got {sigma:g}.")
        return {k.removesuffix(tag): held[k] for k in held if "@" not in k or k.endswith(tag)}


# -- the network ------------------------------------------------------------------------------------------------------


def features(case: dict, inputs: str, n_modes: int, n_frequencies: int) -> tuple[np.ndarray, np.ndarray]:
    """What the network takes for s (damped modes, or coordinates) and for t."""
    if inputs == "xyz":
        centered = case["points"] - case["points"].mean(axis=0)
        space = centered / np.abs(centered).max()
    else:
        values = case["eigenvalues"][:n_modes]
        space = case["modes"][:, :n_modes] / np.sqrt(1 + values / values[min(7, len(values) - 1)])
    t = np.linspace(-1.0, 1.0, case["truth"].shape[1])[:, None]
    phase = np.pi / 2 * t * np.arange(1, n_frequencies + 1)
    return space.astype(np.float32), np.hstack([np.cos(phase), np.sin(phase), t]).astype(np.float32)


def initial(key, n_space: int, n_time: int, width: int, n_blocks: int, head: float) -> dict:
    """Random embedding and blocks, alpha zero, the head zero or small."""
    keys = iter(jax.random.split(key, 2 + 2 * n_blocks))

    def weights(rows: int, columns: int):
        return jax.random.normal(next(keys), (rows, columns)) / np.sqrt(rows)

    embedding = weights(n_space + n_time, width)
    blocks = [
        {
            "first": weights(width, width),
            "first_bias": jnp.zeros(width),
            "second": weights(width, width),
            "second_bias": jnp.zeros(width),
            "alpha": jnp.zeros(()),
        }
        for _ in range(n_blocks)
    ]
    ends = {"head": head * weights(width, 2), "head_bias": jnp.zeros(2)}
    return {"embedding": embedding, "bias": jnp.zeros(width), "blocks": blocks, **ends}


def fields(p: dict, fixed: dict):
    """Fields u and v on the grid."""
    n = fixed["space"].shape[1]
    space = jnp.matmul(fixed["space"], p["embedding"][:n], precision=EXACT)
    t = jnp.matmul(fixed["time"], p["embedding"][n:], precision=EXACT) + p["bias"]
    x = jnp.tanh(space[:, None] + t[None])
    for b in p["blocks"]:
        h = jnp.tanh(jnp.tanh(x @ b["first"] + b["first_bias"]) @ b["second"] + b["second_bias"])
        x = x + b["alpha"] * (h - x)
    out = jnp.matmul(x, p["head"], precision=EXACT) + p["head_bias"]
    return fixed["u"] + out[..., 0], fixed["v"] + out[..., 1]


# -- the cost ---------------------------------------------------------------------------------------------------------

STENCIL = np.array([[-25.0, 48.0, -36.0, 16.0, -3.0], [-3.0, -10.0, 18.0, -6.0, 1.0]], np.float32) / 12


def slope(x, step):
    """Five-point time derivative."""
    inner = (x[:, :-4] - x[:, 4:] + 8 * (x[:, 3:-1] - x[:, 1:-3])) / 12
    first = jnp.matmul(x[:, :5], STENCIL.T, precision=EXACT)
    last = jnp.matmul(x[:, -5:], -STENCIL[::-1, ::-1].T, precision=EXACT)
    return jnp.concatenate([first, inner, last], axis=1) / step


def residuals(u, v, fixed: dict):
    """r_u and r_v of Aliev-Panfilov cells."""
    a, k, e0, mu1, mu2, time_unit, step, unit, floor = fixed["constants"]
    w = jnp.maximum(u, floor)
    f = (k * w * (w - a) * (1 - w) - w * v) / time_unit
    g = (e0 + mu1 * v / (w + mu2)) * (-v - k * w * (w - a - 1)) / time_unit
    scale, spread = unit * fixed["root"], unit * fixed["diffusivity"]
    laplacian = jnp.matmul(fixed["laplacian"], u, precision=EXACT)
    return scale * (slope(u, step) - f) + spread * laplacian, scale * (slope(v, step) - g)


def cost(p: dict, fixed: dict, tolerance):
    """1/2 chi2 + 1/2 |r|^2 / tau^2, per datum, and its parts."""
    u, v = fields(p, fixed)
    misfit = jnp.sum((fixed["data"] - jnp.matmul(fixed["matrix"], u, precision=EXACT)) ** 2)
    r_u, r_v = residuals(u, v, fixed)
    physics = jnp.sum(r_u**2) + jnp.sum(r_v**2)
    n = fixed["data"].size
    return 0.5 * (misfit + physics / tolerance**2) / n, (misfit / n, jnp.sqrt(physics / (2 * u.size)))


@jax.jit
def advance(state, fixed: dict, tolerance, rate):
    """CHUNK steps of Adam."""

    def one(state, _):
        p, m, s, n = state
        (total, parts), grad = jax.value_and_grad(cost, has_aux=True)(p, fixed, tolerance)
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grad)
        s = jax.tree.map(lambda s, g: 0.99 * s + 0.01 * g * g, s, grad)
        n = n + 1
        up = rate / (1 - 0.9**n)
        down = 1 / (1 - 0.99**n)
        p = jax.tree.map(lambda p, m, s: p - up * m / (jnp.sqrt(s * down) + 1e-8), p, m, s)
        return (p, m, s, n), (total, *parts)

    return jax.lax.scan(one, state, None, length=CHUNK)


@jax.jit
def error(p: dict, fixed: dict, truth):
    """Relative error and correlation of u."""
    u = fields(p, fixed)[0]
    both = jnp.corrcoef(jnp.stack([u.ravel(), truth.ravel()]))
    return jnp.linalg.norm(u - truth) / jnp.linalg.norm(truth), both[0, 1]


# -- training by the clock --------------------------------------------------------------------------------------------


def scheduled(share: float, rate: float) -> float:
    """Rate at a share of the time: up over 2 %, then down along a cosine to 2 %."""
    return rate * min(1.0, 0.02 + share / 0.02) * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * share)))


def train(case: dict, options: argparse.Namespace, name: str) -> dict:
    """Train for the given time; print and keep the course."""
    space, t = features(case, options.inputs, options.modes, options.frequencies)
    warm = not options.from_scratch
    shape = case["truth"].shape
    offsets = {"u": case["u"], "v": case["v"]} if warm else {"u": np.full(shape, 0.5), "v": np.full(shape, 0.5)}
    held = {k: case[k] for k in ("matrix", "data", "laplacian", "root", "constants", "diffusivity")} | offsets
    fixed = {k: jnp.asarray(v, jnp.float32) for k, v in {**held, "space": space, "time": t}.items()}
    truth = jnp.asarray(case["truth"], jnp.float32)
    key = jax.random.key(options.seed)
    p = initial(key, space.shape[1], t.shape[1], options.width, options.blocks, 0.0 if warm else 0.3)
    zero = jax.tree.map(jnp.zeros_like, p)
    state, tolerance, spent, rows = (p, zero, zero, jnp.zeros((), jnp.int32)), 1.0, 0.0, []
    if options.resume:
        state, tolerance, spent, rows = recalled(options.out / name, state)
    advance(state, fixed, jnp.float32(1.0), jnp.float32(0.0))[1][
        0
    ].block_until_ready()  # compiled before the clock starts
    shown, saved, share = -np.inf, spent, spent / options.seconds
    while share < 1.0:
        begun = time.perf_counter()
        rate = jnp.float32(scheduled(share, options.rate))
        state, course = advance(state, fixed, jnp.float32(tolerance), rate)
        total, chi2, physics = (float(c[-1]) for c in course)
        spent += time.perf_counter() - begun
        before, share = share, spent / options.seconds
        if not np.isfinite(total):
            raise SystemExit(f"the cost became {total} after {spent:.0f} s; lower --rate (now {options.rate:g}).")
        if chi2 <= options.limit:
            tolerance = max(options.tolerance, tolerance * options.tolerance ** ((share - before) / 0.7))
        if spent - shown >= options.every or share >= 1.0:
            shown = spent
            wrong, alike = (float(x) for x in error(state[0], fixed, truth))
            rows.append([spent, int(state[3]), total, chi2, physics, tolerance, wrong, alike])
            print(
                f"{spent:7.1f} s  step {rows[-1][1]:7d}  cost {total:9.4g}  chi2 {chi2:6.3f}  physics {physics:.4f}  "
                f"tau {tolerance:.3f}  relative error {wrong:.4f}  correlation {alike:.4f}",
                flush=True,
            )
        if spent - saved >= options.checkpoint or share >= 1.0:
            saved = spent
            keep(options.out / name, state, (tolerance, spent, rows), fields(state[0], fixed))
    alphas = [round(float(b["alpha"]), 3) for b in state[0]["blocks"]]
    return {"name": name, "rows": rows, "alphas": alphas, "device": str(jax.devices()[0].device_kind)}


def keep(path: Path, state, course: tuple, found) -> None:
    """Write a checkpoint: weights, moments, course, fields."""
    leaves = {f"leaf{i}": np.asarray(x) for i, x in enumerate(jax.tree.leaves(state))}
    u, v = (np.asarray(x, np.float32) for x in found)
    partial = path.with_suffix(".part.npz")
    np.savez_compressed(partial, **leaves, tolerance=course[0], spent=course[1], rows=np.array(course[2]), u=u, v=v)
    partial.replace(path.with_suffix(".npz"))


def recalled(path: Path, state) -> tuple:
    """Read a checkpoint."""
    if not path.with_suffix(".npz").exists():
        raise SystemExit(f"there is no checkpoint {path.with_suffix('.npz')}; leave out --resume.")
    with np.load(path.with_suffix(".npz")) as held:
        leaves = [jnp.asarray(held[f"leaf{i}"]) for i in range(len(jax.tree.leaves(state)))]
        state = jax.tree.unflatten(jax.tree.structure(state), leaves)
        return state, float(held["tolerance"]), float(held["spent"]), held["rows"].tolist()


def options_of(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", type=Path, help="the .npz file")
    parser.add_argument("--prepare", action="store_true", help="write it, with einthoven")
    parser.add_argument("--focus", type=int, default=11, help="with --prepare: seed of focus and noise")
    parser.add_argument("--sigma", type=float, default=5.0, help="noise, mV (1 or 5)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of training, compilation not counted")
    parser.add_argument("--out", type=Path, default=Path("out/gpu"))
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--inputs", choices=["modes", "xyz"], default="modes")
    parser.add_argument("--modes", type=int, default=64, help="at most 256")
    parser.add_argument("--frequencies", type=int, default=16)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--tolerance", type=float, default=0.3, help="last standard deviation of the residuals")
    parser.add_argument("--limit", type=float, default=1.05, help="chi2 above which it stops falling")
    parser.add_argument("--from-scratch", action="store_true", help="no start from the classical solution")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between printed lines")
    parser.add_argument("--checkpoint", type=float, default=30.0, help="seconds between checkpoints")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint of these settings")
    return parser.parse_args(words)


def run(options: argparse.Namespace) -> dict:
    """Prepare, or train and write the course."""
    if options.prepare:
        prepare(options.case, options.focus)
        return {}
    options.out.mkdir(parents=True, exist_ok=True)
    start = "scratch" if options.from_scratch else "warm"
    sizes = f"{options.inputs}{options.modes if options.inputs == 'modes' else ''}-w{options.width}-b{options.blocks}"
    name = f"eand-arn-{options.sigma:g}mV-{start}-{sizes}-{options.rate:g}-seed{options.seed}".replace(".", "p")
    case = load(options.case, options.sigma)
    for r in json.loads(str(case["yardsticks"])):
        if r["sigma"] == options.sigma:
            print(f"yardstick {r['method']}: relative error {r['relative_error']:.4f}")
    print(f"{name} on {jax.devices()[0].device_kind}", flush=True)
    result = train(case, options, name)
    (options.out / f"{name}.json").write_text(json.dumps(result, indent=1))
    return result


def main(out: Path, smoke: bool) -> dict:
    """For ``benchmarks/run.py``: a minute of training here, or a few seconds of a small network."""
    out.mkdir(parents=True, exist_ok=True)
    case = out / "gpu_eand_arn_case.npz"
    prepare(case, 11)
    small = ["--seconds", "2", "--every", "1", "--width", "16", "--blocks", "1"] if smoke else ["--width", "48"]
    return run(options_of([str(case), "--out", str(out), *small]))


if __name__ == "__main__":
    run(options_of())
