"""The method of fundamental solutions, as used in clinical systems."""

from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from einthoven.core import Capabilities, ForwardOperator, InputError, Reconstruction, Recording, Surface
from einthoven.inverse.decomposition import Spectrum, Statistics, decompose, tikhonov_filter
from einthoven.inverse.noise import NoiseCovariance
from einthoven.inverse.problem import Problem, prepare
from einthoven.inverse.regularizers import source_surface
from einthoven.inverse.rules import DEFAULT_RULE, Rule
from einthoven.inverse.sweep import Sweep, spectral_sweep


@dataclass(frozen=True)
class FundamentalSolutions:
    """Method of fundamental solutions: no mesh integrals, point sources on surfaces outside the conducting volume.

    phi(x) = a_0 + sum_j a_j / (4 pi |x - s_j|), with sources s_j on the heart shrunk and on the torso inflated about
    their centers. The coefficients solve phi = y at the electrodes and d phi / dn = 0 on the skin, by Tikhonov's
    method of order 0; the estimate is phi at the heart's nodes. Regions inside the torso are not modeled.

    Parameters
    ----------
    rule
        Chooses lambda. It sees the residual of the electrodes alone.
    shrink, inflate
        Factors of the two source surfaces.
    noise
        Covariance of the leads' noise; electrode equations are whitened with it.

    References
    ----------
    Wang and Rudy, Ann Biomed Eng 34:1272, 2006, doi:10.1007/s10439-006-9131-7.
    """

    rule: Rule = DEFAULT_RULE
    shrink: float = 0.8
    inflate: float = 1.2
    noise: NoiseCovariance | None = None
    capabilities: Capabilities = field(default=Capabilities(models_geometry=True), init=False)
    name: str = field(default="mfs", init=False)

    def __post_init__(self):
        if not 0 < self.shrink < 1 < self.inflate < 10:
            raise InputError(
                f"mfs: source surfaces must lie outside the conductor, 0 < shrink < 1 < inflate; got {self.shrink:g} "
                f"and {self.inflate:g}."
            )

    def reconstruct(self, operator: ForwardOperator, recording: Recording) -> Reconstruction:
        """Estimate the source from the recording."""
        problem = prepare(operator, recording, noise=self.noise)
        heart, skin, electrodes, leads = _geometry(problem.operator)
        sources = np.vstack([_scaled(heart, self.shrink), _scaled(skin, self.inflate)])
        length = float(np.linalg.norm(skin.points - heart.points.mean(axis=0), axis=1).mean())
        rows = problem.transform @ leads @ _potentials(electrodes, sources, length)
        flux = _fluxes(skin, sources, length) * np.sqrt(len(rows) / skin.n_points)
        system = np.vstack([rows, flux])
        data = np.vstack([problem.data, np.zeros((len(flux), recording.n_times))])
        spectrum = decompose(system, None).spectrum(data)
        at_heart = _potentials(heart.points, sources, length)
        choice = self.rule.choose(_sweep(problem, spectrum, at_heart))
        return problem.reconstruction(
            at_heart @ spectrum.estimate(choice.weight),
            choice,
            method=self.name,
            rule=self.rule.name,
            diagnostics={"sources": float(len(sources))},
        )


def _sweep(problem: Problem, spectrum: Spectrum, at_heart: Float[np.ndarray, "n s"]) -> Sweep:
    """The sweep as the electrodes see it: residual and influence matrix of their equations alone."""
    found = spectrum.decomposition
    k, n_times = problem.data.shape
    gram = found.left[:k].T @ found.left[:k]
    moments = spectrum.coefficients @ spectrum.coefficients.T
    square = (problem.data**2).sum()

    def statistics(lambdas: Float[np.ndarray, " w"]) -> Statistics:
        passed, _ = tikhonov_filter(found.values, lambdas)
        quadratic = np.einsum("wi,wi->w", passed @ (gram * moments), passed)
        return Statistics(
            lambdas=lambdas,
            residual_sq=np.maximum(square - 2 * passed @ np.diag(moments) + quadratic, 1e-14 * square),
            seminorm_sq=(passed / found.values) ** 2 @ np.diag(moments),
            trace=n_times * passed @ np.diag(gram),
            trace_sq=n_times * np.einsum("wi,wi->w", passed @ gram**2, passed),
            n_data=k * n_times,
        )

    sweep = spectral_sweep(
        spectrum,
        sigma=problem.sigma,
        sites=problem.operator.in_sites,
        mean_removed=not problem.constant_visible,
    )
    return replace(sweep, statistics=statistics, estimate=lambda lambda_: at_heart @ spectrum.estimate(lambda_))


def _geometry(operator: ForwardOperator):
    """Heart, skin, electrode positions, and the leads as combinations of electrodes."""
    heart = source_surface(operator, "method of fundamental solutions")
    if operator.conductor is None or operator.electrodes is None:
        raise InputError(
            "mfs: needs the torso and the electrode positions, but the operator carries none; build it with "
            "`einthoven.forward.bem.transfer`, or use tikhonov0."
        )
    if operator.in_quantity != "hsp":
        raise InputError(
            f"mfs: images extracellular heart-surface potentials (hsp); the operator is for {operator.in_quantity}."
        )
    electrodes, leads = operator.electrodes, operator.lead_matrix
    if leads is None:
        electrodes = electrodes.select(operator.out_sites)
        leads = np.eye(len(electrodes))
    return heart, operator.conductor.skin, electrodes.positions, np.asarray(leads)


def _scaled(surface: Surface, factor: float) -> Float[np.ndarray, "n 3"]:
    center = surface.points.mean(axis=0)
    return center + factor * (surface.points - center)


def _potentials(
    points: Float[np.ndarray, "p 3"], sources: Float[np.ndarray, "s 3"], length: float
) -> Float[np.ndarray, "p c"]:
    """A constant and L / |x - s_j| at the points, in units in which all are of order one."""
    from scipy.spatial.distance import cdist

    return np.hstack([np.ones((len(points), 1)), length / cdist(points, sources)])


def _fluxes(skin: Surface, sources: Float[np.ndarray, "s 3"], length: float) -> Float[np.ndarray, "p c"]:
    """L times the normal derivative of `_potentials` at the nodes of the skin."""
    from einthoven.geometry.operators import node_normals

    offset = skin.points[:, None, :] - sources[None, :, :]
    along = np.einsum("psc,pc->ps", offset, node_normals(skin))
    flux = -(length**2) * along / np.linalg.norm(offset, axis=2) ** 3
    return np.hstack([np.zeros((skin.n_points, 1)), flux])
