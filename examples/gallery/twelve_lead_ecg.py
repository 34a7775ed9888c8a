"""The 12-lead ECG of a normal beat of the phantom, in milliseconds.

Early sites on the endocardium, an eikonal wave in wall and fast layer, an action potential at every cell, and the
exact leads of the torso with lungs and blood. Once the heart is prepared, a beat costs less than a tenth of a second:
that is what makes fits to an ECG possible.
"""

import numpy as np

from einthoven.report.ecg_paper import ecg_paper
from einthoven.studies.phantom_beat import DURRER_SITES
from einthoven.studies.phantom_eikonal import EikonalHeart


def example():
    """Amplitudes and times of the beat; its leads on paper."""
    heart = EikonalHeart(spacing=2.0, times=np.arange(0.0, 450.0, 2.0))
    beat = heart.model.beat(heart.places(DURRER_SITES), [s.time for s in DURRER_SITES], (0.346, 1.6))
    one = {name: beat.ecg.select([name]).values[0] for name in beat.ecg.sites}
    numbers = {
        "last_activation_ms": float(beat.arrival.times.max()),
        "r_over_s_in_v1": float(one["V1"].max() / -one["V1"].min()),
        "r_in_v5_mv": float(one["V5"].max()),
        "einthoven_s_law_mv": float(np.abs(one["I"] + one["III"] - one["II"]).max()),
    }
    return numbers, ecg_paper(beat.ecg)


if __name__ == "__main__":
    from _show import show

    show(__file__, *example())
