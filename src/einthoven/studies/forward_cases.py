"""Cases for comparing forward operators: a body at any resolution, sources, and what the leads should show.

- ``spheres``: concentric spheres, potentials of one degree, exact answers (`einthoven.verify.spheres`), all nodes of
  the skin. Level: how often the triangles of an icosahedron are cut.
- ``phantom-surface``: a front on the closed surface of both ventricles in a torso with lungs and blood, 120 electrodes,
  against the same operator on a finer mesh. Level k: edges of 2^-k times the phantom's own.
- ``dalhousie-2007``: a front on the epicardium, 352 electrodes, likewise. Level k: every triangle cut into four k
  times; negative: 4^k times the nodes. The polyhedra of levels from 0 are the same body.
- ``utah-cage-tank``: measured heart potentials against measured leads. Levels as of ``dalhousie-2007``.

Operators (`OPERATORS`): ``transfer`` takes the source for a heart-surface potential, ``double layer`` for a
transmembrane one, ``envelope`` likewise, by way of the potential on an envelope around the heart.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from einthoven.core import Electrodes, ForwardOperator, InputError, Region, Surface, VolumeConductor
from einthoven.datasets import load_case
from einthoven.datasets.phantom import Phantom
from einthoven.forward import bem
from einthoven.geometry.generators import sphere
from einthoven.geometry.operators import areas
from einthoven.geometry.remesh import Remeshed, decimated, refined
from einthoven.verify import spheres

CASES = ("spheres", "phantom-surface", "dalhousie-2007", "utah-cage-tank")
#: Of these, the one whose leads were measured.
MEASURED = "utah-cage-tank"

#: Skin of the spheres, mm; the heart's radius with one layer, and with several, which are 20 mm thick.
SKIN, HEART, INNER_HEART, LAYER = 100.0, 50.0, 40.0, 20.0
#: Axis of the potentials, off those of the meshes.
AXIS = (1.0, 2.0, -0.5)
#: Conductivity of the sources of double layers on spheres, mS/mm, and gap of their envelope, mm.
STRENGTH, GAP = 0.1, 2.0
#: Fronts: peak, mV; width, mm; distances from the first node of the case's own heart, as shares of the heart's extent.
PEAK, WIDTH, FRONTS = 100.0, 4.0, (0.2, 0.35, 0.5, 0.65)

#: What may be left out of the operator: names of regions; ``all`` leaves the torso.
LEFT_OUT: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "lungs": ("left_lung", "right_lung"),
    "blood": ("left_blood", "right_blood"),
    "all": (),
}


@dataclass(frozen=True, eq=False)
class Body:
    """What an operator is built of.

    Parameters
    ----------
    heart, conductor, electrodes
        As for `einthoven.forward.bem`; electrodes None: all nodes of the skin.
    envelope
        Closed surface just around the heart, where there is one.
    carried
        From values at the nodes of the case's own heart to those here; None where no values are carried.
    """

    heart: Surface
    conductor: VolumeConductor
    electrodes: Electrodes | None
    envelope: Surface | None = None
    carried: Callable[[np.ndarray], np.ndarray] | None = None


def _transfer(body: Body) -> ForwardOperator:
    return bem.transfer(body.heart, body.conductor, body.electrodes)


def _double_layer(body: Body) -> ForwardOperator:
    return bem.double_layer(body.heart, body.conductor, body.electrodes, intracellular_conductivity=STRENGTH)


def _envelope(body: Body) -> ForwardOperator:
    if body.envelope is None:
        raise InputError("envelope: this case has none; take transfer or double layer.")
    inner = bem.double_layer_to_surface(body.heart, body.conductor, body.envelope, intracellular_conductivity=STRENGTH)
    return bem.transfer(body.envelope, body.conductor, body.electrodes) @ inner


#: Operators by name; all sources of the second and third are transmembrane potentials.
OPERATORS: dict[str, Callable[[Body], ForwardOperator]] = {
    "transfer": _transfer,
    "double layer": _double_layer,
    "envelope": _envelope,
}


def layers_of(text: str) -> tuple[float, ...]:
    """Conductivities of layers, mS/mm, from ``"0.2/0.05/0.2"``: the innermost first.

    Raises
    ------
    InputError
        For anything else, and for more than four.
    """
    try:
        values = tuple(float(part) for part in text.split("/"))
    except ValueError:
        values = ()
    if not 1 <= len(values) <= 4 or not all(0 < v < 1e4 for v in values):
        raise InputError(
            f"layers must be one to four conductivities (S/m), inside to outside, as '0.2/0.05/0.2'; got {text!r}."
        )
    return values


def radii_of(layers: tuple[float, ...]) -> tuple[float, ...]:
    """Outer radii of layers, mm."""
    return tuple(SKIN - LAYER * k for k in range(len(layers) - 1, -1, -1))


def heart_radius(layers: tuple[float, ...]) -> float:
    """Radius of the spherical heart, mm; smaller where a fourth layer needs room."""
    return HEART if len(layers) == 1 else min(INNER_HEART, radii_of(layers)[0] - LAYER)


def body(case: str, level: float | int, *, layers: str = "0.2", left_out: str = "none") -> Body:
    """Return the body of a case at a resolution, without the regions that are left out.

    Raises
    ------
    InputError
        If the level is none of the case, or it has no such regions.
    GeometryError
        If surfaces of that resolution meet.
    """
    made = _whole(case, float(level), layers)
    if left_out == "none":
        return made
    inner = made.conductor.inner
    kept = () if left_out == "all" else tuple(r for r in inner if r.surface.name not in LEFT_OUT[left_out])
    if len(kept) == len(inner):
        raise InputError(f"{case}: has no {'inner region' if left_out == 'all' else left_out} to leave out.")
    return replace(made, conductor=replace(made.conductor, inner=kept))


@lru_cache(maxsize=2)
def _whole(case: str, level: float | int, layers: str) -> Body:
    if case == "spheres":
        return _spheres(level, layers_of(layers))
    if case == "phantom-surface":
        from einthoven.datasets.phantom.anatomy import Resolution

        own = Phantom(Resolution().scaled(2.0**-level))
        return Body(own.heart, own.conductor, own.electrodes("120"), own.envelope)
    return _refined(case, level)


def _spheres(level: float | int, layers: tuple[float, ...]) -> Body:
    if level != int(level) or not 0 <= level <= 6:
        raise InputError(f"spheres: the level must be a whole number from 0 to 6; got {level:g}.")
    radius, radii = heart_radius(layers), radii_of(layers)
    inner = [
        Region(_ball(r, int(level), f"sphere{r:g}"), s) for r, s in zip(radii[-2::-1], layers[-2::-1], strict=True)
    ]
    conductor = VolumeConductor(Region(_ball(SKIN, int(level), "torso"), layers[-1]), tuple(inner))
    return Body(_ball(radius, int(level), "heart"), conductor, None, _ball(radius + GAP, int(level), "envelope"))


def _ball(radius: float, level: int, name: str) -> Surface:
    """A polyhedron that has the sphere's area."""
    surface = sphere(radius, subdivisions=level, name=name)
    return surface.with_points(surface.points * np.sqrt(4 * np.pi * radius**2 / areas(surface).sum()))


