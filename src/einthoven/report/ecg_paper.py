"""The standard 12-lead plot on millimeter paper: where every lead goes, and the figure."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from einthoven.core import InputError, Recording
from einthoven.core.errors import some
from einthoven.core.leads import TWELVE_LEADS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colors of the paper: ground, small squares (1 mm), large squares (5 mm), trace.
GROUND, FINE, COARSE, INK = "#fffaf7", "#f6d5ce", "#e8a79c", "#1c1c1c"
#: Longest part of a recording that is drawn, ms: four columns of 2.5 s.
LONGEST = 10_000.0
#: Room for the name of a lead, mm.
_LABEL = 8.0
_MARGIN, _PULSE, _HEAD, _FOOT, _NARROWEST = 5.0, 10.0, 5.0, 10.0, 30.0
_GRID = ("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6")


@dataclass(frozen=True)
class ThreeByFour:
    """Three rows of four leads, and below them one lead along the whole strip.

    Parameters
    ----------
    rhythm
        The lead of the strip, or None for no strip.
    """

    rhythm: str | None = "II"

    def __post_init__(self):
        if self.rhythm is not None and self.rhythm not in TWELVE_LEADS:
            raise InputError(f"the rhythm strip must show one of {', '.join(TWELVE_LEADS)}; got {self.rhythm!r}.")

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """Leads from left to right, row by row."""
        return (*_GRID, *([(self.rhythm,)] if self.rhythm else []))


@dataclass(frozen=True)
class TwelveByOne:
    """Twelve rows, one lead each."""

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """Leads from left to right, row by row."""
        return tuple((lead,) for lead in TWELVE_LEADS)


Layout = ThreeByFour | TwelveByOne


class Strip(NamedTuple):
    """One lead on the paper: the trace starts at `left` and has its zero at `baseline`; its name stands at `label`.

    Lengths in mm from the lower left corner, `start` and `stop` in ms of the recording.
    """

    lead: str
    left: float
    baseline: float
    start: float
    stop: float
    label: tuple[float, float]


@dataclass(frozen=True)
class Sheet:
    """A 12-lead plot laid out on paper.

    Parameters
    ----------
    width, height
        Of the paper, mm.
    strips
        Every trace.
    pulses
        Lower left corner (mm) of the calibration pulse of every row: 1 mV high, 5 mm wide.
    speed, gain
        mm/s and mm/mV.
    note
        What stands below: speed, gain, and which part is shown.
    """

    width: float
    height: float
    strips: tuple[Strip, ...]
    pulses: tuple[tuple[float, float], ...]
    speed: float
    gain: float
    note: str


def lay_out(recording: Recording, layout: Layout = ThreeByFour(), *, speed: float = 25.0, gain: float = 10.0) -> Sheet:
    """Place the twelve leads on paper.

    A recording of 10 s or more fills four columns of 2.5 s one after the other, as electrocardiographs print it; its
    first 10 s are drawn. A shorter one, such as a simulated beat, is drawn from its start in every column. Rows are as
    high as their leads need.

    Parameters
    ----------
    recording, layout, speed, gain
        As `ecg_paper` takes them.

    Returns
    -------
    Sheet

    Raises
    ------
    InputError
        For other leads, another quantity, or a speed or gain that is not positive.
    """
    check_twelve_leads(recording)
    if not (0 < speed < 1e4 and 0 < gain < 1e4):
        raise InputError(f"paper speed (mm/s) and gain (mm/mV) must be positive; got {speed:g} and {gain:g}.")
    columns, starts = _columns(recording, layout, speed)
    left = _MARGIN + _PULSE
    rooms = [_room(recording, row, gain) for row in layout.rows]
    height = _HEAD + sum(above + below for above, below in rooms) + _FOOT
    strips, pulses, top = [], [], height - _HEAD
    for row, (above, below) in zip(layout.rows, rooms, strict=True):
        base, step = top - above, sum(columns) / len(row)
        pulses.append((_MARGIN, base))
        for k, lead in enumerate(row):
            stop = min(starts[k] + 1000 * step / speed, starts[0] + LONGEST)
            label = _label_height(recording, lead, starts[k], speed) * gain
            at = left + k * step
            strips.append(Strip(lead, at, base, starts[k], stop, (at + 1.0, base + max(3.0, label + 1.0))))
        top = base - below
    return Sheet(
        left + sum(columns) + _MARGIN, height, tuple(strips), tuple(pulses), speed, gain, _note(recording, speed, gain)
    )


def ecg_paper(
    recording: Recording, layout: Layout = ThreeByFour(), *, speed: float = 25.0, gain: float = 10.0
) -> "Figure":
    """Draw a 12-lead ECG on millimeter paper, to scale.

    One millimeter of the figure is one millimeter of paper: save it as PDF or SVG and print it at 100 %, without
    fitting to the page. The figure is 20 mm wider than the columns: ten seconds at 25 mm/s make it 270 mm wide, which
    fits A4 across; one beat makes it 140 mm wide (`ThreeByFour`, columns of 30 mm). Its height follows the amplitudes:
    at least 95 mm, with QRS complexes of 2 mV about 175 mm. Fine lines are 1 mm apart, coarse ones 5 mm (200 ms and
    0.5 mV at the standard speed and gain); the pulse at the left of every row is 1 mV high.

    Parameters
    ----------
    recording
        Quantity ``"ecg"``, exactly the leads I, II, III, aVR, aVL, aVF, V1..V6 in any order, mV.
    layout
        `ThreeByFour` or `TwelveByOne`.
    speed, gain
        Paper speed, mm/s, and gain, mm/mV.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        For other leads, another quantity, or a speed or gain that is not positive.

    Examples
    --------
    >>> times = np.arange(0.0, 10_000.0, 2.0)
    >>> figure = ecg_paper(Recording(np.zeros((12, times.size)), times, TWELVE_LEADS, "ecg", "wilson"))
    >>> [round(float(side), 1) for side in figure.get_size_inches() * 25.4]
    [270.0, 95.0]
    """
    sheet = lay_out(recording, layout, speed=speed, gain=gain)
    axes = millimeter_paper(sheet.width, sheet.height)
    for left, base in sheet.pulses:
        x = left + np.array([0.0, 1.0, 1.0, 6.0, 6.0, 7.0])
        axes.plot(x, base + gain * np.array([0, 0, 1, 1, 0, 0]), color=INK, linewidth=0.9, zorder=3)
    halo = {"facecolor": GROUND, "edgecolor": "none", "pad": 0.6, "alpha": 0.8}
    for strip in sheet.strips:
        part = recording.select([strip.lead]).window(strip.start, strip.stop)
        x = strip.left + (part.times - strip.start) * speed / 1000
        axes.plot(
            x, strip.baseline + gain * part.values[0], color=INK, linewidth=0.9, zorder=3, solid_joinstyle="round"
        )
        axes.text(*strip.label, strip.lead, fontsize=9, weight="bold", zorder=4, bbox=halo, va="bottom", color=INK)
        _divider(axes, sheet, strip)
    axes.text(_MARGIN, 1.4, sheet.note, fontsize=7.5, color="#555555", zorder=4)
    return axes.figure  # pyright: ignore[reportReturnType]


def check_twelve_leads(recording: Recording) -> None:
    """Raise `InputError` unless the recording is an ECG of exactly the twelve standard leads."""
    if recording.quantity == "ecg" and set(recording.sites) == set(TWELVE_LEADS):
        return
    raise InputError(
        f"a 12-lead plot needs quantity 'ecg' and exactly the leads {', '.join(TWELVE_LEADS)}; got quantity "
        f"{recording.quantity!r} with {recording.n_sites} sites ({some(recording.sites)}): derive the leads with "
        "`LeadSystem.twelve_lead().record(recording)`."
    )


def millimeter_paper(width: float, height: float) -> "Axes":
    """Return the axes of a figure that is millimeter paper of that size (mm): one data unit is one millimeter."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    figure = Figure(figsize=(width / 25.4, height / 25.4), dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(0, height)
    axes.set_axis_off()
    axes.add_artist(Rectangle((0, 0), width, height, facecolor=GROUND, edgecolor="none", zorder=0))
    for step, color, line in ((1, FINE, 0.3), (5, COARSE, 0.55)):
        axes.vlines(np.arange(0, width + step, step), 0, height, color=color, linewidth=line, zorder=1)
        axes.hlines(np.arange(0, height + step, step), 0, width, color=color, linewidth=line, zorder=1)
    return axes


