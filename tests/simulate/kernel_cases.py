"""Running a program as a compiled kernel, cell by cell, without a tissue."""

import ctypes

import numpy as np

from einthoven.simulate.kernels import Shape
from einthoven.simulate.kernels_module import Pass, Sweeps, load
from einthoven.simulate.lanes import constants
from einthoven.simulate.program import Program

DTYPES = {64: np.float64, 32: np.float32}


def compiled(program: Program, v: np.ndarray, states=(), cells=(), shared=(), *, bits: int = 64, ways: int = 1):
    """New v and states of every cell by the kernel; the number of cells must fill whole groups."""
    shape = Shape(bits, ways, 0)
    kind = DTYPES[bits]
    module = load(Sweeps(str(program), (Pass("none", True),), shape).source())
    table = np.array([*shared, *constants(program, bits)], dtype=kind).repeat(shape.lanes)
    buffers = np.concatenate([v, v]).astype(kind)
    stored, parameters = (_by_vector(x, shape.lanes, kind) for x in (states, cells))
    nothing = np.zeros(1)
    _call(module.sweep0, [buffers, nothing, nothing, nothing, 0, 0, table, parameters, stored], len(v), shape.group)
    by_state = stored.reshape(len(v) // shape.lanes, len(states), shape.lanes)
    changed = np.moveaxis(by_state, 1, 0).reshape(len(states), len(v))
    return buffers[len(v) :], changed


def _call(sweep, head, n, group):
    assert n % group == 0
    arguments = [ctypes.c_void_p(a.ctypes.data) if isinstance(a, np.ndarray) else a for a in head]
    kinds = [ctypes.c_void_p if isinstance(a, np.ndarray) else ctypes.c_int64 for a in head]
    kinds += [ctypes.c_int64] * 6 + [ctypes.c_double]
    function = ctypes.CFUNCTYPE(ctypes.c_int64, *kinds)(sweep.address)
    return function(*arguments, 0, 0, n, 0, 0, n // group, np.inf)


def _by_vector(values, lanes, kind):
    if len(values) == 0:
        return np.zeros(0, kind)
    values = np.array(values, dtype=kind).reshape(len(values), -1, lanes)
    return np.ascontiguousarray(np.moveaxis(values, 0, 1)).reshape(-1)
