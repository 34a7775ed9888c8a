"""Small helpers on NumPy arrays."""

from typing import Any

import numpy as np


def frozen(values: Any, dtype: Any) -> np.ndarray:
    """Return a contiguous, read-only array; copies only when the input is writable or differs."""
    array = np.asarray(values)
    if array.dtype == dtype and array.flags.c_contiguous and not array.flags.writeable:
        return array
    array = np.array(array, dtype=dtype, order="C", copy=True)
    array.flags.writeable = False
    return array