def _refined(name: str, level: float | int) -> Body:
    """A case from files with finer or coarser surfaces; electrodes stay where they are on the finer ones."""
    from einthoven.geometry.locate import closest_points

    case = load_case(name)
    assert case.electrodes is not None
    heart, conductor = case.source("hsp").surface, case.conductor
    if level > 0 and level != int(level):
        raise InputError(f"{name}: a level above 0 must be a whole number; got {level:g}.")
    made = _remeshed(heart, level)
    regions = [replace(r, surface=_remeshed(r.surface, level).surface) for r in conductor.regions]
    electrodes = case.electrodes
    if level < 0:
        electrodes = replace(electrodes, positions=closest_points(regions[0].surface, electrodes.positions).points)
    volume = VolumeConductor(regions[0], tuple(regions[1:]))
    return Body(made.surface, volume, electrodes, carried=lambda values: made.interpolation @ values)


def _remeshed(surface: Surface, level: float | int) -> Remeshed:
    if level < 0:
        return decimated(surface, max(20, round(surface.n_points * 4.0**level)))
    return refined(surface, times=int(level))


# --- sources and what the leads should show ---------------------------------------------------------------------------


def sphere_source(made: Body, degree: int) -> Float[np.ndarray, "n 1"]:
    """A potential of one degree at the heart's nodes."""
    return spheres.legendre(degree, made.heart.points, AXIS)[:, None]


def sphere_answer(made: Body, degree: int, layers: str, operator: str) -> Float[np.ndarray, "n 1"]:
    """The exact potential at the nodes of the skin."""
    sigma = layers_of(layers)
    radii, radius = radii_of(sigma), heart_radius(sigma)
    if operator == "transfer":
        field = spheres.transfer_field(degree, radius, radii, sigma)
    else:
        field = spheres.double_layer_field(degree, radius, radii, sigma, intracellular_conductivity=STRENGTH)
    return (field.at(SKIN) * spheres.legendre(degree, made.conductor.skin.points, AXIS))[:, None]


def front_source(case: str, made: Body) -> Float[np.ndarray, "n t"]:
    """Fronts at several distances from a place on the heart, mV: the same functions of space on every mesh."""
    place, extent = _front(case)
    distance = np.linalg.norm(made.heart.points - place, axis=1)[:, None]
    return PEAK / (1 + np.exp((distance - extent * np.array(FRONTS)) / WIDTH))


@lru_cache(maxsize=4)
def _front(case: str) -> tuple[np.ndarray, float]:
    own = _whole(case, 0.0, "0.2").heart.points
    return own[0], float(np.linalg.norm(own - own[0], axis=1).max())


def measured_pair(made: Body) -> tuple[Float[np.ndarray, "n t"], Float[np.ndarray, "m t"]]:
    """Measured heart potentials at the nodes of a body, and measured leads in the order of its electrodes."""
    case = load_case(MEASURED)
    source, recording = case.source("hsp"), case.recording
    assert source.truth is not None
    assert recording is not None
    assert made.electrodes is not None
    assert made.carried is not None
    at_heart = source.truth.select(source.surface.node_names).values
    return made.carried(at_heart), recording.select(made.electrodes.names).values
