"""Numbers and text for a page: quantized arrays, JSON that is safe inside a script element."""

import base64
import json
import zlib
from typing import Any

import numpy as np
from jaxtyping import Bool

#: Code of a missing value in an int16 array.
MISSING = -32768
_LEVELS = 65534
_BLOCK = 1 << 20


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
    codes, scale, offset = _codes(values, _LEVELS)
    return {"dtype": "int16", "shape": list(codes.shape), "scale": scale, "offset": offset, "data": _base64(codes)}


def deflated(values: np.ndarray, *, levels: int = 2046) -> dict[str, Any]:
    """Pack an array like `quantized`, and compress it along its first axis: what changes little takes little room.

    From row to row the codes are subtracted (modulo 2^16); the low bytes and then the high bytes of the differences are
    deflated (zlib).

    Parameters
    ----------
    values
        Shape (n_rows, ...): rows that resemble each other, such as the frames of a movie.
    levels
        Number of steps, even and at most 65534: the error is at most 0.5 / levels of the range.

    Returns
    -------
    dict
        As `quantized`, with ``coding`` ``"deflate"``.
    """
    codes, scale, offset = _codes(values, levels)
    codes[1:] -= codes[:-1].copy()
    halves = codes.reshape(-1).view(np.uint8).reshape(-1, 2).T
    data = base64.b64encode(zlib.compress(np.ascontiguousarray(halves).tobytes(), 6)).decode("ascii")
    shape = list(codes.shape)
    return {"dtype": "int16", "coding": "deflate", "shape": shape, "scale": scale, "offset": offset, "data": data}


def bits(mask: Bool[np.ndarray, "..."]) -> dict[str, Any]:
    """Pack truth values, eight to a byte, the first in the highest bit."""
    return {"dtype": "bits", "shape": list(mask.shape), "data": _base64(np.packbits(mask))}


def _codes(values: np.ndarray, levels: int) -> tuple[np.ndarray, float, float]:
    """Codes -levels/2 .. levels/2, scale and offset; block by block, so that a movie is not copied as float64."""
    values = np.asarray(values)
    flat = values.reshape(-1)
    low, high = _span(flat)
    scale = (high - low) / levels or 1.0
    offset = (high + low) / 2
    codes = np.full(flat.shape, MISSING, dtype="<i2")
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK].astype(np.float64)
        finite = np.isfinite(block)
        steps = np.rint((block[finite] - offset) / scale)
        codes[start : start + _BLOCK][finite] = np.clip(steps, -(levels // 2), levels // 2)
    return codes.reshape(values.shape), scale, offset


def _span(flat: np.ndarray) -> tuple[float, float]:
    """Smallest and largest finite value; zeros if there is none."""
    finite = np.isfinite(flat)
    if not finite.any():
        return 0.0, 0.0
    return float(flat.min(where=finite, initial=np.inf)), float(flat.max(where=finite, initial=-np.inf))


def packed(values: np.ndarray) -> dict[str, Any]:
    """Pack an array unquantized: float32 for floating point, int32 for integers."""
    values = np.asarray(values)
    dtype = "int32" if np.issubdtype(values.dtype, np.integer) else "float32"
    array = values.astype(np.dtype(dtype).newbyteorder("<"))
    return {"dtype": dtype, "shape": list(values.shape), "data": _base64(array)}


def unpacked(packet: dict[str, Any]) -> np.ndarray:
    """Undo `quantized`, `deflated`, `packed` and `bits`, as the page does."""
    raw = base64.b64decode(packet["data"])
    if packet["dtype"] == "bits":
        count = int(np.prod(packet["shape"]))
        return np.unpackbits(np.frombuffer(raw, np.uint8), count=count).astype(bool).reshape(packet["shape"])
    if packet.get("coding") == "deflate":
        halves = np.frombuffer(zlib.decompress(raw), np.uint8).reshape(2, -1)
        differences = np.ascontiguousarray(halves.T).view("<i2").reshape(packet["shape"])
        raw = np.add.accumulate(differences, axis=0, dtype=np.int16).tobytes()
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
