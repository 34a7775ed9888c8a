import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.core import Electrodes, InputError, Recording
from einthoven.core.sites import check_names, match_names

VALUES = np.arange(12.0).reshape(3, 4)
TIMES = np.arange(4.0)
SITES = ("a", "b", "c")


def recording(**changes):
    arguments = {"values": VALUES, "times": TIMES, "sites": SITES, "quantity": "bsp", **changes}
    return Recording(**arguments)


def loosely(function):
    """The function as users run it: without the shape annotations that only the tests execute."""
    return inspect.unwrap(function)


def built(**changes):
    """A recording from arguments that the executed annotations would refuse before our own check."""
    made = object.__new__(Recording)
    arguments = {"values": VALUES, "times": TIMES, "sites": SITES, "quantity": "bsp", "reference": "absolute"}
    for name, value in {**arguments, **changes}.items():
        object.__setattr__(made, name, value)
    loosely(Recording.__post_init__)(made)
    return made


def test_values_are_copied_frozen_and_float64():
    source = VALUES.copy()
    made = recording(values=source)
    source[0, 0] = 99.0
    assert made.values[0, 0] == 0.0
    assert not made.values.flags.writeable
    assert not made.times.flags.writeable
    assert recording(values=VALUES.astype(np.float32)).values.dtype == np.float64


def test_a_read_only_view_of_a_writable_array_is_copied():
    source = VALUES.copy()
    view = source.view()
    view.flags.writeable = False
    made = recording(values=view)
    source[0, 0] = 99.0
    assert made.values[0, 0] == 0.0


def test_a_frozen_array_is_shared_not_copied():
    made = recording()
    assert made.with_values(made.values).values is made.values


def test_repr_is_one_line_with_sizes():
    assert repr(recording()) == "Recording(bsp, 3 sites x 4 times, 0..3 ms, reference 'absolute')"


def test_dt_is_the_median_step_and_nan_for_one_frame():
    assert recording(times=np.array([0.0, 2.0, 4.0, 7.0])).dt == 2.0
    assert np.isnan(recording(values=VALUES[:, :1], times=TIMES[:1]).dt)


@given(st.permutations(SITES))
def test_select_follows_the_names(order):
    part = recording().select(order)
    assert part.sites == tuple(order)
    for name in SITES:
        np.testing.assert_array_equal(part.values[order.index(name)], VALUES[SITES.index(name)])


def test_part_of_an_average_reference_is_not_an_average_reference():
    whole = recording().average_referenced()
    assert whole.select(("c", "a", "b")).reference == "average"
    part = whole.select(("a", "b"))
    assert part.reference == "average of 3"
    again = part.average_referenced()
    assert again.reference == "average"
    np.testing.assert_allclose(again.values.mean(axis=0), 0.0, atol=1e-15)
    assert recording().select(("a",)).reference == "absolute"


def test_window_keeps_both_ends():
    part = recording().window(1.0, 2.0)
    np.testing.assert_array_equal(part.times, [1.0, 2.0])
    np.testing.assert_array_equal(part.values, VALUES[:, 1:3])


def test_renamed_changes_only_the_names_given():
    assert recording().renamed({"b": "V2"}).sites == ("a", "V2", "c")
    with pytest.raises(InputError, match="recording: no site named x"):
        recording().renamed({"x": "y"})
    with pytest.raises(InputError, match="must have unique names; c occur more than once"):
        recording().renamed({"b": "c"})


@given(
    st.lists(st.integers(-1000, 1000), min_size=12, max_size=12),
    st.sampled_from(["vm", "hsp", "bsp", "ecg", "egm"]),
    st.sampled_from(["absolute", "wilson", "LL"]),
)
def test_labelled_arrays_round_trip(values, quantity, reference):
    made = recording(values=np.array(values, dtype=float).reshape(3, 4), quantity=quantity, reference=reference)
    array = made.to_xarray()
    assert array.attrs["unit"] == "mV"
    for back in (Recording.from_xarray(array), Recording.from_xarray(array.transpose("time", "site"))):
        np.testing.assert_array_equal(back.values, made.values)
        np.testing.assert_array_equal(back.times, made.times)
        assert (back.sites, back.quantity, back.reference) == (made.sites, made.quantity, made.reference)


