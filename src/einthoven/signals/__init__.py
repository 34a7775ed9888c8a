"""Recordings: filters, leads, beats, activation, fibrillation. Heavy imports wait until a function runs."""

from einthoven.signals.activation import (
    ConductionVelocity,
    Isochrone,
    action_potential_durations,
    activation_recovery_intervals,
    activation_times,
    conduction_velocity,
    isochrones,
    recovery_times,
)
from einthoven.signals.coherent import spatiotemporal_activation_times
from einthoven.signals.filters import (
    band_pass,
    high_pass,
    low_pass,
    notch,
    remove_baseline_median,
    remove_baseline_spline,
    subtract_level,
)
from einthoven.signals.sampling import sample_interval, sampling_rate_hz

__all__ = [
    "ConductionVelocity",
    "Isochrone",
    "action_potential_durations",
    "activation_recovery_intervals",
    "activation_times",
    "band_pass",
    "conduction_velocity",
    "high_pass",
    "isochrones",
    "low_pass",
    "notch",
    "recovery_times",
    "remove_baseline_median",
    "remove_baseline_spline",
    "sample_interval",
    "sampling_rate_hz",
    "spatiotemporal_activation_times",
    "subtract_level",
]
