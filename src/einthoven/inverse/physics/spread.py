"""How sure an image is: samples of the Laplace approximation, and ensembles trained on perturbed data.

Laplace: about a minimum (u, v) of the cost J = 1/2 |F(u, v)|^2, F data misfit and residuals each per standard
deviation, the posterior is nearly normal with precision F'^T F'. A sample x of it solves the linear least squares

    min |F' x - e|^2 + |x / s - e'|^2,  e, e' ~ N(0, I),

by conjugate gradients with products by F' and its transpose only; no matrix is formed. s = 0.5 (model unit) says that
potentials lie between rest and peak; without it directions that neither data nor equations see would have no bound.
What the image is made of (network or free fields) does not matter: it is the uncertainty of the fields.

Laplace, for a wave of foci (`einthoven.inverse.physics.strong`): its few parameters have a normal posterior, and the
fields follow them along their exact derivatives. What no parameter can change (uneven tissue, other cells) is not in
it: where the model is wrong these bars are too short.

Ensembles: the solver is run on data and residuals perturbed by their assumed noise, from other random weights, all
members at once (`jax.vmap`). For a linear model this samples the posterior too (randomize then optimize; Bardsley,
Solonen, Haario and Laine 2014, doi:10.1137/140964023).
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from einthoven.core import ForwardOperator, InputError, Recording
from einthoven.core.progress import Progress, silent
from einthoven.inverse.physics.fields import Cost, Perturbation, Prepared, first_crossing
from einthoven.inverse.physics.solver import CellSolver, Imaged, imaged
from einthoven.inverse.physics.strong import FocalImage
from einthoven.inverse.physics.training import Trained, train_members
from einthoven.inverse.physics.weak import FreeFields

Number = float | int

#: Prior standard deviation of both fields about the image, model unit.
PRIOR = 0.5

#: Standard deviation of the residuals. Chosen with the truth of `weak-4dvar` on position 1 of
#: `einthoven.studies.bench_cases` (one focus and mismatched, 1 and 5 mV), between 0.1, where intervals of 90 % covered
#: less, and 0.3, where they covered more; the tables use other positions.
TOLERANCE = 0.15

#: Random vectors for the diagonal of the precision, which preconditions the conjugate gradients.
PROBES = 16


@dataclass(frozen=True, eq=False)
class Spread:
    """Standard deviation of an image.

    Parameters
    ----------
    potential
        Standard deviation of the potential at nodes and frames, mV.
    activation
        Activation times of the samples, ms, shape (n_samples, n_nodes); NaN where a sample shows none.
    how
        ``"laplace"`` or ``"ensemble"``.
    """

    potential: Recording
    activation: Float[np.ndarray, "k n"]
    how: str

    def interval(self, share: Number) -> Float[np.ndarray, "n t"]:
        """Half width of the central interval of a probability, mV, for normal errors."""
        from scipy.special import ndtri

        if not 0 < share < 1:
            raise InputError(f"an interval covers a share between 0 and 1; got {share!r}.")
        return float(ndtri(0.5 + share / 2)) * self.potential.values


def coverage(
    estimate: Float[np.ndarray, "n t"],
    truth: Float[np.ndarray, "n t"],
    half_width: Float[np.ndarray, "n t"],
) -> float:
    """Share of nodes and frames whose truth lies within the interval about the estimate."""
    return float((np.abs(estimate - truth) <= half_width).mean())


class FociSpread(NamedTuple):
    """Standard deviations of a wave's parameters, foci in the order of `FocalImage.foci`.

    Parameters
    ----------
    positions
        Along the surface, root of the summed variances, mm.
    onsets
        ms.
    diffusivity, clock
        Relative.
    """

    positions: Float[np.ndarray, " k"]
    onsets: Float[np.ndarray, " k"]
    diffusivity: float
    clock: float


def foci_spread(image: FocalImage) -> FociSpread:
    """How sure foci, D and clock of a wave are, by the Laplace approximation."""
    n, order = len(image.foci), np.argsort(image.state.foci.onsets)
    variance = np.diag(image.problem.covariance(image.state))
    places, onsets = variance[2 : 2 + 2 * n].reshape(n, 2).sum(axis=1), variance[2 + 2 * n : 2 + 3 * n]
    return FociSpread(np.sqrt(places)[order], np.sqrt(onsets)[order], *map(float, np.sqrt(variance[:2])))


def laplace(
    image: Imaged | FocalImage,
    *,
    tolerance: Number = TOLERANCE,
    samples: int = 12,
    iterations: int = 80,
    seed: int = 0,
    progress: Progress = silent,
) -> Spread:
    """Sample the Laplace approximation about an image.

    Parameters
    ----------
    image
        As found by a solver of this package.
    tolerance
        Standard deviation of the residuals. They are no white noise: with tau of the training (0.3) intervals are too
        wide, with that of the truth (0.01 to 0.02) far too narrow.
    samples
        How many; the standard deviation is known to about 1 / sqrt(2 samples), and exact for a wave of foci.
    iterations
        Of conjugate gradients per sample; none are needed for a wave of foci.
    seed
        Of the samples.
    progress
        Told about the samples.

    Raises
    ------
    InputError
        For fewer than two samples.
    """
    if samples < 2:
        raise InputError(f"a spread needs at least 2 samples; got {samples!r}.")
    if isinstance(image, FocalImage):
        return _of_wave(image, samples, seed)
    prepared = image.prepared
    dtype = prepared.u.dtype
    point = jnp.asarray(image.u, dtype), jnp.asarray(image.v, dtype)
    keys = jax.random.split(jax.random.key(seed), samples + 1)
    scale = _preconditioner(prepared.cost, point, tolerance, keys[0])
    drawn = []
    for k, key in enumerate(keys[1:]):
        drawn.append(np.asarray(_sample(prepared.cost, point, tolerance, scale, key, iterations)[0], dtype=np.float64))
        progress("error bars", k + 1, samples)
    return _spread(prepared, image.u, np.stack(drawn), "laplace")


def ensemble(
    solver: CellSolver,
    operator: ForwardOperator,
    recording: Recording,
    *,
    members: int = 8,
    progress: Progress = silent,
) -> tuple[Imaged, Spread]:
    """Image with all members at once; the image is that of the mean field.

    Parameters
    ----------
    solver
        A solver whose cost is the one on the grid.
    operator, recording
        As for `reconstruct`.
    members
        How many; their seeds follow the solver's.
    progress
        Told about the steps.

    Raises
    ------
    InputError
        For fewer than two members, and a solver with another cost.
    """
    prepared = solver.prepare(operator, recording)
    cost = solver.cost(prepared)
    if members < 2 or not isinstance(cost, Cost):
        raise InputError(
            f"an ensemble needs at least 2 members and a solver with residuals on the grid; got {members!r} of "
            f"{solver.name}."
        )
    starts = [solver.fields(prepared, solver.seed + k) for k in range(members)]
    draws = _noise(cost, solver.schedule.tolerances[1], solver.seed, members)
    name = f"{solver.name} ensemble"
    trained = train_members(starts, cost, draws, solver.schedule, step_name=name, progress=progress)
    each = [[np.asarray(x, dtype=np.float64) for x in fields()] for fields in trained.fields]
    u, v = (np.mean([pair[i] for pair in each], axis=0) for i in (0, 1))
    mean = FreeFields(*(jnp.asarray(x, prepared.u.dtype) for x in (u, v)))
    found = imaged(prepared, Trained(mean, trained.history, trained.interrupted), method=solver.name)
    return found, _spread(prepared, u, np.stack([pair[0] for pair in each]) - u, "ensemble")


def _of_wave(image: FocalImage, samples: int, seed: int) -> Spread:
    """The spread of a wave of foci: exact, and samples for the activation."""
    problem, state = image.problem, image.state
    slope = problem.tangents(state)
    k = slope.shape[2]
    covariance = problem.covariance(state)[:k, :k]
    variance = np.einsum("ntp,pq,ntq->nt", slope, covariance, slope, optimize=True)
    absolute, u = image.absolute, state.fields.u
    drawn = np.random.default_rng(seed).multivariate_normal(np.zeros(k), covariance, size=samples)
    level = float(problem.model.peak) / 2
    activation = np.stack([first_crossing(u + slope @ d, absolute.times, level) for d in drawn])
    potential = absolute.with_values(problem.scale.amplitude * np.sqrt(np.maximum(variance, 0.0)))
    return Spread(potential, activation, "laplace")


def _noise(cost: Cost, tolerance: Number, seed: int, members: int) -> Perturbation:
    """Draws of the noise of data and residuals, the members along the first axis."""
    real, n = cost.data.dtype, len(cost.wave.root)
    shapes = [(members, *cost.data.shape), *[(members, n, cost.data.shape[1])] * 2]
    keys = jax.random.split(jax.random.key(seed + 1_000_003), 3)
    data, r_u, r_v = (jax.random.normal(k, s, real) for k, s in zip(keys, shapes, strict=True))
    return Perturbation(data, tolerance * r_u, tolerance * r_v)


def _spread(prepared: Prepared, u: Any, deviations: Float[np.ndarray, "k n t"], how: str) -> Spread:
    times = prepared.problem.recording.times
    amplitude = prepared.scale.amplitude
    rms = np.sqrt((deviations**2).sum(axis=0) / (len(deviations) - (how == "ensemble")))
    operator = prepared.problem.operator
    potential = Recording(amplitude * rms, times, operator.in_sites, operator.in_quantity)
    level = prepared.half_peak
    activation = np.stack([first_crossing(u + d, times, level) for d in deviations])
    return Spread(potential, activation, how)


def _misfit(cost: Cost, tolerance: Any, fields: Any, *, pushing: bool = False) -> Any:
    """F: everything that is squared in the cost."""
    u, v = fields
    wave = cost.wave.pushing() if pushing else cost.wave
    r_u, r_v = wave(u, v, cost.diffusivity)
    return cost.matrix @ u - cost.data, r_u / tolerance, r_v / tolerance


def _normal(cost: Cost, point: Any, tolerance: Any, x: Any) -> Any:
    """The precision times x: F'^T F' x + x / s^2."""
    _, pushed = jax.jvp(partial(_misfit, cost, tolerance, pushing=True), (point,), (x,))
    (pulled,) = jax.vjp(partial(_misfit, cost, tolerance), point)[1](pushed)
    return tuple(p + a / PRIOR**2 for p, a in zip(pulled, x, strict=True))


@eqx.filter_jit
def _preconditioner(cost: Cost, point: Any, tolerance: Any, key: Any) -> Any:
    """Diagonal of the precision, estimated with random signs."""

    def one(total: Any, key: Any) -> tuple[Any, None]:
        keys = jax.random.split(key)
        signs = tuple(jax.random.rademacher(k, x.shape, x.dtype) for k, x in zip(keys, point, strict=True))
        found = _normal(cost, point, tolerance, signs)
        return tuple(t + s * f for t, s, f in zip(total, signs, found, strict=True)), None

    zero = tuple(jnp.zeros_like(x) for x in point)
    total, _ = jax.lax.scan(one, zero, jax.random.split(key, PROBES))
    mean = tuple(t / PROBES for t in total)
    return tuple(jnp.maximum(m, 0.05 * jnp.mean(jnp.abs(m))) for m in mean)


@eqx.filter_jit
def _sample(cost: Cost, point: Any, tolerance: Any, scale: Any, key: Any, iterations: int) -> Any:
    """One sample, by preconditioned conjugate gradients."""
    value, back = jax.vjp(partial(_misfit, cost, tolerance), point)
    noise = [
        jax.random.normal(k, x.shape, x.dtype) for k, x in zip(jax.random.split(key, 5), (*value, *point), strict=True)
    ]
    (pulled,) = back(tuple(noise[:3]))
    wanted = tuple(p + e / PRIOR for p, e in zip(pulled, noise[3:], strict=True))
    product = partial(_normal, cost, point, tolerance)
    found, _ = jax.scipy.sparse.linalg.cg(
        product,
        wanted,
        tol=0.0,
        maxiter=iterations,
        M=lambda r: tuple(a / b for a, b in zip(r, scale, strict=True)),
    )
    return found
