"""An imaging result made from spheres, quick and without files."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from report_browser import started, watched

from einthoven.core import (
    Case,
    Electrodes,
    ForwardOperator,
    Reconstruction,
    Recording,
    Region,
    Source,
    Surface,
    VolumeConductor,
    WeightCurve,
)
from einthoven.geometry.generators import sphere
from einthoven.studies.results import Imaging, ImagingResult


def tikhonov(operator: ForwardOperator, recording: Recording, lambda_: float, *, method: str, rule: str):
    """Zero-order Tikhonov with a sweep, as short as it can be written."""
    u, s, vt = np.linalg.svd(operator.matrix, full_matrices=False)
    data = u.T @ recording.values
    lambdas = np.geomspace(1e-4, 1e1, 40) * s[0]
    filters = [s / (s**2 + w**2) for w in lambdas]
    residuals = [np.linalg.norm(recording.values - u @ ((s * f)[:, None] * data)) for f in filters]
    norms = [np.linalg.norm(f[:, None] * data) for f in filters]
    chosen = lambda_ * s[0]
    estimate = vt.T @ ((s / (s**2 + chosen**2))[:, None] * data)
    curve = WeightCurve(
        lambdas, np.array(residuals), np.array(norms), np.gradient(np.log(norms)) ** 2, float(chosen), "curvature"
    )
    return Reconstruction(
        estimate=Recording(estimate, recording.times, operator.in_sites, operator.in_quantity),
        residual=recording.with_values(recording.values - operator.matrix @ estimate),
        method=method,
        rule=rule,
        weight=float(chosen),
        curve=curve,
        diagnostics={"rank": float(len(s))},
    )


def wave(heart: Surface, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A front that runs over the surface: potentials (n_points, n_times), mV, and activation times, ms."""
    z = heart.points[:, 2] - heart.points[:, 2].min()
    activation = 20 + 60 * z / z.max()
    return 10 * np.tanh((activation[:, None] - times) / 4.0), activation


def build(
    methods: int = 2,
    *,
    truth: bool = True,
    quantity: str = "hsp",
    n_times: int = 120,
    subdivisions: int = 2,
    name: str = "spheres",
    info: dict[str, str] | None = None,
) -> ImagingResult:
    """Image a front on a sphere in a sphere with `methods` weights."""
    heart = sphere(40.0, subdivisions=subdivisions, name="heart")
    skin = sphere(100.0, subdivisions=2, name="torso")
    nodes = np.arange(0, skin.n_points, 3)
    electrodes = Electrodes(tuple(f"E{i}" for i in range(len(nodes))), skin.points[nodes])
    times = np.arange(float(n_times))
    potentials, activation = wave(heart, times)
    distance = np.linalg.norm(electrodes.positions[:, None] - heart.points[None], axis=2)
    matrix = distance**-3.0
    matrix = matrix / matrix.sum(axis=1, keepdims=True)
    matrix = matrix - matrix.mean(axis=0)
    operator = ForwardOperator(matrix, heart.node_names, electrodes.names, quantity, "bsp", reference="average")
    noise = np.random.default_rng(1).normal(0, 0.01, (len(nodes), n_times))
    recording = Recording(matrix @ potentials + noise, times, electrodes.names, "bsp").average_referenced()
    measured = Recording(potentials - potentials.mean(axis=0), times, heart.node_names, quantity)
    source = Source(heart, quantity, replace(measured, values=potentials) if truth else None)
    images = []
    for i in range(methods):
        rule = "oracle" if truth and i and i == methods - 1 else "lcurve"
        found = tikhonov(operator, recording, 10.0 ** (-1 - 0.4 * i), method=f"method{i}", rule=rule)
        scores = {"method": found.method, "rule": rule, "lambda": found.weight, "seconds": 0.01 * (i + 1)}
        if truth:
            estimate = found.estimate.values - found.estimate.values.mean(axis=0)
            scores["relative_error"] = float(
                np.linalg.norm(estimate - measured.values) / np.linalg.norm(measured.values)
            )
            scores["correlation"] = float(np.corrcoef(estimate.ravel(), measured.values.ravel())[0, 1])
            scores["reference"] = "mean-removed"
        images.append(Imaging(found, scores, activation + i))
    case = Case(name, VolumeConductor(Region(skin, 0.2)), (source,), electrodes, recording, info or {"licence": "CC0"})
    return ImagingResult(
        case,
        source,
        operator,
        recording,
        tuple(images),
        truth=measured if truth else None,
        truth_activation=activation if truth else None,
        provenance={"settings": {"methods": ["a"], "seed": 1}, "versions": {"numpy": np.__version__}},
    )


@pytest.fixture(scope="session")
def imaging_result() -> Callable[..., ImagingResult]:
    """Build an `ImagingResult`; see `build`."""
    return build


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """One headless Chromium for all tests of pages."""
    with started(tmp_path_factory.mktemp("chromium")) as context:
        yield context


@pytest.fixture
def open_file(chromium):
    """Open a page in Chromium; every error, request and dialog fails the test at its end."""
    with watched(chromium) as show:
        yield show
