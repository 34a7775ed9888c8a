"""What a simulation study writes: metrics, results, the study as run, provenance, the page."""

import json
import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import xarray

from einthoven.core import InputError, Recording, Surface
from einthoven.simulate import Simulation
from einthoven.studies.output import SEAL, plain, staged, without_none, write_json, write_rows
from einthoven.studies.provenance import machine, versions
from einthoven.studies.simulation_build import HEART_SURFACE, Prepared, prepare
from einthoven.studies.simulation_tables import SimulationStudy
from einthoven.studies.store import Config, ResultsStore, measured

#: Entries of a folder of results that the next run into it replaces or removes.
OWNED = ("results.zarr", "report.html", "runs")
#: Folder of the pages of a sweep's runs but the first, and how many runs get a page.
RUN_PAGES, MOST_PAGES = "runs", 50
#: What the table over the runs of a sweep shows beside what was swept.
COMPARED = (
    "activated",
    "activation_time_ms",
    "cv_mm_per_ms",
    "duration_ms",
    "apd90_ms",
    "ecg_amplitude_mv",
    "qrs_ms",
    "qt_ms",
    "singularities_most",
    "singularity_longest_ms",
    "unreached_cells",
)
#: What leads at positions are: they belong to no torso.
INFINITE_BATH = "potential at electrodes in an infinite bath, zero far away"
#: Writes ``report.html``: `einthoven.report.simulation_page.write_simulation_page`.
Page = Callable[..., object]


@dataclass(frozen=True)
class StudyResult:
    """What a study gave.

    Parameters
    ----------
    rows
        Metrics, one row per run.
    out
        Folder of the results.
    reused
        Number of runs that were there already.
    notes
        What a person should know: cells out of reach, damaged results that were computed anew.
    """

    rows: tuple[dict[str, Any], ...]
    out: Path
    reused: int = 0
    notes: tuple[str, ...] = ()


# --- metrics ----------------------------------------------------------------------------------------


def metrics_of(prepared: Prepared, simulation: Simulation) -> dict[str, Any]:
    """Flat metrics of one run; what was not kept is left out."""
    tissue, study = simulation.tissue, prepared.study
    row: dict[str, Any] = {
        "model": study.model.name,
        "tissue": study.tissue.kind,
        "seed": study.seed,
        "cells": tissue.n_nodes,
        "conducting": tissue.n_nodes / tissue.n_points,
        "unreached_cells": prepared.unreached,
        "steps": simulation.steps,
        "dt_ms": simulation.dt,
        "t_end_ms": simulation.t_end,
    }
    data = simulation.data
    if "activation" in data:
        row |= activation_metrics(simulation)
    if "probes" in data:
        row["apd90_ms"] = _median(_durations(simulation.recording("probes")))
    if "ecg" in data:
        row |= ecg_metrics(simulation.recording("ecg"))
        if study.ecg is not None and study.ecg.torso is not None and "activation" in data:
            row |= torso_metrics(simulation.recording("ecg"), np.asarray(data["activation"].values))
    if "phase_singularity_count" in data:
        row |= singularity_metrics(data)
    seconds = simulation.seconds
    speed = tissue.n_nodes * simulation.steps / seconds if seconds > 0 else None
    return {k: plain(v) for k, v in {**row, "seconds": seconds, "cell_steps_per_second": speed}.items()}


def activation_metrics(simulation: Simulation) -> dict[str, Any]:
    """How much was activated, in how long, how fast, and for how long: first beat, unless it says otherwise."""
    lat = np.asarray(simulation.data["activation"].values)
    recovery = np.asarray(simulation.data["recovery"].values)
    first = lat[0]
    known = np.isfinite(first)
    found: dict[str, Any] = {"activated": float(known.mean()), "beats": int(np.isfinite(lat).any(axis=1).sum())}
    found["activation_time_ms"] = float(np.ptp(first[known])) if known.any() else None
    found["last_activation_ms"] = float(first[known].max()) if known.any() else None
    found["cv_mm_per_ms"] = conduction_velocity(simulation, first)
    found["duration_ms"] = _median(recovery[0] - first)
    found["duration_level_mv"] = float(simulation.data["recovery"].attrs["level_mv"])
    return found


