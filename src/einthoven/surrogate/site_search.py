"""Where a wave began, from its ECG: `neural-eikonal` inverted by its gradient.

The misfit of the ECG goes back through the lead field to activation times (`ReactionEikonal.pull_back`) and through the
corrected eikonal solution to the site and its onset. The correction of the slowness is that of the current site; it is
taken anew after every descent.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from einthoven.core import ForwardOperator, InputError, Recording
from einthoven.core.progress import Progress, silent
from einthoven.eikonal.conduction import Conduction
from einthoven.simulate.reaction_eikonal import ReactionEikonal
from einthoven.surrogate.baselines import TAUS, action_potential
from einthoven.surrogate.front_features import Front, front
from einthoven.surrogate.neural_eikonal import SlownessNet, corrections, solve_corrected
from einthoven.tissue import Grid, Tissue

#: Candidates that a search begins with lie this far apart, mm; the best few are refined.
APART, REFINED = 8.0, 3

#: Descents, each with a correction of its own.
ROUNDS = 3


class FoundSite(NamedTuple):
    """Where and when a wave began.

    Parameters
    ----------
    site
        mm.
    onset
        ms.
    misfit
        Root mean square of what is left of the ECG over that of the ECG.
    activation
        At the nodes of the tissue, ms.
    """

    site: Float[np.ndarray, " 2"]
    onset: float
    misfit: float
    activation: Float[np.ndarray, " n_nodes"]


@dataclass(frozen=True, eq=False)
class SiteSearch:
    """Tissue and leads, and the ECG of a wave that began at one site.

    Parameters
    ----------
    net
        Trained; None: the eikonal equation with the speeds of plane waves.
    tissue
        A sheet.
    leads
        From potentials at its nodes.
    ecg
        Of the leads, mV.
    membrane
        By name.
    """

    net: SlownessNet | None
    tissue: Tissue
    leads: ForwardOperator
    ecg: Recording
    membrane: str

    def __post_init__(self):
        if self.ecg.sites != self.leads.out_sites:
            raise InputError("site search: the ECG's leads must be those of the operator, in its order.")

    def find(self, progress: Progress = silent) -> FoundSite:
        """Search: candidates on a lattice, the best ones refined by descent."""
        model = self._model()
        lattice = self._lattice()
        tried = []
        for k, site in enumerate(lattice):
            tried.append((self._at(model, site, 0.0).misfit, site))
            progress("trying sites", k + 1, len(lattice))
        tried.sort(key=lambda t: t[0])
        found = []
        for k, (_, site) in enumerate(tried[:REFINED]):
            found.append(self._refined(model, site))
            progress("refining", k + 1, REFINED)
        return min(found, key=lambda f: f.misfit)

    def _model(self) -> ReactionEikonal:
        assert isinstance(self.tissue.domain, Grid)
        shape = action_potential(self.membrane, self.tissue.domain.spacing)
        return ReactionEikonal(self.tissue, self.leads, shape, self.ecg.times, tau=TAUS.get(self.membrane, 0.0))

    def _lattice(self) -> Float[np.ndarray, "n 2"]:
        """Conducting nodes near a lattice, of the largest connected part."""
        points = self.tissue.coordinates[self.tissue.components() == 0]
        low, high = points.min(axis=0), points.max(axis=0)
        axes = [np.arange(a + APART / 2, b, APART) for a, b in zip(low, high, strict=True)]
        places = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
        nearest = [int(np.argmin(((points - p) ** 2).sum(axis=1))) for p in places]
        return points[np.unique(nearest)]

    def _front(self, site: np.ndarray, onset: float) -> Front:
        return front(self.tissue, site[None], np.array([onset]), Conduction.of(self.membrane))

    def _at(self, model: ReactionEikonal, site: np.ndarray, onset: float) -> FoundSite:
        here = self._front(site, onset)
        arrival, _ = solve_corrected(self.net, here, corrections(self.net, here))
        times = np.maximum(arrival.times, here.at_once)
        left = model.ecg(times).values - self.ecg.values
        return FoundSite(site, onset, float(np.sqrt((left**2).sum() / (self.ecg.values**2).sum())), times)

    def _refined(self, model: ReactionEikonal, site: np.ndarray) -> FoundSite:
        """Descend in site and onset, the correction held, a few times."""
        from scipy.optimize import minimize

        best = self._at(model, site, 0.0)
        for _ in range(ROUNDS):
            here = self._front(best.site, best.onset)
            fixed = corrections(self.net, here)
            begins = float(here.onsets[0]) - best.onset  # the wave leaves a disk as if it had begun earlier in a point

            def cost(x: np.ndarray, here=here, fixed=fixed, begins=begins) -> tuple[float, np.ndarray]:
                return self._cost(model, here, fixed, x, begins)

            start = np.array([*best.site, best.onset])
            bounds = [(v - 4.0, v + 4.0) for v in best.site] + [(best.onset - 20.0, best.onset + 20.0)]
            found = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 15})
            moved = self._at(model, self._inside(found.x[:2]), float(found.x[2]))
            if moved.misfit >= best.misfit:
                break
            best = moved
        return best

    def _inside(self, site: np.ndarray) -> np.ndarray:
        """The site, or the nearest node where it lies in a hole."""
        points = self.tissue.coordinates
        k = int(np.argmin(((points - site) ** 2).sum(axis=1)))
        assert isinstance(self.tissue.domain, Grid)
        near = np.abs(points[k] - site).max() <= 0.5 * self.tissue.domain.spacing
        return site if near else points[k]

    def _cost(
        self, model: ReactionEikonal, here: Front, fixed: np.ndarray, x: np.ndarray, begins: float
    ) -> tuple[float, np.ndarray]:
        """Squared misfit over the ECG's, and its derivatives by site and onset."""
        size = float((self.ecg.values**2).sum())
        try:
            arrival, _ = solve_corrected(self.net, here, fixed, sites=x[None, :2], onsets=np.array([x[2] + begins]))
        except InputError:  # in a hole, or outside of the tissue
            return 10.0, np.zeros(3)
        left = model.ecg(arrival.times).values - self.ecg.values
        back = arrival.pull_back(model.pull_back(arrival.times, 2 * left / size))
        return float((left**2).sum() / size), np.array([*back.sites[0], back.onsets[0]])
