"""The `Grid` noun: a regular grid of cells in one, two or three dimensions."""

from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from jaxtyping import Float, Int

from einthoven.core import InputError


@dataclass(frozen=True)
class Grid:
    """Cell centers origin + spacing * (i, j, k); axis k of an array is coordinate k; the last index runs fastest.

    Parameters
    ----------
    shape
        Number of cells along x, along x and y, or along x, y and z: the dimension is data.
    spacing
        Distance of cell centers, mm, the same along all axes.
    origin
        Center of cell 0, mm; three coordinates in any dimension.

    Raises
    ------
    InputError
        If the shape is not 1 to 3 positive numbers or the spacing is not positive.
    """

    shape: tuple[int, ...]
    spacing: float
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self):
        if not 1 <= len(self.shape) <= 3 or any(int(n) != n or n < 1 for n in self.shape):
            raise InputError(f"grid shape must be 1 to 3 positive whole numbers; got {self.shape}.")
        if not 0 < self.spacing < 1e3:
            raise InputError(f"grid spacing must be a positive length in mm; got {self.spacing:g}. Typical: 0.1 to 1.")
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))

    @property
    def dimension(self) -> int:
        """1, 2 or 3."""
        return len(self.shape)

    @property
    def n_points(self) -> int:
        """Number of cells, conducting or not."""
        return prod(self.shape)

    @cached_property
    def points(self) -> Float[np.ndarray, "n_points 3"]:
        """Cell centers, mm; coordinates beyond the grid's dimension are those of the origin."""
        return self.at(np.arange(self.n_points))

    def at(self, cells: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n 3"]:
        """Centers of some cells, mm, by flat index: nothing is made for the others."""
        places = np.stack(np.unravel_index(cells, (*self.shape, 1, 1)[:3]), axis=-1)
        return places * self.spacing + np.asarray(self.origin)
