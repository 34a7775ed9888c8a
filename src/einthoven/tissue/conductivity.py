"""From conductivities, which are measured, to diffusivities, which the wave sees, and back."""

import numpy as np
from jaxtyping import Float

from einthoven.core import InputError

Values = float | int | Float[np.ndarray, "..."]


def diffusivity(
    sigma_i: Values, sigma_e: Values | None = None, surface_to_volume: float = 140.0, capacitance: float = 0.01
) -> Float[np.ndarray, "..."]:
    """D = sigma / (chi c_m), sigma = sigma_i sigma_e / (sigma_i + sigma_e) along each axis of the fibers.

    With equal anisotropy ratios inside and outside the cells this sigma makes the monodomain equation exact; otherwise
    it gives the right speed along and across the fibers.

    Parameters
    ----------
    sigma_i
        Intracellular conductivity, mS/mm (the same number in S/m).
    sigma_e
        Extracellular conductivity, mS/mm; None: `sigma_i` is already that of the monodomain equation.
    surface_to_volume
        chi, membrane per volume of tissue, 1/mm.
    capacitance
        c_m of the membrane, uF/mm2.

    Returns
    -------
    np.ndarray
        mm2/ms, in the shape of the conductivities.

    Examples
    --------
    >>> round(float(diffusivity(0.17, 0.62)), 4), round(float(diffusivity(0.019, 0.24)), 4)
    (0.0953, 0.0126)
    """
    inside = _positive(sigma_i, "sigma_i")
    if sigma_e is not None:
        outside = _positive(sigma_e, "sigma_e")
        inside = inside * outside / (inside + outside)
    return np.asarray(
        inside / (_positive(surface_to_volume, "surface_to_volume") * _positive(capacitance, "capacitance"))
    )


def conductivity(
    diffusivity: Values, sigma_e: Values | None = None, surface_to_volume: float = 140.0, capacitance: float = 0.01
) -> Float[np.ndarray, "..."]:
    """Conductivity that belongs to a diffusivity: sigma = D chi c_m, or the intracellular one behind it.

    Parameters
    ----------
    diffusivity
        mm2/ms.
    sigma_e
        Extracellular conductivity, mS/mm: the intracellular sigma_i = sigma sigma_e / (sigma_e - sigma) is returned.
        None: the monodomain's sigma is.
    surface_to_volume, capacitance
        As in `diffusivity`.

    Returns
    -------
    np.ndarray
        mS/mm.
    """
    scale = _positive(surface_to_volume, "surface_to_volume") * _positive(capacitance, "capacitance")
    sigma = np.asarray(_positive(diffusivity, "diffusivity") * scale)
    if sigma_e is None:
        return sigma
    outside = _positive(sigma_e, "sigma_e")
    if not (outside > sigma).all():
        raise InputError(
            f"conductivity: sigma_e must be above the monodomain conductivity {sigma.max():g} mS/mm, of which it is a "
            f"part in series; got {outside.min():g}."
        )
    return np.asarray(sigma * outside / (outside - sigma))


def _positive(value: Values, name: str) -> Float[np.ndarray, "..."]:
    array = np.asarray(value, dtype=np.float64)
    if not (np.isfinite(array) & (array > 0)).all():
        raise InputError(f"conductivity: {name} must be positive and finite; got {value!r}.")
    return array
