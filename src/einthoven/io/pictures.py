"""Pictures of tissue: dark is where nothing conducts."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool

from einthoven.core import FileFormatError

#: Larger pictures are refused before they are unpacked.
MOST_PIXELS = 16_000_000


def read_tissue_picture(path: Path) -> Bool[np.ndarray, "nx ny"]:
    """Read which cells conduct: those that are light; dark (below half) or transparent ones do not.

    Parameters
    ----------
    path
        PNG, TIFF, JPEG or another picture; one pixel is one cell.

    Returns
    -------
    np.ndarray
        x (to the right) first, then y (up).

    Raises
    ------
    FileFormatError
        If it is no picture, it is damaged, or it has too many pixels.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise FileFormatError(
                    path, f"has {picture.width} x {picture.height} pixels; at most {MOST_PIXELS / 1e6:g} million."
                )
            layers = np.asarray(picture.convert("LA"))
    except FileFormatError:
        raise
    except UnidentifiedImageError:
        raise FileFormatError(path, "is no picture that can be read (PNG, TIFF, JPEG, ...).") from None
    except (OSError, ValueError, SyntaxError) as problem:
        raise FileFormatError(path, f"cannot be read as a picture ({problem}).") from None
    light = (layers[..., 0] >= 128) & (layers[..., 1] >= 128)
    return np.ascontiguousarray(light[::-1].T)
