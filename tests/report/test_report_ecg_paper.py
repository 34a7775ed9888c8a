"""The 12-lead plot on millimeter paper: true to scale, every lead in its place, other leads refused."""

import itertools

import numpy as np
import pytest
from report_simulations import twelve_leads

from einthoven.core import InputError, Recording
from einthoven.core.leads import TWELVE_LEADS
from einthoven.report.ecg_paper import ThreeByFour, TwelveByOne, ecg_paper, lay_out

ROWS = [["I", "aVR", "V1", "V4"], ["II", "aVL", "V2", "V5"], ["III", "aVF", "V3", "V6"], ["II"]]


def long_recording(seconds: float) -> Recording:
    """Lead k is constant at 0.1 k mV in the first 2.5 s, then rises by 1 mV at every 2.5 s."""
    times = np.arange(0.0, 1000 * seconds, 2.0)
    steps = np.floor(times / 2500.0)
    return Recording(0.1 * np.arange(12.0)[:, None] + steps, times, TWELVE_LEADS, "ecg", "wilson")


def lines_of(figure):
    """Pulses and traces as drawn, in millimeters."""
    lines = [line.get_xydata() for line in figure.axes[0].get_lines()]
    return [xy for xy in lines if len(xy) == 6], [xy for xy in lines if len(xy) != 6]


def test_one_millimeter_of_the_figure_is_one_data_unit():
    axes = ecg_paper(twelve_leads()).axes[0]
    size = axes.figure.get_size_inches() * 25.4
    assert size.tolist() == pytest.approx([axes.get_xlim()[1], axes.get_ylim()[1]])
    assert axes.get_position().bounds == (0, 0, 1, 1)
    assert (axes.get_xlim()[0], axes.get_ylim()[0]) == (0, 0)


def test_paper_has_squares_of_one_and_five_millimeters():
    axes = ecg_paper(twelve_leads()).axes[0]
    fine_x, fine_y, coarse_x, coarse_y = axes.collections[:4]
    for collection, axis, step in ((fine_x, 0, 1), (fine_y, 1, 1), (coarse_x, 0, 5), (coarse_y, 1, 5)):
        places = np.array([segment[0][axis] for segment in collection.get_segments()])
        np.testing.assert_allclose(np.diff(places), step)
    assert coarse_x.get_linewidth()[0] > fine_x.get_linewidth()[0]


@pytest.mark.parametrize(("speed", "gain"), [(25.0, 10.0), (50.0, 5.0)])
def test_traces_are_to_scale(speed, gain):
    recording = twelve_leads()
    _, traces = lines_of(ecg_paper(recording, TwelveByOne(), speed=speed, gain=gain))
    assert len(traces) == 12
    for k, xy in enumerate(traces):
        peak = np.abs(xy[:, 1] - xy[0, 1]).argmax()
        assert xy[peak, 1] - xy[0, 1] == pytest.approx(gain * recording.values[k, 100], abs=1e-9)
        assert xy[peak, 0] - xy[0, 0] == pytest.approx(0.1 * speed)
        assert xy[-1, 0] - xy[0, 0] == pytest.approx(0.399 * speed)


def test_calibration_pulse_is_one_millivolt_high_and_five_millimeters_wide():
    pulses, traces = lines_of(ecg_paper(twelve_leads(), gain=20.0))
    assert len(pulses) == 4
    for xy in pulses:
        assert np.ptp(xy[:, 1]) == 20.0
        top = xy[xy[:, 1] == xy[:, 1].max()]
        assert np.ptp(top[:, 0]) == 5.0
        assert xy[:, 0].max() < min(trace[0, 0] for trace in traces)
    assert [xy[0, 1] for xy in pulses] == pytest.approx([traces[k][0, 1] for k in (0, 4, 8, 12)], abs=0.01)


def test_three_by_four_names_and_places():
    sheet = lay_out(twelve_leads())
    assert [s.lead for s in sheet.strips] == [lead for row in ROWS for lead in row]
    assert len({s.left for s in sheet.strips}) == 4
    below = sheet.strips[12]
    assert all(below.baseline < s.baseline for s in sheet.strips[:12])
    without = lay_out(twelve_leads(), ThreeByFour(rhythm=None))
    assert [s.lead for s in without.strips] == [s.lead for s in sheet.strips[:12]]
    assert without.height < sheet.height
    texts = [t.get_text() for t in ecg_paper(twelve_leads()).axes[0].texts]
    assert texts == [*[lead for row in ROWS for lead in row], "25 mm/s   10 mm/mV"]


