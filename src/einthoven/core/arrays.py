"""Small helpers on NumPy arrays."""

from typing import Any

import numpy as np


def frozen(values: Any, dtype: Any) -> np.ndarray:
    """Return a contiguous, read-only array; copies when the input, or the array it is a view of, is writable."""
    array = np.asarray(values)
    if array.dtype == dtype and array.flags.c_contiguous and not _writable(array):
        return array
    array = np.array(array, dtype=dtype, order="C", copy=True)
    array.flags.writeable = False
    return array


def _writable(array: np.ndarray) -> bool:
    """Whether someone may still write into the array's memory through it or an array it is a view of."""
    owner: Any = array
    while isinstance(owner, np.ndarray):
        if owner.flags.writeable:
            return True
        owner = owner.base
    return False
