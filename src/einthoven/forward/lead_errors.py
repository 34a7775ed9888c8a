"""How leads change if the heart or the electrodes lie elsewhere than the model says.

    L(q) = L_0 + sum_j q_j L_j

to first order: the heart moves by three shifts, turns about three axes through its center and grows about it, every
electrode slides along two directions on the skin. The leads are those of a double layer or of potentials on the heart
surface. The changes are differences of boundary-element operators that are built anew. With
them a fit can find pose and electrodes together with the source, at the cost of some more columns.

Measured, for fronts of 100 mV in the phantom's heart and 120 electrodes against Wilson's terminal: the heart 3 mm or 3
degrees off changes the leads by 3.9 to 5.6 %; what first order leaves is 0.15 to 0.36 %. All electrodes 5 mm off in
directions at random: 6.3 to 6.8 % and 1.2 to 1.6 %. Electrodes at nodes of the skin, where linear elements have a kink
(352 of the Dalhousie torso): 5.9 to 6.4 % and 2.7 to 3.1 %.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from einthoven.core import (
    Electrodes,
    ForwardOperator,
    GeometryError,
    InputError,
    LeadSystem,
    Quantity,
    Region,
    Surface,
    VolumeConductor,
)
from einthoven.core.arrays import frozen
from einthoven.core.errors import some
from einthoven.core.progress import Progress, silent
from einthoven.core.sites import check_names, match_names
from einthoven.forward import bem

#: Names of the errors of pose: mm and degrees.
POSE = (
    "heart x (mm)",
    "heart y (mm)",
    "heart z (mm)",
    "heart about x (deg)",
    "heart about y (deg)",
    "heart about z (deg)",
)

#: Name of the error of size: percent of all lengths.
SIZE = "heart size (%)"

#: Steps of the differences, mm, degrees or percent: the next one is taken where moved surfaces would meet.
STEPS = (0.5, -0.5, 0.1, -0.1)

#: Largest errors that first order can stand for: mm, degrees, percent.
MOST_MM, MOST_DEG, MOST_PERCENT = 50.0, 45.0, 30.0


def _empty() -> np.ndarray:
    return np.zeros((0, 0))


class LeadChange(NamedTuple):
    """Leads and how they change.

    Parameters
    ----------
    leads
        L_0 vm, mV.
    changes
        L_j vm, mV per unit of q_j.
    """

    leads: Float[np.ndarray, "n_leads *k"]
    changes: Float[np.ndarray, "n_errors n_leads *k"]


@dataclass(frozen=True, eq=False)
class LeadErrors:
    """How leads change to first order: L(q) = L_0 + sum_j q_j L_j.

    The first errors change all leads at once, L_j = whole[j]. The others change the potential of one electrode, which
    has rank one: L_j = weights[:, k] slopes[k]^T. They are kept apart since of many electrodes all L_j together would
    not fit in memory.

    Parameters
    ----------
    leads
        L_0, vm at the nodes of the heart's surface -> leads.
    whole
        Shape (n_whole, n_leads, n_in), mV per mV and unit of q_j.
    names
        One per error, those of `whole` first: ``"heart x (mm)"``, ``"heart about x (deg)"``, ``"V1 a (mm)"``, ...
    spread
        Standard deviation expected of every q_j, in the unit of its name.
    slopes
        Shape (n_slopes, n_in), change of an electrode's potential; default: there are none.
    weights
        Shape (n_leads, n_slopes), what the electrode counts in every lead.

    Raises
    ------
    InputError
        If shapes do not agree, a name is there twice, a spread is not positive or something is not finite.
    """

    leads: ForwardOperator
    whole: Float[np.ndarray, "n_whole n_leads n_in"]
    names: tuple[str, ...]
    spread: Float[np.ndarray, " n_errors"]
    slopes: Float[np.ndarray, "n_slopes _"] = field(default_factory=_empty)
    weights: Float[np.ndarray, "_ n_slopes"] = field(default_factory=_empty)

    def __post_init__(self):
        n_leads, n_in, n, k = self.leads.n_out, self.leads.n_in, len(self.names), len(self.slopes)
        arrays = {
            "whole": self.whole,
            "slopes": self.slopes if k else np.zeros((0, n_in)),
            "weights": self.weights if k else np.zeros((n_leads, 0)),
            "spread": self.spread,
        }
        shapes = tuple(np.shape(x) for x in arrays.values())
        wanted = ((n - k, n_leads, n_in), (k, n_in), (n_leads, k), (n,))
        if shapes != wanted:
            raise InputError(
                f"lead errors: {n} names, {n_leads} leads and {n_in} nodes need whole, slopes, weights and spread of "
                f"shapes {', '.join(map(str, wanted))}; got {', '.join(map(str, shapes))}."
            )
        if not all(np.isfinite(x).all() for x in arrays.values()) or not (self.spread > 0).all():
            raise InputError("lead errors: changes must be finite and every spread positive; some are not.")
        object.__setattr__(self, "names", check_names(self.names, "lead errors"))
        for name, array in arrays.items():
            object.__setattr__(self, name, frozen(array, np.float64))

    def __repr__(self) -> str:
        return f"LeadErrors({self.leads.n_out} leads, {self.n_errors} errors: {some(self.names, limit=3)})"

    @property
    def n_errors(self) -> int:
        """Number of errors q_j."""
        return len(self.names)

    @cached_property
    def changes(self) -> Float[np.ndarray, "n_errors n_leads n_in"]:
        """All L_j, mV per mV and unit of q_j.

        Raises
        ------
        InputError
            If they need more than half of this machine's memory; `apply`, `at` and `rows` do without them.
        """
        from einthoven.geometry.checks import physical_memory

        need, there = 8 * self.n_errors * self.leads.n_out * self.leads.n_in, physical_memory()
        if there is not None and need > there / 2:
            raise InputError(
                f"lead errors: {self.n_errors} changes of {self.leads.n_out} leads and {self.leads.n_in} nodes need "
                f"{need / 2**30:.1f} GiB. Use `apply`, `at` or `rows`, or fewer leads."
            )
        return np.concatenate([self.whole, self.weights.T[:, :, None] * self.slopes[:, None, :]])

    @cached_property
    def rows(self) -> ForwardOperator:
        """All different rows that the leads are made of, as one operator: L_0, `whole`, `slopes`.

        `from_rows` makes leads and changes of what it gives. It composes with a sampling of the heart's surface.
        """
        stacked = np.concatenate([self.leads.matrix, self.whole.reshape(-1, self.leads.n_in), self.slopes])
        first = self.leads.out_sites
        names = first + tuple(f"lead error row {i}" for i in range(len(stacked) - len(first)))
        return replace(self.leads, matrix=stacked, out_sites=names, electrodes=None, lead_matrix=None)

    def from_rows(self, values: Float[np.ndarray, "n_rows *k"]) -> LeadChange:
        """Leads and changes from what `rows` gives for the same vm."""
        n, m = self.leads.n_out, len(self.whole)
        whole = values[n : n * (m + 1)].reshape(m, n, *values.shape[1:])
        slopes = values[n * (m + 1) :]
        by_electrode = self.weights.T[(..., *[None] * (values.ndim - 1))] * slopes[:, None]
        return LeadChange(values[:n], np.concatenate([whole, by_electrode]))

    def apply(self, vm: Float[np.ndarray, "n_in *k"]) -> LeadChange:
        """L_0 vm and L_j vm for every error."""
        return self.from_rows(self.rows.apply(vm))

    def select(self, names: Sequence[str]) -> "LeadErrors":
        """Only the named errors, in the order they have here; the others are taken as exact."""
        match_names(names, self.names, "lead errors")
        chosen, n = np.array([name in set(names) for name in self.names]), len(self.whole)
        return replace(
            self,
            whole=self.whole[chosen[:n]],
            names=tuple(name for name, kept in zip(self.names, chosen, strict=True) if kept),
            spread=self.spread[chosen],
            slopes=self.slopes[chosen[n:]],
            weights=self.weights[:, chosen[n:]],
        )

    def at(self, q: Float[np.ndarray, " n_errors"]) -> ForwardOperator:
        """The leads L(q) to first order."""
        if np.shape(q) != (self.n_errors,):
            raise InputError(f"lead errors: q must hold {self.n_errors} numbers; got shape {np.shape(q)}.")
        n = len(self.whole)
        change = np.tensordot(q[:n], self.whole, axes=1) + (self.weights * q[n:]) @ self.slopes
        return replace(self.leads, matrix=self.leads.matrix + change)


def lead_errors(
    surface: Surface,
    conductor: VolumeConductor,
    electrodes: Electrodes,
    system: LeadSystem,
    *,
    moving: Sequence[str] = (),
    source: Quantity = "vm",
    intracellular_conductivity: float = bem.INTRACELLULAR_CONDUCTIVITY,
    pose_mm: float | int = 5.0,
    pose_deg: float | int = 5.0,
    size_percent: float | int = 0.0,
    electrode_mm: float | int = 5.0,
    progress: Progress = silent,
) -> LeadErrors:
    """Build leads and their changes with the heart's pose and size and the electrodes' places.

    Changes with pose are one-sided differences over 0.5 mm, degrees or percent (the other way, then 0.1, where moved
    surfaces would meet others), in the phantom within 1 % of central ones; every one takes a boundary-element operator.
    Those of electrodes are central differences over half the expected error along the skin, and take one operator
    together. The heart turns about `center`. Direction ``a`` of an electrode runs around the longest axis of the body,
    ``b`` along it.

    Parameters
    ----------
    surface, conductor, intracellular_conductivity
        As in `einthoven.forward.bem.double_layer`.
    electrodes
        Those of the lead system, at least; the electrodes of the reference are needed too.
    system
        The leads that are recorded, for example `einthoven.forward.references.lead_system`.
    moving
        Names of the inner regions that move with the heart (its blood); the others stay.
    source
        ``"vm"``: the leads of `einthoven.forward.bem.double_layer`; ``"hsp"``: of `einthoven.forward.bem.transfer`.
    pose_mm, pose_deg
        Standard deviation of every shift, mm, and every turn, degrees; 0: taken as exact, without these errors.
    size_percent
        Standard deviation of the heart's size, percent of its lengths; 0: exact.
    electrode_mm
        Standard deviation of every electrode's place in both directions, mm; 0: exact.
    progress
        Told about boundary-element solutions.

    Raises
    ------
    InputError
        For an electrode or region that is not there, another source, an error that is negative or beyond first order,
        and a heart that cannot move in the torso at all.
    GeometryError
        As `einthoven.forward.bem.double_layer`.
    """
    _check_sizes(pose_mm, pose_deg, size_percent, electrode_mm)
    if source not in ("vm", "hsp"):
        raise InputError(f"lead errors: the source must be 'vm' or 'hsp'; got {source!r}.")
    conductivity = None if source == "hsp" else intracellular_conductivity
    model = _Model.of(surface, conductor, electrodes, system, tuple(moving), conductivity)
    expected = (*[pose_mm] * 3, *[pose_deg] * 3, size_percent)
    steps = [k for k in range(7) if expected[k] > 0]
    progress("boundary elements", 0, len(steps) + 1)
    potentials, slopes = model.on_skin(0.5 * float(electrode_mm))
    leads = system.operator() @ potentials
    whole = np.zeros((len(steps), leads.n_out, leads.n_in))
    for i, k in enumerate(steps):
        progress("boundary elements", i + 1, len(steps) + 1)
        whole[i] = system.weights @ model.change(k, potentials.matrix)
    progress("boundary elements", len(steps) + 1, len(steps) + 1)
    sliding = [f"{name} {way} (mm)" for name in system.electrodes for way in "ab"] if len(slopes) else []
    spread = [expected[k] for k in steps] + [electrode_mm] * len(sliding)
    return LeadErrors(
        leads,
        whole,
        (*((*POSE, SIZE)[k] for k in steps), *sliding),
        np.array(spread, dtype=np.float64),
        slopes,
        np.repeat(system.weights, 2, axis=1)[:, : len(slopes)],
    )


def moved(
    surface: Surface, pose: Float[np.ndarray, " 6"], about: Float[np.ndarray, " 3"], *, percent: float | int = 0.0
) -> Surface:
    """The surface after a turn about a point, growth about it and a shift.

    Parameters
    ----------
    surface
        Any surface.
    pose
        Shift, mm, and rotation vector, degrees, in the order of `POSE`: right-handed about its own direction.
    about
        Center of turn and growth, mm.
    percent
        Growth of all lengths.
    """
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_rotvec(pose[3:], degrees=True)
    return surface.with_points((1 + percent / 100) * turn.apply(surface.points - about) + about + pose[:3])


def center(surface: Surface) -> Float[np.ndarray, " 3"]:
    """Where the heart turns: the mean of its surface, by area, mm."""
    corners = surface.corners
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    return np.average(corners.mean(axis=1), axis=0, weights=area)


def along_skin(skin: Surface, positions: Float[np.ndarray, "n 3"], step: float) -> Float[np.ndarray, "4 n 3"]:
    """Points on the skin a step away from electrodes: a forward, a back, b forward, b back.

    Parameters
    ----------
    skin
        Closed, outward.
    positions
        On or near the skin, mm; their closest points are meant.
    step
        mm, in the tangent plane; the end is projected onto the skin.
    """
    from einthoven.geometry.locate import closest_points
    from einthoven.geometry.operators import node_normals

    found = closest_points(skin, positions)
    normals = np.einsum("nk,nkx->nx", found.barycentric, node_normals(skin)[skin.triangles[found.triangle]])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    order = np.argsort(-skin.extent)
    axis = np.eye(3)[np.where(np.abs(normals[:, order[0]]) < 0.9, order[0], order[-1])]
    a = np.cross(axis, normals)
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    b = np.cross(normals, a)
    ends = np.concatenate([found.points + step * way for way in (a, -a, b, -b)])
    return closest_points(skin, ends).points.reshape(4, -1, 3)


@dataclass(frozen=True, eq=False)
class _Model:
    """What the operator is built from; the electrodes are those of the lead system, in its order.

    Without a conductivity of the cells the source is the potential on the heart surface.
    """

    surface: Surface
    conductor: VolumeConductor
    electrodes: Electrodes
    moving: tuple[str, ...]
    conductivity: float | None

    @classmethod
    def of(
        cls,
        surface: Surface,
        conductor: VolumeConductor,
        electrodes: Electrodes,
        system: LeadSystem,
        moving: tuple[str, ...],
        conductivity: float | None,
    ) -> "_Model":
        match_names(moving, [r.surface.name for r in conductor.inner], "regions that move with the heart")
        missing = [name for name in system.electrodes if name not in electrodes.names]
        if missing:
            raise InputError(
                f"leads of reference {system.reference!r} need electrodes {some(missing)}, which are not there; there "
                f"are {some(electrodes.names)}. Add them, or use another reference."
            )
        return cls(surface, conductor, electrodes.select(system.electrodes), moving, conductivity)

    def potentials(self, electrodes: Electrodes) -> ForwardOperator:
        if self.conductivity is None:
            return bem.transfer(self.surface, self.conductor, electrodes)
        return bem.double_layer(self.surface, self.conductor, electrodes, intracellular_conductivity=self.conductivity)

    def on_skin(self, step: float) -> tuple[ForwardOperator, Float[np.ndarray, "n_slopes n_in"]]:
        """Potentials at the electrodes, and their slopes per mm along a and b (none for a step of 0)."""
        if step == 0:
            return self.potentials(self.electrodes), _empty()
        n = len(self.electrodes)
        around = along_skin(self.conductor.skin, self.electrodes.positions, step).reshape(-1, 3)
        places = np.concatenate([self.electrodes.positions, around])
        found = self.potentials(Electrodes(tuple(map(str, range(5 * n))), places))
        forward_a, back_a, forward_b, back_b = found.matrix[n:].reshape(4, n, -1)
        slopes = np.stack([forward_a - back_a, forward_b - back_b], axis=1) / (2 * step)
        here = replace(
            found,
            matrix=found.matrix[:n],
            out_sites=self.electrodes.names,
            electrodes=self.electrodes,
            lead_matrix=np.eye(n),
        )
        return here, slopes.reshape(2 * n, -1)

    def change(self, k: int, before: Float[np.ndarray, "n n_in"]) -> Float[np.ndarray, "n n_in"]:
        """Change of the electrodes' potentials per mm, degree or percent of an error of pose or size."""
        problem: GeometryError | None = None
        for step in STEPS:
            try:
                there = self.at(step * np.eye(7)[k]).potentials(self.electrodes)
            except GeometryError as refused:
                problem = refused
            else:
                return (there.matrix - before) / step
        raise InputError(
            f"{self.surface.name}: cannot move by {abs(STEPS[-1]):g} mm or degrees ({(*POSE, SIZE)[k]}) without "
            f"meeting what stays: {problem} Name all regions that move with the heart, or take its pose as exact."
        ) from problem

    def at(self, q: Float[np.ndarray, " 7"]) -> "_Model":
        """Heart and moving regions elsewhere, and of another size."""
        about, pose, percent = center(self.surface), q[:6], float(q[6])

        def there(surface: Surface) -> Surface:
            return moved(surface, pose, about, percent=percent)

        inner = tuple(
            Region(there(r.surface), r.conductivity) if r.surface.name in self.moving else r
            for r in self.conductor.inner
        )
        return replace(
            self,
            surface=there(self.surface),
            conductor=VolumeConductor(self.conductor.torso, inner),
        )


def _check_sizes(
    pose_mm: float | int, pose_deg: float | int, size_percent: float | int, electrode_mm: float | int
) -> None:
    for name, value, most, unit in (
        ("pose_mm", pose_mm, MOST_MM, "mm"),
        ("pose_deg", pose_deg, MOST_DEG, "degrees"),
        ("size_percent", size_percent, MOST_PERCENT, "percent"),
        ("electrode_mm", electrode_mm, MOST_MM, "mm"),
    ):
        if not 0 <= value <= most:
            raise InputError(
                f"{name}: an expected error must be 0 (exact) to {most:g} {unit}, as leads are corrected to first "
                f"order; got {value:g}."
            )
