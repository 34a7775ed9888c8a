"""`lead-field-net` and `seq2seq`: exact properties, gradients, that they learn."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from einthoven.core import Electrodes, InputError, Recording
from einthoven.eikonal.conduction import Conduction
from einthoven.surrogate.lead_field_net import (
    SCALE,
    ConductanceNet,
    MovieEcg,
    MovieItem,
    MovieLearner,
    inferred_diffusivity,
    lead_fields,
    movie_item,
    turned,
)
from einthoven.surrogate.movie_maps import LEAST_SHARE
from einthoven.surrogate.seq2seq import (
    FrameItem,
    FrameLearner,
    Seq2Seq,
    Seq2SeqSettings,
    frame_item,
    predicted,
    spectral_entropy,
)
from einthoven.surrogate.seq2seq import turned as frames_turned
from einthoven.surrogate.training import Course, Moment, train
from surrogate_cases import recipe, sheet

CONDUCTION = Conduction.of(recipe().membrane)


def movie_ecg(net: ConductanceNet | None = None) -> MovieEcg:
    return MovieEcg(net, CONDUCTION, 1.0, 0.5)


def noisy_net(seed: int = 0) -> ConductanceNet:
    net = ConductanceNet.random(seed, pixel=1.0, width=8, depth=1)
    return eqx.tree_at(lambda n: n.last.weight, net, replace_fn=lambda w: 100 * w)


# -- lead-field-net ----------------------------------------------------------------------------------------------------


def test_without_a_network_it_is_the_sum_over_faces():
    """Harmonic mean of D times both shares, potential and 1 / r across every face; the border is left alone."""
    seen = eqx.tree_at(lambda s: s.border, movie_item(movie_ecg(), sheet()).seen, jnp.zeros(()))
    share, d, inverse = (np.asarray(a, dtype=float) for a in (seen.share, seen.diffusivity, seen.inverse))
    v = np.random.default_rng(0).standard_normal(share.shape)
    expected = np.zeros(len(inverse))
    for axis in (0, 1):
        for low in np.ndindex(*np.subtract(share.shape, np.eye(2, dtype=int)[axis])):
            high = tuple(np.add(low, np.eye(2, dtype=int)[axis]))
            g = 2 / (1 / d[low] + 1 / d[high]) * share[low] * share[high]
            expected -= SCALE * g * (v[high] - v[low]) * (inverse[:, *high] - inverse[:, *low])
    found = np.einsum("kij,ij->k", np.asarray(lead_fields(None, seen)), v * share)
    assert np.allclose(found, expected, rtol=1e-4, atol=0.0)


def test_a_constant_potential_is_not_seen_whatever_the_network():
    """V = const in the pixels' cells: the movie shows it times the share of cells."""
    seen = movie_item(movie_ecg(), sheet()).seen
    net = noisy_net()
    lead = np.asarray(lead_fields(net, seen))
    share = (
        np.clip(np.asarray(seen.share), LEAST_SHARE, 1)
        * np.exp(np.asarray(net(seen.maps))[-1])
        * (np.asarray(seen.share) > 0)
    )
    assert np.abs((lead * share).sum(axis=(1, 2))).max() < 1e-4 * np.abs(lead * share).sum(axis=(1, 2)).max()
    assert np.abs(lead).max() > 0


def test_corrections_act_on_conductance():
    """A network that adds log 2 / 2 everywhere doubles the lead field, but for the share."""
    seen = movie_item(movie_ecg(), sheet("healthy")).seen
    zero = jax.tree.map(lambda x: 0 * x if eqx.is_array(x) else x, noisy_net())
    bias = jnp.arctanh(jnp.array([np.log(2) / 2, np.log(2) / 2, 0.0, 0.0, 0.0, 0.0]))[:, None, None]
    doubled = lead_fields(eqx.tree_at(lambda n: n.last.bias, zero, bias), seen)
    assert np.allclose(doubled, 2 * lead_fields(None, seen), rtol=1e-4)
    assert np.nanmedian(inferred_diffusivity(eqx.tree_at(lambda n: n.last.bias, zero, bias), seen)) == pytest.approx(
        2 * float(np.median(seen.diffusivity)), rel=1e-3
    )


