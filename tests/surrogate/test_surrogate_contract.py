"""What every surrogate must do, whatever it is made of."""

from dataclasses import fields, replace

import equinox as eqx
import numpy as np
import pytest

from einthoven.eikonal.conduction import Conduction
from einthoven.surrogate.configuration import Configuration
from einthoven.surrogate.lead_field_net import ConductanceNet, MovieEcg
from einthoven.surrogate.models import (
    FrameEcg,
    Origin,
    Surrogate,
    TissueEcg,
    for_membrane,
    load_surrogate,
    save_surrogate,
    statistics,
)
from einthoven.surrogate.neural_eikonal import SlownessNet
from einthoven.surrogate.seq2seq import Seq2Seq, Seq2SeqSettings
from surrogate_cases import recipe, sheet

MEMBRANE = recipe().membrane
SETTINGS = Seq2SeqSettings(width=16)


def louder(net, where, factor=100.0):
    """Corrections start near zero: here they are not."""
    return eqx.tree_at(where, net, replace_fn=lambda w: factor * w)


def conductance_net():
    return louder(ConductanceNet.random(0, pixel=1.0, width=8, depth=1), lambda n: n.last.weight)


def slowness_net():
    return louder(SlownessNet.random(0, factor=2, width=8, depth=1), lambda n: n.last.weight)


def frame_net():
    return Seq2Seq.random(0, SETTINGS, pixels=16, n_electrodes=2, scale=1.0)


SURROGATES = {
    "no learning": lambda: MovieEcg(None, Conduction.of(MEMBRANE), 1.0, 0.5),
    "lead-field-net": lambda: MovieEcg(conductance_net(), Conduction.of(MEMBRANE), 1.0, 0.5),
    "seq2seq": lambda: FrameEcg(frame_net(), 1.0, 16, 2),
    "eikonal": lambda: TissueEcg(None, MEMBRANE),
    "neural-eikonal": lambda: TissueEcg(slowness_net(), MEMBRANE),
}
CONFIGURATIONS = {
    "lead-field-net": Configuration(
        title="t", model="lead-field-net", pixel=1.0, network={"width": 8, "depth": 1}
    ).checked("t"),
    "seq2seq": Configuration(title="t", model="seq2seq", pixel=1.0, electrodes=2, network={"width": 16}).checked("t"),
    "neural-eikonal": Configuration(title="t", model="neural-eikonal", network={"width": 8, "depth": 1}).checked("t"),
}
every_surrogate = pytest.mark.parametrize("name", SURROGATES)
any_electrode = pytest.mark.parametrize("name", [n for n in SURROGATES if n != "seq2seq"])
of_tissue = pytest.mark.parametrize("name", ["eikonal", "neural-eikonal"])


@every_surrogate
def test_a_prediction_has_the_shape_of_the_truth_and_is_repeatable(name):
    surrogate, data = SURROGATES[name](), sheet()
    assert isinstance(surrogate, Surrogate)
    found, true = surrogate.predict(data), data.ecg_of_frames if surrogate.sees_movie else data.ecg
    assert found.dtype == np.float64
    assert found.shape == true[: len(found)].shape
    assert np.isfinite(found).all()
    assert np.ptp(found, axis=1).min() > 0
    assert np.array_equal(surrogate.predict(data), found)
    assert np.array_equal(SURROGATES[name]().predict(data), found)


@every_surrogate
def test_a_sheet_is_not_changed(name):
    data = sheet()
    before = {f.name: np.array(getattr(data, f.name)) for f in fields(data)}
    SURROGATES[name]().predict(data)
    statistics(SURROGATES[name](), data)
    for key, value in before.items():
        assert np.array_equal(value, np.asarray(getattr(data, key)), equal_nan=value.dtype.kind == "f"), key


@every_surrogate
def test_nothing_that_it_may_not_see_changes_a_prediction(name):
    surrogate, data, other = SURROGATES[name](), sheet(), sheet("healthy")
    hidden = {"ecg": 0 * data.ecg, "activation": other.activation, "recovery": other.recovery}
    if surrogate.sees_movie:
        hidden |= {"conducting": other.conducting, "diffusivity": other.diffusivity, "sites": data.sites + 3.0}
    else:
        hidden |= {"movie": other.movie}
    assert np.array_equal(surrogate.predict(replace(data, **hidden)), surrogate.predict(data))


@any_electrode
def test_electrodes_do_not_know_of_each_other(name):
    surrogate, data = SURROGATES[name](), sheet()
    found = surrogate.predict(data)
    order = [2, 0]
    some = replace(data, electrodes=data.electrodes[order], ecg=data.ecg[order])
    np.testing.assert_allclose(surrogate.predict(some), found[order], rtol=1e-5, atol=1e-6 * np.abs(found).max())


@of_tissue
def test_a_later_stimulus_is_a_later_wave(name):
    surrogate, data = SURROGATES[name](), sheet()
    late = surrogate.activation(replace(data, onsets=data.onsets + 12.0))
    np.testing.assert_allclose(late, surrogate.activation(data) + 12.0, atol=2e-4)


@of_tissue
def test_the_wave_starts_at_its_site_and_reaches_every_cell(name):
    surrogate, data = SURROGATES[name](), sheet("healthy")
    times = surrogate.activation(data)
    assert np.isfinite(times).all()
    first = data.tissue().points[times.argmin()]
    assert np.linalg.norm(first[:2] - data.sites[0]) < 3.0


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_stored_weights_predict_the_same_bits(name, tmp_path):
    surrogate, origin = SURROGATES[name](), Origin(MEMBRANE, 0.5, 16.0)
    card = {"configuration": CONFIGURATIONS[name].model_dump(mode="json", exclude_none=True), "origin": vars(origin)}
    save_surrogate(tmp_path / "w.npz", surrogate, card)
    loaded, _ = load_surrogate(tmp_path / "w.npz")
    assert np.array_equal(loaded.predict(sheet()), surrogate.predict(sheet()))


@pytest.mark.parametrize("name", ["neural-eikonal", "lead-field-net", "seq2seq"])
def test_other_cells_bring_their_own_speed(name):
    """Mitchell-Schaeffer's waves have another speed than those of the sheet's cells; a frame network knows no cells."""
    surrogate, data = SURROGATES[name](), sheet("healthy")
    other = for_membrane(surrogate, "mitchell-schaeffer-2003")
    assert np.array_equal(for_membrane(other, MEMBRANE).predict(data), surrogate.predict(data))
    if name == "seq2seq":
        assert other is surrogate
        return
    ratio = Conduction.of("mitchell-schaeffer-2003").speed(0.1, 0.5) / Conduction.of(MEMBRANE).speed(0.1, 0.5)
    assert abs(ratio - 1) > 0.05
    if isinstance(other, TissueEcg):
        plain, changed = (TissueEcg(None, m).activation(data) for m in (MEMBRANE, "mitchell-schaeffer-2003"))
        assert np.ptp(plain) / np.ptp(changed) == pytest.approx(ratio, rel=0.05)
        assert not np.array_equal(other.activation(data), surrogate.activation(data))
    else:
        assert not np.array_equal(other.predict(data), surrogate.predict(data))
