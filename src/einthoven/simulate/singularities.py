"""Phase singularities of a running simulation: where rotors turn, how many there are, which way they went."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from einthoven.core import InputError, Surface
from einthoven.io.stream import Channel
from einthoven.ionic import IonicModel
from einthoven.signals.fibrillation import Singularities, phase_singularities, track_singularities
from einthoven.simulate.keep import Recorder, Rows
from einthoven.tissue import Grid, Tissue


@dataclass(frozen=True)
class PhaseSingularities:
    """Points of a sheet or a surface around which the phase winds once.

    The phase is the angle of (v(t - delay) - center, v(t) - center), so that no whole record is needed (delay
    embedding, Gray et al. 1998, doi:10.1038/32164). Results: ``phase_singularities`` (one row per singularity and
    frame: time, charge, x, y, z), ``phase_singularity_count`` over time and ``phase_singularity_paths`` (path of each
    row, -1 for paths shorter than `min_frames`). Charge +1: the phase grows counter-clockwise, seen with x to the right
    and y up, or from outside a surface.

    Parameters
    ----------
    every
        Interval of looks, ms.
    delay
        Of the embedding, ms; a multiple of `every`.
    center
        Potential that counts as the middle of the loop, mV.
    max_step
        Largest distance that a singularity moves between looks, mm: joins looks into paths.
    min_frames
        Shorter paths get no number.
    """

    every: float = 5.0
    delay: float = 10.0
    center: float = -40.0
    max_step: float = 10.0
    min_frames: int = 3

    def __post_init__(self):
        if not 0 < self.every < 1e6:
            raise InputError(f"phase singularities: `every` must be a positive time in ms; got {self.every:g}.")
        looks = self.delay / self.every
        if looks < 1 or abs(looks - round(looks)) > 1e-9:
            raise InputError(
                f"phase singularities: the delay ({self.delay:g} ms) must be a multiple of the interval "
                f"({self.every:g} ms)."
            )

    def start(self, tissue: Tissue, model: IonicModel) -> Recorder:
        """Make the recorder; only sheets and surfaces have singular points."""
        del model
        if isinstance(tissue.domain, Grid) and tissue.domain.dimension != 2:
            raise InputError(
                f"phase singularities are points of a sheet or a surface; this tissue has {tissue.domain.dimension} "
                "dimensions. Leave them out."
            )
        return _Watch(self, tissue)


class _Watch(Recorder):
    def __init__(self, keep: PhaseSingularities, tissue: Tissue):
        self.keep, self.tissue = keep, tissue
        self.past = np.empty((0, tissue.n_nodes))
        self.looks = 0
        self.channels = (
            Channel(
                "phase_singularities",
                ("row", "column"),
                "row",
                (5,),
                {"column": np.asarray(["time", "charge", "x", "y", "z"])},
                attrs={"unit": "ms, 1, mm, mm, mm"},
            ),
            Channel("phase_singularity_count", ("time",), "time", (), attrs={"unit": "1", "time_unit": "ms"}),
        )

    def sample(self, t: float, vm: np.ndarray) -> Rows:
        depth = round(self.keep.delay / self.keep.every)
        rows = np.empty((0, 5))
        if len(self.past) == depth:
            center = self.keep.center
            rows = self._rows(t, np.arctan2(vm - center, self.past[0] - center))
        self.past = np.concatenate([self.past, vm[None]])[-depth:]
        self.looks += 1
        return {"phase_singularities": rows, "phase_singularity_count": np.array([float(len(rows))])}

    def _rows(self, t: float, phase: np.ndarray) -> np.ndarray:
        domain = self.tissue.domain
        everywhere = np.full(domain.n_points, np.nan)
        everywhere[self.tissue.nodes] = phase
        if isinstance(domain, Surface):
            found = phase_singularities(domain, everywhere[:, None])
            charge, position = found.charge, found.position
        else:
            charge, position = grid_singularities(domain, everywhere.reshape(domain.shape))
        return np.concatenate([np.full((len(charge), 1), t), charge[:, None].astype(float), position], axis=1)

    def memory(self) -> dict[str, np.ndarray]:
        return {"past": self.past}

    def recall(self, memory: Mapping[str, np.ndarray]) -> None:
        self.past = np.array(memory["past"])

    def finish(self, kept: Mapping[str, np.ndarray]) -> Mapping[str, tuple[Channel, np.ndarray]]:
        path = self._paths(kept["phase_singularities"])
        channel = Channel("phase_singularity_paths", ("row",), "row", (), dtype="int64", attrs={"unit": "1"})
        return {channel.name: (channel, path)}

    def _paths(self, rows: np.ndarray) -> Int[np.ndarray, " n"]:
        path = np.full(len(rows), -1, dtype=np.int64)
        if not len(rows):
            return path
        frame = np.round(rows[:, 0] / self.keep.every).astype(np.int64)
        table = Singularities(frame, np.arange(len(rows)), rows[:, 1].astype(np.int64), rows[:, 2:])
        paths = track_singularities(table, max_step_mm=self.keep.max_step, min_frames=self.keep.min_frames)
        for number, one in enumerate(paths):
            for f, place in zip(one.frames, one.positions, strict=True):
                here = (frame == f) & (table.charge == one.charge) & (rows[:, 2:] == place).all(axis=1)
                path[here] = number
        return path


def grid_singularities(
    grid: Grid, phase: Float[np.ndarray, "nx ny"]
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, "n 3"]]:
    """Squares of four neighboring cells around which the phase winds once: charges and centers (mm).

    Parameters
    ----------
    grid
        Two-dimensional.
    phase
        Radians, shape of the grid; squares with a NaN hold none.
    """
    corners = [phase[:-1, :-1], phase[1:, :-1], phase[1:, 1:], phase[:-1, 1:]]
    winding = np.zeros(corners[0].shape)
    for k in range(4):
        step = corners[(k + 1) % 4] - corners[k]
        winding += step - 2 * np.pi * np.round(step / (2 * np.pi))
    charge = np.round(np.nan_to_num(winding) / (2 * np.pi)).astype(np.int64)
    i, j = np.nonzero(charge)
    place = np.asarray(grid.origin) + grid.spacing * np.stack([i + 0.5, j + 0.5, np.zeros(len(i))], axis=1)
    return charge[i, j], place
