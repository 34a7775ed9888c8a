"""Where fits of several early sites may start: simulated annealing among candidate places.

Arrival times of a wave from every candidate are computed once. The first arrival from any choice of sites and onsets is
then a minimum over rows of a table, and its ECG, on patches of nodes in place of nodes, takes some tens of
microseconds. Chains of Metropolis steps move, add and remove sites and change onsets and speeds while they get colder;
they minimize

    n / 2 log(|g A - y|^2 / |y|^2) + price * sites + |log(c / c_0)|^2 / (2 s_c^2) + (log g)^2 / (2 s_g^2)

(Kirkpatrick et al. 1983, doi:10.1126/science.220.4598.671, with the number of sites as in Green 1995,
doi:10.1093/biomet/82.4.711). What they find is coarse: `einthoven.inverse.wave_fit.fit_wave` goes on from there.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from einthoven.core import InputError, Recording
from einthoven.core.sites import match_names
from einthoven.inverse.wave_fit import FitPriors, Wave, spread_nodes
from einthoven.inverse.wave_leads import WaveLeads
from einthoven.simulate.eikonal_ecg import EikonalEcg

#: Candidate places: in the fastest layer, where most beats begin, and anywhere.
CANDIDATES = (250, 100)

#: Patches of nodes that stand for the tissue, at most.
PATCHES = 3000

#: Combinations of leads that are compared, at most, and the least share of the largest one that counts.
COMBINATIONS, LEAST_SHARE = 12, 2e-3

#: Speeds of the other layers relative to the first, over the expected ones: a table of arrival times for each.
FACTORS = (2 / 3, 1.0, 3 / 2)

#: Width of the bins of activation time, ms.
BIN = 1.0

#: First and last temperature of a chain.
HEAT = (20.0, 1.0)

#: Neighbors that a site may move to.
NEIGHBORS = 8

#: How long before the first frame the first site may fire, ms, and how long before the last one the last.
EARLY, LATE = 15.0, 20.0


class Found(NamedTuple):
    """The best wave of one chain with a number of sites.

    Parameters
    ----------
    wave
        Sites at candidates.
    energy
        What the chain minimized.
    """

    wave: Wave
    energy: float


@dataclass(frozen=True, eq=False)
class WaveSearch:
    """A prepared search; made by `WaveSearch.of`.

    Parameters
    ----------
    candidates
        Places, mm.
    near
        Numbers of each candidate's neighbors.
    speeds
        Of each table, mm/ms.
    window
        First and last onset, ms, and the time of the first bin.
    problem
        Tables of arrival times, lead field of the patches, upstroke, data and numbers, as the kernel takes them.
    """

    candidates: Float[np.ndarray, "n_candidates d"]
    near: Int[np.ndarray, "n_candidates n_near"]
    speeds: Float[np.ndarray, "n_tables n_layers"]
    window: tuple[float, float, float]
    problem: tuple[Any, ...]

    @classmethod
    def of(cls, model: EikonalEcg, ecg: Recording, priors: FitPriors, *, leads: WaveLeads | None = None):
        """Compute the tables.

        Parameters
        ----------
        model, ecg, priors, leads
            As in `einthoven.inverse.wave_fit.fit_wave`; errors of the leads are taken as 0.
        """
        from scipy.spatial import KDTree

        leads = WaveLeads.of(model.model.leads) if leads is None else leads
        candidates = _candidates(model)
        if len(candidates) < 2:
            raise InputError("fit: the tissue has a single node; a wave needs more. Choose a finer spacing.")
        near = np.asarray(KDTree(candidates).query(candidates, k=min(NEIGHBORS + 1, len(candidates)))[1])
        rows = match_names(leads.sites, ecg.sites, "fit: the ECG")
        lead_field, combinations = _combined(leads.at(np.zeros(leads.n_errors)) @ model.model.leads.matrix)
        patches = _patches(model.wave.points, lead_field)
        times = model.model.times
        speeds, tables = _tables(model, np.asarray(priors.speeds, dtype=np.float64), candidates, patches)
        begin = float(times[0]) - EARLY
        data = (combinations @ ecg.values[rows]).T
        numbers = np.array([
            (data**2).sum(), data.size, 0.5 * (candidates.shape[1] + 1) * np.log(data.size),
            priors.speeds_spread, priors.gain_spread, np.log(FACTORS[-1]) / np.sqrt(2),
        ])  # fmt: skip
        problem = (
            tables,
            _float32(_patched(patches, lead_field)),
            _float32(_upstroke(model, begin)),
            _float32(data),
            tuple(float(x) for x in numbers),
        )
        return cls(
            candidates, np.ascontiguousarray(near[:, 1:]), speeds, (begin, float(times[-1]) - LATE, begin), problem
        )

    def __repr__(self) -> str:
        return f"WaveSearch({len(self.candidates)} candidates, {self.problem[0].shape[2]} patches)"

    def anneal(self, seed: int, *, n_steps: int = 100_000, most: int = 8, least: int = 1) -> dict[int, Found]:
        """Run one chain.

        Parameters
        ----------
        seed
            Of its random numbers; the same seed gives the same chain.
        n_steps
            Waves that are tried.
        most, least
            Sites.

        Returns
        -------
        dict
            By number of sites the best wave, as far as the chain had as many.
        """
        from einthoven.inverse import kernels_wave as kernels

        begin = self.window[2]
        window = ((self.window[0] - begin) / BIN, (self.window[1] - begin) / BIN, 1 / BIN)
        energies, places, onsets, others = kernels.anneal(
            np.random.default_rng(seed), n_steps, HEAT, (least, most), window, self.near, self.problem
        )
        found = {}
        for n in np.flatnonzero(np.isfinite(energies)):
            slowness, table, gain = others[n]
            speeds = self.speeds[int(table)] * np.exp(-slowness)
            wave = Wave(self.candidates[places[n, :n]], begin + BIN * onsets[n, :n], speeds, float(gain))
            found[int(n)] = Found(wave, float(energies[n]))
        return found


def _float32(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, dtype=np.float32)


def _candidates(model: EikonalEcg) -> Float[np.ndarray, "n d"]:
    """Places spread over the fastest layer (the last one), if there are several, and over all of the tissue."""
    points, fast = model.wave.points, model.shares[-1] > 0.5
    anywhere = spread_nodes(points, CANDIDATES[1] if 0 < fast.sum() < len(points) else sum(CANDIDATES))
    if not 0 < fast.sum() < len(points):
        return anywhere
    return np.unique(np.concatenate([spread_nodes(points[fast], CANDIDATES[0]), anywhere]), axis=0)


def _combined(
    lead_field: Float[np.ndarray, "n_leads n_nodes"],
) -> tuple[Float[np.ndarray, "k n_nodes"], Float[np.ndarray, "k n_leads"]]:
    """Orthogonal combinations of the leads that hold nearly all that they see, and the combinations."""
    own, vectors = np.linalg.eigh(lead_field @ lead_field.T)
    strength = np.sqrt(np.maximum(own[::-1], 0.0))
    kept = min(COMBINATIONS, int((strength > LEAST_SHARE * strength[0]).sum()))
    combinations = vectors[:, ::-1][:, :kept].T
    return combinations @ lead_field, combinations


def _patches(
    points: Float[np.ndarray, "n_nodes d"], lead_field: Float[np.ndarray, "k n_nodes"]
) -> Int[np.ndarray, " n_nodes"]:
    """Number of the patch of every node, -1 where the leads see nothing.

    Patches are compact and their nodes are seen from the same side: those on two sides of a thin wall, whose lead
    fields are opposite, stay apart.
    """
    from scipy.spatial import KDTree

    size = np.linalg.norm(lead_field, axis=0)
    seen = np.flatnonzero(size > 1e-6 * size.max())
    spacing = np.ptp(points, axis=0).max() / 30
    places = np.concatenate([points[seen], spacing * (lead_field[:, seen] / size[seen]).T], axis=1)
    centers = spread_nodes(places, min(PATCHES, len(seen)))
    patches = np.full(len(points), -1)
    patches[seen] = KDTree(centers).query(places)[1]
    return patches


def _patched(patches: Int[np.ndarray, " n"], lead_field: Float[np.ndarray, "k n"]) -> Float[np.ndarray, "n_patches k"]:
    """Sums over the nodes of each patch."""
    out = np.zeros((patches.max() + 1, len(lead_field)))
    np.add.at(out, patches[patches >= 0], lead_field[:, patches >= 0].T)
    return out


def _tables(
    model: EikonalEcg, expected: Float[np.ndarray, " n_layers"], candidates: np.ndarray, patches: np.ndarray
) -> tuple[Float[np.ndarray, "n_tables n_layers"], Any]:
    """Speeds of each table; arrival times from every candidate, mean over each patch, in bins."""
    from scipy.sparse import csr_array

    factors = FACTORS if len(expected) > 1 else (1.0,)
    speeds = np.array([np.concatenate([expected[:1], factor * expected[1:]]) for factor in factors])
    seen = np.flatnonzero(patches >= 0)
    n_patches = int(patches.max()) + 1
    share = 1 / np.bincount(patches[seen], minlength=n_patches)
    mean = csr_array((share[patches[seen]], (patches[seen], seen)), shape=(n_patches, len(patches)))
    tables = np.empty((len(speeds), len(candidates), n_patches), np.float32)
    for table, speed in zip(tables, speeds, strict=True):
        medium = model.wave.medium(model.squared_speed(speed))
        for part in np.array_split(np.arange(len(candidates)), -(-len(candidates) // 64)):
            times = model.wave.solve(medium, candidates[part, None, :]).times
            if not np.isfinite(times).all():
                raise InputError(
                    "fit: the tissue falls apart: a wave does not reach all of it. Choose a finer spacing, or leave "
                    "the smaller part out."
                )
            table[part] = (mean @ times.T).T / BIN
    return speeds, tables


def _upstroke(model: EikonalEcg, begin: float) -> Float[np.ndarray, "n_times n_bins"]:
    """Transmembrane potential, less that at rest, at every time of the ECG, of what is activated in every bin."""
    potentials, times = model.model.action_potentials, model.model.times
    bins = begin + BIN * np.arange(int((times[-1] - begin) / BIN) + 12)
    after = times[:, None] - bins
    middle = len(potentials.durations) // 2
    rest = potentials.at(np.array([potentials.times[0]]))[middle, 0]
    return potentials.at(after.reshape(-1))[middle].reshape(after.shape) - rest
