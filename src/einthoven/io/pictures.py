"""Pictures of tissue: dark is where nothing conducts."""

import warnings
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from einthoven.core import FileFormatError

#: Larger pictures are refused before they are unpacked.
MOST_PIXELS = 16_000_000
#: Kinds that are opened. Others are not even tried: PostScript, for one, would be handed to another program.
KINDS = ("PNG", "TIFF", "JPEG", "BMP", "GIF", "PPM", "WEBP")


def read_tissue_picture(path: Path) -> Bool[np.ndarray, "nx ny"]:
    """Read which cells conduct: those that are light; dark (below half) or transparent ones do not.

    Parameters
    ----------
    path
        PNG, TIFF, JPEG or another of `KINDS`; one pixel is one cell.

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
        with warnings.catch_warnings(), Image.open(path, formats=KINDS) as picture:
            warnings.simplefilter("ignore")  # of odd metadata and of large pictures, which are refused below
            if picture.width * picture.height > MOST_PIXELS:
                raise FileFormatError(
                    path, f"has {picture.width} x {picture.height} pixels; at most {MOST_PIXELS / 1e6:g} million."
                )
            layers = np.asarray(picture.convert("LA"))
    except FileFormatError:
        raise
    except UnidentifiedImageError:
        raise FileFormatError(path, f"is no picture that can be read ({', '.join(KINDS)}).") from None
    except Image.DecompressionBombError:
        raise FileFormatError(path, f"has too many pixels; at most {MOST_PIXELS / 1e6:g} million.") from None
    except Exception as problem:  # whatever a decoder raises on a damaged file
        said = " ".join(str(problem).split())[:160] or type(problem).__name__
        raise FileFormatError(path, f"cannot be read as a picture ({said}).") from None
    light = (layers[..., 0] >= 128) & (layers[..., 1] >= 128)
    return np.ascontiguousarray(light[::-1].T)
