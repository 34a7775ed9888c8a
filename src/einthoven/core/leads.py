"""Lead systems: references and named leads as matrices over electrodes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from einthoven.core.arrays import frozen
from einthoven.core.errors import InputError
from einthoven.core.operator import ForwardOperator
from einthoven.core.recording import Quantity, Recording
from einthoven.core.sites import check_names, match_names

#: Electrode names of the standard 12-lead ECG.
TWELVE_LEAD_ELECTRODES = ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6")
#: Lead names of the standard 12-lead ECG, in the usual order.
TWELVE_LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
#: How much III, aVR, aVL and aVF may differ from what I and II make them, over the largest amplitude: they are rounded.
AGREEMENT = 0.02
#: Electrode names of the Frank system.
FRANK_ELECTRODES = ("I", "E", "C", "A", "M", "F", "H")


@dataclass(frozen=True, eq=False)
class LeadSystem:
    """Leads as linear combinations of electrode potentials: lead = W phi.

    Parameters
    ----------
    names
        Lead names.
    electrodes
        Names of the electrodes combined.
    weights
        Shape (n_leads, n_electrodes); rows of a bipolar or referenced system sum to 0.
    reference
        What zero means in the output.
    quantity
        ``"bsp"`` for referenced electrode potentials, ``"ecg"`` for derived leads.
    """

    names: tuple[str, ...]
    electrodes: tuple[str, ...]
    weights: Float[np.ndarray, "n_leads n_electrodes"]
    reference: str
    quantity: Quantity = "bsp"

    def __post_init__(self):
        object.__setattr__(self, "names", check_names(self.names, "leads"))
        object.__setattr__(self, "electrodes", check_names(self.electrodes, "electrodes of a lead system"))
        weights = np.asarray(self.weights)
        if weights.shape != (len(self.names), len(self.electrodes)):
            raise InputError(
                f"lead weights must have shape ({len(self.names)}, {len(self.electrodes)}); got {weights.shape}."
            )
        object.__setattr__(self, "weights", frozen(weights, np.float64))

    def __repr__(self) -> str:
        return f"LeadSystem({len(self.names)} leads over {len(self.electrodes)} electrodes, {self.reference!r})"

    @classmethod
    def average(cls, electrodes: Sequence[str]) -> "LeadSystem":
        """Every electrode against the mean of all of them."""
        n = len(electrodes)
        return cls(tuple(electrodes), tuple(electrodes), np.eye(n) - 1 / n, "average")

    @classmethod
    def wilson(cls, electrodes: Sequence[str], *, limbs: Sequence[str] = ("RA", "LA", "LL")) -> "LeadSystem":
        """Every electrode against Wilson's central terminal, the mean of the three limb electrodes."""
        names = tuple(dict.fromkeys((*electrodes, *limbs)))
        weights = np.zeros((len(electrodes), len(names)))
        for row, name in enumerate(electrodes):
            weights[row, names.index(name)] += 1
            for limb in limbs:
                weights[row, names.index(limb)] -= 1 / len(limbs)
        return cls(tuple(electrodes), names, weights, "wilson")

    @classmethod
    def against(cls, electrodes: Sequence[str], *, reference: str) -> "LeadSystem":
        """Every electrode against one electrode, named `reference`."""
        names = tuple(dict.fromkeys((*electrodes, reference)))
        weights = np.eye(len(electrodes), len(names))
        weights[:, names.index(reference)] -= 1
        return cls(tuple(electrodes), names, weights, reference)

    @classmethod
    def twelve_lead(cls) -> "LeadSystem":
        """The standard 12-lead ECG over RA, LA, LL, V1..V6 (Wilson 1934; Goldberger 1942)."""
        terms: dict[str, Mapping[str, float]] = {
            "I": {"LA": 1.0, "RA": -1.0},
            "II": {"LL": 1.0, "RA": -1.0},
            "III": {"LL": 1.0, "LA": -1.0},
            "aVR": {"RA": 1.0, "LA": -0.5, "LL": -0.5},
            "aVL": {"LA": 1.0, "RA": -0.5, "LL": -0.5},
            "aVF": {"LL": 1.0, "RA": -0.5, "LA": -0.5},
        }
        for k in range(1, 7):
            terms[f"V{k}"] = {f"V{k}": 1.0, "RA": -1 / 3, "LA": -1 / 3, "LL": -1 / 3}
        return cls._from_terms(terms, TWELVE_LEAD_ELECTRODES, "wilson")

    @classmethod
    def frank(cls) -> "LeadSystem":
        """Frank's orthogonal leads X (to the left), Y (to the feet), Z (to the back).

        X = 0.610 A + 0.171 C - 0.781 I; Y = 0.655 F + 0.345 M - 1.000 H;
        Z = 0.133 A + 0.736 M - 0.264 I - 0.374 E - 0.231 C (Frank 1956, doi:10.1161/01.CIR.13.5.737).
        """
        terms: dict[str, Mapping[str, float]] = {
            "X": {"A": 0.610, "C": 0.171, "I": -0.781},
            "Y": {"F": 0.655, "M": 0.345, "H": -1.0},
            "Z": {"A": 0.133, "M": 0.736, "I": -0.264, "E": -0.374, "C": -0.231},
        }
        return cls._from_terms(terms, FRANK_ELECTRODES, "frank")

    @classmethod
    def _from_terms(
        cls, terms: Mapping[str, Mapping[str, float]], electrodes: Sequence[str], reference: str
    ) -> "LeadSystem":
        weights = np.array([[row.get(e, 0.0) for e in electrodes] for row in terms.values()])
        return cls(tuple(terms), tuple(electrodes), weights, reference, "ecg")

    def operator(self) -> ForwardOperator:
        """Return the system as an operator from electrode potentials (bsp) to leads."""
        return ForwardOperator(
            self.weights, self.electrodes, self.names, "bsp", self.quantity, reference=self.reference
        )

    def record(self, recording: Recording) -> Recording:
        """Derive the leads from a recording of the electrodes, matched by name."""
        return self.operator().record(recording)


