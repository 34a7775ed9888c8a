"""The phantom: surfaces, conductor and electrodes at a wanted resolution."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from einthoven.core import Electrodes, InputError, Region, Surface, VolumeConductor
from einthoven.datasets.phantom import electrodes as layouts
from einthoven.datasets.phantom.implicit import Field
from einthoven.datasets.phantom.meshing import mesh_body
from einthoven.datasets.phantom.thorax import Thorax
from einthoven.datasets.phantom.ventricles import Ventricles


@dataclass(frozen=True)
class Resolution:
    """Wanted edge lengths, mm; edges are shorter where a surface bends sharply.

    Parameters
    ----------
    torso, lungs, heart, envelope, blood
        For the skin, the lungs, the closed endo- and epicardial surface, the epicardial envelope and the blood.
    """

    torso: float = 22.0
    lungs: float = 20.0
    heart: float = 6.0
    envelope: float = 7.5
    blood: float = 9.5

    def __post_init__(self):
        limits = {"torso": (6, 40), "lungs": (6, 30), "heart": (2.5, 9), "envelope": (2.5, 15), "blood": (2.5, 14)}
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(
                    f"phantom: the edge length of {name} must be {low:g}..{high:g} mm; got {value:g}. Shorter edges "
                    "make more nodes than dense boundary elements can hold, longer ones do not resolve the shape."
                )

    def scaled(self, factor: float) -> "Resolution":
        """Return all edge lengths times `factor`."""
        return Resolution(
            self.torso * factor, self.lungs * factor, self.heart * factor, self.envelope * factor, self.blood * factor
        )


@dataclass(frozen=True)
class Conductivities:
    """Conductivities, mS/mm.

    Torso and lungs as usual in body-surface mapping, blood after Keller et al. 2010 (doi:10.1109/TBME.2010.2046485).
    """

    torso: float = 0.2
    lungs: float = 0.05
    blood: float = 0.6


@dataclass(frozen=True)
class Phantom:
    """A human-size torso with two lungs and a biventricular heart, all made by smooth functions of space.

    The same parameters give the same arrays. x points to the patient's left, y to the back, z to the head, mm; the
    origin is at the center of the torso. Surfaces are made when first asked for and kept in memory.

    Parameters
    ----------
    resolution
        Edge lengths of the surfaces.
    conductivities
        Of torso, lungs and blood.
    thorax
        Shape of torso, lungs and heart.

    Examples
    --------
    >>> phantom = Phantom()
    >>> phantom.envelope.is_closed
    True
    """

    resolution: Resolution = field(default_factory=Resolution)
    conductivities: Conductivities = field(default_factory=Conductivities)
    thorax: Thorax = field(default_factory=Thorax)

    @property
    def ventricles(self) -> Ventricles:
        """The heart's shape: muscle, cavities, coordinates within the wall."""
        return self.thorax.ventricles

    @property
    def torso(self) -> Surface:
        """The skin."""
        return _surface(self.thorax, "torso", self.resolution.torso)

    @property
    def left_lung(self) -> Surface:
        """The left lung."""
        return _surface(self.thorax, "left_lung", self.resolution.lungs)

    @property
    def right_lung(self) -> Surface:
        """The right lung."""
        return _surface(self.thorax, "right_lung", self.resolution.lungs)

    @property
    def heart(self) -> Surface:
        """The closed surface of the ventricular muscle: both endocardia, epicardium, basal rim."""
        return _surface(self.thorax, "heart", self.resolution.heart)

    @property
    def envelope(self) -> Surface:
        """The closed surface just outside epicardium and valve plane."""
        return _surface(self.thorax, "envelope", self.resolution.envelope)

    @property
    def left_blood(self) -> Surface:
        """The blood of the left ventricle."""
        return _surface(self.thorax, "left_blood", self.resolution.blood)

    @property
    def right_blood(self) -> Surface:
        """The blood of the right ventricle."""
        return _surface(self.thorax, "right_blood", self.resolution.blood)

    @property
    def conductor(self) -> VolumeConductor:
        """Torso, lungs and blood with their conductivities."""
        k = self.conductivities
        lungs = tuple(Region(s, k.lungs) for s in (self.left_lung, self.right_lung))
        blood = tuple(Region(s, k.blood) for s in (self.left_blood, self.right_blood))
        return VolumeConductor(Region(self.torso, k.torso), lungs + blood)

    def electrodes(self, name: str | int = "120") -> Electrodes:
        """Return a layout, every electrode on the triangles of `torso`.

        Parameters
        ----------
        name
            ``"12-lead"``, ``"frank"``, ``"64"``, ``"120"`` or ``"192"``; the last three hold the 12-lead electrodes.
        """
        from einthoven.geometry.locate import closest_points

        smooth = layouts.layout(self.thorax, name)
        return replace(smooth, positions=closest_points(self.torso, smooth.positions).points)


