"""Milliseconds and memory per ECG: surrogates, our own simulator at 0.5 and 0.25 mm, one dot product; same run.

One thread each. The simulator steps and keeps the ECG of 16 electrodes; it is no slow peer: the same fused kernels as
in `simulate_speed`. `neural-eikonal` counts everything from the tissue on: two eikonal solutions, features, network,
lead field, repolarization. `lead-field-net` counts from the movie on, which someone had to simulate or measure.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from _tables import written

from einthoven.core.errors import InputError
from einthoven.forward.lead_field import lead_field
from einthoven.simulate import Ecg, Monodomain, Strang, simulate
from einthoven.studies.sheet_sets import load_recipe
from einthoven.surrogate.models import TissueEcg, load_surrogate, packaged
from einthoven.surrogate.pixel_lead_fields import of_pixels, seen
from einthoven.surrogate.recipe import SheetRecipe
from einthoven.surrogate.sheets import draw_sheet, simulate_sheet


def milliseconds(task: Callable[[], Any], repeats: int) -> float:
    """Median wall time of calls after the first."""
    task()
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        task()
        times.append(time.perf_counter() - begun)
    return 1e3 * statistics.median(times)


def simulated(recipe: SheetRecipe, spacing: float, dt: float) -> Callable[[], Any]:
    """The simulation of a fibrotic sheet at a spacing."""
    condition = next(c for c in recipe.conditions if c.textures)
    sheet = draw_sheet(recipe.model_copy(update={"spacing": spacing, "dt": dt}), condition, 0)
    keep = [Ecg(lead_field(sheet.tissue, sheet.electrodes), recipe.ecg_every)]
    muscle = Monodomain(sheet.tissue, sheet.membrane, Strang(), "float32")
    return lambda: simulate(muscle, sheet.protocol, recipe.t_end, dt=dt, keep=keep)


def main(out: Path, smoke: bool) -> dict:
    """Run it; returns the tables."""
    numba.set_num_threads(1)
    recipe = load_recipe("sheets-smoke" if smoke else "sheets-64mm")
    condition = next(c for c in recipe.conditions if c.textures)
    data, _ = simulate_sheet(recipe, condition, 0)
    lead = of_pixels(data.tissue(), data.electrode_set(), 2)
    tasks: dict[str, Callable[[], Any]] = {
        "one dot product per frame, movie of 1 mm": lambda: seen(lead, data.movie),
        "eikonal, modelled duration": lambda: TissueEcg(None, recipe.membrane).predict(data),
        "eikonal, activation times only": lambda: TissueEcg(None, recipe.membrane).activation(data),
    }
    for name in packaged():
        surrogate, _ = load_surrogate(name)
        try:
            surrogate.predict(data)
        except InputError as error:
            print(f"left out: {name}. {error}")
            continue
        tasks[name] = lambda s=surrogate: s.predict(data)
        if isinstance(surrogate, TissueEcg):
            tasks[f"{name}, activation times only"] = lambda s=surrogate: s.activation(data)
    tasks["simulation, 0.5 mm, 0.1 ms, float32"] = simulated(recipe, 0.5, 0.1)
    if not smoke:
        tasks["simulation, 0.25 mm, 0.05 ms, float32"] = simulated(recipe, 0.25, 0.05)
    rows = []
    for name, task in tasks.items():
        took = milliseconds(task, 1 if smoke else 5)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        rows.append({"what": name, "ms per sheet": took, "peak of the process so far (MB)": peak})
        print(f"{name}: {took:.1f} ms")
    n, t = len(data.electrodes), len(data.ecg_times)
    title = f"{n} electrodes, {t} samples, a sheet of {recipe.size:g} mm, one thread"
    return written(out, "surrogate_speed", title, rows, electrodes=n, samples=t, cells=int(np.size(data.conducting)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    main(options.out, options.smoke)
