"""The operator of heart-surface potentials as a function of what may be wrong with it.

    A(q) = G W E(q) R(q)

R(q) carries the potentials of the heart's nodes to all nodes of the skin (`einthoven.forward.bem.transfer`); the heart
has been shifted, turned and scaled, the skin bent by q. E(q) takes the potentials at electrodes that have slid along
the skin. W makes leads of them, G = diag(exp(g)) holds the gains of their amplifiers; leads against their average are
averaged again. R is built anew for every q; nothing is linear here but `OperatorModel.linearized`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float

from einthoven.core import (
    Electrodes,
    ForwardOperator,
    GeometryError,
    InputError,
    LeadSystem,
    Surface,
    VolumeConductor,
)
from einthoven.core.conductor import Region
from einthoven.core.errors import some
from einthoven.core.progress import Progress, silent
from einthoven.forward import bem
from einthoven.forward.lead_errors import POSE, STEPS, LeadErrors, along_skin, center, moved

#: Kinds of corrections, in the order of the parameters: first those that change all leads at once.
KINDS = ("pose", "scale", "gain", "skin", "electrodes", "leads")

#: Number of ways in which the skin bends.
N_SKIN = 23


@dataclass(frozen=True)
class Spread:
    """Standard deviations expected before any data are seen.

    Parameters
    ----------
    shift_mm, turn_deg
        Of the heart's place along, and of its rotation about, every axis.
    scale_percent
        Of the heart's size.
    gain_percent
        Of the gain that all leads share.
    skin_mm
        Of every mode of the skin, root mean square over its nodes.
    electrode_mm
        Of every electrode along the skin, in both directions.
    lead_percent
        Of every lead's gain around the common one.
    """

    shift_mm: float = 5.0
    turn_deg: float = 5.0
    scale_percent: float = 5.0
    gain_percent: float = 10.0
    skin_mm: float = 3.0
    electrode_mm: float = 5.0
    lead_percent: float = 5.0

    def __post_init__(self):
        for name, value in vars(self).items():
            if not 0 < value <= 50:
                raise InputError(f"{name}: an expected error must be above 0 and at most 50; got {value:g}.")


@dataclass(frozen=True, eq=False)
class OperatorModel:
    """Operators from heart-surface potentials to leads, by their errors q.

    Parameters
    ----------
    surface, conductor, electrodes
        As in `einthoven.forward.bem.transfer`; more electrodes than the leads need may be there.
    system
        The leads that were recorded.
    kinds
        Which of `KINDS` may be wrong; the others are taken as exact.
    spread
        How wrong they are expected to be.

    Raises
    ------
    InputError
        If a kind is unknown or none is given, or the leads need an electrode that is not there.
    """

    surface: Surface
    conductor: VolumeConductor
    electrodes: Electrodes
    system: LeadSystem
    kinds: tuple[str, ...]
    spread: Spread = field(default_factory=Spread)

    def __post_init__(self):
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown or not self.kinds:
            raise InputError(f"corrections must be some of {', '.join(KINDS)}; got {some(unknown or ['none'])}.")
        missing = [name for name in self.system.electrodes if name not in self.electrodes.names]
        if missing:
            raise InputError(
                f"leads of reference {self.system.reference!r} need electrodes {some(missing)}, which are not there."
            )
        object.__setattr__(self, "kinds", tuple(kind for kind in KINDS if kind in self.kinds))
        object.__setattr__(self, "electrodes", self.electrodes.select(self.system.electrodes))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """One per parameter, with its unit."""
        found = {
            "pose": POSE,
            "scale": ("heart scale (%)",),
            "gain": ("gain (%)",),
            "skin": tuple(f"skin mode {i + 1} (mm)" for i in range(N_SKIN)),
            "electrodes": tuple(f"{name} {way} (mm)" for name in self.electrodes.names for way in "ab"),
            "leads": tuple(f"{name} gain (%)" for name in self.system.names),
        }
        return tuple(name for kind in self.kinds for name in found[kind])

    @cached_property
    def sizes(self) -> Float[np.ndarray, " n_errors"]:
        """Standard deviation of every parameter, in the unit of its name."""
        s = self.spread
        found = {
            "pose": [s.shift_mm] * 3 + [s.turn_deg] * 3,
            "scale": [s.scale_percent],
            "gain": [s.gain_percent],
            "skin": [s.skin_mm] * N_SKIN,
            "electrodes": [s.electrode_mm] * (2 * len(self.electrodes)),
            "leads": [s.lead_percent] * len(self.system.names),
        }
        return np.array([value for kind in self.kinds for value in found[kind]])

    def part(self, q: Float[np.ndarray, " n_errors"], kind: str) -> Float[np.ndarray, " _"]:
        """The parameters of one kind, zeros if it is taken as exact."""
        counts = {"pose": 6, "scale": 1, "gain": 1, "skin": N_SKIN}
        counts |= {"electrodes": 2 * len(self.electrodes), "leads": len(self.system.names)}
        if kind not in self.kinds:
            return np.zeros(counts[kind])
        start = sum(counts[k] for k in self.kinds[: self.kinds.index(kind)])
        return q[start : start + counts[kind]]

    def at(self, q: Float[np.ndarray, " n_errors"]) -> ForwardOperator:
        """The operator built anew for the errors q.

        Raises
        ------
        GeometryError
            If surfaces would meet, or the skin would fold.
        """
        return self._leads(q, self._skin_potentials(q))

    def linearized(
        self, q: Float[np.ndarray, " n_errors"], *, like: LeadErrors | None = None, progress: Progress = silent
    ) -> LeadErrors:
        """The operator at q and its changes there, by differences of operators that are built anew.

        `LeadErrors.leads` is A(q); its errors are counted from q on.

        Parameters
        ----------
        q
            Errors.
        like
            Found nearby: its changes with pose, scale, gain and skin, each of which takes an operator, are used again.
        progress
            Told about operators.
        """
        potentials = self._skin_potentials(q)
        here = self._leads(q, potentials)
        whole = self._whole(q, here.matrix, progress) if like is None else like.whole
        slopes, weights = self._slopes(q, potentials, here)
        return LeadErrors(here, whole, self.names, self.sizes, slopes, weights)

    # -- parts ----------------------------------------------------------------------------------------------------

    @cached_property
    def _center(self) -> Float[np.ndarray, " 3"]:
        return center(self.surface)

    @cached_property
    def _modes(self) -> Float[np.ndarray, "23 n_skin 3"]:
        return skin_modes(self.conductor.skin)

    def _skin_potentials(self, q: Float[np.ndarray, " n_errors"]) -> ForwardOperator:
        """R(q): heart nodes to skin nodes."""
        percent = 100 * float(np.expm1(self.part(q, "scale")[0] / 100))
        heart = moved(self.surface, self.part(q, "pose"), self._center, percent=percent)
        return bem.transfer(heart, self._conductor(q))

    def _conductor(self, q: Float[np.ndarray, " n_errors"]) -> VolumeConductor:
        bend = self.part(q, "skin")
        if not bend.any():
            return self.conductor
        skin = self.conductor.skin
        bent = skin.with_points(skin.points + np.tensordot(bend, self._modes, axes=1))
        return VolumeConductor(Region(bent, self.conductor.torso.conductivity), self.conductor.inner)

    def _places(self, slid: Float[np.ndarray, " n_slid"]) -> Float[np.ndarray, "n 3"]:
        """Electrodes on the skin as it was given, slid along it."""
        skin = self.conductor.skin
        if not slid.any():
            return self.electrodes.positions
        a, _, b, _ = along_skin(skin, self.electrodes.positions, 1.0) - self._foot
        way = slid.reshape(-1, 2)
        return self._foot + way[:, :1] * a + way[:, 1:] * b

    @cached_property
    def _foot(self) -> Float[np.ndarray, "n 3"]:
        from einthoven.geometry.locate import closest_points

        return closest_points(self.conductor.skin, self.electrodes.positions).points

    def _rows(self, slid: Float[np.ndarray, " n_slid"]) -> Float[np.ndarray, "n n_skin"]:
        """E(q): skin nodes to electrodes; they stay on their triangles when the skin bends."""
        from einthoven.geometry.locate import closest_points

        skin = self.conductor.skin
        found = closest_points(skin, self._places(slid))
        rows = np.zeros((len(self.electrodes), skin.n_points))
        np.add.at(rows, (np.arange(len(rows))[:, None], skin.triangles[found.triangle]), found.barycentric)
        return rows

    def _gains(self, q: Float[np.ndarray, " n_errors"]) -> Float[np.ndarray, "n_leads n_leads"]:
        """G, with the average removed again where there is one."""
        gains = np.exp((self.part(q, "gain")[0] + self.part(q, "leads")) / 100)
        return _averaged(np.diag(gains), self.system)

    def _leads(self, q: Float[np.ndarray, " n_errors"], potentials: ForwardOperator) -> ForwardOperator:
        rows = self._rows(self.part(q, "electrodes"))
        weights = self._gains(q) @ self.system.weights
        assert potentials.conductor is not None
        return replace(
            potentials,
            matrix=weights @ rows @ potentials.matrix,
            out_sites=self.system.names,
            out_quantity=self.system.quantity,
            reference=self.system.reference,
            electrodes=Electrodes(self.electrodes.names, rows @ potentials.conductor.skin.points),
            lead_matrix=weights,
        )

    def _whole(
        self, q: Float[np.ndarray, " n_errors"], before: Float[np.ndarray, "n_leads n_in"], progress: Progress
    ) -> Float[np.ndarray, "n_whole n_leads n_in"]:
        """Changes of all leads at once."""
        kinds = [kind for kind in self.kinds for _ in self.part(q, kind) if kind not in ("electrodes", "leads")]
        whole = np.zeros((len(kinds), *before.shape))
        for j, kind in enumerate(kinds):
            progress("boundary elements", j, len(kinds))
            whole[j] = before / 100 if kind == "gain" else self._change(q, j, before)
        progress("boundary elements", len(kinds), len(kinds))
        return whole

    def _change(
        self, q: Float[np.ndarray, " n_errors"], j: int, before: Float[np.ndarray, "n_leads n_in"]
    ) -> Float[np.ndarray, "n_leads n_in"]:
        """Change of the leads per unit of q_j, over the first step at which no surfaces meet."""
        problem: GeometryError | None = None
        for step in STEPS:
            try:
                return (self.at(q + step * np.eye(len(q))[j]).matrix - before) / step
            except GeometryError as refused:
                problem = refused
        raise InputError(f"{self.names[j]}: cannot change without surfaces that meet: {problem}") from problem

    def _slopes(
        self, q: Float[np.ndarray, " n_errors"], potentials: ForwardOperator, here: ForwardOperator
    ) -> tuple[Float[np.ndarray, "n_slopes n_in"], Float[np.ndarray, "n_leads n_slopes"]]:
        """Changes of rank one: electrodes that slide, and gains of single leads."""
        slopes, weights = [np.zeros((0, here.n_in))], [np.zeros((here.n_out, 0))]
        if "electrodes" in self.kinds:
            assert here.lead_matrix is not None
            slopes.append(self._slid(self.part(q, "electrodes")) @ potentials.matrix)
            weights.append(np.repeat(here.lead_matrix, 2, axis=1))
        if "leads" in self.kinds:
            bare = self.system.weights @ self._rows(self.part(q, "electrodes")) @ potentials.matrix
            slopes.append(bare)
            weights.append(self._gains(q) / 100)
        return np.concatenate(slopes), np.concatenate(weights, axis=1)

    def _slid(self, slid: Float[np.ndarray, " n_slid"]) -> Float[np.ndarray, "n_slid n_skin"]:
        """Central differences of E over half of what is expected, along a and b of every electrode."""
        step = 0.5 * self.spread.electrode_mm
        found = []
        for way in range(2):
            move = np.tile(step * np.eye(2)[way], len(self.electrodes))
            found.append((self._rows(slid + move) - self._rows(slid - move)) / (2 * step))
        return np.stack(found, axis=1).reshape(len(slid), -1)


def skin_modes(skin: Surface) -> Float[np.ndarray, "23 n_skin 3"]:
    """Smooth ways to bend the skin: displacements linear and quadratic in space, orthonormal over the nodes.

    What moves, turns or scales the whole skin is left out: potentials do not tell it from the opposite motion of the
    heart. Every mode has a root mean square displacement of 1.
    """
    n = skin.n_points
    centered = skin.points - skin.points.mean(axis=0)
    x = centered / np.abs(centered).max()
    squares = np.stack([x[:, i] * x[:, j] for i in range(3) for j in range(i, 3)])
    fields = [np.tile(axis, (n, 1)) for axis in np.eye(3)]
    fields += [np.cross(axis, x) for axis in np.eye(3)]
    fields += [x]
    fields += [x[:, [i]] * np.eye(3)[j] + x[:, [j]] * np.eye(3)[i] for i, j in ((0, 0), (1, 1), (0, 1), (0, 2), (1, 2))]
    fields += [values[:, None] * axis for values in squares for axis in np.eye(3)]
    orthonormal, _ = np.linalg.qr(np.stack([f.reshape(-1) for f in fields], axis=1))
    return np.asarray(np.sqrt(n) * orthonormal.T[7:].reshape(-1, n, 3))


def _averaged(matrix: Float[np.ndarray, "n n"], system: LeadSystem) -> Float[np.ndarray, "n n"]:
    return matrix - matrix.mean(axis=0) if system.reference == "average" else matrix


def recorded_system(reference: str, sites: Sequence[str]) -> LeadSystem:
    """The leads of a recording, also where its zero is that of the model."""
    from einthoven.forward.references import lead_system

    if reference == "absolute":
        return LeadSystem(tuple(sites), tuple(sites), np.eye(len(sites)), "absolute")
    return lead_system(reference, sites)
