"""Activations that an ECG cannot tell apart: fits from many starts, their number of sites, and their spread.

Different activations give nearly the same ECG (arXiv 2411.00165): one fit, however good, says little. Chains of a
`WaveSearch` find starts with any number of sites, `fit_wave` follows each down. What is left counts as error of two
kinds: the residual R of the best fit as it is, and an error of the model that is a share e of the ECG Y and as
correlated between leads and frames, which more sites could explain away where it is not reckoned with. Together they
hold as many independent numbers as

    n_eff = exp(-sum_k p_k log p_k) * n_times (1 - r^2),

p_k the shares of the eigenvalues of their covariance between leads in their sum, r their correlation from frame to
frame: in both directions the effective rank of Roy and Vetterli (EUSIPCO 2007; in time that of a first-order
autoregression, whose spectrum has the geometric mean 1 - r^2 of its mean). The number of sites has the smallest

    BIC = n_eff |R|^2 / (|Y|^2 (m^2 + e^2)) + (parameters) log n_eff,

m the smallest misfit |R| / |Y| of all fits: the error is taken as known, m^2 + e^2 of the ECG's power, and a fit that
leaves more than that is rejected however few numbers there are
(Schwarz 1978, doi:10.1214/aos/1176344136). All fits within `TOLERANCE` of the smallest BIC are kept: beyond 10 the
evidence against a model is usually called very strong (Kass & Raftery 1995, doi:10.1080/01621459.1995.10476572).
"""

from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from einthoven.core import InputError, Recording
from einthoven.core.progress import Progress, silent
from einthoven.eikonal.threads import each_on_threads
from einthoven.inverse.wave_fit import FitPriors, Wave, WaveFit, fit_wave
from einthoven.inverse.wave_leads import WaveLeads
from einthoven.inverse.wave_search import Found, WaveSearch
from einthoven.simulate.eikonal_ecg import EikonalEcg

#: Largest difference of BIC to the best fit.
TOLERANCE = 10.0

#: Noise before anything is known, as a share of the root mean square of the ECG.
GUESS = 0.1

#: Fits this many times as far from the best are followed to the end.
PROMISING = 2.0

#: Starts of each number of sites that are followed first; then all those with a number that is near the best.
STARTS_OF_EACH = 2

#: A site whose wave comes first to less of the tissue is taken away.
LEAST_TERRITORY = 0.002

#: Steps of a chain.
STEPS = 60_000

#: Evaluations of a fit: at the expected noise, and once the residual is known.
EVALUATIONS = (40, 25)

#: What is known from an interrupted run, by the name of the piece of work; values can be written as JSON.
Memory = MutableMapping[str, Any]


class SiteNumber(NamedTuple):
    """How well a number of sites does.

    Parameters
    ----------
    n_sites
        The number.
    misfit, bic
        Of the fit with the smallest BIC among those with that many sites.
    n_fits
        How many fits ended with that many.
    """

    n_sites: int
    misfit: float
    bic: float
    n_fits: int


@dataclass(frozen=True, eq=False)
class WaveEnsemble:
    """Fits that the ECG cannot tell apart.

    Parameters
    ----------
    model
        What was fitted.
    fits
        Best first (by BIC).
    bics
        One per fit.
    numbers
        By number of sites.
    noise
        What residual and model error count as, mV: their root mean square, larger by root(n / n_eff) because they are
        correlated.
    n_effective
        n_eff.
    n_tried
        Fits in all.
    """

    model: EikonalEcg
    fits: tuple[WaveFit, ...]
    bics: tuple[float, ...]
    numbers: tuple[SiteNumber, ...]
    noise: float
    n_effective: float
    n_tried: int

    def __repr__(self) -> str:
        return (
            f"WaveEnsemble({len(self.fits)} of {self.n_tried} fits, the best with {len(self.best.wave.sites)} sites "
            f"and a misfit of {self.best.misfit:.3f})"
        )

    @property
    def best(self) -> WaveFit:
        """The fit with the smallest BIC."""
        return self.fits[0]

    @cached_property
    def activation(self) -> Float[np.ndarray, "n_fits n_nodes"]:
        """Activation times of every fit, ms."""
        return np.stack([fit.beat.arrival.times for fit in self.fits])

    @cached_property
    def mean(self) -> Float[np.ndarray, " n_nodes"]:
        """Mean activation time over the fits, ms."""
        return self.activation.mean(axis=0)

    @cached_property
    def spread(self) -> Float[np.ndarray, " n_nodes"]:
        """Standard deviation of the activation time, ms: between the fits, and around each by its curvature."""
        within = np.mean([self._variance(fit) for fit in self.fits], axis=0)
        return np.sqrt(self.activation.var(axis=0) + within)

    def _variance(self, fit: WaveFit) -> Float[np.ndarray, " n_nodes"]:
        """Of the activation times, by the Laplace approximation at the minimum."""
        by_parameter = self.model.activation_jacobian(fit.beat)
        covariance = np.linalg.pinv(fit.curvature, hermitian=True)[: len(by_parameter), : len(by_parameter)]
        return np.maximum(np.einsum("pn,pq,qn->n", by_parameter, covariance, by_parameter, optimize=True), 0.0)


