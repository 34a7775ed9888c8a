"""Conduction of all membranes on grids: the packaged table, its errors, and oblique waves against its rule.

    python benchmarks/conduction_table.py --out out/bench [--smoke] [--write]

Prints and writes ``conduction_table.json`` and ``conduction_table.md``: the tables of docs/concepts/conduction.md. With
``--write`` the packaged ``src/einthoven/eikonal/conduction.csv`` is made anew.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from _tables import markdown

from einthoven import eikonal
from einthoven.eikonal.conduction import TABLE, Conduction
from einthoven.ionic.registry import MODELS, model
from einthoven.protocol import Protocol, Stimulus
from einthoven.protocol.regions import Nodes
from einthoven.simulate import Activation, Godunov, Monodomain, Strang, simulate
from einthoven.simulate.planar import Launch, planar_conduction, planar_kappas
from einthoven.simulate.schemes import Scheme
from einthoven.tissue import Grid, Tissue

#: sqrt(ms). The last is 3.8 mm at D = 0.1 mm2/ms; where waves stop before it, the end is found to 2 %.
ZETAS = (0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0)
#: Fine and coarse strands run apart, because the coarse ones take longer.
FINE = 1.2
DT = 0.005
SMOKE = ("mitchell-schaeffer-2003", "fenton-karma-1998-mlr-i")
#: Diffusivity (mm2/ms) and spacings (mm) of the table of speeds.
DIFFUSIVITY, SPACINGS = 0.1, (0.0, 0.25, 0.5, 1.0)
#: Along and across the fibers of the oblique waves, mm2/ms: three to one in speed on a fine grid.
ALONG, ACROSS = 0.2, 0.2 / 9


def measured(name: str, zetas: tuple[float, ...], dt: float) -> Conduction:
    """Return kappa of a membrane where it conducts, and close to where it stops."""
    fine, coarse = [z for z in zetas if z < FINE], [z for z in zetas if z >= FINE]
    found = planar_conduction(model(name), fine, name=name, dt=dt)
    points = dict(zip(found.zetas, found.kappas, strict=True))
    points |= conducting(name, coarse, dt)
    beyond = [z for z in coarse if z > max(points)]
    for _ in range(2 if beyond else 0):
        between = [float(z) for z in np.linspace(max(points), beyond[0], 5)[1:-1]]
        points |= conducting(name, between, dt)
        beyond = [z for z in (*between, beyond[0]) if z > max(points)]
    order = sorted(points)
    return Conduction(np.array(order), np.array([points[z] for z in order]), name)


def conducting(name: str, zetas: list[float], dt: float, scheme: Scheme | None = None) -> dict[float, float]:
    """Return kappa at those of the zetas at which waves run."""
    kappas = planar_kappas(model(name), zetas, dt=dt, launch=Launch(scheme=scheme or Strang()))
    return {float(z): float(k) for z, k in zip(zetas, kappas, strict=True) if np.isfinite(k)}


def table(names: tuple[str, ...], zetas: tuple[float, ...], dt: float) -> tuple[list[Conduction], list[dict]]:
    """All membranes; and how far kappa moves with twice the step."""
    found, errors = [], []
    for name in names:
        begun = time.perf_counter()
        now = measured(name, zetas, dt)
        half = [z for z in zetas if z <= now.zetas[-1] and z in (0.25, 1.0, 3.0)]
        doubled = conducting(name, half, 2 * dt)
        row: dict = {"membrane": name}
        for z, k in doubled.items():
            row[f"zeta {z:g} (%)"] = float(100 * (k / _at(now, z) - 1))
        errors.append(row | {"seconds": time.perf_counter() - begun})
        found.append(now)
        print(now, f"{time.perf_counter() - begun:.1f} s", flush=True)
    return found, errors


def _at(conduction: Conduction, zeta: float) -> float:
    return float(conduction.kappas[np.argmin(np.abs(conduction.zetas - zeta))])


def kappas(found: list[Conduction]) -> list[dict]:
    """The packaged values."""
    rows = []
    for c in found:
        row: dict = {"membrane": c.name}
        row |= {f"{z:g}": _at(c, z) for z in (0.0, *ZETAS) if z in c.zetas}
        rows.append(row | {"last zeta": float(c.zetas[-1]), "kappa there": float(c.kappas[-1])})
    return rows


def speeds(found: list[Conduction]) -> list[dict]:
    """Limit of kappa, and speeds at one diffusivity."""
    rows = []
    for c in found:
        row: dict = {"membrane": c.name, "kappa(0) (ms)": float(c.kappas[0])}
        for h in SPACINGS:
            fits = h / np.sqrt(DIFFUSIVITY) <= c.zetas[-1]
            row[f"{h:g} mm"] = float(c.speed(DIFFUSIVITY, h)) if fits else None
        rows.append(row | {"last zeta (sqrt(ms))": float(c.zetas[-1])})
    return rows


def interpolation(found: list[Conduction], names: tuple[str, ...]) -> list[dict]:
    """Speeds between the tabulated zetas: interpolated against measured."""
    rows = []
    for c in (c for c in found if c.name in names):
        middle = [float(z) for z in np.sqrt((c.zetas[1:] ** 2 + c.zetas[:-1] ** 2) / 2) if z > 0.2]
        for z, kappa in conducting(c.name, middle, DT).items():
            here = float(c.kappa(1.0, z))
            rows.append(
                {
                    "membrane": c.name,
                    "zeta": z,
                    "kappa": kappa,
                    "speed error (%)": float(100 * (np.sqrt(kappa / here) - 1)),
                }
            )
    return rows


def first_order(found: list[Conduction], names: tuple[str, ...], steps: tuple[float, ...]) -> list[dict]:
    """What the default scheme of a simulation makes of it at usual steps: speeds against the table's."""
    rows = []
    for c in (c for c in found if c.name in names):
        row: dict = {"membrane": c.name}
        for dt in steps:
            for z, kappa in conducting(c.name, [0.5, 1.0, 2.0], dt, Godunov()).items():
                row[f"dt {dt:g} ms, zeta {z:g} (%)"] = float(100 * (np.sqrt(_at(c, z) / kappa) - 1))
        rows.append(row)
    return rows


