"""A fit as `einthoven fit` makes it, from waves in a ball of muscle: quick and without files."""

import numpy as np

from einthoven.core import Case, Electrodes, ForwardOperator, Recording, Region, Source, Surface, VolumeConductor
from einthoven.eikonal import Eikonal
from einthoven.forward.sampling import SurfaceSampling, surface_sampling
from einthoven.geometry.generators import sphere
from einthoven.inverse.wave_ensemble import SiteNumber, WaveEnsemble
from einthoven.inverse.wave_fit import Wave, WaveFit
from einthoven.simulate.action_potentials import ActionPotentials
from einthoven.simulate.eikonal_ecg import Beat, EikonalEcg
from einthoven.simulate.reaction_eikonal import ReactionEikonal
from einthoven.studies.fit_results import FitResult
from einthoven.studies.muscle import Muscle
from einthoven.studies.settings import FitSettings
from einthoven.tissue import Grid, Tissue

TIMES = np.arange(0.0, 101.0, 2.0)
SITES = np.array([[20.0, 0.0, 0.0], [0.0, -15.0, 18.0]])
ONSETS = np.array([5.0, 12.0])
ERRORS = ("heart x (mm)", "heart pitch (deg)")
#: Curvature of every fit: next to no spread around it.
SHARP = 1e6


def ball() -> Tissue:
    """Muscle of 30 mm radius on a grid of 5 mm."""
    grid = Grid((14, 14, 14), 5.0, (-32.5, -32.5, -32.5))
    inside = np.linalg.norm(grid.at(np.arange(grid.n_points)), axis=1) < 31
    tissue = Tissue.isotropic(grid, 1.0, inside)
    return tissue.labelled("endocardium", np.zeros(tissue.n_nodes))


def ecg_model(heart: Surface, electrodes: Electrodes, sampling: SurfaceSampling) -> EikonalEcg:
    """Leads of the surface's potentials that fall with the distance, for a wave of one speed."""
    distance = np.linalg.norm(electrodes.positions[:, None] - heart.points, axis=2)
    weights = distance**-3.0 / (distance**-3.0).sum(axis=1, keepdims=True)
    weights = 0.2 * (weights - weights.mean(axis=0))
    leads = ForwardOperator(weights, heart.node_names, electrodes.names, "vm", "bsp", reference="average") @ sampling
    since = np.arange(-10.0, 301.0, 0.5)
    upstroke = ActionPotentials(since, (-85 + 100 / (1 + np.exp(-since)))[None], np.array([300.0]))
    tissue = sampling.tissue
    reaction = ReactionEikonal(tissue, leads, upstroke, TIMES)
    return EikonalEcg(Eikonal.of(tissue), np.ones((1, tissue.n_nodes)), reaction, ("wall",))


def fit_result(
    n_fits: int = 3,
    *,
    n_leads: int = 12,
    truth: bool = True,
    name: str = "ball",
    info: dict[str, str] | None = None,
    notes: tuple[str, ...] = ("The wall is as thick as the ball.",),
) -> FitResult:
    """Fit k has its sites 3 k mm higher and 2 k ms later than the truth; the third, if there, has one site only."""
    heart, skin, tissue = sphere(30.0, subdivisions=2, name="heart"), sphere(100.0, subdivisions=2), ball()
    sampling = surface_sampling(tissue, heart)
    chosen = np.linspace(0, skin.n_points - 1, n_leads).astype(int)
    electrodes = Electrodes(tuple(f"E{i}" for i in range(n_leads)), skin.points[chosen])
    model = ecg_model(heart, electrodes, sampling)

    def leads(sites: np.ndarray, onsets: np.ndarray) -> tuple[Beat, Recording]:
        beat = model.beat(sites, onsets, np.array([0.6]))
        return beat, Recording(beat.ecg.values, TIMES, electrodes.names, "bsp", "average")

    true, clean = leads(SITES, ONSETS)
    noise = np.random.default_rng(3).normal(0, 0.02, clean.values.shape)
    recording = clean.with_values(clean.values + noise)
    fits = []
    for k in range(n_fits):
        n = 1 if k == 2 else 2
        sites, onsets = SITES[:n] - [0, 0, 3 * k], ONSETS[:n] + 2 * k
        beat, fitted = leads(sites, onsets)
        misfit = float(np.linalg.norm(fitted.values - recording.values) / np.linalg.norm(recording.values))
        wave = Wave(sites, onsets, np.array([0.6]), 1.0, np.array([2.0 + k, -8.0]))
        fits.append(WaveFit(wave, beat, fitted, 10.0 + k, misfit, 30, True, SHARP * np.eye(4 * n + 4)))
    numbers = (SiteNumber(1, 0.5, -100.0, 2), SiteNumber(2, 0.1, -250.0, 6))
    bics = tuple(-250.0 + k for k in range(n_fits))
    ensemble = WaveEnsemble(model, tuple(fits), bics, numbers, noise=0.03, n_effective=100.0, n_tried=8)
    case = Case(
        name,
        VolumeConductor(Region(skin, 0.2)),
        (Source(heart, "vm"),),
        electrodes,
        recording,
        info or {"licence": "CC0"},
    )
    return FitResult(
        case=case,
        muscle=Muscle(tissue, heart, notes),
        recording=recording,
        ensemble=ensemble,
        sampling=sampling,
        layers=("wall",),
        errors=ERRORS,
        truth_activation=sampling.apply(true.arrival.times) if truth else None,
        metrics={"case": name, "misfit": fits[0].misfit, "correlation": 0.99, "window": (0.0, 100.0), "n_fits": n_fits},
        provenance={"case": name, "settings": FitSettings().model_dump(exclude_none=True, mode="json")},
    )