def conduction_velocity(simulation: Simulation, lat: np.ndarray) -> float | None:
    """Median of 1/|grad activation| over the cells whose neighbors along all axes are activated too, mm/ms."""
    tissue, domain = simulation.tissue, simulation.tissue.domain
    everywhere = np.full(tissue.n_points, np.nan)
    everywhere[tissue.nodes] = lat
    if isinstance(domain, Surface):
        from einthoven.signals import conduction_velocity as on_surface

        return _median(on_surface(domain, everywhere).speed)
    axes = tuple(k for k, n in enumerate(domain.shape) if n > 2)
    if not axes:
        return None
    slopes = np.gradient(everywhere.reshape(domain.shape), domain.spacing, axis=axes)
    slope = np.sqrt(sum(np.square(s) for s in (slopes if isinstance(slopes, list | tuple) else [slopes])))
    return _median(1.0 / np.where(slope > 1e-9, slope, np.nan))


def _durations(probes: Recording) -> np.ndarray:
    """APD90 of the first action potential of every probe; NaN where it does not recover."""
    from einthoven.signals import action_potential_durations

    ends = [_end_of_first(v, probes.times) for v in probes.values]
    beats = [probes.select([site]).window(probes.times[0], end) for site, end in zip(probes.sites, ends, strict=True)]
    return np.array([action_potential_durations(beat)[0] for beat in beats])


def _end_of_first(v: np.ndarray, times: np.ndarray) -> float:
    """When the potential is lowest between the first action potential and what comes next; the end if nothing does."""
    high = v > 0.5 * (v.min() + v.max())
    rises = np.flatnonzero(~high[:-1] & high[1:]) + 1
    if len(rises) < 2:
        return float(times[-1])
    between = v[rises[0] : rises[1]]
    return float(times[rises[0] + len(between) - 1 - between[::-1].argmin()])


#: A QRS complex read off the leads is believed if it ends this near (ms) to the last activation.
QRS_AGREES = 25.0


def ecg_metrics(ecg: Recording) -> dict[str, Any]:
    """Largest peak-to-peak amplitude over the leads."""
    span = np.ptp(ecg.values, axis=1)
    return {"ecg_amplitude_mv": float(span.max()), "ecg_largest_lead": ecg.sites[int(span.argmax())]}


def torso_metrics(ecg: Recording, lat: np.ndarray) -> dict[str, Any]:
    """QRS and QT of the first beat, from the activation times of all beats.

    What the QRS complex shows is known in a simulation: it lasts from the first activation to the last. (In leads
    without noise a slow QRS complex and the T wave that begins before its end cannot be told apart.) The end of the T
    wave is read off the leads; None where their QRS complex does not end with the activation, or is not told from what
    surrounds it.
    """
    first = lat[0][np.isfinite(lat[0])]
    if not first.size:
        return {"qrs_ms": None, "qt_ms": None}
    found: dict[str, Any] = {"qrs_ms": float(np.ptp(first)), "qt_ms": None}
    later = lat[1:][np.isfinite(lat[1:])]
    beat = ecg.window(ecg.times[0], float(later.min()) if later.size else ecg.times[-1])
    if beat.n_times > 1 and beat.times[-1] - beat.times[0] >= 200:
        from einthoven.signals import delineate

        waves = delineate(beat)
        if abs(waves.qrs_offset - first.max()) < QRS_AGREES:
            found["qt_ms"] = plain(waves.t_end - float(first.min()))
    return found


def singularity_metrics(data: Mapping[str, xarray.DataArray]) -> dict[str, Any]:
    """How many phase singularities there were, at once and over time, and how long they lasted."""
    count = np.asarray(data["phase_singularity_count"].values)
    rows = np.asarray(data["phase_singularities"].values)
    path = np.asarray(data["phase_singularity_paths"].values)
    lasted = [float(np.ptp(rows[path == k, 0])) for k in np.unique(path[path >= 0])]
    return {
        "singularities_mean": float(count.mean()),
        "singularities_most": int(count.max(initial=0)),
        "singularity_paths": len(lasted),
        "singularity_longest_ms": max(lasted, default=0.0),
    }