def _divider(axes: "Axes", sheet: Sheet, strip: Strip) -> None:
    """A short stroke where one lead follows another in the row."""
    if strip.left > _MARGIN + _PULSE:
        axes.vlines(strip.left, strip.baseline - 2.5, strip.baseline + 2.5, color=INK, linewidth=0.7, zorder=3)


def _up_to_five(length: float) -> float:
    """The next multiple of 5 mm: rows and columns start on coarse lines."""
    return 5.0 * float(np.ceil(length / 5.0 - 1e-9))


def _room(recording: Recording, row: tuple[str, ...], gain: float) -> tuple[float, float]:
    """Space that a row needs above and below its zero, mm."""
    values = gain * recording.select(row).values
    return _up_to_five(max(10.0, float(values.max()) + 5.0)), _up_to_five(max(10.0, 2.0 - float(values.min())))


def _columns(recording: Recording, layout: Layout, speed: float) -> tuple[list[float], list[float]]:
    """Widths of the columns, mm, and the times at which they start, ms."""
    count = max(len(row) for row in layout.rows)
    first, span = float(recording.times[0]), float(recording.times[-1] - recording.times[0])
    # the last sample of ten seconds stands one step before ten seconds
    if count > 1 and recording.n_times > 1 and span + 1.01 * recording.dt >= LONGEST:
        length = LONGEST / count
        return count * [speed * length / 1000], [first + k * length for k in range(count)]
    shown = min(span, LONGEST / count)
    return count * [max(_NARROWEST, _up_to_five(speed * shown / 1000))], count * [first]


def _label_height(recording: Recording, lead: str, start: float, speed: float) -> float:
    """Potential (mV) above which the name of a lead does not cross the start of its trace."""
    under = recording.select([lead]).window(start, start + 1000 * _LABEL / speed)
    return float(under.values.max())


def _note(recording: Recording, speed: float, gain: float) -> str:
    text = f"{speed:g} mm/s   {gain:g} mm/mV"
    span = float(recording.times[-1] - recording.times[0])
    return f"{text}   first 10 s of {span / 1000:.3g} s" if span > 1.01 * LONGEST else text