def test_the_coupling_is_symmetric_in_potential_and_electrode():
    """Bilinear form of V and z: with V = z of another electrode both ways give the same."""
    seen = movie_item(movie_ecg(), sheet("healthy")).seen
    net = noisy_net(3)
    flat = eqx.tree_at(lambda s: s.border, seen, jnp.zeros(()))
    corrections = np.asarray(net(seen.maps))
    whole = np.clip(np.asarray(seen.share), LEAST_SHARE, 1) * np.exp(corrections[-1])
    lead = np.asarray(lead_fields(net, flat)) * whole
    form = np.einsum("kij,lij->kl", lead, np.asarray(seen.inverse))
    assert np.allclose(form, form.T, rtol=1e-3, atol=1e-4 * np.abs(form).max())


def test_the_operator_is_the_prediction():
    data, model = sheet(), movie_ecg(noisy_net())
    electrodes = Electrodes(("a", "b", "c"), data.electrodes)
    operator = model.operator(data.movie, data.movie_times, electrodes)
    movie = data.movie.reshape(len(data.movie), -1).T.astype(float)
    ecg = operator.record(Recording(movie, data.movie_times, operator.in_sites, "vm"))
    assert np.allclose(ecg.values, model.predict(data))
    assert ecg.sites == ("a", "b", "c")


def test_it_learns():
    items = [movie_item(movie_ecg(), sheet("fibrotic", k)) for k in range(4)]
    net, learner = ConductanceNet.random(0, pixel=1.0, width=8, depth=1), MovieLearner()
    before = learner.score(net, items)["r2"]
    found = train(learner, net, items, items, Course(48, 2, 5e-3))
    assert 1 - max(r["r2"] for r in found.history) < 0.8 * (1 - before)


def test_weights_for_other_pixels_are_refused():
    with pytest.raises(InputError, match="for pixels of 1 mm, the movie has 2"):
        replace(movie_ecg(noisy_net()), pixel=2.0)


# -- seq2seq -----------------------------------------------------------------------------------------------------------

TINY = Seq2SeqSettings(width=16)


def short(number: int, n_electrodes: int = 1):
    """Every eighth frame; not turned."""
    item = frame_item(sheet("healthy", number), 2.0, n_electrodes)
    return FrameItem(item.movie[::8], item.ecg[:, ::8])


def frame_net(settings: Seq2SeqSettings = TINY, n_electrodes: int = 1) -> Seq2Seq:
    return Seq2Seq.random(0, settings, pixels=8, n_electrodes=n_electrodes, scale=0.1)


@pytest.mark.long
@pytest.mark.parametrize(
    "settings",
    [
        TINY,
        replace(TINY, encoder=False),
        replace(TINY, attention=False),
        replace(TINY, time=False),
        replace(TINY, inputs=("v", "max v", "dv/dt")),
    ],
)
def test_every_ablation_predicts_and_has_gradients(settings):
    items = [short(k, 2) for k in range(2)]
    net = frame_net(settings, n_electrodes=2)
    assert predicted(net, items[0].movie).shape == items[0].ecg.shape
    loss, gradient = FrameLearner().gradient(net, items, Moment(0, 0.0))
    assert np.isfinite(loss)
    assert float(np.abs(np.asarray(gradient.head.weight)).max()) > 0
    used = float(np.abs(np.asarray(gradient.query.weight)).max())
    assert (used > 0) == settings.attention
    assert float(gradient.scale) == 0


