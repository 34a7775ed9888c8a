"""Noise covariances, names, and the messages around them."""

from dataclasses import replace

import numpy as np
import pytest

from einthoven.core import ForwardOperator, InputError, Recording
from einthoven.inverse import (
    Discrepancy,
    Fixed,
    Greensite,
    LCurve,
    NoiseCovariance,
    RobustGCV,
    Stre,
    Tikhonov,
    TotalVariation,
    make_rule,
    make_solver,
    quiet_sigma,
    quietest_window,
)

NAMES = tuple("abcdefgh")


def beat(sigma: float, n: int = 400) -> Recording:
    """Noise, a drift, and a wave in the second half, mV."""
    t = np.arange(float(n))
    wave = np.exp(-(((t - 0.75 * n) / 20) ** 2)) + 1e-4 * t
    noise = sigma * np.random.default_rng(2).standard_normal((8, n))
    return Recording(np.outer(np.arange(1.0, 9), wave) + noise, t, NAMES, "bsp")


def test_quietest_window_avoids_the_wave_and_gives_its_noise():
    start, stop = quietest_window(beat(0.01))
    assert stop < 240 or start > 360
    assert quiet_sigma(beat(0.01)) == pytest.approx(0.01, rel=0.1)
    averaged = beat(0.01).average_referenced()
    assert quiet_sigma(averaged, rank=7) == pytest.approx(0.01, rel=0.1)


def test_covariance_from_a_window_is_close_to_the_truth():
    rng = np.random.default_rng(0)
    root = np.diag(np.linspace(1, 3, 8)) + 0.3
    data = Recording(root @ rng.standard_normal((8, 4000)), np.arange(4000.0), NAMES, "bsp")
    found = NoiseCovariance.from_window(data, start=0.0, stop=3999.0)
    truth = root @ root.T
    assert np.linalg.norm(found.matrix - truth) < 0.1 * np.linalg.norm(truth)
    assert found.sigma == pytest.approx(np.sqrt(np.trace(truth) / 8), rel=0.05)


def test_covariance_from_few_frames_is_shrunk_and_invertible():
    found = NoiseCovariance.from_window(beat(0.01), start=0.0, stop=8.0)
    assert np.linalg.cond(found.matrix) < 1e4


def test_whitener_whitens_an_average_reference():
    averaged = beat(0.01).average_referenced()
    noise = NoiseCovariance.from_window(averaged, start=0.0, stop=200.0)
    basis = np.linalg.svd(np.eye(8) - 1 / 8)[0][:, :7].T
    w = noise.whitener(np.ascontiguousarray(basis))
    product = w @ noise.matrix @ w.T
    assert np.allclose(product, product[0, 0] * np.eye(7), atol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NoiseCovariance(np.eye(3), NAMES), r"must have shape \(8, 8\)"),
        (lambda: NoiseCovariance(np.triu(np.ones((8, 8))), NAMES), "finite and symmetric"),
        (lambda: NoiseCovariance(-np.eye(8), NAMES), "positive semidefinite"),
        (lambda: NoiseCovariance.white(beat(0.1), sigma=0.0), "sigma must be positive"),
        (lambda: NoiseCovariance.from_window(beat(0.1), start=0.0, stop=3.0), "at least 8"),
        (lambda: quietest_window(beat(0.1, n=10)), "at least 16 frames"),
        (lambda: quietest_window(beat(0.1), duration=1e4), "longer than the recording"),
        (lambda: NoiseCovariance(np.diag([0.0, 1, 1, 1, 1, 1, 1, 1]), NAMES).whitener(np.eye(8)), "singular"),
        (lambda: NoiseCovariance(np.eye(8), NAMES).select(("q",)), "no site named q"),
        (lambda: make_rule("l-curve"), "unknown rule 'l-curve'; there is lcurve, .*Did you mean lcurve"),
        (lambda: make_rule("lcurve:3"), "unknown rule 'lcurve:3'"),
        (lambda: make_rule("fixed"), "needs a number after the colon"),
        (lambda: make_rule("fixed:x"), "needs a number after the colon"),
        (lambda: make_rule("fixed:-1"), "lambda must be positive"),
        (lambda: make_rule("fixed:0"), "lambda must be positive"),
        (lambda: make_rule("oracle"), "needs the measured truth"),
        (lambda: make_rule("rgcv", gamma=0.0), r"gamma of robust GCV must be in \(0, 1\]"),
        (lambda: make_rule("discrepancy", sigma=-1.0), "sigma of the discrepancy principle must be positive"),
        (lambda: make_solver("tikhonov3", LCurve()), "unknown method 'tikhonov3'.*Did you mean tikhonov"),
        (lambda: Tikhonov(3), "order must be 0 .* got 3"),
        (lambda: Stre(ratio=0.0), "ratio must be positive"),
        (lambda: Stre(window=0), "window must be at least 1"),
        (lambda: Greensite(components=0), "components must be at least 1"),
        (lambda: TotalVariation(tolerance=2.0), "tolerance must be in"),
        (lambda: TotalVariation(n_probes=0), "n_probes must be at least 1"),
    ],
)
def test_messages(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_rules_by_name():
    assert make_rule("rgcv", gamma=0.2) == RobustGCV(0.2)
    assert make_rule("fixed:0.5") == Fixed(0.5)
    assert make_rule("fixed:0.5").name == "fixed:0.5"
    assert make_rule("discrepancy", sigma=0.1) == Discrepancy(0.1)


def test_noise_of_another_reference_is_refused(simulated):
    noise = replace(NoiseCovariance.white(simulated.recording, sigma=1.0), reference="wilson")
    with pytest.raises(InputError, match="has reference 'wilson', the recording 'average'"):
        Tikhonov(noise=noise).reconstruct(simulated.operator, simulated.recording)


def test_an_operator_that_sees_nothing_is_refused(simulated):
    op = simulated.operator
    nothing = ForwardOperator(0 * op.matrix, op.in_sites, op.out_sites, "hsp", "bsp", "average", source=op.source)
    with pytest.raises(InputError, match="operator is zero in lead space"):
        Tikhonov().reconstruct(nothing, simulated.recording)


def test_stre_refuses_one_frame(simulated):
    with pytest.raises(InputError, match="at least 2 frames"):
        Stre().reconstruct(simulated.operator, simulated.recording.window(3.0, 3.0))
