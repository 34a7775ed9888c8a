"""The report page of a simulation: movie, activation map, action potentials, ECG, in one HTML file, offline."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import xarray

from einthoven.core import QUANTITIES, InputError, LeadSystem, Recording, Surface
from einthoven.core.leads import TWELVE_LEAD_ELECTRODES, TWELVE_LEADS
from einthoven.report.ecg_paper import Layout, Sheet, ThreeByFour, TwelveByOne, lay_out
from einthoven.report.encoding import packed, quantized, script_json
from einthoven.report.simulation_fields import (
    grid_maps,
    grid_movie,
    on_surface,
    recorded_movie,
    surface_maps,
    surface_movie,
)
from einthoven.report.template import SHARED, filled, write_page_text
from einthoven.tissue import Tissue

#: Samples (sites x times) of the probes, and of each set of leads, at most; beyond it every k-th is shown.
MAX_SIGNAL_SAMPLES = 200_000
#: Phase singularities (all frames together) that are drawn at most.
MAX_SINGULARITIES = 20_000
#: How a surface is looked at first, a rotation by rows (right, up, towards the viewer): from the front in the phantom's
#: frame, x to the patient's left and z to the head.
FRONT = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, -1.0, 0.0)
_ASSETS = (*SHARED, "simulation.css", "sheets.js", "simulation.js")
_PAPERS: dict[str, Layout] = {"3 × 4 and rhythm strip": ThreeByFour(), "12 × 1": TwelveByOne()}
_UNITS = {"movie": "mV", "activation": "ms", "recovery": "ms"}


@runtime_checkable
class Simulated(Protocol):
    """What a simulation hands to its page: `einthoven.simulate.Simulation`, or anything like it."""

    @property
    def tissue(self) -> Tissue:
        """The tissue."""
        ...

    @property
    def model(self) -> Any:
        """The membrane; its class gives the name."""
        ...

    @property
    def dt(self) -> float:
        """Time step, ms."""
        ...

    @property
    def t_end(self) -> float:
        """Length, ms."""
        ...

    @property
    def data(self) -> Mapping[str, xarray.DataArray]:
        """What was kept, by name; every part of the page is there if its array is."""
        ...


def write_simulation_page(
    simulation: Simulated,
    path: Path,
    *,
    title: str,
    summary: Mapping[str, Any],
    provenance: Mapping[str, Any],
    surface: Surface | None = None,
    surface_vm: Recording | None = None,
    runs: Sequence[Mapping[str, Any]] = (),
) -> Path:
    """Write one self-contained HTML page: movie, maps, action potentials, ECG, singularities, provenance.

    Needs no server and no network, and stays below 10 MB: movies are rounded to 1/2046 of their range and deflated,
    and where they are still too large every k-th frame or cell is shown; the page says what it leaves out.

    Parameters
    ----------
    simulation
        With any of ``movie`` (time, x, y, z) or (time, node), ``activation`` and ``recovery`` (beat, node), ``probes``
        (site, time; an attribute ``points``, (n_sites, 3) mm, puts them on the map), leads (site, time) of any name
        (an attribute ``label`` says what they are, in place of their quantity and reference), and
        ``phase_singularities``, ``phase_singularity_count``, ``phase_singularity_paths``.
    path
        The file; its folder must exist. Written to a temporary file first, then renamed.
    title
        Shown at the top.
    summary
        Numbers that say what came out, by name; a unit ends the name (``qrs_ms``).
    provenance
        What was run: settings, versions, seeds; nested as you like.
    surface, surface_vm
        A closed surface (the phantom's heart) and the transmembrane potentials at its nodes, to be shown instead of the
        slices of a volume, which remain to be chosen.
    runs
        The runs of a sweep, one of which this is: of each what was ``swept`` and its ``metrics``, both by name, the
        relative ``link`` of its page or None, and whether it is the one that is ``shown``.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If an array has another unit than mV or ms, lacks dims or coordinates, or `surface_vm` misses nodes.
    """
    data = simulation_data(
        simulation, title=title, summary=summary, provenance=provenance, surface=surface, surface_vm=surface_vm
    )
    data["runs"] = [dict(run) for run in runs]
    text = filled("simulation.html", _ASSETS, title=f"{title} - einthoven", data=script_json(data))
    return write_page_text(path, text)


def simulation_data(
    simulation: Simulated,
    *,
    title: str,
    summary: Mapping[str, Any],
    provenance: Mapping[str, Any],
    surface: Surface | None = None,
    surface_vm: Recording | None = None,
) -> dict[str, Any]:
    """Return what the page shows, as JSON-like data with packed arrays; see `write_simulation_page`."""
    _check(simulation.data)
    shown = {
        "sheet": _sheet(simulation),
        "surface": _surface(simulation, surface, surface_vm),
        "probes": _probes(simulation.data),
        "leads": [_leads(name, array) for name, array in simulation.data.items() if _is_leads(name, array)],
        "singularities": _singularities(simulation.data),
    }
    return {
        "title": title,
        "facts": _facts(simulation),
        **shown,
        "summary": dict(summary),
        "provenance": dict(provenance),
        "notes": _notes(shown),
    }


def _check(data: Mapping[str, xarray.DataArray]) -> None:
    for name, unit in _UNITS.items():
        if name in data and data[name].attrs.get("unit", unit) != unit:
            raise InputError(f"{name}: must be in {unit}; the array says {data[name].attrs['unit']!r}. Convert it.")


def _facts(simulation: Simulated) -> list[tuple[str, str]]:
    tissue = simulation.tissue
    if isinstance(tissue.domain, Surface):
        where = f"surface of {tissue.domain.n_points:,} nodes"
    else:
        where = f"{' × '.join(map(str, tissue.domain.shape))} cells of {tissue.domain.spacing:g} mm"
    found = [("Membrane", type(simulation.model).__name__), ("Tissue", where)]
    if tissue.n_nodes < tissue.n_points:
        share = 100 * tissue.n_nodes / tissue.n_points
        found.append(("Conducting", f"{tissue.n_nodes:,} of {tissue.n_points:,} ({share:.1f} %)"))
    return [*found, ("Time step", f"{simulation.dt:g} ms"), ("Duration", f"{simulation.t_end:g} ms")]


# -- maps -------------------------------------------------------------------------------------------------------------


def _sheet(simulation: Simulated) -> dict[str, Any] | None:
    """What is known on a grid."""
    tissue, data = simulation.tissue, simulation.data
    if isinstance(tissue.domain, Surface):
        return None
    movie = grid_movie(data["movie"], tissue, tissue.domain) if "movie" in data else None
    maps = grid_maps(_maps(data), tissue, tissue.domain) if "activation" in data else None
    return {"movie": movie, "maps": maps} if movie or maps else None


def _surface(simulation: Simulated, surface: Surface | None, vm: Recording | None) -> dict[str, Any] | None:
    """What is known on a surface: the tissue's own, or one that was given."""
    tissue, data = simulation.tissue, simulation.data
    movie = None
    if isinstance(tissue.domain, Surface):
        surface = tissue.domain
        movie = surface_movie(data["movie"], tissue, surface) if "movie" in data else None
    elif surface is None:
        return None
    elif vm is not None:
        movie = recorded_movie(vm, surface)
    maps = surface_maps(_maps(data), surface, on_surface(tissue, surface)) if "activation" in data else None
    if not (movie or maps):
        return None
    shape = {"name": surface.name, "points": packed(surface.points), "triangles": packed(surface.triangles)}
    return shape | {"view": FRONT, "movie": movie, "maps": maps}


def _maps(data: Mapping[str, xarray.DataArray]) -> dict[str, xarray.DataArray]:
    return {name: data[name] for name in ("activation", "recovery") if name in data}


# -- signals ----------------------------------------------------------------------------------------------------------


def _signals(recording: Recording) -> dict[str, Any]:
    """Potentials at sites over time, every k-th sample."""
    stride = max(1, -(-recording.values.size // MAX_SIGNAL_SAMPLES))
    values, times = quantized(recording.values[:, ::stride]), packed(recording.times[::stride])
    return {"names": list(recording.sites), "times": times, "values": values, "stride": stride}


def _probes(data: Mapping[str, xarray.DataArray]) -> dict[str, Any] | None:
    """Action potentials, and where they were taken if that is known."""
    if "probes" not in data:
        return None
    points = data["probes"].attrs.get("points")
    places = None if points is None else np.asarray(points, dtype=np.float64).reshape(-1, 3).tolist()
    return _signals(Recording.from_xarray(data["probes"])) | {"points": places}


def _is_leads(name: str, array: xarray.DataArray) -> bool:
    return name != "probes" and set(array.dims) == {"site", "time"}


def _leads(name: str, array: xarray.DataArray) -> dict[str, Any]:
    recording = Recording.from_xarray(array)
    label = array.attrs.get("label", f"{QUANTITIES[recording.quantity]}, reference {recording.reference}")
    return _signals(recording) | {"name": name, "label": label, "papers": _papers(recording)}


def _papers(recording: Recording) -> list[dict[str, Any]]:
    """The 12-lead plot in all layouts, if these are the twelve leads or the electrodes that make them."""
    if set(TWELVE_LEAD_ELECTRODES) <= set(recording.sites) and recording.quantity == "bsp":
        recording = LeadSystem.twelve_lead().record(recording)
    if recording.quantity != "ecg" or set(recording.sites) != set(TWELVE_LEADS):
        return []
    return [_paper(name, lay_out(recording, layout), recording) for name, layout in _PAPERS.items()]


def _paper(name: str, sheet: Sheet, recording: Recording) -> dict[str, Any]:
    """A plot as the page draws it: every trace as points in mm, not closer than the line is wide."""
    traces = []
    for strip in sheet.strips:
        part = recording.select([strip.lead]).window(strip.start, strip.stop)
        stride = max(1, int(0.05 / (part.dt * sheet.speed / 1000))) if part.n_times > 1 else 1
        x = strip.left + (part.times - strip.start) * sheet.speed / 1000
        y = strip.baseline + sheet.gain * part.values[0]
        place = {"left": strip.left, "baseline": strip.baseline, "label": strip.label}
        traces.append({"lead": strip.lead, **place, "points": quantized(np.stack([x, y])[:, ::stride])})
    size = {"width": sheet.width, "height": sheet.height, "gain": sheet.gain}
    return {"name": name, **size, "traces": traces, "pulses": sheet.pulses, "note": sheet.note}


def _singularities(data: Mapping[str, xarray.DataArray]) -> dict[str, Any] | None:
    """Count over time; place, charge and path of each, at most `MAX_SINGULARITIES` of them."""
    if "phase_singularity_count" not in data:
        return None
    count = data["phase_singularity_count"]
    found = {"times": packed(_float(count["time"])), "count": packed(_float(count)), "rows": None, "n_rows": 0}
    if "phase_singularities" not in data:
        return found
    table = data["phase_singularities"].transpose("row", "column")
    columns = [str(name) for name in table["column"].values]
    rows = _float(table)[:, [columns.index(name) for name in ("time", "charge", "x", "y", "z")]]
    path = data.get("phase_singularity_paths")
    number = np.full(len(rows), -1) if path is None else np.asarray(path.values)
    shown = slice(MAX_SINGULARITIES)
    return found | {"rows": packed(rows[shown]), "path": packed(number[shown].astype(np.int64)), "n_rows": len(rows)}


def _float(array: xarray.DataArray) -> np.ndarray:
    return np.asarray(array.values, dtype=np.float64)


# -- what is left out -------------------------------------------------------------------------------------------------


def _notes(shown: Mapping[str, Any]) -> list[str]:
    """One sentence for everything that the page does not show."""
    notes = []
    for name, field in (("Cells", shown["sheet"]), ("Surface", shown["surface"])):
        notes += [
            f"{name}: {text}" for text in (_movie_notes(field["movie"]) + _map_notes(field["maps"]) if field else [])
        ]
    signals = {"Action potentials": shown["probes"]} | {f"Leads {s['name']}": s for s in shown["leads"]}
    notes += [f"{name}: 1 of {s['stride']} samples." for name, s in signals.items() if s and s["stride"] > 1]
    turning = shown["singularities"]
    if turning and turning["n_rows"] > MAX_SINGULARITIES:
        notes.append(f"Phase singularities: places of the first {MAX_SINGULARITIES} of {turning['n_rows']}.")
    return notes


def _movie_notes(movie: Mapping[str, Any] | None) -> list[str]:
    if movie is None:
        return []
    notes = []
    if movie["stride"] > 1:
        notes.append(f"1 of {movie['stride']} frames of the {movie['n_frames']} kept.")
    if movie["factor"] > 1:
        notes.append(f"1 of {movie['factor']} cells of the movie along each axis.")
    return notes


def _map_notes(maps: Mapping[str, Any] | None) -> list[str]:
    if maps is None:
        return []
    notes = []
    if maps["factor"] > 1:
        notes.append(f"1 of {maps['factor']} cells of the activation maps along each axis.")
    if maps["n_beats"] > len(maps["beats"]):
        notes.append(f"maps of the first {len(maps['beats'])} of {maps['n_beats']} beats.")
    return notes
