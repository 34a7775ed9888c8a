"""Membrane models by name, as in study files and on the command line; checked parameters; cells of several kinds."""

import dataclasses
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

import equinox as eqx
import numpy as np
from jax.core import Tracer
from jaxtyping import Shaped

from einthoven.core import InputError
from einthoven.ionic.aliev_panfilov_1996 import AlievPanfilov1996
from einthoven.ionic.bueno_orovio_2008 import BuenoOrovio2008
from einthoven.ionic.cherry_ehrlich_nattel_fenton_2007 import CherryEhrlichNattelFenton2007
from einthoven.ionic.courtemanche_ramirez_nattel_1998 import CourtemancheRamirezNattel1998
from einthoven.ionic.fenton_karma_1998 import FentonKarma1998
from einthoven.ionic.mitchell_schaeffer_2003 import MitchellSchaeffer2003
from einthoven.ionic.model import IonicModel
from einthoven.ionic.ten_tusscher_panfilov_2006 import TenTusscherPanfilov2006

#: Models by name: each entry makes one with its published parameters.
MODELS: dict[str, Callable[[], IonicModel]] = {
    "aliev-panfilov-1996": AlievPanfilov1996,
    "mitchell-schaeffer-2003": MitchellSchaeffer2003,
    "fenton-karma-1998-br": FentonKarma1998.beeler_reuter,
    "fenton-karma-1998-mbr": FentonKarma1998.modified_beeler_reuter,
    "fenton-karma-1998-mlr-i": FentonKarma1998.modified_luo_rudy,
    "fenton-karma-1998-gp": FentonKarma1998.guinea_pig,
    "fenton-karma-1998-atrial": FentonKarma1998.atrial,
    "cherry-ehrlich-nattel-fenton-2007": CherryEhrlichNattelFenton2007,
    "bueno-orovio-2008-epi": BuenoOrovio2008.epi,
    "bueno-orovio-2008-endo": BuenoOrovio2008.endo,
    "bueno-orovio-2008-mid": BuenoOrovio2008.mid,
    "bueno-orovio-2008-pb": BuenoOrovio2008.priebe_beuckelmann,
    "bueno-orovio-2008-tnnp": BuenoOrovio2008.ten_tusscher,
    "ten-tusscher-panfilov-2006-epi": TenTusscherPanfilov2006.epi,
    "ten-tusscher-panfilov-2006-mid": TenTusscherPanfilov2006.mid,
    "ten-tusscher-panfilov-2006-endo": TenTusscherPanfilov2006.endo,
    "courtemanche-ramirez-nattel-1998": CourtemancheRamirezNattel1998,
}


def model(name: str, **parameters: Any) -> IonicModel:
    """Membrane model of that name, with some parameters changed.

    Parameters
    ----------
    name
        One of `MODELS`.
    **parameters
        Fields of the model: numbers, or arrays (n_cells,) with one value per cell; also ``gate_width``.

    Raises
    ------
    InputError
        If there is no such model or parameter, a value is not finite, or a time constant is not positive.

    Examples
    --------
    >>> float(model("bueno-orovio-2008-epi", tau_fi=0.2).tau_fi)
    0.2
    """
    if name not in MODELS:
        raise InputError(_unknown("membrane model", name, tuple(MODELS)))
    made = MODELS[name]()
    known = tuple(f.name for f in dataclasses.fields(made))
    for key, value in parameters.items():
        if key not in known:
            raise InputError(_unknown(f"parameter of {name}", key, known))
        if not isinstance(value, Tracer):
            _check(name, key, value)
    return dataclasses.replace(made, **parameters)


def smoothed(membrane: IonicModel) -> IonicModel:
    """The same model with thresholds of the recommended width, where gradients are right; a smooth model as it is."""
    if membrane.is_smooth:
        return membrane
    return dataclasses.replace(membrane, gate_width=type(membrane).smooth_width)


def by_label(labels: Shaped[np.ndarray, " n_cells"], models: Mapping[Any, IonicModel]) -> IonicModel:
    """One model for cells of several kinds: parameters that differ become arrays with one value per cell.

    Parameters
    ----------
    labels
        Kind of every cell, for example the layer of every conducting node of a tissue.
    models
        Model of every kind; all of one class.

    Raises
    ------
    InputError
        If a label has no model, or the models differ in class or in a field that is not a parameter.

    Examples
    --------
    >>> kinds = {k: model(f"ten-tusscher-panfilov-2006-{k}") for k in ("endo", "mid", "epi")}
    >>> by_label(np.array(["endo", "endo", "mid", "epi"]), kinds).g_ks
    array([0.392, 0.392, 0.098, 0.392])
    """
    found = np.unique(labels)
    missing = [str(x) for x in found if x not in models]
    if missing or len(found) == 0:
        raise InputError(
            f"no model for the cells labeled {', '.join(missing)}; there are models for {', '.join(map(str, models))}."
            if missing
            else "no cells to choose models for: labels is empty."
        )
    kinds = [models[x] for x in found]
    first = kinds[0]
    if any(type(k) is not type(first) for k in kinds):
        names = ", ".join(sorted({type(k).__name__ for k in kinds}))
        raise InputError(f"cells of one tissue must be of one class, whose parameters may differ; got {names}.")
    place = np.searchsorted(found, labels)
    return dataclasses.replace(first, **{f.name: _mixed(f, kinds, place) for f in dataclasses.fields(first)})


def _mixed(field: dataclasses.Field, kinds: list[IonicModel], place: np.ndarray) -> Any:
    values = [getattr(k, field.name) for k in kinds]
    if not eqx.is_array(values[0]):
        if any(v != values[0] for v in values):
            raise InputError(f"{field.name} must be the same for all cells; got {', '.join(map(str, values))}.")
        return values[0]
    if any(np.shape(v) != () for v in values):
        raise InputError(f"{field.name} must be one number for every kind of cell; got arrays.")
    numbers = np.array([float(v) for v in values])
    return values[0] if np.all(numbers == numbers[0]) else numbers[place]


def _check(name: str, key: str, value: Any) -> None:
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise InputError(f"{key} of {name} must be a number or an array of numbers; got {value!r}.") from None
    if array.ndim > 1 or array.size == 0:
        raise InputError(f"{key} of {name} must be a number or one value per cell; got shape {array.shape}.")
    if not np.isfinite(array).all():
        raise InputError(f"{key} of {name} must be finite; got {array[~np.isfinite(array)].flat[0]:g}.")
    if key == "gate_width" and (array.ndim or array < 0):
        raise InputError(f"gate_width of {name} must be one number, 0 (exact thresholds) or more; got {value}.")
    if (key.startswith("tau_") or key == "time_unit") and array.min() <= 0:
        raise InputError(f"{key} of {name} is a time constant and must be positive; got {array.min():g}.")


def _unknown(what: str, given: str, names: tuple[str, ...]) -> str:
    close = get_close_matches(given, names, n=1, cutoff=0.4)
    hint = f" Did you mean {close[0]}?" if close else ""
    return f"unknown {what} {given!r}; there is {', '.join(names)}.{hint}"