# -- oblique waves ----------------------------------------------------------------------------------------------------


def oblique(name: str, spacing: float, normal: float, fibers: float | None, dt: float = 0.02) -> dict:
    """A plane wave in the middle of a sheet, started along a line: its speed, and how far three rules are off.

    The rules: `Conduction.squared_speed`; kappa for the diffusivity along the wave's direction n; a fine grid.

    Parameters
    ----------
    name
        Membrane.
    spacing
        mm.
    normal, fibers
        Angle of the direction in which the wave runs to the grid's first axis, and of the fibers to that direction,
        degrees; no fibers: isotropic.
    dt
        Time step of `Strang`, ms.
    """
    n = np.array([np.cos(np.radians(normal)), np.sin(np.radians(normal))])
    side, start, reach = 48.0, -12.0, 2.5
    grid = Grid((round(side / spacing),) * 2, spacing)
    if fibers is None:
        sheet = Tissue.isotropic(grid, DIFFUSIVITY)
    else:
        turn = np.radians(normal + fibers)
        sheet = Tissue.anisotropic(grid, ALONG, ACROSS, (np.cos(turn), np.sin(turn)))
    ahead = (sheet.coordinates - sheet.coordinates.mean(axis=0)) @ n
    conduction = Conduction.of(name)
    v, d = (t if t.ndim else t * np.eye(2) for t in (conduction.squared_speed(sheet), sheet.diffusivity))
    rule = float(np.sqrt(n @ v @ n))
    fine = d / conduction.kappas[0]
    along_normal = float(conduction.speed(float(n @ d @ n), spacing))
    stimulus = Stimulus(Nodes(sheet.nodes[ahead < start]), 0.0, 2.0, 60.0)
    t_end = dt * round(1.25 * (reach - start) / min(rule, along_normal) / dt)
    run = simulate(Monodomain(sheet, model(name), Strang()), Protocol((stimulus,)), t_end, dt=dt, keep=[Activation()])
    times = run.data["activation"].values[0]
    near = np.linalg.norm(sheet.coordinates - sheet.coordinates.mean(axis=0), axis=1) < reach
    design = np.c_[sheet.coordinates[near], np.ones(near.sum())]
    slowness = np.linalg.lstsq(design, times[near], rcond=None)[0][:2]
    speed = 1 / float(np.linalg.norm(slowness))
    return {"membrane": name, "spacing (mm)": spacing, "wave to grid (deg)": normal} | {
        "fibers to wave (deg)": "none" if fibers is None else f"{fibers:g}",
        "measured (mm/ms)": speed,
        "sqrt(n.Vn)": rule,
        "rule off (%)": 100 * (rule / speed - 1),
        "kappa along n off (%)": 100 * (along_normal / speed - 1),
        "fine grid off (%)": 100 * (float(np.sqrt(n @ fine @ n)) / speed - 1),
        "turned (deg)": float(np.degrees(np.arctan2(slowness[1], slowness[0])) - normal),
    }


