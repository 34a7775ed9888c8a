"""Cells that still conduct but less well: gap-junction remodelling, and the border zone of a scar."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from einthoven.core import InputError
from einthoven.tissue.random_field import SmoothField
from einthoven.tissue.tissue import Tissue

Number = float | int


@dataclass(frozen=True)
class GapJunctionRemodelling:
    """Diffusivity times a factor: one for the whole tissue, or smoothly varying in space.

    Parameters
    ----------
    low, high
        Range of the factor; every value in it is equally frequent.
    correlation_length
        Of the variation, mm; None: one factor for the whole tissue, drawn from the range.
    """

    low: Number = 0.25
    high: Number = 0.6
    correlation_length: Number | None = None

    def __post_init__(self):
        if not 0 < self.low <= self.high < 100:
            raise InputError(
                f"remodelling: the factor of the diffusivity goes from a positive low to a high; got {self.low:g} to "
                f"{self.high:g}."
            )

    def factors(self, tissue: Tissue, seed: int) -> Float[np.ndarray, " n_nodes"]:
        """The factor of every node."""
        from scipy.special import ndtr

        if self.correlation_length is None:
            share = np.full(tissue.n_nodes, np.random.default_rng([seed, 7]).random())
        else:
            share = ndtr(_smooth(tissue, float(self.correlation_length), seed, "gap junctions"))
        return self.low + (self.high - self.low) * share

    def apply(self, tissue: Tissue, seed: int) -> Tissue:
        """The tissue with its diffusivity times the factors."""
        return tissue.scaled(self.factors(tissue, seed))


@dataclass(frozen=True)
class Scar:
    """A core that does not conduct and a border zone that conducts less.

    Nodes of the border zone have 1, all others 0, in the label ``"border"``: from it the parameters of their cells are
    made, for example ``np.where(tissue.label("border") > 0, 0.5, 1.0) * g_na``.

    Parameters
    ----------
    center
        mm, one coordinate per dimension of the grid, three on a surface.
    radius
        Of the core, mm.
    border
        Width of the border zone, mm.
    border_scale
        Factor of the diffusivity in the border zone.
    roughness
        Standard deviation of the core's unevenness as a share of the radius; the border zone follows it.
    """

    center: tuple[float, ...]
    radius: Number
    border: Number = 3.0
    border_scale: Number = 0.3
    roughness: Number = 0.15

    def __post_init__(self):
        if not (self.radius > 0 and self.border >= 0 and self.roughness >= 0 and 0 < self.border_scale < 100):
            raise InputError(
                "scar: radius and border_scale must be positive, border and roughness 0 or more; got "
                f"{self.radius:g}, {self.border_scale:g}, {self.border:g}, {self.roughness:g}."
            )

    def depth(self, tissue: Tissue, seed: int = 0) -> Float[np.ndarray, " n_nodes"]:
        """How far every node is outside of the core, mm (negative inside)."""
        points = tissue.coordinates
        if len(self.center) != points.shape[1]:
            raise InputError(f"scar: the center needs {points.shape[1]} coordinates in mm; got {self.center}.")
        distance = np.linalg.norm(points - np.array(self.center), axis=1) - self.radius
        if self.roughness == 0:
            return distance
        return distance - self.roughness * self.radius * _smooth(tissue, float(self.radius), seed, "scar")

    def apply(self, tissue: Tissue, seed: int = 0) -> Tissue:
        """The tissue without the core, less conducting in the border zone, and labelled.

        Raises
        ------
        InputError
            If neither core nor border holds a node.
        """
        depth = self.depth(tissue, seed)
        border = (depth >= 0) & (depth < self.border)
        if not (depth < self.border).any():
            raise InputError(
                f"scar: {self} holds no conducting node; the nearest is {depth.min():.3g} mm outside of its core. Move "
                "or enlarge it (in mm)."
            )
        before = tissue.labels.get("border", np.zeros(tissue.n_nodes))
        tissue = tissue.labelled("border", np.where(border, 1.0, before))
        return tissue.scaled(np.where(border, float(self.border_scale), 1.0)).without(depth < 0)


def _smooth(tissue: Tissue, length: float, seed: int, name: str) -> Float[np.ndarray, " n_nodes"]:
    points = tissue.coordinates
    return SmoothField.over(points, length, seed=seed, name=name)(points)