def fit_ensemble(
    model: EikonalEcg,
    ecg: Recording,
    priors: FitPriors,
    *,
    leads: WaveLeads | None = None,
    n_sites: int | None = None,
    most_sites: int = 8,
    n_starts: int = 16,
    seed: int = 0,
    memory: Memory | None = None,
    progress: Progress = silent,
) -> WaveEnsemble:
    """Fit waves from many starts and keep those that the ECG cannot tell apart.

    Parameters
    ----------
    model, ecg, leads
        As in `fit_wave`.
    priors
        Their noise is a lower limit: what the fits leave counts as noise, too.
    n_sites
        Number of early sites; None: chosen by the data.
    most_sites
        At most that many.
    n_starts
        Chains.
    seed
        Of the first chain; the others have the next numbers.
    memory
        What an interrupted run has done: pieces of work found in it are not done again, new ones are put there. It must
        belong to the same model, ECG and arguments.
    progress
        Told about chains and fits.

    Raises
    ------
    InputError
        As `fit_wave`, and for numbers that are not positive.
    """
    if min(n_starts, most_sites, 1 if n_sites is None else n_sites) < 1:
        raise InputError(
            f"fit: numbers of starts and sites must be 1 or more; got {n_starts} starts and "
            f"{most_sites if n_sites is None else n_sites} sites."
        )
    memory = {} if memory is None else memory
    work = _Work(model, ecg, priors, leads, memory, progress)
    limits = (1, most_sites) if n_sites is None else (n_sites, n_sites)
    chains = work.chains([seed + k for k in range(n_starts)], limits)
    guess = replace(priors, noise=max(priors.noise, GUESS * float(np.sqrt(np.mean(ecg.values**2)))))
    first = work.fits(
        "fits", _starts(chains, range(limits[0], limits[1] + 1), 0, STARTS_OF_EACH), guess, EVALUATIONS[0]
    )
    noise, n_effective = _errors(min(first, key=lambda fit: fit.misfit), ecg, priors)
    score = _Score.of(first, model, n_effective, priors)
    likely = score.likely(first)
    first += work.fits("more fits", _starts(chains, likely, STARTS_OF_EACH, n_starts), guess, EVALUATIONS[0])
    noise, n_effective = _errors(min(first, key=lambda fit: fit.misfit), ecg, priors)
    counted = replace(priors, noise=max(priors.noise, noise))
    score = _Score.of(first, model, n_effective, priors)
    again = [_without_idle(fit) for fit in score.promising(first)]
    fits = work.fits("fits again", again, counted, EVALUATIONS[1])
    return _Score.of(fits, model, n_effective, priors).ensemble(fits, counted.noise, len(first))


@dataclass(frozen=True, eq=False)
class _Work:
    """Pieces of work that are remembered."""

    model: EikonalEcg
    ecg: Recording
    priors: FitPriors
    leads: WaveLeads | None
    memory: Memory
    progress: Progress

    @cached_property
    def search(self) -> WaveSearch:
        return WaveSearch.of(self.model, self.ecg, self.priors, leads=self.leads)

    def chains(self, seeds: list[int], limits: tuple[int, int]) -> list[dict[int, Found]]:
        missing = [seed for seed in seeds if f"chain {seed}" not in self.memory]
        self.progress("chains", len(seeds) - len(missing), len(seeds))
        if missing:
            self.progress("tables", 0, 1)
            self.search.anneal(0, n_steps=1, least=limits[0], most=limits[1])  # compiled before threads ask for it
            self.progress("tables", 1, 1)

        def chain(seed: int) -> dict[int, Found]:
            return self.search.anneal(seed, n_steps=STEPS, least=limits[0], most=limits[1])

        for seed, found in zip(missing, each_on_threads(chain, [(seed,) for seed in missing]), strict=True):
            self.memory[f"chain {seed}"] = {str(n): [f.energy, _plain(f.wave)] for n, f in found.items()}
            self.progress("chains", sum(f"chain {s}" in self.memory for s in seeds), len(seeds))
        kept = [self.memory[f"chain {seed}"] for seed in seeds]
        return [{int(n): Found(_wave(wave), energy) for n, (energy, wave) in each.items()} for each in kept]

    def fits(self, name: str, starts: list[Wave], priors: FitPriors, evaluations: int) -> list[WaveFit]:
        def one(k: int) -> WaveFit:
            known = self.memory.get(f"{name} {k}")
            start = starts[k] if known is None else _wave(known)
            most = evaluations if known is None else 1
            fit = fit_wave(self.model, self.ecg, start, priors, leads=self.leads, evaluations=most, tolerance=1e-3)
            return fit if known is None else fit._replace(wave=start)

        done = []
        self.progress(name, 0, len(starts))
        for k, fit in enumerate(each_on_threads(one, [(k,) for k in range(len(starts))])):
            self.memory.setdefault(f"{name} {k}", _plain(fit.wave))
            done.append(fit)
            self.progress(name, k + 1, len(starts))
        return done


