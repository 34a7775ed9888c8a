"""Courtemanche, Ramirez & Nattel 1998: human atrium, 20 states and v.

Paper: M. Courtemanche, R. J. Ramirez, S. Nattel, Ionic mechanisms underlying human atrial action potential properties:
insights from a mathematical model, American Journal of Physiology 275(1):H301-H321, 1998,
doi:10.1152/ajpheart.1998.275.1.H301. Constants: Table 1; equations: appendix, both read through Myokit's
transcription, which compares the CellML file of the Physiome repository with the paper equation by equation.

Where the CellML file has more digits than the paper (g_kr, g_ks, g_ca_l, g_b_na, i_na_k_max) they are kept, and the
sign of the closing rate of ui is the CellML file's: the paper's figure agrees with it, its equation does not.

Known deviations: the stimulus current is not added to the balance of potassium; sodium and potassium drift over
minutes of pacing.
"""

import math
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from einthoven.ionic.functions import bernoulli, check_width, switch
from einthoven.ionic.model import Gate, IonicModel, VoltageScale, parameter

_FARADAY = 96.4867  # C/mmol
_RT_F = 8.3143 * 310.0 / _FARADAY  # mV
_CAPACITANCE = 100.0  # pF
_VOLUME, _UP_VOLUME, _REL_VOLUME = 20100.0 * 0.68, 20100.0 * 0.0552, 20100.0 * 0.0048  # um3: cytoplasm, uptake, release
_KQ10 = 3.0

_INITIAL = {
    "m": 2.91e-3, "h": 0.965, "j": 0.978, "oa": 3.04e-2, "oi": 0.999, "ua": 4.96e-3, "ui": 0.999, "xr": 3.29e-5,
    "xs": 1.87e-2, "d": 1.37e-4, "f": 0.999, "f_ca": 0.775, "u": 0.0, "v": 1.0, "w": 0.999, "na_i": 11.2, "k_i": 139.0,
    "ca_i": 1.02e-4, "ca_up": 1.49, "ca_rel": 1.49,
}  # fmt: skip