def test_a_beat_is_drawn_from_its_start_in_every_column():
    sheet = lay_out(twelve_leads())
    assert {s.start for s in sheet.strips} == {0.0}
    assert sheet.width == 140.0


def test_ten_seconds_are_printed_one_column_after_the_other():
    recording = long_recording(10.0)
    sheet = lay_out(recording)
    assert sheet.width == 270.0
    assert [s.start for s in sheet.strips[:4]] == [0.0, 2500.0, 5000.0, 7500.0]
    assert [s.left for s in sheet.strips[:4]] == [15.0, 77.5, 140.0, 202.5]
    _, traces = lines_of(ecg_paper(recording))
    for strip, xy in zip(sheet.strips[:12], traces[:12], strict=True):
        expected = 10 * (0.1 * TWELVE_LEADS.index(strip.lead) + strip.start / 2500.0)
        assert xy[0, 1] - strip.baseline == pytest.approx(expected)
    rhythm = traces[12]
    assert np.ptp(rhythm[:, 0]) == pytest.approx(249.95)


def test_longer_recordings_show_their_first_ten_seconds_and_say_so():
    recording = long_recording(30.0)
    for layout in (ThreeByFour(), TwelveByOne()):
        sheet = lay_out(recording, layout)
        assert sheet.width == 270.0
        assert max(s.stop for s in sheet.strips) == 10_000.0
        assert sheet.note.endswith("first 10 s of 30 s")


@pytest.mark.parametrize("layout", [ThreeByFour(), TwelveByOne()])
@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_rows_do_not_overlap_and_names_stand_clear(layout, scale):
    recording = twelve_leads()
    recording = recording.with_values(scale * recording.values)
    sheet = lay_out(recording, layout)
    figure = ecg_paper(recording, layout)
    _, traces = lines_of(figure)
    bases = sorted({s.baseline for s in sheet.strips}, reverse=True)
    reach = {b: [np.inf, -np.inf] for b in bases}
    for strip, xy in zip(sheet.strips, traces, strict=True):
        low, high = reach[strip.baseline]
        reach[strip.baseline] = [min(low, xy[:, 1].min()), max(high, xy[:, 1].max())]
        beneath = xy[xy[:, 0] < strip.left + 8.0]
        assert strip.label[1] > beneath[:, 1].max()
    for upper, lower in itertools.pairwise(bases):
        assert reach[upper][0] > reach[lower][1]
    assert reach[bases[0]][1] < sheet.height
    assert reach[bases[-1]][0] > 5.0


def test_leads_are_found_by_name():
    recording = twelve_leads()
    shuffled = recording.select(tuple(reversed(TWELVE_LEADS)))
    _, expected = lines_of(ecg_paper(recording))
    _, found = lines_of(ecg_paper(shuffled))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_time_may_start_anywhere():
    recording = twelve_leads()
    later = Recording(recording.values, recording.times + 1234.5, recording.sites, "ecg", "wilson")
    for one, other in zip(lines_of(ecg_paper(later))[1], lines_of(ecg_paper(recording))[1], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)


@pytest.mark.parametrize(
    "recording",
    [
        twelve_leads().select(TWELVE_LEADS[:11]),
        twelve_leads().renamed({"V6": "V7"}),
        Recording(np.zeros((13, 5)), np.arange(5.0), (*TWELVE_LEADS, "X"), "ecg"),
        Recording(np.zeros((12, 5)), np.arange(5.0), TWELVE_LEADS, "bsp"),
    ],
    ids=["eleven", "renamed", "thirteen", "quantity"],
)
def test_other_leads_are_refused_in_one_sentence(recording):
    with pytest.raises(InputError, match=r"a 12-lead plot needs quantity 'ecg' and exactly the leads I, II") as caught:
        ecg_paper(recording)
    message = str(caught.value)
    assert f"{recording.quantity!r} with {recording.n_sites} sites" in message
    assert message.endswith("`LeadSystem.twelve_lead().record(recording)`.")
    assert "\n" not in message


def test_impossible_paper_is_refused():
    for bad in ({"speed": 0.0}, {"gain": -1.0}, {"speed": float("nan")}):
        with pytest.raises(InputError, match="must be positive"):
            ecg_paper(twelve_leads(), **bad)
    with pytest.raises(InputError, match="rhythm strip must show one of I, II"):
        ThreeByFour(rhythm="V7")
