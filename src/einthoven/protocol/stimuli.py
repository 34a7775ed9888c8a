"""The `Stimulus` and `Protocol` nouns: where, when and how strongly tissue is stimulated."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import isfinite
from typing import Literal

import numpy as np
from jaxtyping import Int

from einthoven.core import InputError
from einthoven.protocol.regions import Excitable, Region

Number = float | int

#: Largest current, mV/ms, and largest clamped potential, mV, that can be meant.
LARGEST_CURRENT, LARGEST_CLAMP = 1e4, 300.0


@dataclass(frozen=True)
class Stimulus:
    """A region is driven from `start` for `duration`.

    Parameters
    ----------
    region
        Where.
    start, duration
        ms.
    amplitude
        Of a current: what it adds to dv/dt, mV/ms (equal to uA/uF of membrane; positive depolarizes; a volume current
        density in uA/mm3 is divided by surface-to-volume ratio times capacitance). Of a clamp: the potential, mV.
    kind
        ``"current"``, or ``"clamp"`` to hold the potential.

    Raises
    ------
    InputError
        For times that are negative or not finite, and amplitudes that are zero (of a current) or implausible.
    """

    region: Region
    start: Number
    duration: Number
    amplitude: Number
    kind: Literal["current", "clamp"] = "current"

    def __post_init__(self):
        if self.kind not in ("current", "clamp"):
            raise InputError(f"protocol: a stimulus is a 'current' or a 'clamp'; got {self.kind!r}.")
        if not (self.start >= 0 and isfinite(self.start)):
            raise InputError(f"protocol: a stimulus starts at 0 ms or later; got {self.start:g} ms.")
        if not (self.duration > 0 and isfinite(self.duration)):
            raise InputError(f"protocol: a stimulus lasts a positive time in ms; got {self.duration:g} ms.")
        _check_amplitude(self.amplitude, self.kind)

    @property
    def stop(self) -> float:
        """End, ms."""
        return float(self.start + self.duration)

    def select(self, tissue: Excitable) -> Int[np.ndarray, " n"]:
        """Positions of the stimulated nodes."""
        return self.region.select(tissue)

    def shifted(self, by: Number) -> "Stimulus":
        """The same stimulus `by` ms later."""
        return replace(self, start=self.start + by)


@dataclass(frozen=True)
class Protocol:
    """Stimuli in the order of their start; where currents overlap they add up, a later clamp holds over an earlier one.

    Parameters
    ----------
    stimuli
        None is allowed: the tissue is left alone.

    Examples
    --------
    >>> from einthoven.protocol import Ball
    >>> once = Protocol((Stimulus(Ball((0.0, 0.0), 2.0), 10.0, 2.0, 40.0),))
    >>> (once + once.shifted(300.0)).starts, once.until
    ((10.0, 310.0), 12.0)
    """

    stimuli: tuple[Stimulus, ...] = ()

    def __post_init__(self):
        ordered = sorted(_as_tuple(self.stimuli), key=lambda s: s.start)
        object.__setattr__(self, "stimuli", tuple(ordered))

    def __add__(self, other: "Protocol") -> "Protocol":
        return Protocol((*self.stimuli, *other.stimuli))

    def __len__(self) -> int:
        return len(self.stimuli)

    @property
    def starts(self) -> tuple[float, ...]:
        """Start of every stimulus, ms."""
        return tuple(float(s.start) for s in self.stimuli)

    @property
    def until(self) -> float:
        """When the last stimulus is over, ms; 0 without any."""
        return max((s.stop for s in self.stimuli), default=0.0)

    def shifted(self, by: Number) -> "Protocol":
        """The same stimuli `by` ms later."""
        return Protocol(tuple(s.shifted(by) for s in self.stimuli))

    def select(self, tissue: Excitable) -> tuple[Int[np.ndarray, " n"], ...]:
        """Positions of the nodes of every stimulus.

        Raises
        ------
        InputError
            If a region holds no conducting node; the sentence names it and the tissue's extent.
        """
        return tuple(s.select(tissue) for s in self.stimuli)


def _as_tuple(stimuli: Iterable[Stimulus]) -> tuple[Stimulus, ...]:
    found = tuple(stimuli)
    if not all(isinstance(s, Stimulus) for s in found):
        raise InputError("protocol: a protocol is made of stimuli; got something else among them.")
    return found


def _check_amplitude(amplitude: Number, kind: str) -> None:
    if kind == "clamp":
        if not abs(amplitude) <= LARGEST_CLAMP:
            raise InputError(
                f"protocol: a clamped potential is within +-{LARGEST_CLAMP:g} mV; got {amplitude:g}. Is it in uV?"
            )
    elif not 0 < abs(amplitude) <= LARGEST_CURRENT:
        raise InputError(
            f"protocol: the amplitude of a current must not be 0 nor above {LARGEST_CURRENT:g} mV/ms; got "
            f"{amplitude:g}. Typical: 20 to 100 mV/ms for 1 to 2 ms; from uA/mm3 divide by 1.4 uF/mm3."
        )
