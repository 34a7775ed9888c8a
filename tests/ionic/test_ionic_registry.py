"""Models by name, their parameters, and cells of several kinds."""

import numpy as np
import pytest

from einthoven.core import InputError
from einthoven.ionic.registry import MODELS, by_label, model


def test_names_tell_authors_and_year():
    for name in MODELS:
        assert any(part.isdigit() and len(part) == 4 for part in name.split("-")), name
        made = model(name)
        year = next(part for part in name.split("-") if part.isdigit())
        assert type(made).__name__.endswith(year)


def test_parameters_are_set_whole_or_per_cell():
    values = np.array([0.1, 0.2, 0.3])
    made = model("bueno-orovio-2008-epi", tau_fi=values, tau_o2=7, gate_width=0.001)
    np.testing.assert_array_equal(made.tau_fi, values)
    assert float(made.tau_o2) == 7.0
    assert made.gate_width == 0.001
    assert float(made.tau_so1) == 30.0181


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"tau_v": 1.0}, "unknown parameter of fenton-karma-1998-br 'tau_v'.*Did you mean tau_"),
        ({"tau_d": float("nan")}, "tau_d of fenton-karma-1998-br must be finite; got nan"),
        ({"u_c": np.array([0.1, np.inf])}, "u_c of fenton-karma-1998-br must be finite; got inf"),
        ({"tau_d": 0.0}, "tau_d of fenton-karma-1998-br is a time constant and must be positive; got 0"),
        ({"tau_d": np.array([0.1, -0.2])}, "must be positive; got -0.2"),
        ({"tau_d": np.ones((2, 2))}, r"one value per cell; got shape \(2, 2\)"),
        ({"tau_d": np.array([])}, r"one value per cell; got shape \(0,\)"),
        ({"tau_d": "fast"}, "must be a number or an array of numbers; got 'fast'"),
        ({"gate_width": -1.0}, "gate_width of fenton-karma-1998-br must be one number, 0"),
        ({"gate_width": np.array([0.1, 0.2])}, "gate_width of fenton-karma-1998-br must be one number, 0"),
    ],
)
def test_what_is_wrong_with_a_parameter_is_said(parameters: dict, message: str):
    with pytest.raises(InputError, match=message):
        model("fenton-karma-1998-br", **parameters)


def test_a_time_unit_is_a_time_constant():
    with pytest.raises(InputError, match="time_unit of aliev-panfilov-1996 is a time constant"):
        model("aliev-panfilov-1996", time_unit=-12.9)


def test_unknown_models_are_listed_with_the_closest():
    with pytest.raises(InputError, match=r"unknown membrane model 'ten-tusscher'.*Did you mean ten-tusscher-panfilov"):
        model("ten-tusscher")


def test_layers_of_a_wall():
    kinds = {k: model(f"ten-tusscher-panfilov-2006-{k}") for k in ("endo", "mid", "epi")}
    labels = np.array(["endo", "mid", "epi", "mid"])
    wall = by_label(labels, kinds)
    for field in ("g_ks", "g_to", "s_half", "s_peak"):
        np.testing.assert_array_equal(getattr(wall, field), [float(getattr(kinds[k], field)) for k in labels])
    assert np.shape(wall.g_na) == ()  # what all share stays one number
    assert np.shape(wall.s_floor) == (4,)


def test_one_kind_alone_keeps_scalars():
    kinds = {0: model("bueno-orovio-2008-endo"), 1: model("bueno-orovio-2008-epi")}
    alone = by_label(np.zeros(5, dtype=int), kinds)
    assert np.shape(alone.tau_fi) == ()
    assert float(alone.tau_fi) == 0.1


def test_cells_that_cannot_be_mixed():
    epi, atrial = model("bueno-orovio-2008-epi"), model("fenton-karma-1998-atrial")
    with pytest.raises(InputError, match="no model for the cells labeled 2; there are models for 0, 1"):
        by_label(np.array([0, 2]), {0: epi, 1: epi})
    with pytest.raises(InputError, match="labels is empty"):
        by_label(np.array([]), {0: epi})
    with pytest.raises(InputError, match=r"of one class.*BuenoOrovio2008, FentonKarma1998"):
        by_label(np.array([0, 1]), {0: epi, 1: atrial})
    with pytest.raises(InputError, match="gate_width must be the same for all cells"):
        by_label(np.array([0, 1]), {0: epi, 1: model("bueno-orovio-2008-epi", gate_width=0.001)})
    with pytest.raises(InputError, match="tau_fi must be one number for every kind of cell"):
        by_label(np.array([0, 1]), {0: epi, 1: model("bueno-orovio-2008-epi", tau_fi=np.array([0.1, 0.2]))})
