"""Filter a recording, find and average its beats, and read activation times off the average.

Forty seconds of sixteen electrograms with mains hum, a wandering baseline, noise as large as a fifth of the signal,
and two extra beats of another shape. The times of the averaged beat are compared with the ones that were put in, and
with those of a single beat.
"""

import numpy as np
from matplotlib.figure import Figure

from einthoven.core import Recording
from einthoven.signals import activation_times, average_beats, high_pass, notch


def recorded():
    """The recording (mV, 1 kHz) and when each site is activated after the peak, ms."""
    rng, times = np.random.default_rng(3), np.arange(0.0, 40_000.0)
    late = np.linspace(-25.0, 25.0, 16)
    beats = 800.0 * np.arange(1, 49) + rng.uniform(-40.0, 40.0, 48)
    values = np.zeros((16, times.size))
    for k, beat in enumerate(beats):
        x = (times - beat - (late if k not in (12, 30) else -1.5 * late[::-1])[:, None]) / 6.0
        values += (-2.0 if k not in (12, 30) else 1.2) * x * np.exp(-(x**2) / 2.0)
    values += 0.4 * np.sin(2 * np.pi * 0.05 * times + 1.0) + 1.5 * np.sin(2 * np.pi * 0.0002 * times)
    values += 0.2 * values[:, :800].std() * rng.standard_normal(values.shape)
    return Recording(values, times, tuple(f"E{k + 1}" for k in range(16)), "egm"), late


def example():
    """How many beats were averaged, and how good the times are."""
    raw, late = recorded()
    clean = high_pass(notch(raw, 50.0), 0.5)
    average = average_beats(clean, before=150.0, after=250.0)
    single = clean.window(average.peaks[0] - 150.0, average.peaks[0] + 250.0)

    def error(beat):
        found = activation_times(beat, window=(beat.times[0] + 80.0, beat.times[0] + 220.0), smooth_ms=1.0)
        return float(np.std(found - late))

    figure = Figure(figsize=(8.0, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    part = raw.window(9_000.0, 13_000.0)
    left.plot(part.times / 1000.0, part.values[0], color="0.6", lw=0.7, label="recorded")
    left.plot(part.times / 1000.0, clean.window(9_000.0, 13_000.0).values[0], color="C0", lw=0.8, label="filtered")
    left.set(xlabel="time (s)", ylabel="E1 (mV)")
    left.legend(frameon=False)
    for k in range(16):
        right.plot(average.beat.times, average.beat.values[k] - 1.2 * k, color="C3", lw=0.9)
    right.set(xlabel="time after the peak (ms)", yticks=[], xlim=(-80, 80), title=f"mean of {len(average.peaks)} beats")
    numbers = {
        "beats_averaged": float(len(average.peaks)),
        "beats_rejected": float(len(average.rejected)),
        "time_error_of_a_single_beat_ms": error(single),
        "time_error_of_the_average_ms": error(average.beat),
    }
    return numbers, figure


if __name__ == "__main__":
    from _show import show

    show(__file__, *example())