@dataclass(frozen=True)
class _Recipe:
    """How one surface is triangulated: its function, box and the shortest edge as a share of the wanted length."""

    field: Callable[[Thorax], Field]
    box: Callable[[Thorax], Float[np.ndarray, "2 3"]]
    finest: Callable[[float], float]
    cell: Callable[[float], float]


def _torso_box(thorax: Thorax) -> Float[np.ndarray, "2 3"]:
    half = np.array([0.5 * thorax.shoulder_width + 15.0, 150.0, thorax.half_height + 15.0])
    return np.stack([-half, half])


def _lung_box(thorax: Thorax) -> Float[np.ndarray, "2 3"]:
    return np.array([[-170.0, -140.0, -110.0], [170.0, 140.0, 240.0]])


def _in_heart(method: Callable[[Ventricles], Field]) -> Callable[[Thorax], Field]:
    """The function in the heart's own frame, whose box is tight."""

    def make(thorax: Thorax) -> Field:
        ventricles = thorax.ventricles
        function = method(ventricles)
        return lambda local: function(ventricles.to_world(local))

    return make


def _heart_box(thorax: Thorax) -> Float[np.ndarray, "2 3"]:
    return thorax.ventricles.local_box


_RECIPES = {
    "torso": _Recipe(lambda t: t.torso, _torso_box, lambda h: 0.7 * h, lambda h: min(12.0, 0.6 * h)),
    "left_lung": _Recipe(lambda t: t.left_lung, _lung_box, lambda h: 0.55 * h, lambda h: min(7.0, 0.6 * h)),
    "right_lung": _Recipe(lambda t: t.right_lung, _lung_box, lambda h: 0.55 * h, lambda h: min(7.0, 0.6 * h)),
    "heart": _Recipe(
        _in_heart(lambda v: v.myocardium), _heart_box, lambda h: np.clip(0.42 * h, 1.8, 2.6), lambda h: 2.0
    ),
    "envelope": _Recipe(_in_heart(lambda v: v.envelope), _heart_box, lambda h: 0.6 * h, lambda h: min(3.0, 0.6 * h)),
    "left_blood": _Recipe(
        _in_heart(lambda v: v.left_blood), _heart_box, lambda h: 0.55 * h, lambda h: min(3.0, 0.6 * h)
    ),
    "right_blood": _Recipe(
        _in_heart(lambda v: v.right_blood), _heart_box, lambda h: 0.45 * h, lambda h: min(2.5, 0.6 * h)
    ),
}


@lru_cache(maxsize=64)
def _surface(thorax: Thorax, name: str, edge_length: float) -> Surface:
    recipe = _RECIPES[name]
    surface = mesh_body(
        recipe.field(thorax),
        recipe.box(thorax),
        edge_length=edge_length,
        finest=float(recipe.finest(edge_length)),
        cell=recipe.cell(edge_length),
        name=name,
    )
    if recipe.box is _heart_box:
        surface = surface.with_points(thorax.ventricles.to_world(surface.points))
    return surface
