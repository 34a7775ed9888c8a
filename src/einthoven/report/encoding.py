"""Numbers and text for a page: quantized arrays, JSON that is safe inside a script element."""

import base64
import json
from typing import Any

import numpy as np

#: Code of a missing value in an int16 array.
MISSING = -32768
_LEVELS = 65534


def quantized(values: np.ndarray) -> dict[str, Any]:
    """Pack an array as int16 with scale and offset: value = offset + scale * code.

    Codes run from -32767 to 32767, so the error is at most half a step, 7.7e-6 of the range. A value
    that is not finite becomes the code -32768.

    Parameters
    ----------
    values
        Any shape.

    Returns
    -------
    dict
        ``dtype, shape, scale, offset, data`` (base64 of little-endian int16).
    """
    values = np.asarray(values, dtype=np.float64)
    finite = np.isfinite(values)
    low, high = (values[finite].min(), values[finite].max()) if finite.any() else (0.0, 0.0)
    scale = (high - low) / _LEVELS or 1.0
    offset = (high + low) / 2
    codes = np.full(values.shape, MISSING, dtype="<i2")
    codes[finite] = np.clip(np.rint((values[finite] - offset) / scale), -32767, 32767)
    return {"dtype": "int16", "shape": list(values.shape), "scale": scale, "offset": offset, "data": _base64(codes)}


def packed(values: np.ndarray) -> dict[str, Any]:
    """Pack an array unquantized: float32 for floating point, int32 for integers."""
    values = np.asarray(values)
    dtype = "int32" if np.issubdtype(values.dtype, np.integer) else "float32"
    array = values.astype(np.dtype(dtype).newbyteorder("<"))
    return {"dtype": dtype, "shape": list(values.shape), "data": _base64(array)}


def unpacked(packet: dict[str, Any]) -> np.ndarray:
    """Undo `quantized` and `packed`, as the page does."""
    raw = base64.b64decode(packet["data"])
    codes = np.frombuffer(raw, dtype=np.dtype(packet["dtype"]).newbyteorder("<")).reshape(packet["shape"])
    if packet["dtype"] != "int16":
        return codes
    return np.where(codes == MISSING, np.nan, packet["offset"] + packet["scale"] * codes.astype(np.float64))


def script_json(data: Any) -> str:
    """Return JSON that cannot end, or change the meaning of, the script element that holds it.

    ``<``, ``>``, ``&`` and the line separators are written as escapes; NaN and infinity become null.
    """
    text = json.dumps(plain(data), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def plain(data: Any) -> Any:
    """Turn NumPy scalars, arrays, tuples and anything unknown into what JSON knows."""
    if isinstance(data, dict):
        return {str(key): plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple | set | frozenset):
        return [plain(value) for value in data]
    if isinstance(data, np.ndarray):
        return plain(data.tolist())
    if isinstance(data, bool | np.bool_):
        return bool(data)
    if isinstance(data, int | np.integer):
        return int(data)
    if isinstance(data, float | np.floating):
        return float(data) if np.isfinite(data) else None
    return data if data is None or isinstance(data, str) else str(data)


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
