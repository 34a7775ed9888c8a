"""How fibrosis changes an ECG: a sweep over densities and textures, by a surrogate.

Islands of cells that do not conduct, 0 to 30 %, six textures each, on sheets of 32 mm, by `neural-eikonal` (each
takes a fraction of a second). The wave takes longer and the ECG becomes smaller and later. Densities above 30 % are
beyond its training data: there it would warn.
"""

import numpy as np
from matplotlib.figure import Figure

from einthoven.core import Electrodes
from einthoven.surrogate.baselines import ecg_of_times
from einthoven.surrogate.front_features import front
from einthoven.surrogate.models import load_surrogate
from einthoven.surrogate.neural_eikonal import activation_times
from einthoven.tissue import Grid, Tissue
from einthoven.tissue.fibrosis import ThresholdedField

DENSITIES, SAMPLES = (0.0, 0.1, 0.2, 0.3), np.arange(0.0, 120.0, 1.0)
SITE, ELECTRODE = np.array([[4.0, 16.0]]), Electrodes(("over the middle",), np.array([[16.0, 16.0, 10.0]]))


def sheet(density, seed):
    """Tissue of half a millimeter; the surroundings of the stimulus stay healthy."""
    healthy = Tissue.isotropic(Grid((64, 64), 0.5, (0.25, 0.25, 0.0)), 0.1)
    away = np.linalg.norm(healthy.coordinates - SITE[0], axis=1) > 3.0
    return ThresholdedField(density, correlation_length=2.0).apply(healthy, seed, within=away) if density else healthy


def example():
    """Last activation and size of the QRS complex by density, means over the textures."""
    surrogate, _ = load_surrogate("neural-eikonal")
    figure, last, size = Figure(figsize=(8.5, 3.4), layout="constrained"), [], []
    left, right = figure.subplots(1, 2)
    for k, density in enumerate(DENSITIES):
        for seed in range(6 if density else 1):
            tissue = sheet(density, seed)
            times = activation_times(surrogate.net, front(tissue, SITE, np.zeros(1), surrogate.conduction))
            ecg = ecg_of_times(tissue, ELECTRODE, times, SAMPLES, surrogate.membrane)
            last.append((density, np.nanmax(times)))
            size.append((density, np.ptp(ecg.values[0])))
            left.plot(
                SAMPLES, ecg.values[0], color=f"C{k}", lw=0.9, label=f"{100 * density:.0f} %" if seed == 0 else None
            )

    def mean(pairs, density):
        return float(np.mean([value for d, value in pairs if d == density]))

    right.plot(*np.transpose(last), "o", color="0.7", ms=3)
    right.plot(DENSITIES, [mean(last, d) for d in DENSITIES], "k_-", ms=12)
    left.set(xlabel="time (ms)", ylabel="ECG (mV)")
    left.legend(frameon=False, title="fibrosis", loc="lower right")
    right.set(xlabel="density of fibrosis", ylabel="last activation (ms)")
    shown = {"last_activation_ms": last, "qrs_mv": size}
    return {f"{n}, {100 * d:.0f} %": mean(pairs, d) for n, pairs in shown.items() for d in (0.0, 0.3)}, figure


if __name__ == "__main__":
    from _show import show

    show(__file__, *example())