def test_spectral_entropy():
    """0 for one frequency, 1 for a white spectrum; blind to scale and to circular shifts."""
    n = 128
    tone = np.sin(2 * np.pi * 5 * np.arange(n) / n)
    assert float(spectral_entropy(tone)) == pytest.approx(0, abs=1e-3)
    pulse = np.zeros(n)
    pulse[3] = 1.0
    assert float(spectral_entropy(pulse)) == pytest.approx(1, abs=0.02)
    mixed = tone + np.sin(2 * np.pi * 17 * np.arange(n) / n)
    assert float(spectral_entropy(7 * np.roll(mixed, 9))) == pytest.approx(float(spectral_entropy(mixed)), rel=1e-4)


@pytest.mark.long
def test_the_entropy_counts_at_first_and_not_at_the_end():
    items = [short(0)]
    with_, without = frame_net(replace(TINY, entropy=5.0)), frame_net(replace(TINY, entropy=0.0))
    first = [FrameLearner().gradient(n, items, Moment(0, 0.0))[0] for n in (with_, without)]
    last = [FrameLearner().gradient(n, items, Moment(0, 1.0))[0] for n in (with_, without)]
    assert first[0] > first[1] + 0.1
    assert last[0] == pytest.approx(last[1], rel=1e-5)


@pytest.mark.long
def test_seq2seq_learns():
    items = [short(k) for k in range(2)]
    found = train(FrameLearner(), frame_net(replace(TINY, width=32)), items, items, Course(150, 2, 5e-3))
    assert max(r["r2"] for r in found.history) > 0.5


def test_settings_of_seq2seq():
    with pytest.raises(InputError, match="inputs must be of v, max v, dv/dt"):
        Seq2SeqSettings(inputs=("v", "w"))
    with pytest.raises(InputError, match="multiple of 4 pixels"):
        Seq2Seq.random(0, TINY, pixels=10, n_electrodes=1, scale=1.0)


def test_fluxes_on_faces_couple_to_mean_differences():
    """sum of fluxes times dV = sum over pixels of q times the mean difference to those neighbors that hold cells."""
    from einthoven.surrogate.lead_field_net import _on_faces, _sides

    rng = np.random.default_rng(0)
    cells, v, q = rng.random((6, 7)) > 0.3, rng.standard_normal((6, 7)), rng.standard_normal((1, 6, 7))
    for axis in (0, 1):
        both = np.logical_and(*_sides(cells, axis))
        mean = np.zeros((6, 7))
        for place in np.ndindex(6, 7):
            steps = []
            for side in (-1, 1):
                other = list(place)
                other[axis] += side
                if 0 <= other[axis] < cells.shape[axis] and cells[place] and cells[tuple(other)]:
                    steps.append(side * (v[tuple(other)] - v[place]))
            mean[place] = np.mean(steps) if steps else 0.0
        flux = np.asarray(_on_faces(q, both, axis))[0]
        assert (flux * np.diff(v, axis=axis)).sum() == pytest.approx((q[0] * mean).sum(), rel=1e-4)


def test_a_turned_sheet_has_the_same_ecg_and_the_maps_of_its_own_movie():
    data, model = sheet("fibrotic"), movie_ecg()
    item = movie_item(model, data)
    assert len({turned(item, k).movie.tobytes() for k in range(8)}) == 8
    for k in range(8):
        other = turned(item, k)
        assert np.allclose(ecg_of(other), ecg_of(item), atol=1e-4 * np.abs(item.ecg).max())
        own = model.seen(np.ascontiguousarray(other.movie), data.movie_times, np.asarray(data.electrodes))
        assert np.allclose(own.maps, other.seen.maps, atol=1e-4)
        assert np.allclose(own.diffusivity, other.seen.diffusivity, rtol=1e-4)


def ecg_of(item: MovieItem) -> np.ndarray:
    lead = np.asarray(lead_fields(None, item.seen))
    return lead.reshape(len(lead), -1) @ item.movie.reshape(len(item.movie), -1).T


def test_frames_are_turned_for_central_electrodes_only():
    data = sheet("healthy")
    assert frame_item(data, 2.0, 1).central
    assert not frame_item(data, 2.0, 2).central
    movie = frame_item(data, 2.0, 1).movie
    assert len({frames_turned(movie, k).tobytes() for k in range(8)}) == 8
