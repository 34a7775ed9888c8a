"""The neural eikonal: features, its zero, gradients through the second solution, what it refuses."""

import equinox as eqx
import jax
import numpy as np
import pytest

from einthoven.core import InputError
from einthoven.eikonal.conduction import Conduction
from einthoven.surrogate.baselines import eikonal_times
from einthoven.surrogate.front_features import difference, feature_names, front, shuffled, unshuffled
from einthoven.surrogate.neural_eikonal import FrontLearner, SlownessNet, activation_times
from einthoven.surrogate.training import Course, Moment, train
from einthoven.tissue import Grid, Tissue
from surrogate_cases import recipe, sheet

FEATURES = feature_names(2)
CONDUCTION = Conduction.of(recipe().membrane)


def item(condition: str = "fibrotic", number: int = 0):
    data = sheet(condition, number)
    return front(data.tissue(), data.sites, data.onsets, CONDUCTION), data.tissue().take(data.activation)


def silenced(net: SlownessNet) -> SlownessNet:
    last = jax.tree.map(lambda x: 0 * x if eqx.is_array(x) else x, net.last)
    return eqx.tree_at(lambda n: n.last, net, last)


def test_without_a_correction_it_is_the_eikonal():
    net = silenced(SlownessNet.random(0, factor=2))
    pure = activation_times(None, item()[0])
    assert np.allclose(activation_times(net, item()[0]), pure, equal_nan=True)
    assert np.allclose(pure, eikonal_times(sheet(), recipe().membrane), equal_nan=True)


def test_features():
    found = item()[0].features
    assert found.shape == (4 + len(FEATURES), 16, 16)
    assert np.isfinite(found).all()
    holes = unshuffled(1.0 - sheet().conducting, 2)
    assert np.array_equal(found[:4], holes)
    normal = found[4 + FEATURES.index("normal x") : 4 + FEATURES.index("normal y") + 1]
    assert (np.linalg.norm(normal, axis=0) <= 1.001).all()
    plane = front(
        Tissue.isotropic(Grid((32, 32), 0.5, (0.25, 0.25, 0.0)), 0.1), np.array([[0.25, 8.0]]), np.zeros(1), CONDUCTION
    )
    far = plane.features[:, 14, 8]
    assert far[4 + FEATURES.index("normal x")] == pytest.approx(1.0, abs=0.02)
    assert far[4 + FEATURES.index("coherence")] == pytest.approx(1.0, abs=0.01)


def test_curvature_of_a_circular_front():
    """D / (r c) at distance r."""
    tissue = Tissue.isotropic(Grid((64, 64), 0.5, (0.25, 0.25, 0.0)), 0.1)
    found = front(tissue, np.array([[0.25, 0.25]]), np.zeros(1), CONDUCTION)
    curvature = found.features[4 + FEATURES.index("curvature")]
    r = np.hypot(20.5, 20.5)
    assert curvature[20, 20] == pytest.approx(0.1 / r / float(CONDUCTION.speed(0.1, 0.5)), rel=0.1)


def test_cells_and_channels():
    values = np.arange(48.0).reshape(6, 8)
    assert np.array_equal(shuffled(unshuffled(values, 2), 2), values)
    assert unshuffled(values, 2)[:, 1, 2].tolist() == [20, 21, 28, 29]


def test_differences_beside_holes():
    mask = np.ones((4, 3), bool)
    mask[2, 1] = False
    values = np.arange(4.0)[:, None] ** 2 * np.ones((1, 3))
    found = difference(values, mask, 0)
    assert found[:, 0].tolist() == [1, 2, 4, 5]
    assert found[:, 1].tolist() == [1, 1, 0, 0]
    assert np.abs(difference(values, mask, 1)).max() == 0


@pytest.mark.parametrize("name", ["delay", "last bias", "first weights"])
def test_gradients_match_finite_differences(name):
    get = {
        "delay": lambda n: n.delay,
        "last bias": lambda n: n.last.bias,
        "first weights": lambda n: n.layers[0].weight,
    }[name]
    net = eqx.tree_at(
        lambda n: n.last.weight, SlownessNet.random(1, factor=2, width=8, depth=2), replace_fn=lambda w: 30 * w
    )
    items, learner, moment = [item(), item("healthy")], FrontLearner(), Moment(0, 0.0)
    loss, gradient = learner.gradient(net, items, moment)
    assert loss > 0.1
    direction = np.random.default_rng(0).standard_normal(np.shape(get(net))).astype(np.float32)
    step = 1e-3
    ends = [learner.gradient(eqx.tree_at(get, net, get(net) + s * step * direction), items, moment)[0] for s in (1, -1)]
    assert float((np.asarray(get(gradient)) * direction).sum()) == pytest.approx(
        (ends[0] - ends[1]) / (2 * step), rel=0.02
    )


def test_training_brings_the_times_closer():
    items = [item("fibrotic", k) for k in range(4)]
    learner, net = FrontLearner(), SlownessNet.random(0, factor=2, width=8, depth=2)
    before = learner.score(net, items)["activation_error_ms"]
    found = train(learner, net, items, items, Course(15, 2, 5e-3))
    assert max(row["score"] for row in found.history) > -0.6 * before


def test_anisotropic_tissue():
    tissue = Tissue.anisotropic(Grid((32, 32), 0.5, (0.25, 0.25, 0.0)), 0.12, 0.04, (0.6, 0.8))
    found = front(tissue, np.array([[8.0, 8.0]]), np.zeros(1), CONDUCTION)
    assert found.squared_speed.shape == (1024, 2, 2)
    assert np.abs(found.features[4 + FEATURES.index("along fibers")]).max() > 0.3
    learner, net = FrontLearner(), SlownessNet.random(0, factor=2, width=8, depth=2)
    true = activation_times(None, found) * 1.1
    loss, gradient = learner.gradient(net, [(found, true)], Moment(0, 0.0))
    assert loss > 0
    assert float(np.abs(np.asarray(gradient.last.bias)).max()) > 0


def test_what_it_refuses():
    with pytest.raises(InputError, match="needs a sheet or a slab on a grid"):
        front(Tissue.isotropic(Grid((8,), 0.5), 0.1), np.zeros((1, 1)), np.zeros(1), CONDUCTION)
    with pytest.raises(InputError, match=r"33 x 32 cells must be a multiple of 2 cells \(1 mm\)"):
        front(Tissue.isotropic(Grid((33, 32), 0.5), 0.1), np.zeros((1, 2)), np.zeros(1), CONDUCTION)
    with pytest.raises(InputError, match="for pixels of 4 x 4 cells, the tissue has 2 x 2"):
        activation_times(SlownessNet.random(0, factor=4), item()[0])