def _plain(wave: Wave) -> list[Any]:
    return [np.asarray(part).tolist() for part in wave]


def _wave(parts: list[Any]) -> Wave:
    sites, onsets, speeds, gain, errors = parts
    return Wave(
        np.array(sites, dtype=np.float64), np.array(onsets, dtype=np.float64), np.array(speeds, dtype=np.float64),
        float(gain), np.array(errors, dtype=np.float64),
    )  # fmt: skip


def _starts(chains: list[dict[int, Found]], numbers: Iterable[int], first: int, last: int) -> list[Wave]:
    """Of each number of sites the chains' best waves, from the `first` to before the `last` of them by energy."""
    chosen = []
    for n in numbers:
        found = sorted((each[n] for each in chains if n in each), key=lambda f: f.energy)
        once = {f.wave.sites.tobytes() + f.wave.onsets.tobytes(): f.wave for f in found}
        chosen += list(once.values())[first:last]
    return chosen


def _errors(fit: WaveFit, ecg: Recording, priors: FitPriors) -> tuple[float, float]:
    """What residual and model error count as, mV, and how many independent numbers they hold."""
    data = ecg.select(fit.ecg.sites).values
    errors = np.stack([data - fit.ecg.values, priors.model_error * data])
    size = (errors**2).sum()
    shares = np.linalg.svd(np.concatenate([*errors], axis=1), compute_uv=False) ** 2 / size
    shares = shares[shares > 1e-12]
    n_leads = np.exp(-(shares * np.log(shares)).sum())
    r = np.clip((errors[..., 1:] * errors[..., :-1]).sum() / size, 0.0, 0.99)
    n_effective = max(float(n_leads * data.shape[1] * (1 - r**2)), 2.0)
    return float(np.sqrt(size / n_effective)), n_effective


def _without_idle(fit: WaveFit) -> Wave:
    """The wave without sites that activate next to nothing."""
    wave, owner = fit.wave, fit.beat.arrival.from_site
    territory = np.bincount(owner[owner >= 0], minlength=len(wave.sites)) / len(owner)
    kept = territory >= LEAST_TERRITORY
    return wave._replace(sites=wave.sites[kept], onsets=wave.onsets[kept])


@dataclass(frozen=True, eq=False)
class _Score:
    """BIC of fits, and what follows from it."""

    model: EikonalEcg
    n_effective: float
    error: float

    @classmethod
    def of(cls, fits: list[WaveFit], model: EikonalEcg, n_effective: float, priors: FitPriors) -> "_Score":
        """The error, as a share of the power of the ECG, from the fit that leaves least."""
        return cls(model, n_effective, min(fit.misfit for fit in fits) ** 2 + priors.model_error**2)

    def bic(self, fit: WaveFit) -> float:
        """n_eff |R|^2 / error + (parameters) log n_eff."""
        parameters = len(fit.wave.sites) * (self.model.wave.dimension + 1) + len(self.model.layers) + 1
        return float(self.n_effective * fit.misfit**2 / self.error + parameters * np.log(self.n_effective))

    def likely(self, fits: list[WaveFit]) -> list[int]:
        """Numbers of sites of the fits whose BIC is near the smallest."""
        bics = [self.bic(fit) for fit in fits]
        return sorted({len(f.wave.sites) for f, bic in zip(fits, bics, strict=True) if bic <= min(bics) + TOLERANCE})

    def promising(self, fits: list[WaveFit]) -> list[WaveFit]:
        """Those that may come near the best, and the best with each number of sites."""
        bics = [self.bic(fit) for fit in fits]
        least: dict[int, float] = {}
        for fit, bic in zip(fits, bics, strict=True):
            least[len(fit.wave.sites)] = min(bic, least.get(len(fit.wave.sites), np.inf))
        limit = min(bics) + PROMISING * TOLERANCE
        return [f for f, bic in zip(fits, bics, strict=True) if bic <= max(limit, least[len(f.wave.sites)])]

    def ensemble(self, fits: list[WaveFit], noise: float, n_tried: int) -> WaveEnsemble:
        """Order the fits and keep the best."""
        scored = sorted(((self.bic(fit), fit) for fit in fits), key=lambda pair: pair[0])
        numbers = []
        for n in sorted({len(fit.wave.sites) for fit in fits}):
            same = [(bic, fit) for bic, fit in scored if len(fit.wave.sites) == n]
            numbers.append(SiteNumber(n, same[0][1].misfit, same[0][0], len(same)))
        kept = [(bic, fit) for bic, fit in scored if bic <= scored[0][0] + TOLERANCE]
        bics, best = tuple(bic for bic, _ in kept), tuple(fit for _, fit in kept)
        return WaveEnsemble(self.model, best, bics, tuple(numbers), noise, self.n_effective, n_tried)
