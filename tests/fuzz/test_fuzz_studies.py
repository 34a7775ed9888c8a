"""Any value in any field of any study that comes with the package is taken or refused in one sentence."""

import copy
import tomllib
from typing import Any

import pytest
import tomli_w
from fuzz_samples import samples_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from einthoven.core import InputError

VALUES = st.recursive(
    st.one_of(
        st.sampled_from(
            ["", "phantom", "sheet", "tikhonov2:lcurve", "stre", "sheets-smoke", "a:b:c", "../x", "~", "$x$"]
        ),
        st.sampled_from([0, 1, -1, 2**31, -(2**63), 0.0, -0.5, 1e-300, 1e300, float("nan"), float("inf")]),
        st.booleans(),
        st.dates(),
        st.text(max_size=6),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["kind", "low", "name", "a", "size"]), inner, max_size=3),
    ),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Files and how each is read, with what they hold."""
    made = samples_of("studies", tmp_path_factory.mktemp("studies"))
    return [(s, tomllib.loads(s.files[0].read_text(encoding="utf-8"))) for s in made]


def places(values: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every table, list entry and value below the root."""
    inside = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    return [place for key, value in inside for place in ((*way, key), *places(value, (*way, key)))]


def changed(values: dict[str, Any], way: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """A copy with one value replaced."""
    made = copy.deepcopy(values)
    place: Any = made
    for step in way[:-1]:
        place = place[step]
    place[way[-1]] = value
    return made


def outcome(call) -> str:
    """Message of the refusal, empty if there is none."""
    try:
        call()
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.slow
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_value_in_any_field(samples, data):
    sample, values = data.draw(st.sampled_from(samples))
    way = data.draw(st.sampled_from(places(values)))
    value = data.draw(VALUES)
    sample.files[0].write_text(tomli_w.dumps(changed(values, way, value)), encoding="utf-8")
    message = outcome(sample.call)
    assert "\n" not in message.replace(str(value), "")
    assert len(message) < 1500 + 3 * len(str(sample.files[0]))
