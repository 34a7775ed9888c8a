"""What `einthoven info` says about a case, a file, or the installation."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.core import Case, Recording, Surface
from einthoven.studies.provenance import machine, versions
from einthoven.studies.ready import is_named, open_case

#: Packages that read, write, draw or compute elsewhere: of interest where something fails, not where a number differs.
COMPANIONS = (
    "equinox",
    "optax",
    "xarray",
    "zarr",
    "h5py",
    "matplotlib",
    "typer",
    "pydantic",
    "pyvista",
    "distributed",
    "pyarrow",
)


def describe(text: str) -> dict[str, Any]:
    """Describe a case (geometry checked) or a file, as flat facts."""
    from einthoven.io import read
    from einthoven.io.cases import is_case

    path = Path(text).expanduser()
    if is_named(text) or not text.strip() or not path.exists() or is_case(path):
        return describe_case(open_case(text))
    content = read(path)
    facts: dict[str, Any] = {"file": str(path), "format": content.format}
    facts |= {s.name: describe_surface(s) for s in content.surfaces}
    facts |= {name: f"{len(p)} points" for name, p in content.points.items()}
    facts |= {name: f"array {' x '.join(map(str, np.shape(a)))}" for name, a in content.arrays.items()}
    facts |= {f"volume {i}": f"{len(v.tetrahedra)} tetrahedra" for i, v in enumerate(content.volumes)}
    if content.time_series is not None:
        facts["recording"] = describe_recording(content.time_series)
    return facts | content.info


def describe_case(case: Case) -> dict[str, Any]:
    """Describe a case whose geometry has passed the checks."""
    facts: dict[str, Any] = {"case": case.name}
    for region in case.conductor.regions:
        facts[region.surface.name] = (
            f"{describe_surface(region.surface)}\nconductivity {region.conductivity:g} S/m inside"
        )
    for source in case.sources:
        truth = f"\ntruth {describe_recording(source.truth)}" if source.truth is not None else ""
        facts[f"{source.surface.name} ({source.quantity})"] = describe_surface(source.surface) + truth
    facts["electrodes"] = f"{len(case.electrodes)}: {', '.join(case.electrodes.names[:6])}, ..."
    facts["recording"] = "none" if case.recording is None else describe_recording(case.recording)
    facts["geometry"] = "closed, outward, nested, free of intersections; electrodes on the skin"
    return facts | dict(case.info)


def describe_surface(surface: Surface) -> str:
    """One line on size, closedness, winding and edge lengths."""
    ends = surface.points[surface.edges.vertices]
    lengths = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)
    kind = "closed" if surface.is_closed else "open"
    if not surface.is_consistent:
        winding = "winding inconsistent"
    elif not surface.is_closed:
        winding = "winding consistent"
    else:
        winding = f"{abs(surface.volume) / 1e3:.0f} ml, wound {'outward' if surface.volume > 0 else 'inward'}"
    size = " x ".join(f"{v:.0f}" for v in surface.extent)
    return (
        f"{surface.n_points} nodes, {surface.n_triangles} triangles, {kind}, {winding}, {size} mm, "
        f"edges {lengths.min():.1f}..{np.median(lengths):.1f}..{lengths.max():.1f} mm"
    )


def describe_recording(recording: Recording) -> str:
    """One line on size, span, amplitude and reference."""
    rms = float(np.sqrt(np.mean(recording.values**2)))
    peak = float(np.abs(recording.values).max())
    return (
        f"{recording.quantity}, {recording.n_sites} sites x {recording.n_times} frames, "
        f"{recording.times[0]:g}..{recording.times[-1]:g} ms, rms {rms:.3g} mV, peak {peak:.3g} mV, "
        f"reference {recording.reference}"
    )


def describe_installation() -> dict[str, Any]:
    """Versions, machine, threads, where data is looked for, what is cached where; writes nothing."""
    import sys

    from numba import get_num_threads

    from einthoven.inverse.registry import METHODS, RULES

    facts: dict[str, Any] = dict(versions())
    facts["companions"] = " ".join(f"{name} {version}" for name, version in versions(COMPANIONS).items())
    facts["executable"] = sys.executable
    facts |= machine()
    facts["encoding"] = sys.stdout.encoding
    facts["numba_threads"] = get_num_threads()
    facts["OPENBLAS_NUM_THREADS"] = os.environ.get("OPENBLAS_NUM_THREADS", "not set")
    facts["EINTHOVEN_DATA_DIR"] = os.environ.get("EINTHOVEN_DATA_DIR", "not set: datasets are downloaded")
    facts |= {f"cache_{name}": str(folder) for name, folder in _caches().items()}
    facts["methods"] = " ".join(METHODS)
    facts["rules"] = " ".join(RULES)
    return facts


def _caches() -> dict[str, Path]:
    from einthoven.io.caches import cache_folder
    from einthoven.simulate import kernels_module

    return {
        "kernels": kernels_module.cache_folder(),
        "beats": cache_folder("beats"),
        "datasets": cache_folder("datasets"),
    }