def test_arrays_in_other_units_or_shapes_are_refused():
    array = recording().to_xarray()
    with pytest.raises(InputError, match=r"needs dims \(site, time\); site missing"):
        Recording.from_xarray(array.rename(site="lead"))
    with pytest.raises(InputError, match="unit must be mV; the array says 'uV'"):
        Recording.from_xarray(array.assign_attrs(unit="uV"))
    with pytest.raises(InputError, match="time_unit must be ms; the array says 's'"):
        Recording.from_xarray(array.assign_attrs(time_unit="s"))


def test_messages():
    bad = VALUES.copy()
    bad[1, 2] = np.nan
    with pytest.raises(InputError, match=r"must be finite; b hold NaN or infinity.*fill the gaps"):
        recording(values=bad)
    with pytest.raises(InputError, match="must have unique names; a occur more than once"):
        recording(sites=("a", "b", "a"))
    with pytest.raises(InputError, match="times must be finite and strictly increasing"):
        recording(times=np.array([0.0, 1.0, 1.0, 2.0]))
    with pytest.raises(InputError, match="times must be finite"):
        recording(times=np.array([0.0, 1.0, np.inf, np.nan]))
    with pytest.raises(InputError, match=r"window 10\.\.20 ms holds no frame; the recording spans 0\.\.3 ms"):
        recording().window(10.0, 20.0)
    with pytest.raises(InputError, match="no site named x; there are a, b, c"):
        recording().select(("x",))


def test_messages_on_what_the_annotations_would_refuse():
    with pytest.raises(InputError, match=r"shape \(sites, times\) = \(3, 4\); got \(4, 3\). Is the array transposed"):
        built(values=VALUES.T)
    with pytest.raises(InputError, match="quantity must be one of vm, hsp, bsp, ecg, egm; got 'ekg'"):
        built(quantity="ekg")
    with pytest.raises(InputError, match=r"at least one site and one frame.*got 0 sites"):
        built(values=np.zeros((0, 4)), sites=())
    with pytest.raises(InputError, match=r"times of shape \(n_times,\); got 3 sites and times of shape \(1, 4\)"):
        built(times=TIMES[None])
    with pytest.raises(InputError, match="values must be real numbers; got complex128"):
        built(values=VALUES + 0j)


def test_names_must_be_a_sequence_of_texts():
    assert check_names(["a", "b"], "leads") == ("a", "b")
    with pytest.raises(InputError, match="leads must have names, a sequence of texts; got 'ab'"):
        loosely(check_names)("ab", "leads")
    with pytest.raises(InputError, match="leads must have names, a sequence of texts; got 2"):
        loosely(check_names)(("1", 2), "leads")


@given(st.lists(st.text(max_size=4), unique=True, min_size=1, max_size=12), st.data())
def test_match_names_finds_positions(available, data):
    wanted = data.draw(st.lists(st.sampled_from(available), max_size=6))
    assert [available[k] for k in match_names(wanted, available, "leads")] == wanted


def test_electrodes_are_selected_and_renamed_by_name():
    electrodes = Electrodes(("a", "b", "c"), np.arange(9.0).reshape(3, 3))
    assert len(electrodes) == 3
    assert repr(electrodes) == "Electrodes(3: a, b, c)"
    part = electrodes.select(("c", "a"))
    np.testing.assert_array_equal(part.positions, electrodes.positions[[2, 0]])
    assert electrodes.renamed({"a": "V1"}).names == ("V1", "b", "c")


def test_electrode_messages():
    positions = np.zeros((2, 3))
    positions[1, 2] = np.nan
    with pytest.raises(InputError, match="electrode positions must be finite; b hold NaN"):
        Electrodes(("a", "b"), positions)
    with pytest.raises(InputError, match=r"must have shape \(3, 3\), one row per name; got \(2, 3\)"):
        Electrodes(("a", "b", "c"), np.zeros((2, 3)))
    with pytest.raises(InputError, match="electrodes: no site named z; there are a, b"):
        Electrodes(("a", "b"), np.zeros((2, 3))).select(("z",))
    with pytest.raises(InputError, match="electrodes must have unique names; a occur"):
        Electrodes(("a", "a"), np.zeros((2, 3)))