def from_twelve_lead(ecg: Recording) -> Recording:
    """Electrode potentials of a standard 12-lead ECG, against Wilson's terminal.

    RA = -(I + II) / 3, LA = (2 I - II) / 3, LL = (2 II - I) / 3; V1..V6 as they are. The eight leads I, II, V1..V6 hold
    all that the twelve do; of the others those that are there are compared.

    Parameters
    ----------
    ecg
        With leads I, II, V1..V6 at least, mV.

    Returns
    -------
    Recording
        RA, LA, LL, V1..V6 (bsp, reference ``"wilson"``).

    Raises
    ------
    InputError
        If one of the eight is missing, or III, aVR, aVL or aVF is not what I and II make it.
    """
    independent = ("I", "II", *TWELVE_LEADS[6:])
    first, second, *chest = ecg.values[match_names(independent, ecg.sites, "the 12-lead ECG")]
    limbs = [-(first + second) / 3, (2 * first - second) / 3, (2 * second - first) / 3]
    found = Recording(np.stack([*limbs, *chest]), ecg.times, TWELVE_LEAD_ELECTRODES, "bsp", "wilson")
    derived = LeadSystem.twelve_lead().record(found)
    size = float(np.abs(ecg.values).max())
    for name in (name for name in TWELVE_LEADS[2:6] if name in ecg.sites):
        off = float(np.abs(ecg.select([name]).values - derived.select([name]).values).max())
        if off > AGREEMENT * size:
            raise InputError(
                f"lead {name} differs by up to {off:.3g} mV from what I and II make it; are leads swapped, scaled or "
                "filtered differently? Leave it out to go by I and II."
            )
    return found
