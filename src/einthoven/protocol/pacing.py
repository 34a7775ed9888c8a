"""Usual protocols: single shots, S1-S2, bursts, cross-field stimulation for spiral waves."""

from collections.abc import Sequence
from math import inf
from typing import Literal

import numpy as np

from einthoven.core import InputError
from einthoven.protocol.regions import Ball, Box, Excitable, Line, Region, Vector
from einthoven.protocol.stimuli import Number, Protocol, Stimulus

Kind = Literal["current", "clamp"]

#: Default stimulus: 50 mV/ms for 2 ms excites any of the membrane models from rest in a region of a few mm.
AMPLITUDE, DURATION = 50.0, 2.0


def point(
    center: Vector,
    radius: Number = 2.0,
    *,
    start: Number = 0.0,
    duration: Number = DURATION,
    amplitude: Number = AMPLITUDE,
    kind: Kind = "current",
) -> Protocol:
    """One stimulus of a small ball.

    Parameters
    ----------
    center, radius
        mm, see `Ball`.
    start, duration, amplitude, kind
        See `Stimulus`.
    """
    return Protocol((Stimulus(Ball(center, radius), start, duration, amplitude, kind),))


def line(
    first: Vector,
    last: Vector,
    width: Number = 2.0,
    *,
    start: Number = 0.0,
    duration: Number = DURATION,
    amplitude: Number = AMPLITUDE,
    kind: Kind = "current",
) -> Protocol:
    """One stimulus along a straight line.

    Parameters
    ----------
    first, last, width
        mm, see `Line`.
    start, duration, amplitude, kind
        See `Stimulus`.
    """
    return Protocol((Stimulus(Line(first, last, width), start, duration, amplitude, kind),))


def multi_site(
    centers: Sequence[Vector],
    starts: Sequence[Number],
    radius: Number = 2.0,
    *,
    duration: Number = DURATION,
    amplitude: Number = AMPLITUDE,
    kind: Kind = "current",
) -> Protocol:
    """Several small balls, each at its own time: early sites of a beat.

    Parameters
    ----------
    centers
        mm, see `Ball`.
    starts
        ms, one per site.
    radius
        mm.
    duration, amplitude, kind
        See `Stimulus`.
    """
    if len(centers) != len(starts):
        raise InputError(f"protocol: every site needs one start; got {len(centers)} sites and {len(starts)} starts.")
    stimuli = (Stimulus(Ball(c, radius), t, duration, amplitude, kind) for c, t in zip(centers, starts, strict=True))
    return Protocol(tuple(stimuli))


def s1_s2(
    region: Region,
    *,
    s1_interval: Number,
    n_s1: int,
    s2_interval: Number,
    s2_region: Region | None = None,
    start: Number = 0.0,
    duration: Number = DURATION,
    amplitude: Number = AMPLITUDE,
    kind: Kind = "current",
) -> Protocol:
    """A train of regular stimuli and a premature one.

    Parameters
    ----------
    region
        Where S1 (and S2) act.
    s1_interval, n_s1
        Time from one S1 to the next, ms, and how many there are.
    s2_interval
        From the last S1 to S2, ms.
    s2_region
        Where S2 acts; default where S1 does.
    start
        Of the first S1, ms.
    duration, amplitude, kind
        See `Stimulus`.
    """
    train = burst(region, s1_interval, n_s1, start=start, duration=duration, amplitude=amplitude, kind=kind, name="S1")
    _check_interval(s2_interval, duration, "S2")
    last = train.stimuli[-1].start + s2_interval
    second = region if s2_region is None else s2_region
    return train + Protocol((Stimulus(second, last, duration, amplitude, kind),))


def burst(
    region: Region,
    interval: Number,
    n: int,
    *,
    start: Number = 0.0,
    duration: Number = DURATION,
    amplitude: Number = AMPLITUDE,
    kind: Kind = "current",
    name: str = "burst",
) -> Protocol:
    """Stimuli at a constant interval.

    Parameters
    ----------
    region
        Where.
    interval, n
        Time from one start to the next, ms, and how many there are.
    start
        Of the first, ms.
    duration, amplitude, kind
        See `Stimulus`.
    name
        Of the train in messages.
    """
    if n < 1:
        raise InputError(f"protocol: a train ({name}) needs at least one stimulus; got {n}.")
    _check_interval(interval, duration, name)
    return Protocol(tuple(Stimulus(region, start + k * interval, duration, amplitude, kind) for k in range(n)))


def cross_field(
    tissue: Excitable,
    s2_start: Number,
    *,
    width: Number = 2.0,
    duration: Number = DURATION,
    amplitude: Number = AMPLITUDE,
    kind: Kind = "current",
) -> Protocol:
    """A plane wave from the edge of lowest x, then one quadrant (lower x, lower y) behind it: a spiral wave.

    S2 must come when the quadrant's inner part has recovered and its outer part has not: a little after the tail of the
    first wave has passed the middle.

    Parameters
    ----------
    tissue
        In two or three dimensions; its extent gives edge and quadrant.
    s2_start
        ms; S1 starts at 0.
    width
        Of the stimulated edge, mm.
    duration, amplitude, kind
        See `Stimulus`.
    """
    low, high = tissue.points.min(axis=0), tissue.points.max(axis=0)
    if not (np.ptp(tissue.points[:, :2], axis=0) > width).all():
        raise InputError(
            f"protocol: cross-field stimulation needs a tissue wider than the edge of {width:g} mm along x and y; it "
            f"extends {high[0] - low[0]:g} and {high[1] - low[1]:g} mm."
        )
    _check_interval(s2_start, duration, "S2")
    middle = 0.5 * (low + high)
    edge = Box((-inf,), (low[0] + width,))
    quadrant = Box((-inf, -inf), (middle[0], middle[1]))
    return Protocol(
        (Stimulus(edge, 0.0, duration, amplitude, kind), Stimulus(quadrant, s2_start, duration, amplitude, kind))
    )


def _check_interval(interval: Number, duration: Number, name: str) -> None:
    if not duration < interval < inf:
        raise InputError(
            f"protocol: {name} must follow after more than the stimulus of {duration:g} ms; got an interval of "
            f"{interval:g} ms. Lengthen the interval or shorten the stimulus."
        )
