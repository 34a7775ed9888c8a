"""A small set of sheets, simulated once per process."""

from functools import lru_cache

from einthoven.surrogate.recipe import Condition, ElectrodeRecipe, SheetRecipe
from einthoven.surrogate.sheets import SheetData, simulate_sheet

HEALTHY = Condition(name="healthy", sheets=10)
FIBROTIC = Condition(
    name="fibrotic", sheets=10, remodelling=(0.4, 0.8), remodelling_length=(4.0, 8.0), textures=("thresholded",)
)


def recipe(**changes) -> SheetRecipe:
    """Sheets of 16 mm, 32 x 32 cells, 0.4 s."""
    values = {
        "title": "small",
        "size": 16.0,
        "t_end": 400.0,
        "electrodes": ElectrodeRecipe(fixed=((8.0, 8.0, 12.0),), random=2),
        "condition": (HEALTHY, FIBROTIC),
    }
    return SheetRecipe.model_validate(values | changes)


@lru_cache(maxsize=32)
def sheet(condition: str = "fibrotic", number: int = 0) -> SheetData:
    """A simulated sheet."""
    return simulate_sheet(recipe(), {"healthy": HEALTHY, "fibrotic": FIBROTIC}[condition], number)[0]
