"""Activation times by the eikonal equation, and their exact derivatives."""

from einthoven.eikonal.wave import Arrival, Eikonal, Gradient, Medium

__all__ = ["Arrival", "Eikonal", "Gradient", "Medium"]
