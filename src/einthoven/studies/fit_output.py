"""Files of a fit of waves to an ECG: metrics, sites, activation, the run file and the page."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import xarray

from einthoven.core.progress import Progress, silent
from einthoven.studies.fit_results import FitResult, number_rows, site_rows
from einthoven.studies.output import SEAL, plain, staged, without_none, write_json, write_rows

#: Where the fit keeps the starts that are done; of no use once the result is whole.
STARTS = "starts.jsonl"


def write_fit(
    result: FitResult,
    folder: Path,
    *,
    page: Callable[[FitResult, Path], object] | None,
    progress: Progress = silent,
) -> dict[str, Path]:
    """Write everything that a fit has found.

    Parameters
    ----------
    result
        As returned by `einthoven.studies.fitting.fit_case`.
    folder
        Made if needed; entries of an earlier run are replaced when the new ones are complete.
    page
        Writes ``report.html``; None for no page. (Handed in, because pages are a layer above.)
    progress
        Told after each file.

    Returns
    -------
    dict
        File name to path.
    """
    with staged(folder, owned=("report.html",)) as stage:
        write_rows(stage / "sites.csv", _rounded(site_rows(result)))
        write_rows(stage / "numbers.csv", number_rows(result))
        write_rows(stage / "activation.csv", _rounded(_activation_rows(result)))
        progress("writing", 1, 3)
        _write_stores(result, stage)
        (stage / "run.toml").write_text(tomli_w.dumps(without_none(plain(result.provenance))), encoding="utf-8")
        write_rows(stage / "metrics.csv", [_flat(result.metrics)])
        progress("writing", 2, 3)
        if page is not None:
            page(result, stage / "report.html")
        write_json(stage / SEAL, fit_metrics(result))
        names = [entry.name for entry in stage.iterdir()]
    (folder / STARTS).unlink(missing_ok=True)
    progress("writing", 3, 3)
    return {name: folder / name for name in names}


def fit_metrics(result: FitResult) -> dict[str, Any]:
    """Return the metrics with the sites of the best fit and the numbers of sites that were tried."""
    sites = [row for row in site_rows(result) if row["fit"] == 1]
    return {**result.metrics, "sites": sites, "numbers": number_rows(result)}


def _flat(metrics: dict[str, Any]) -> dict[str, Any]:
    return {key: value if np.ndim(value) == 0 else " ".join(map(str, value)) for key, value in metrics.items()}


def _rounded(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Numbers to a thousandth; NaN leaves a cell empty."""
    return [{k: round(float(v), 3) if isinstance(v, float) else v for k, v in row.items()} for row in rows]


def _activation_rows(result: FitResult) -> list[dict[str, Any]]:
    """One row per node of the surface: place (mm), activation times and their spread (ms)."""
    surface, ensemble = result.muscle.surface, result.ensemble
    columns = {
        "best_ms": result.at_surface(ensemble.best.beat.arrival.times),
        "mean_ms": result.at_surface(ensemble.mean),
        "spread_ms": result.at_surface(ensemble.spread),
    }
    if result.truth_activation is not None:
        columns["truth_ms"] = result.truth_activation
    places = zip(surface.node_names, surface.points, strict=True)
    return [
        {"node": name, "x_mm": x, "y_mm": y, "z_mm": z} | {key: values[i] for key, values in columns.items()}
        for i, (name, (x, y, z)) in enumerate(places)
    ]


def _write_stores(result: FitResult, stage: Path) -> None:
    """``fit.zarr``: recording, fitted leads and surface; ``activation.zarr``: every fit's activation, ms."""
    from einthoven.io.zarr_store import save_zarr

    surface = result.muscle.surface
    fitted = result.ensemble.best.ecg
    save_zarr({"recording": result.recording, "fitted": fitted, "surface": surface}, stage / "fit.zarr")
    places = {key: ("node", surface.points[:, axis], {"unit": "mm"}) for axis, key in enumerate("xyz")}
    times = xarray.DataArray(
        result.at_surface(result.ensemble.activation),
        dims=("fit", "node"),
        coords={"fit": np.arange(1, len(result.ensemble.fits) + 1)} | places,
        name="activation",
        attrs={"unit": "ms", "surface": surface.name},
    )
    times.to_dataset().to_zarr(stage / "activation.zarr", mode="w", zarr_format=3, consolidated=False)
