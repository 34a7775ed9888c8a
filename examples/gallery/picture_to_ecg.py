"""Activation and ECG of your own picture of tissue, without a simulation.

Light pixels are cells of half a millimeter, dark ones do not conduct. `neural-eikonal`, which comes along trained,
solves the eikonal equation with learned corrections, and says how like its training data the tissue is. Here the
picture is drawn: a wall with a gap, and a few holes. The same from the shell: `einthoven surrogate predict
neural-eikonal tissue.png --site 4,16 --electrode 16,16,10 --out out/picture`.
"""

from pathlib import Path
from tempfile import mkdtemp

import numpy as np
from PIL import Image, ImageDraw

from einthoven.report.picture_page import picture_figure
from einthoven.studies.surrogate_prediction import PictureSettings, predict_picture
from einthoven.surrogate.limits import Limits
from einthoven.surrogate.models import load_surrogate


def drawn(path):
    """A picture of 64 x 64 pixels, so 32 x 32 mm."""
    picture = Image.new("L", (64, 64), 255)
    pen = ImageDraw.Draw(picture)
    pen.rectangle((30, 0, 33, 40), fill=0)
    for x, y in ((46, 14), (50, 40), (14, 50)):
        pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=0)
    picture.save(path)
    return path


def example():
    """When the wave arrives where, how large the ECG is, and what is thought of the prediction."""
    surrogate, card = load_surrogate("neural-eikonal")
    sites, electrodes = np.array([[4.0, 16.0]]), np.array([[16.0, 16.0, 10.0], [40.0, 16.0, 10.0]])
    settings = PictureSettings(spacing=0.5, diffusivity=0.1, sites=sites, electrodes=electrodes)
    found = predict_picture(surrogate, Limits.of_card(card["limits"]), drawn(Path(mkdtemp()) / "tissue.png"), settings)
    numbers = {
        "last_activation_ms": float(np.nanmax(found.activation)),
        "behind_the_wall_ms": float(found.activation[36, 60]),
        "before_the_wall_ms": float(found.activation[27, 60]),
        "largest_potential_mv": float(np.abs(found.ecg.values).max()),
        "error_bound_percent": 100.0 * found.bound,
    }
    return numbers, picture_figure(found)


if __name__ == "__main__":
    from _show import show

    show(__file__, *example())