def _median(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else None


# --- files ------------------------------------------------------------------------------------------


def finished_result(out: Path, key: str) -> StudyResult | None:
    """What a folder holds if it is complete, as it was written, and of the run with that key."""
    try:
        run = tomllib.loads((out / "run.toml").read_text(encoding="utf-8"))
        rows = json.loads((out / SEAL).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if run.get("key") != key or not isinstance(rows, dict) or run.get("results") != measured(out / "results.zarr"):
        return None
    return StudyResult((rows,), out, reused=1)


def write_run(
    prepared: Prepared, simulation: Simulation, results: Path, out: Path, *, key: str, version: str, page: Page | None
) -> StudyResult:
    """Write everything of one run; `results` is moved to ``results.zarr``."""
    row = {"study": prepared.study.name, **metrics_of(prepared, simulation)}
    about = provenance(prepared.study, version) | {"key": key, "results": measured(results)}
    if simulation.resumed_at is not None:
        about["resumed_at_ms"] = simulation.resumed_at
    notes = _notes(prepared, row)
    with staged(out, owned=OWNED) as stage:
        _write_study(prepared.study, stage / "study.toml")
        write_toml(stage / "run.toml", about)
        write_rows(stage / "metrics.csv", [row])
        if page is not None:
            write_page(page, prepared, simulation, stage / "report.html", row=row, about=about)
        write_json(stage / SEAL, row)
        os.rename(results, stage / "results.zarr")
    return StudyResult((row,), out, notes=notes)


def write_sweep(
    study: SimulationStudy,
    runs: Sequence[tuple[dict[str, Any], SimulationStudy]],
    cells: Sequence[Config],
    store: ResultsStore,
    out: Path,
    *,
    notes: Sequence[str],
    version: str,
    page: Page | None,
) -> StudyResult:
    """Write the table of a sweep and a page per run, the first as ``report.html``; the arrays stay in the store."""
    rows = []
    for k, ((own, _), config) in enumerate(zip(runs, cells, strict=True)):
        cell = store.get(config)
        rows.append({"study": study.name, "run": k + 1, "cell": cell.summary.key, **own, **cell.record})
    about = provenance(study, version) | {"keys": [row["cell"] for row in rows]}
    with staged(out, owned=OWNED) as stage:
        _write_study(study, stage / "study.toml")
        write_toml(stage / "run.toml", about)
        write_rows(stage / "metrics.csv", rows)
        if page is not None:
            for k, ((_, run), config) in enumerate(list(zip(runs, cells, strict=True))[:MOST_PAGES]):
                prepared = prepare(run)
                path = stage / page_name(k)
                path.parent.mkdir(exist_ok=True)
                shown = _stored_simulation(prepared, store, config)
                about_run = provenance(run, version) | {"key": rows[k]["cell"]}
                write_page(page, prepared, shown, path, row=rows[k], about=about_run, runs=(rows, study.sweep, k))
        write_json(stage / SEAL, rows)
    return StudyResult(tuple(rows), out, notes=tuple(notes))


def page_name(k: int) -> str:
    """Where the page of run k (from 0) of a sweep is, below the folder of the results."""
    return "report.html" if k == 0 else f"{RUN_PAGES}/run-{k + 1}.html"


def finished_sweep(out: Path, keys: Sequence[str], *, page: bool) -> StudyResult | None:
    """What a folder holds if it is complete, of the runs with those keys, and has a page if one is wanted."""
    try:
        run = tomllib.loads((out / "run.toml").read_text(encoding="utf-8"))
        rows = json.loads((out / SEAL).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if run.get("keys") != list(keys) or not isinstance(rows, list) or (page and not (out / "report.html").is_file()):
        return None
    return StudyResult(tuple(rows), out, reused=len(rows))


def check_owner(out: Path, name: str) -> None:
    """Raise `InputError` if a folder holds the results of another study, or of another command."""
    try:
        held = tomllib.loads((out / "study.toml").read_text(encoding="utf-8")).get("name")
    except NotADirectoryError:  # told when it is written to
        return
    except FileNotFoundError:
        held = None if not (out / SEAL).exists() else ""
    except (OSError, ValueError):
        held = ""
    if held is not None and held != name:
        what = f"the study {held!r}" if held else "results of something else"
        raise InputError(f"{out}: holds {what}; choose another --out, or replace it with --fresh.")


def _stored_simulation(prepared: Prepared, store: ResultsStore, config: Config) -> Simulation:
    cell = store.get(config)
    data: dict[str, Any] = {name: cell.load(name) for name in cell.names}
    times = prepared.study.time
    return Simulation(
        prepared.monodomain, prepared.protocol, times.dt, times.t_end, data, prepared.n_steps, cell.record["seconds"]
    )


def provenance(study: SimulationStudy, version: str) -> dict[str, Any]:
    """What was run, with what, where."""
    settings = study.model_dump(mode="json", exclude_none=True, exclude={"versions"})
    return {"settings": settings, "code": version, "versions": versions(), "machine": machine()}


def _write_study(study: SimulationStudy, path: Path) -> None:
    """Write the study as run, every field spelled out, so that it can be run again."""
    values = study.model_dump(mode="json", exclude_none=True) | {"versions": versions()}
    write_toml(path, values)


def write_toml(path: Path, values: Mapping[str, Any]) -> None:
    """Write a table; what is None is left out."""
    path.write_text(tomli_w.dumps(without_none(plain(dict(values)))), encoding="utf-8")


def write_page(
    page: Page,
    prepared: Prepared,
    simulation: Simulation,
    path: Path,
    *,
    row: Mapping[str, Any],
    about: Mapping[str, Any],
    runs: tuple[Sequence[Mapping[str, Any]], Mapping[str, Any], int] | None = None,
) -> None:
    """Write the page of a run; potentials on the heart surface are shown as its movie, not as leads.

    `runs` are the rows of a sweep, what was swept, and which of them this is.
    """
    data = dict(simulation.data)
    heart = data.pop(HEART_SURFACE, None)
    if "probes" in data and prepared.study.keep.probes is not None:
        points = _padded(prepared.study.keep.probes.points.values())
        data["probes"] = data["probes"].assign_attrs(points=points)
    study = prepared.study
    if "ecg" in data and study.ecg is not None and study.ecg.torso is None:
        data["ecg"] = data["ecg"].assign_attrs(label=INFINITE_BATH)
    page(
        replace(simulation, data=data),
        path,
        title=study.title or study.name,
        summary=row,
        provenance=about,
        surface=prepared.surface,
        surface_vm=None if heart is None else Recording.from_xarray(heart),
        runs=() if runs is None else _run_table(*runs),
    )


def _run_table(rows: Sequence[Mapping[str, Any]], swept: Mapping[str, Any], shown: int) -> list[dict[str, Any]]:
    """One entry per run of a sweep: what it shows, and where its page is, seen from that of run `shown` (from 0)."""
    kept = [key for key in COMPARED if any(row.get(key) is not None for row in rows)]
    found = []
    for k, row in enumerate(rows):
        link = f"{'' if shown == 0 else '../'}{page_name(k)}" if k < MOST_PAGES else None
        found.append({"swept": {key: row[key] for key in swept}, "metrics": {key: row.get(key) for key in kept}})
        found[-1] |= {"link": link, "shown": k == shown}
    return found


def _padded(points: Any) -> np.ndarray:
    return np.array([[*p, 0.0, 0.0][:3] for p in points], dtype=np.float64)


def _notes(prepared: Prepared, row: Mapping[str, Any]) -> tuple[str, ...]:
    """One sentence for what the numbers of a run lack."""
    notes = []
    if prepared.unreached:
        share = prepared.unreached / prepared.monodomain.tissue.n_nodes
        notes.append(f"{prepared.unreached} cells ({share:.2%}) are cut off from every stimulus and stay at rest.")
    if row.get("activated") == 0:
        notes.append("No cell was activated: see the stimuli and the level of keep.activation.")
    elif row.get("duration_ms", 0) is None:
        level, end = row["duration_level_mv"], row["t_end_ms"]
        notes.append(f"No cell recovers to {level:g} mV within {end:g} ms: no action potential duration is given.")
    if row.get("activated", 0) > 0 and row.get("qt_ms", 0) is None:
        notes.append(
            "QT is not given: the leads lack quiet before or behind the QRS complex, or the end of the T wave; "
            "lengthen time.t_end, or let the beat begin later."
        )
    return tuple(notes)