class CourtemancheRamirezNattel1998(IonicModel):
    """Courtemanche-Ramirez-Nattel. v in mV, currents in pA/pF (= mV/ms), concentrations in mM.

    dv/dt = -(I_Na + I_K1 + I_to + I_Kur + I_Kr + I_Ks + I_CaL + I_pCa + I_NaK + I_NaCa + I_bNa + I_bCa)

    Parameters
    ----------
    g_na, g_k1, g_to, g_kr, g_ks, g_ca_l, g_b_ca, g_b_na
        Conductances, nS/pF.
    g_kur
        Factor on the conductance of I_Kur, which depends on v.
    i_na_k_max, i_na_ca_max, i_p_ca_max
        Maximal currents of the pump, the exchanger and the calcium pump, pA/pF.
    k_o, na_o, ca_o
        Extracellular concentrations, mM.
    e_ca_l
        Reversal potential of I_CaL, mV.
    k_m_na_i, k_m_k_o
        Half saturation of the pump, mM.
    gamma, k_m_na, k_m_ca, k_sat
        Exchanger: voltage dependence, half saturations (mM), saturation.
    k_rel
        Rate of release, 1/ms.
    tau_tr
        Time constant of the transfer from uptake to release compartment, ms.
    i_up_max, k_up, ca_up_max
        Uptake: maximal rate, mM/ms, half saturation, mM, and largest concentration, mM.
    cmdn_max, trpn_max, csqn_max, k_m_cmdn, k_m_trpn, k_m_csqn
        Buffers: total concentrations and half saturations, mM.
    gate_width
        Width, mV, over which the rates of h and j change at -40 mV, below 2.8; 0 (default) is the paper's jump;
        `smooth_width` is the width we recommend, and docs/concepts/membrane-models.md says what it costs.
    """

    states: ClassVar[tuple[str, ...]] = tuple(_INITIAL)
    scale: ClassVar[VoltageScale] = VoltageScale()
    smooth_width: ClassVar[float] = 0.5

    g_na: Any = parameter(7.8)
    g_k1: Any = parameter(0.09)
    g_to: Any = parameter(0.1652)
    g_kur: Any = parameter(1.0)
    g_kr: Any = parameter(0.029411765)
    g_ks: Any = parameter(0.12941176)
    g_ca_l: Any = parameter(0.12375)
    g_b_ca: Any = parameter(0.001131)
    g_b_na: Any = parameter(0.0006744375)
    i_na_k_max: Any = parameter(0.59933874)
    i_na_ca_max: Any = parameter(1600.0)
    i_p_ca_max: Any = parameter(0.275)
    k_o: Any = parameter(5.4)
    na_o: Any = parameter(140.0)
    ca_o: Any = parameter(1.8)
    e_ca_l: Any = parameter(65.0)
    k_m_na_i: Any = parameter(10.0)
    k_m_k_o: Any = parameter(1.5)
    gamma: Any = parameter(0.35)
    k_m_na: Any = parameter(87.5)
    k_m_ca: Any = parameter(1.38)
    k_sat: Any = parameter(0.1)
    k_rel: Any = parameter(30.0)
    tau_tr: Any = parameter(180.0)
    i_up_max: Any = parameter(0.005)
    k_up: Any = parameter(0.00092)
    ca_up_max: Any = parameter(15.0)
    cmdn_max: Any = parameter(0.05)
    trpn_max: Any = parameter(0.07)
    csqn_max: Any = parameter(10.0)
    k_m_cmdn: Any = parameter(0.00238)
    k_m_trpn: Any = parameter(0.0005)
    k_m_csqn: Any = parameter(0.8)
    gate_width: float = eqx.field(static=True, default=0.0)

    def __check_init__(self):
        check_width(self.gate_width, below=2.8)

    @property
    def is_smooth(self) -> bool:
        """Whether the rates of h and j change over a width instead of jumping at -40 mV."""
        return self.gate_width > 0

    def rest(self) -> tuple[Any, tuple[Any, ...]]:
        """The paper's initial values, which it calls resting; they drift slowly (see the docs)."""
        return -81.2, tuple(_INITIAL.values())

    def rates(self, v: Any, states: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
        """Rates of v and the concentrations, gates."""
        m, h, j, oa, oi, ua, ui, xr, xs, d, f, f_ca, u, v_rel, w, na_i, k_i, ca_i, ca_up, ca_rel = states
        e_k = _RT_F * jnp.log(self.k_o / k_i)
        e_na = _RT_F * jnp.log(self.na_o / na_i)
        e_ca = 0.5 * _RT_F * jnp.log(self.ca_o / ca_i)
        i_na = self.g_na * (m * m * m) * h * j * (v - e_na)
        i_k1 = self.g_k1 * (v - e_k) / (1.0 + jnp.exp(0.07 * (v + 80.0)))
        i_to = self.g_to * (oa * oa * oa) * oi * (v - e_k)
        ultrarapid = self.g_kur * (0.005 + 0.05 * jax.lax.logistic((v - 15.0) * (1.0 / 13.0)))
        i_kur = ultrarapid * (ua * ua * ua) * ui * (v - e_k)
        i_kr = self.g_kr * xr * (v - e_k) / (1.0 + jnp.exp((v + 15.0) * (1.0 / 22.4)))
        i_ks = self.g_ks * (xs * xs) * (v - e_k)
        i_ca_l = self.g_ca_l * d * f * f_ca * (v - self.e_ca_l)
        i_p_ca = self.i_p_ca_max * ca_i / (0.0005 + ca_i)
        i_na_k, i_na_ca = self._exchangers(v, na_i, ca_i)
        i_b_ca, i_b_na = self.g_b_ca * (v - e_ca), self.g_b_na * (v - e_na)
        sodium = i_na + i_b_na + 3.0 * (i_na_k + i_na_ca)
        potassium = i_k1 + i_to + i_kur + i_kr + i_ks - 2.0 * i_na_k
        calcium = i_ca_l + i_p_ca + i_b_ca - 2.0 * i_na_ca
        per_current = _CAPACITANCE / (_VOLUME * _FARADAY)
        release = self.k_rel * (u * u) * v_rel * w * (ca_rel - ca_i)
        d_calcium = self._calcium(ca_i, ca_up, ca_rel, calcium=calcium, release=release)
        gates = (*self._gates(v), *self._release_gates(v, ca_i, release, 0.5 * i_ca_l - 0.2 * i_na_ca))
        return -(sodium + potassium + calcium), (*gates, -per_current * sodium, -per_current * potassium, *d_calcium)

    def _exchangers(self, v: Any, na_i: Any, ca_i: Any) -> tuple[Any, Any]:
        """I_NaK and I_NaCa."""
        tenth = jnp.exp((-0.1 / _RT_F) * v)
        whole = tenth**10
        inward = jnp.exp(self.gamma * v * (1.0 / _RT_F))
        outward = inward * whole
        sigma = (jnp.exp(self.na_o * (1.0 / 67.3)) - 1.0) * (1.0 / 7.0)
        ratio = self.k_m_na_i / na_i
        pump = self.i_na_k_max * self.k_o / (self.k_o + self.k_m_k_o)
        shape = 1.0 + 0.1245 * tenth + 0.0365 * sigma * whole
        i_na_k = pump / (shape * (1.0 + ratio * jnp.sqrt(ratio)))
        cube = self.na_o * self.na_o * self.na_o
        saturation = (self.k_m_na * self.k_m_na * self.k_m_na + cube) * (self.k_m_ca + self.ca_o)
        drive = inward * (na_i * na_i * na_i) * self.ca_o - outward * cube * ca_i
        return i_na_k, self.i_na_ca_max * drive / (saturation * (1.0 + self.k_sat * outward))

    def _calcium(self, ca_i: Any, ca_up: Any, ca_rel: Any, *, calcium: Any, release: Any) -> tuple[Any, Any, Any]:
        """Rates of ca_i, ca_up, ca_rel; rapid buffers."""
        uptake = self.i_up_max * ca_i / (ca_i + self.k_up)
        leak = self.i_up_max * ca_up / self.ca_up_max
        transfer = (ca_up - ca_rel) * (1.0 / self.tau_tr)
        into_i = (leak - uptake) * (_UP_VOLUME / _VOLUME) + release * (_REL_VOLUME / _VOLUME)
        into_i = into_i - calcium * (_CAPACITANCE / (2.0 * _VOLUME * _FARADAY))
        troponin, calmodulin, store = ca_i + self.k_m_trpn, ca_i + self.k_m_cmdn, ca_rel + self.k_m_csqn
        buffers = 1.0 + self.trpn_max * self.k_m_trpn / (troponin * troponin)
        buffers = buffers + self.cmdn_max * self.k_m_cmdn / (calmodulin * calmodulin)
        return (
            into_i / buffers,
            uptake - leak - transfer * (_REL_VOLUME / _UP_VOLUME),
            (transfer - release) / (1.0 + self.csqn_max * self.k_m_csqn / (store * store)),
        )

    def _gates(self, v: Any) -> tuple[Gate, ...]:
        """m, h, j, oa, oi, ua, ui, xr, xs, d, f."""
        y = 0.1 * (v + 47.13)
        alpha_m, beta_m = 3.2 * (bernoulli(y) + y), 0.08 * jnp.exp(v * (-1.0 / 11.0))
        alpha_h, h_rate, alpha_j, j_rate = self._sodium_inactivation(v)
        e17 = jnp.exp(v * (1.0 / 17.0))
        alpha_o = 0.65 / (math.exp(-10 / 8.5) / (e17 * e17) + jnp.exp((v - 30.0) * (-1.0 / 59.0)))
        tau_o = (1.0 / _KQ10) / (alpha_o + 0.65 / (2.5 + math.exp(82 / 17) * e17))
        rate_oi = 1.0 / (18.53 + jnp.exp((v + 113.7) * (1.0 / 10.95)))
        rate_oi = rate_oi + 1.0 / (35.56 + jnp.exp((v + 1.26) * (-1.0 / 7.44)))
        rate_ui = 1.0 / (21.0 + jnp.exp((v - 185.0) * (-1.0 / 28.0))) + jnp.exp((v - 158.0) * (1.0 / 16.0))
        x, z = (v + 14.1) * (1.0 / 5.0), (v - 3.3328) * (1.0 / 5.1237)
        rate_xr = 0.0015 * (bernoulli(x) + x) + (7.3898e-5 * 5.1237) * bernoulli(z)
        x, z = (v - 19.9) * (1.0 / 17.0), (v - 19.9) * (1.0 / 9.0)
        rate_xs = (4e-5 * 17.0) * (bernoulli(x) + x) + (3.5e-5 * 9.0) * bernoulli(z)
        x = (v + 10.0) * (1.0 / 6.24)
        rate_d = (0.035 * 6.24) * (x + 2.0 * bernoulli(x))
        rate_f = (1.0 / 9.0) * (0.0197 * jnp.exp(-(0.0337**2) * (v + 10.0) * (v + 10.0)) + 0.02)
        return (
            Gate(alpha_m / (alpha_m + beta_m), 1.0 / (alpha_m + beta_m)),
            Gate(alpha_h / h_rate, 1.0 / h_rate),
            Gate(alpha_j / j_rate, 1.0 / j_rate),
            Gate(_opening(v, 20.47, 17.54), tau_o),
            Gate(_opening(v, 43.1, -5.3), (1.0 / _KQ10) / rate_oi),
            Gate(_opening(v, 30.3, 9.6), tau_o),
            Gate(_opening(v, -99.45, -27.48), (1.0 / _KQ10) / rate_ui),
            Gate(_opening(v, 14.1, 6.5), 1.0 / rate_xr),
            Gate(jnp.sqrt(_opening(v, -19.9, 12.7)), 0.5 / rate_xs),
            Gate(_opening(v, 10.0, 8.0), 1.0 / rate_d),
            Gate(_opening(v, 28.0, -6.9), 1.0 / rate_f),
        )

    def _release_gates(self, v: Any, ca_i: Any, release: Any, fluxes: Any) -> tuple[Gate, ...]:
        """f_ca, u, v, w; the flux of calcium is in 1e-15 of the paper's unit."""
        flux = (1e3 * _REL_VOLUME) * release - (500.0 / _FARADAY * _CAPACITANCE) * fluxes
        activation = jax.lax.logistic((flux - 341.75) * (1.0 / 1.367))
        x = (v - 7.9) * (1.0 / 5.0)
        return (
            Gate(1.0 / (1.0 + ca_i * (1.0 / 0.00035)), 2.0),
            Gate(activation, 8.0),
            Gate(jax.lax.logistic((68.35 - flux) * (1.0 / 1.367)), 1.91 + 2.09 * activation),
            Gate(_opening(v, -40.0, -17.0), 1.2 / (x + 1.3 * bernoulli(x))),
        )

    def _sodium_inactivation(self, v: Any) -> tuple[Any, Any, Any, Any]:
        """Opening rate and 1 / tau of h, then of j: one formula below -40 mV, another above."""
        h_alpha = 0.135 * jnp.exp((v + 80.0) * (-1.0 / 6.8))
        h_beta = 3.56 * jnp.exp(0.079 * v) + 3.1e5 * jnp.exp(0.35 * v)
        h_above = (1.0 / 0.13) / (1.0 + jnp.exp((v + 10.66) * (-1.0 / 11.1)))
        j_alpha = -(1.2714e5 * jnp.exp(0.2444 * v) + 3.474e-5 * jnp.exp(-0.04391 * v)) * (v + 37.78)
        j_alpha = j_alpha / (1.0 + jnp.exp(0.311 * (v + 79.23)))
        j_beta = 0.1212 * jnp.exp(-0.01052 * v) / (1.0 + jnp.exp(-0.1378 * (v + 40.14)))
        j_above = 0.3 * jnp.exp(-2.535e-7 * v) / (1.0 + jnp.exp(-0.1 * (v + 32.0)))
        return (
            self._switch(v, 0.0, h_alpha),
            self._switch(v, h_above, h_alpha + h_beta),
            self._switch(v, 0.0, j_alpha),
            self._switch(v, j_above, j_alpha + j_beta),
        )

    def _switch(self, v: Any, above: Any, below: Any) -> Any:
        return switch(v + 40.0, above=above, below=below, width=self.gate_width)


def _opening(v: Any, shift: float, slope: float) -> Any:
    """1 / (1 + exp(-(v + shift) / slope))."""
    return jax.lax.logistic((v + shift) * (1.0 / slope))