def obliques(smoke: bool) -> list[dict]:
    """All angles, two spacings."""
    rows = []
    for name in SMOKE[:1] if smoke else SMOKE:
        for spacing in (0.5,) if smoke else (0.25, 0.5):
            for normal in (0.0,) if smoke else (0.0, 45.0):
                for fibers in (None, 30.0) if smoke else (None, 0.0, 30.0, 45.0, 90.0):
                    rows.append(oblique(name, spacing, normal, fibers))
    return rows


# -- main -------------------------------------------------------------------------------------------------------------


def write(found: list[Conduction], dt: float) -> Path:
    """Rewrite the packaged table."""
    path = Path(eikonal.__file__).with_name(TABLE)
    lines = ["membrane,zeta,kappa,dt"]
    lines += [f"{c.name},{z:.6g},{k:.6g},{dt:g}" for c in found for z, k in zip(c.zetas, c.kappas, strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return path


def main(out: Path, smoke: bool, *, rewrite: bool = False) -> dict:
    """Measure, print the tables and write them under `out`; with `rewrite` the packaged table as well."""
    names = SMOKE if smoke else tuple(MODELS)
    zetas, dt = ((0.25, 0.5, 1.0, 2.0, 3.0), 2 * DT) if smoke else (ZETAS, DT)
    found, errors = table(names, zetas, dt)
    if rewrite:
        print(f"written: {write(found, dt)}")
    tables = {
        "kappa (ms) by zeta (sqrt(ms))": kappas(found),
        f"Speed (mm/ms) at D = {DIFFUSIVITY:g} mm2/ms by spacing; 0: fine grid": speeds(found),
        f"Change of kappa from dt {dt:g} to {2 * dt:g} ms": errors,
        "Error of the interpolation": [] if smoke else interpolation(found, (*SMOKE, "bueno-orovio-2008-epi")),
        "Speeds of Godunov's scheme against the table": first_order(found, names, (0.02,) if smoke else (0.02, 0.05)),
        "Oblique plane waves on a sheet": obliques(smoke),
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "conduction_table.json").write_text(json.dumps({"tables": tables}, indent=1))
    (out / "conduction_table.md").write_text("# Conduction\n\n" + markdown(tables))
    print(markdown(tables))
    return tables


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="folder for the tables")
    parser.add_argument("--smoke", action="store_true", help="two membranes, seconds")
    parser.add_argument("--write", action="store_true", help="rewrite the packaged table")
    options = parser.parse_args()
    if options.smoke and options.write:
        parser.error("--smoke is no measurement: it cannot be written.")
    main(options.out, options.smoke, rewrite=options.write)
