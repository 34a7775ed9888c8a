"""Residuals of a reaction-diffusion wave: orders, exact waves, the package's simulator, gradients, refusals."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import sparse
from scipy.integrate import solve_ivp

from einthoven.core import InputError, Recording
from einthoven.geometry.generators import rectangle, sphere
from einthoven.geometry.operators import edge_length_laplacian, node_areas, stiffness
from einthoven.geometry.quality import edge_lengths
from einthoven.inverse.physics.reaction_diffusion import ReactionDiffusion, SparseRows, frame_step, time_derivative
from einthoven.inverse.physics.waves import (
    RESOLVED,
    check_resolved,
    excitation,
    imaging_cells,
    published_cells,
)
from einthoven.ionic.aliev_panfilov_1996 import AlievPanfilov1996
from einthoven.ionic.fenton_karma_1998 import FentonKarma1998
from einthoven.ionic.mitchell_schaeffer_2003 import MitchellSchaeffer2003
from einthoven.protocol import Nodes, Protocol, Stimulus
from einthoven.simulate import Monodomain, Movie, simulate
from einthoven.tissue import Tissue


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


on = partial(ReactionDiffusion.on, dtype="float64")


def rate_of(errors, factor=2.0):
    return np.log(np.asarray(errors)[:-1] / np.asarray(errors)[1:]) / np.log(factor)


# -- plane fronts -----------------------------------------------------------------------------------------------------


def test_cubics_of_both_membranes():
    aliev = excitation(published_cells())
    assert aliev == pytest.approx((8.0 / 12.9, 0.15, 1.0), rel=1e-9)
    assert excitation(imaging_cells()).threshold == pytest.approx(0.1)
    mitchell = excitation(MitchellSchaeffer2003(gate_width=0.005))
    low, high = np.sort(np.roots([1.0, -1.0, 0.3 / 6.0]))
    assert mitchell == pytest.approx((1 / 0.3, low, high), rel=1e-9)


def test_steepest_upstroke_and_speed():
    cubic = excitation(imaging_cells())
    u = np.linspace(0, 1, 100001)
    assert cubic.steepest == pytest.approx((8 / 12.9 * u * (u - 0.1) * (1 - u)).max(), rel=1e-8)
    assert cubic.speed(1.94) == pytest.approx(np.sqrt(1.94 * 8 / 12.9 / 2) * 0.8, rel=1e-9)
    assert cubic.diffusivity(cubic.speed(1.3)) == pytest.approx(1.3)


@pytest.mark.parametrize(
    ("membrane", "words"),
    [
        (FentonKarma1998(), "two variables; FentonKarma1998 has 3"),
        (AlievPanfilov1996(a=np.full(3, 0.1)), "the same AlievPanfilov1996 everywhere"),
        (AlievPanfilov1996(k=0.0), "no cubic whose fronts advance"),
        (AlievPanfilov1996(a=0.6), "no cubic whose fronts advance"),
        (MitchellSchaeffer2003(), r"gate without width; give it one, MitchellSchaeffer2003\(gate_width=0.005\)"),
    ],
)
def test_refuses_membranes_it_cannot_use(membrane, words):
    with pytest.raises(InputError, match=words):
        on(sphere(30.0, subdivisions=1), membrane, step=1.0)


def test_refuses_a_diffusivity_that_the_mesh_would_pin():
    surface, cells = sphere(40.0, subdivisions=2, name="heart"), imaging_cells()
    edge = edge_lengths(surface).mean()
    least = RESOLVED * edge**2 * 8.0 / 12.9
    check_resolved(surface, 1.01 * least, cells)
    largest = np.sqrt(0.5 * 12.9 / 8.0 / RESOLVED)
    with pytest.raises(InputError, match=f"edges of at most {largest:.2g} mm, or at least {least:.2g} mm2/ms"):
        check_resolved(surface, 0.5, cells)


# -- orders -----------------------------------------------------------------------------------------------------------


def test_time_derivative_has_order_four_at_every_frame():
    def errors(n):
        t = np.linspace(0, 2, n)
        found = np.asarray(time_derivative(jnp.asarray(np.sin(3 * t)[None]), t[1]))[0]
        wrong = np.abs(found - 3 * np.cos(3 * t))
        return [*wrong[[0, 1, -2, -1]], wrong[2:-2].max()]

    rates = rate_of([errors(n) for n in (41, 81, 161)])
    assert np.abs(rates[-1] - 4).max() < 0.25


def test_time_derivative_of_quartics_is_exact():
    t = np.linspace(0.0, 2.0, 9)
    found = time_derivative(jnp.asarray((t**4 - t**2)[None]), t[1])
    assert np.allclose(found, 4 * t**3 - 2 * t, atol=1e-11)


def exact_front(segments: int, step: float) -> float:
    """Largest residual of the exact front of cells without recovery, in the middle of a strip."""
    cells, diffusivity, length = AlievPanfilov1996(a=0.1, e0=0.0, mu1=0.0), 2.0, 60.0
    strip = rectangle((length, 4.0), segments=segments)
    x = strip.points[:, 0] - strip.points[:, 0].min()
    t = step * np.arange(9)
    cubic = excitation(cells)
    steep = np.sqrt(cubic.rate / (2 * diffusivity))
    u = 1 / (1 + np.exp(steep * (x[:, None] - length / 2 - cubic.speed(diffusivity) * (t - t.mean()))))
    r_u, r_v = on(strip, cells, step=step)(jnp.asarray(u), jnp.zeros(u.shape), diffusivity)
    assert not np.asarray(r_v).any()
    middle = np.abs(x - length / 2) < 0.3 * length
    root = np.sqrt(node_areas(strip) / node_areas(strip).mean())
    return float(np.abs(np.asarray(r_u) / root[:, None])[middle].max())


@pytest.mark.long
def test_an_exact_front_leaves_a_residual_of_order_two_in_space():
    found = [exact_front(n, 0.05) for n in (30, 60, 120)]
    assert found[-1] < 2e-2
    assert np.abs(rate_of(found) - 2)[-1] < 0.2


@pytest.mark.long
def test_an_exact_front_leaves_a_residual_of_order_four_in_time():
    floor = exact_front(480, 0.05)
    found = [exact_front(480, step) - floor for step in (2.0, 1.0)]
    assert found[1] > 4 * floor
    assert np.abs(rate_of(found)[0] - 4) < 0.2


def test_manufactured_fields_leave_what_the_equations_say():
    """u = sin(t) x + 2 and v = cos(t) on a plane strip: no Laplacian inside, rates by hand."""
    strip, cells = rectangle((20.0, 20.0), segments=10), imaging_cells()
    x, t = strip.points[:, :1] / 20, np.linspace(0, 1, 41)
    u, v = 0.5 + 0.3 * np.sin(t) * x, 0.4 * np.cos(t) * np.ones_like(x)
    r_u, r_v = on(strip, cells, step=t[1])(jnp.asarray(u), jnp.asarray(v), 3.0)
    f = -8 * u * (u - 0.1) * (u - 1) - u * v
    g = (0.002 + 0.3 * v / (u + 0.3)) * (-v - 8 * u * (u - 1.1))
    unit = 1 / excitation(cells).steepest
    inner = (np.abs(strip.points - strip.points.mean(axis=0))[:, :2] < 9.0).all(axis=1)
    root = np.sqrt(node_areas(strip) / node_areas(strip).mean())[:, None]
    assert np.allclose((r_u / root / unit)[inner], (0.3 * np.cos(t) * x - f / 12.9)[inner], atol=1e-6)
    assert np.allclose(r_v / root / unit, -0.4 * np.sin(t) * np.ones_like(x) - g / 12.9, atol=1e-6)


@pytest.mark.parametrize("cells", [imaging_cells(), MitchellSchaeffer2003(gate_width=0.005)], ids=["AP", "MS"])
def test_the_simulator_solves_these_equations(cells):
    """On the same mesh what is left is the time difference: it falls with the interval of the frames."""
    surface = sphere(10.0, subdivisions=2, name="heart")
    near = np.flatnonzero(np.linalg.norm(surface.points - surface.points[0], axis=1) <= 4.0)
    start = Protocol((Stimulus(Nodes(near), 0.0, 2.0, 40.0),))
    muscle = Monodomain(Tissue.isotropic(surface, 2.0), cells)
    movie = simulate(muscle, start, 40.0, dt=0.01, keep=[Movie(0.5, dtype="float64")]).data["movie"]
    u = cells.scale.from_mv(movie.values.T[:, 8:])

    def left(every):
        frames = jnp.asarray(u[:, :: int(every / 0.5)])
        wave = on(surface, cells, step=every)
        r_u, _ = wave(frames, wave.recovery(frames, substeps=8), 2.0)
        return float(jnp.sqrt(jnp.mean(r_u**2) / jnp.mean((wave.unit * time_derivative(frames, every)) ** 2)))

    coarse, fine = left(2.0), left(0.5)
    assert fine < 0.025
    assert fine < coarse / 4


# -- parts ------------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_recovery_follows_its_equation():
    surface, cells = sphere(10.0, subdivisions=0), imaging_cells()
    t = np.arange(0.0, 200.0, 4.0)
    u = np.clip(np.sin(t / 60)[None] ** 2 * np.linspace(0.2, 1.3, 12)[:, None], 0.0, 1.0)

    def exact(row):
        g = lambda s, v: cells.rates(np.interp(s, t, row), (v,))[1][0]  # noqa: E731
        return solve_ivp(g, (0, t[-1]), [0.0], t_eval=t, rtol=1e-9, atol=1e-11, max_step=1.0).y[0]

    wanted = np.stack([exact(row) for row in u])
    wrong = [np.abs(on(surface, cells, step=4.0).recovery(jnp.asarray(u), substeps=n) - wanted).max() for n in (4, 8)]
    assert wrong[0] < 3e-3
    assert rate_of(wrong)[0] == pytest.approx(2, abs=0.1)


def test_sparse_rows_and_their_transpose():
    rng = np.random.default_rng(2)
    matrix = sparse.random_array((9, 9), density=0.3, rng=rng) + sparse.diags_array(np.ones(9))
    matrix = sparse.csr_array(matrix)
    x, y = jnp.asarray(rng.standard_normal((9, 4))), jnp.asarray(rng.standard_normal((9, 4)))
    table = SparseRows.of(matrix, "float64")
    assert np.allclose(table @ x, matrix @ np.asarray(x), atol=1e-14)
    pulled = jax.vjp(lambda z: table @ z, x)[1](y)[0]
    assert np.allclose(pulled, matrix.T @ np.asarray(y), atol=1e-14)


def test_laplacians_are_those_of_the_geometry():
    surface = sphere(30.0, subdivisions=1)
    u = np.random.default_rng(0).standard_normal((42, 5))
    area = node_areas(surface)
    root = np.sqrt(area / area.mean())[:, None]
    weak = on(surface, imaging_cells(), step=1.0).negative_laplacian @ jnp.asarray(u)
    assert np.allclose(weak, root / area[:, None] * (stiffness(surface) @ u), atol=1e-13)
    edges = on(surface, imaging_cells(), step=1.0, laplacian="edge-length").negative_laplacian @ jnp.asarray(u)
    assert np.allclose(edges, -root * (edge_length_laplacian(surface) @ u), atol=1e-13)
    with pytest.raises(InputError, match="'weak' or 'edge-length'; got 'graph'"):
        on(surface, imaging_cells(), step=1.0, laplacian="graph")


@pytest.mark.long
@pytest.mark.parametrize("laplacian", ["weak", "edge-length"])
def test_gradients(laplacian):
    surface, rng = sphere(30.0, subdivisions=1), np.random.default_rng(1)
    wave = on(surface, imaging_cells(), step=4.0, laplacian=laplacian)
    u, v, du, dv = (jnp.asarray(rng.uniform(-0.1, 1.1, (42, 7))) for _ in range(4))

    def total(s, d):
        r_u, r_v = wave(u + s * du, v + s * dv, d)
        return jnp.sum(r_u**2) + jnp.sum(jnp.sin(r_v))

    slopes = jax.grad(total, argnums=(0, 1))(0.0, 1.5)
    e = 1e-5
    assert float(slopes[0]) == pytest.approx(float(total(e, 1.5) - total(-e, 1.5)) / (2 * e), rel=1e-6)
    assert float(slopes[1]) == pytest.approx(float(total(0.0, 1.5 + e) - total(0.0, 1.5 - e)) / (2 * e), rel=1e-6)


@pytest.mark.long
def test_nothing_breaks_at_the_pole():
    surface, cells = sphere(30.0, subdivisions=0), imaging_cells()
    u, v = jnp.full((12, 6), -0.3), jnp.full((12, 6), 0.5)
    wave = on(surface, cells, step=4.0)
    value, slope = jax.value_and_grad(lambda u: sum(jnp.sum(r**2) for r in wave(u, v, 2.0)))(u)
    assert np.isfinite(float(value))
    assert np.isfinite(np.asarray(slope)).all()


def test_frames_must_be_uniform_and_at_least_five():
    def recording(times):
        return Recording(np.ones((3, len(times))), np.asarray(times, dtype=float), ("a", "b", "c"), "bsp")

    assert frame_step(recording(np.arange(5) * 2.0)) == 2.0
    with pytest.raises(InputError, match="at least 5 frames for its time derivative; got 4"):
        frame_step(recording(range(4)))
    with pytest.raises(InputError, match="sampled uniformly"):
        frame_step(recording([0, 1, 2, 3, 5]))
