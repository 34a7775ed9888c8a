"""Membrane models: one file each, written once in JAX; the fused kernels of `einthoven.simulate` are made from them."""

from einthoven.ionic.model import Gate, IonicModel, VoltageScale, parameter

__all__ = ["Gate", "IonicModel", "VoltageScale", "parameter"]
