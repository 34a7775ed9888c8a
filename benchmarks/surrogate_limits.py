"""Whether surrogates warn: sheets of a texture left out, other diffusivities, re-entry; and how often for nothing.

What is known is a number of sheets of the published conditions and of all fibrosis textures but the one left out. Then
fresh sheets are judged (`einthoven.surrogate.limits`): those of the known kinds, where a warning is a false alarm, and
the strange ones, where none is a miss. No network is needed: the warning looks at the input alone. Tissues are drawn,
movies (1 mm) simulated; the re-entry is a spiral of Aliev-Panfilov cells, seen through windows of the sheets' size.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _tables import written

from einthoven.ionic.registry import model
from einthoven.protocol import cross_field
from einthoven.simulate import Monodomain, Movie, simulate
from einthoven.surrogate.limits import Limits, movie_statistics, tissue_numbers
from einthoven.surrogate.recipe import TEXTURES, Condition, ElectrodeRecipe, SheetRecipe
from einthoven.surrogate.sheets import SheetData, draw_sheet, simulate_sheet
from einthoven.tissue import Grid, Tissue

Numbers = dict[str, float]

#: Sheets of the movies, mm, and of the re-entry, mm and ms before it is looked at.
SIZE, REENTRY_SIZE, REENTRY_BEGINS = 32.0, 80.0, 1200.0

RECIPE = SheetRecipe(
    title="sheets to be judged",
    size=SIZE,
    t_end=480.0,
    seed=31,
    electrodes=ElectrodeRecipe(fixed=((16.0, 16.0, 20.0),)),
    condition=(Condition(name="healthy", sheets=1),),
)
KNOWN = (
    Condition(name="healthy", sheets=1),
    Condition(name="gap junction", sheets=1, remodelling=(0.25, 0.6), remodelling_length=(4.0, 16.0)),
)
STRANGE = {
    "D of a tenth": Condition(name="slow", sheets=1, diffusivity=(0.009, 0.011)),
    "D times 2.5": Condition(name="fast", sheets=1, diffusivity=(0.225, 0.275)),
    "fibers, 4 to 1": Condition(name="fibers", sheets=1, anisotropy=(4.0, 4.0)),
    "fibrosis of 45 %": Condition(name="dense", sheets=1, textures=("thresholded",), density=(0.44, 0.46)),
}


def texture(name: str) -> Condition:
    """Sheets of one texture."""
    return Condition(name=name, sheets=1, textures=(name,), density=(0.05, 0.30))  # type: ignore[arg-type]


def of_tissue(condition: Condition, number: int) -> Numbers:
    """Numbers of a sheet's tissue."""
    sheet = draw_sheet(RECIPE, condition, number)
    mask = np.asarray(sheet.tissue.conducting).reshape(RECIPE.n_cells, -1)
    values = sheet.tissue.diffusivity
    d = np.full((mask.size, *values.shape[1:]), np.nan)
    d[sheet.tissue.nodes] = values
    return tissue_numbers(mask, d.reshape(*mask.shape, *values.shape[1:]), RECIPE.spacing, len(sheet.sites))


def of_movie(condition: Condition, number: int) -> Numbers:
    """Numbers of a sheet's movie."""
    return movie_statistics(simulate_sheet(RECIPE, condition, number)[0], 1.0)


def reentry_movies(n: int) -> list[Numbers]:
    """Numbers of windows of a rotating wave, at random places and times."""
    n_cells = round(REENTRY_SIZE / 0.5)
    tissue = Tissue.isotropic(Grid((n_cells, n_cells), 0.5), 0.1)
    cells = model("aliev-panfilov-1996")
    muscle, protocol = Monodomain(tissue, cells), cross_field(tissue, 640.0)
    run = simulate(muscle, protocol, 2400.0, dt=0.1, keep=[Movie(4.0, factor=2)])
    rest = float(np.asarray(cells.scale.to_mv(np.float64(cells.rest()[0]))))
    movie = run.data["movie"].values - rest
    like, _ = simulate_sheet(RECIPE, KNOWN[0], 0)
    rng, frames, m = np.random.default_rng(0), len(like.movie), round(SIZE)
    found = []
    for _ in range(n):
        x, y = rng.integers(0, movie.shape[1] - m, 2)
        t = rng.integers(round(REENTRY_BEGINS / 4.0), len(movie) - frames)
        window: SheetData = replace(like, movie=movie[t : t + frames, x : x + m, y : y + m].astype(np.float32))
        found.append(movie_statistics(window, 1.0))
    return found


def judged(kind: str, numbers: Callable[[Condition, int], Numbers], n: int, fresh: int) -> list[dict[str, Any]]:
    """Share of warnings for every texture left out, for what is known, and for what is strange."""
    conditions = [*KNOWN, *map(texture, TEXTURES)]
    known = {c.name: [numbers(c, k) for k in range(n)] for c in conditions}
    new = {c.name: [numbers(c, n + k) for k in range(fresh)] for c in conditions}
    rows = []
    for left_out in (None, *TEXTURES):
        kept = [name for name in known if name != left_out]
        training = [row for name in kept for row in known[name]]
        limits = Limits.fit(training, training, np.ones(len(training)), ["known"] * len(training))
        warns = partial(_share, limits)
        rows.append(
            {
                "sees": kind,
                "left out": left_out or "nothing",
                "false alarms": warns([row for name in kept for row in new[name]]),
                "warned, left out": None if left_out is None else warns(new[left_out]),
            }
        )
        if left_out is None:
            for name, condition in STRANGE.items():
                rows[0][name] = warns([numbers(condition, k) for k in range(fresh)])
            if kind == "movie":
                rows[0]["re-entry"] = warns(reentry_movies(fresh))
    return rows


def _share(limits: Limits, numbers: Sequence[Numbers]) -> float:
    return float(np.mean([not limits.judge(row).familiar for row in numbers]))


def main(out: Path, smoke: bool) -> dict:
    """Run it; returns the tables."""
    sizes = {"tissue": (8, 3), "movie": (2, 1)} if smoke else {"tissue": (60, 20), "movie": (60, 20)}
    rows = judged("tissue", of_tissue, *sizes["tissue"]) + judged("movie", of_movie, *sizes["movie"])
    return written(out, "surrogate_limits", "Share of sheets with a warning", rows, digits=2)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    main(options.out, options.smoke)
