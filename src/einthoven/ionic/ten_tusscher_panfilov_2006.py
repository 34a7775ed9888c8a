"""ten Tusscher & Panfilov 2006: human ventricle (epicardial, midmyocardial, endocardial), 18 states and v.

Paper: K. H. W. J. ten Tusscher, A. V. Panfilov, Alternans and spiral breakup in a human ventricular tissue model,
American Journal of Physiology - Heart and Circulatory Physiology 291(3):H1088-H1100, 2006,
doi:10.1152/ajpheart.00109.2006; most currents are those of ten Tusscher, Noble, Noble & Panfilov 2004,
doi:10.1152/ajpheart.00794.2003.

Variant: ryanodine receptor reduced to R'. Equations, constants and initial values are those of the CellML files of the
Physiome repository, read through public transcriptions (Myokit, Chaste); the initial values are the epicardial ones,
which the benchmark of Niederer et al. 2011 (doi:10.1098/rsta.2011.0139) also starts from.

Known deviations and doubts: (1) The CellML files have 562 exp(-(v + 27)^2 / 240) and 80 in the time constant of f2,
codes that descend from the authors' program 600 exp(-(v + 25)^2 / 170) and 16: `f2_peak`, `f2_center`, `f2_width` and
`f2_low` hold the former, `authors_f2` puts in the latter; the durations differ by less than a millisecond. (2) The
stimulus current is not added to the balance of potassium (6e-6 mM a beat). (3) All cell types start from the same
initial values, so that a wall of mixed cells rests at one potential.
"""

import math
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp

from einthoven.ionic.functions import bernoulli, check_width, falling, rising, switch
from einthoven.ionic.model import Gate, IonicModel, VoltageScale, parameter

_FARADAY = 96.4853415  # C/mmol
_RT_F = 8.314472 * 310.0 / _FARADAY  # mV
_CAPACITANCE = 185.0  # pF
_VOLUME, _SR_VOLUME, _SS_VOLUME = 16404.0, 1094.0, 54.68  # um3: cytoplasm, sarcoplasmic reticulum, subspace

_INITIAL = {
    "ca_i": 0.000126, "ca_sr": 3.64, "ca_ss": 0.00036, "na_i": 8.604, "k_i": 136.89, "m": 0.00172, "h": 0.7444,
    "j": 0.7045, "xr1": 0.00621, "xr2": 0.4712, "xs": 0.0095, "r": 2.42e-8, "s": 0.999998, "d": 3.373e-5, "f": 0.7888,
    "f2": 0.9755, "f_cass": 0.9953, "r_prime": 0.9073,
}  # fmt: skip


class TenTusscherPanfilov2006(IonicModel):
    """ten Tusscher-Panfilov; the defaults are epicardial. v in mV, currents in pA/pF (= mV/ms), concentrations in mM.

    dv/dt = -(I_Na + I_K1 + I_to + I_Kr + I_Ks + I_CaL + I_NaCa + I_NaK + I_pCa + I_pK + I_bNa + I_bCa)

    Parameters
    ----------
    g_na, g_k1, g_to, g_kr, g_ks, g_p_k, g_b_na, g_b_ca
        Conductances, nS/pF. g_to and g_ks depend on the cell type (2004, Table 1; 2006, Table 2).
    g_ca_l
        Conductance of the L-type calcium current, 1e-6 L/(F ms) (CellML: 3.98e-5 cm/(ms uF)).
    p_na_k, k_na_ca, g_p_ca
        Maximal currents of the sodium-potassium pump, the sodium-calcium exchanger and the calcium pump, pA/pF.
    k_o, na_o, ca_o
        Extracellular concentrations, mM.
    p_k_na
        Permeability of I_Ks to sodium relative to potassium.
    k_m_k, k_m_na, k_p_ca
        Half saturation of the pumps, mM.
    gamma, k_m_ca, k_m_na_i, k_sat, alpha
        Exchanger: voltage dependence, half saturations (mM), saturation, enhancement of the outward mode.
    v_max_up, k_up
        Uptake into the reticulum: maximal rate, mM/ms, and half saturation, mM.
    v_rel, v_leak, v_xfer
        Rates of release, leak and diffusion from the subspace, 1/ms.
    k1, k2, k3, k4
        Rates of the ryanodine receptor: k1' 1/(mM2 ms), k2' 1/(mM ms), k3 and k4 1/ms.
    ec, max_sr, min_sr
        Its regulation by calcium in the reticulum: half saturation, mM, and bounds.
    buf_c, buf_sr, buf_ss, k_buf_c, k_buf_sr, k_buf_ss
        Calcium buffers: total concentrations and half saturations, mM.
    s_half
        Steady value of s: minus the potential of half inactivation, mV (20; endocardial 28).
    s_peak, s_center, s_width, s_step, s_floor
        Time constant of s: s_peak exp(-(v + s_center)^2 / s_width) + s_step / (1 + exp((v - 20) / 5)) + s_floor, ms.
    f2_peak, f2_center, f2_width, f2_low
        Time constant of f2: f2_peak exp(-(v + f2_center)^2 / f2_width) + 31 / (1 + exp((25 - v) / 10)) + f2_low /
        (1 + exp((v + 30) / 10)), ms, mV.
    gate_width
        Width, mV, over which the rates of h and j change at -40 mV, below 2.8; 0 (default) is the paper's jump;
        `smooth_width` is the width we recommend, and docs/concepts/membrane-models.md says what it costs.
    """

    states: ClassVar[tuple[str, ...]] = tuple(_INITIAL)
    scale: ClassVar[VoltageScale] = VoltageScale()
    smooth_width: ClassVar[float] = 0.5

    g_na: Any = parameter(14.838)
    g_k1: Any = parameter(5.405)
    g_to: Any = parameter(0.294)
    g_kr: Any = parameter(0.153)
    g_ks: Any = parameter(0.392)
    g_ca_l: Any = parameter(0.0398)
    g_p_k: Any = parameter(0.0146)
    g_p_ca: Any = parameter(0.1238)
    g_b_na: Any = parameter(0.00029)
    g_b_ca: Any = parameter(0.000592)
    p_na_k: Any = parameter(2.724)
    k_na_ca: Any = parameter(1000.0)
    k_o: Any = parameter(5.4)
    na_o: Any = parameter(140.0)
    ca_o: Any = parameter(2.0)
    p_k_na: Any = parameter(0.03)
    k_m_k: Any = parameter(1.0)
    k_m_na: Any = parameter(40.0)
    k_p_ca: Any = parameter(0.0005)
    gamma: Any = parameter(0.35)
    k_m_ca: Any = parameter(1.38)
    k_m_na_i: Any = parameter(87.5)
    k_sat: Any = parameter(0.1)
    alpha: Any = parameter(2.5)
    v_max_up: Any = parameter(0.006375)
    k_up: Any = parameter(0.00025)
    v_rel: Any = parameter(0.102)
    v_leak: Any = parameter(0.00036)
    v_xfer: Any = parameter(0.0038)
    k1: Any = parameter(0.15)
    k2: Any = parameter(0.045)
    k3: Any = parameter(0.06)
    k4: Any = parameter(0.005)
    ec: Any = parameter(1.5)
    max_sr: Any = parameter(2.5)
    min_sr: Any = parameter(1.0)
    buf_c: Any = parameter(0.2)
    buf_sr: Any = parameter(10.0)
    buf_ss: Any = parameter(0.4)
    k_buf_c: Any = parameter(0.001)
    k_buf_sr: Any = parameter(0.3)
    k_buf_ss: Any = parameter(0.00025)
    s_half: Any = parameter(20.0)
    s_peak: Any = parameter(85.0)
    s_center: Any = parameter(45.0)
    s_width: Any = parameter(320.0)
    s_step: Any = parameter(5.0)
    s_floor: Any = parameter(3.0)
    f2_peak: Any = parameter(562.0)
    f2_center: Any = parameter(27.0)
    f2_width: Any = parameter(240.0)
    f2_low: Any = parameter(80.0)
    gate_width: float = eqx.field(static=True, default=0.0)

    def __check_init__(self):
        check_width(self.gate_width, below=2.8)

    @classmethod
    def epi(cls) -> "TenTusscherPanfilov2006":
        """Epicardial."""
        return cls()

    @classmethod
    def mid(cls) -> "TenTusscherPanfilov2006":
        """Midmyocardial: a quarter of I_Ks."""
        return cls(g_ks=0.098)

    @classmethod
    def endo(cls) -> "TenTusscherPanfilov2006":
        """Endocardial: a quarter of I_to, which inactivates and recovers on its own terms."""
        return cls(g_to=0.073, s_half=28.0, s_peak=1000.0, s_center=67.0, s_width=1000.0, s_step=0.0, s_floor=8.0)

    @staticmethod
    def authors_f2() -> dict[str, float]:
        """Time constant of f2 as codes that descend from the authors' program have it (see the module's notes)."""
        return {"f2_peak": 600.0, "f2_center": 25.0, "f2_width": 170.0, "f2_low": 16.0}

    @property
    def is_smooth(self) -> bool:
        """Whether the rates of h and j change over a width instead of jumping at -40 mV."""
        return self.gate_width > 0

    def rest(self) -> tuple[Any, tuple[Any, ...]]:
        """Published initial values: diastole at 1 Hz, not the resting state (f, j and s recover for seconds)."""
        return -85.23, tuple(_INITIAL.values())

    def rates(self, v: Any, states: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
        """Rates of v and the concentrations, gates."""
        ca_i, ca_sr, ca_ss, na_i, k_i, m, h, j, xr1, xr2, xs, r, s, d, f, f2, f_cass, r_prime = states
        e_k = _RT_F * jnp.log(self.k_o / k_i)
        e_na = _RT_F * jnp.log(self.na_o / na_i)
        e_ks = _RT_F * jnp.log((self.k_o + self.p_k_na * self.na_o) / (k_i + self.p_k_na * na_i))
        e_ca = 0.5 * _RT_F * jnp.log(self.ca_o / ca_i)
        scale_k = jnp.sqrt(self.k_o / 5.4)
        i_na = self.g_na * (m * m * m) * h * j * (v - e_na)
        i_k1 = scale_k * self._inward_rectifier(v - e_k)
        i_to = self.g_to * r * s * (v - e_k)
        i_kr = self.g_kr * scale_k * xr1 * xr2 * (v - e_k)
        i_ks = self.g_ks * (xs * xs) * (v - e_ks)
        i_ca_l = self._l_type(v, ca_ss) * d * f * f2 * f_cass
        i_na_ca, i_na_k = self._exchangers(v, na_i, ca_i)
        i_p_ca = self.g_p_ca * ca_i / (ca_i + self.k_p_ca)
        i_p_k = self.g_p_k * (v - e_k) / (1.0 + jnp.exp((25.0 - v) * (1.0 / 5.98)))
        i_b_na = self.g_b_na * (v - e_na)
        i_b_ca = self.g_b_ca * (v - e_ca)
        sodium = i_na + i_b_na + 3.0 * (i_na_k + i_na_ca)
        potassium = i_k1 + i_to + i_kr + i_ks + i_p_k - 2.0 * i_na_k
        calcium = i_b_ca + i_p_ca - 2.0 * i_na_ca
        per_current = _CAPACITANCE / (_VOLUME * _FARADAY)
        d_calcium = self._calcium((ca_i, ca_sr, ca_ss), r_prime, calcium=calcium, l_type=i_ca_l)
        *d_concentrations, d_r_prime = d_calcium
        dv = -(sodium + potassium + calcium + i_ca_l)
        changes = (*d_concentrations, -per_current * sodium, -per_current * potassium)
        return dv, (*changes, *self._gates(v), self._calcium_gate(ca_ss, f_cass), d_r_prime)

    def _inward_rectifier(self, x: Any) -> Any:
        """I_K1 at k_o = 5.4 mM, x = v - e_k; the exponentials are powers of one."""
        e = jnp.exp(-0.02 * x)
        e3, e5 = e * e * e, e**5
        alpha = 0.1 * e3 / (e3 + math.exp(-12.0))
        beta = (3.0 * jnp.exp(0.0002 * x + 0.02) + math.exp(-1.0) / e5) / (1.0 + e5**5)
        return self.g_k1 * alpha / (alpha + beta) * x

    def _l_type(self, v: Any, ca_ss: Any) -> Any:
        """I_CaL with all gates open; at 15 mV numerator and denominator vanish."""
        x = (2.0 / _RT_F) * (v - 15.0)
        ratio = bernoulli(x)
        return 2.0 * _FARADAY * self.g_ca_l * (0.25 * ca_ss * (ratio + x) - self.ca_o * ratio)

    def _exchangers(self, v: Any, na_i: Any, ca_i: Any) -> tuple[Any, Any]:
        """I_NaCa and I_NaK."""
        tenth = jnp.exp((-0.1 / _RT_F) * v)
        whole = tenth**10
        inward = jnp.exp(self.gamma * v * (1.0 / _RT_F))
        outward = inward * whole
        cube = self.na_o * self.na_o * self.na_o
        saturation = (self.k_m_na_i * self.k_m_na_i * self.k_m_na_i + cube) * (self.k_m_ca + self.ca_o)
        drive = inward * (na_i * na_i * na_i) * self.ca_o - outward * cube * ca_i * self.alpha
        i_na_ca = self.k_na_ca * drive / (saturation * (1.0 + self.k_sat * outward))
        pump = self.p_na_k * self.k_o / (self.k_o + self.k_m_k)
        i_na_k = pump * na_i / ((na_i + self.k_m_na) * (1.0 + 0.1245 * tenth + 0.0353 * whole))
        return i_na_ca, i_na_k

    def _calcium(self, stores: tuple[Any, Any, Any], r_prime: Any, *, calcium: Any, l_type: Any) -> tuple[Any, ...]:
        """Rates of ca_i, ca_sr, ca_ss and R' from the transmembrane currents; rapid buffers."""
        ca_i, ca_sr, ca_ss = stores
        ratio = self.ec / ca_sr
        k_ca_sr = self.max_sr - (self.max_sr - self.min_sr) / (1.0 + ratio * ratio)
        opening = self.k1 / k_ca_sr * ca_ss * ca_ss
        release = self.v_rel * opening * r_prime / (self.k3 + opening) * (ca_sr - ca_ss)
        uptake = self.v_max_up * ca_i * ca_i / (ca_i * ca_i + self.k_up * self.k_up)
        leak = self.v_leak * (ca_sr - ca_i)
        transfer = self.v_xfer * (ca_ss - ca_i)
        current = _CAPACITANCE / (2.0 * _FARADAY)
        into_i = transfer + (leak - uptake) * (_SR_VOLUME / _VOLUME) - calcium * (current / _VOLUME)
        into_ss = release * (_SR_VOLUME / _SS_VOLUME) - transfer * (_VOLUME / _SS_VOLUME)
        into_ss = into_ss - l_type * (current / _SS_VOLUME)
        return (
            into_i * _free(ca_i, self.buf_c, self.k_buf_c),
            (uptake - release - leak) * _free(ca_sr, self.buf_sr, self.k_buf_sr),
            into_ss * _free(ca_ss, self.buf_ss, self.k_buf_ss),
            self.k4 * (1.0 - r_prime) - self.k2 * k_ca_sr * ca_ss * r_prime,
        )

    def _calcium_gate(self, ca_ss: Any, f_cass: Any) -> Any:
        """Rate of f_cass."""
        x = ca_ss * (1.0 / 0.05)
        free = 1.0 / (1.0 + x * x)
        return (0.6 * free + 0.4 - f_cass) / (80.0 * free + 2.0)

    def _gates(self, v: Any) -> tuple[Gate, ...]:
        """m, h, j, xr1, xr2, xs, r, s, d, f, f2. Exponentials with commensurable slopes are powers of one."""
        e200, e14, e15 = jnp.exp(v * (1.0 / 200.0)), jnp.exp(v * (1.0 / 14.0)), jnp.exp(v * (1.0 / 15.0))
        e6 = jnp.exp(v * (1.0 / 6.0))
        e20 = e200**10
        e10, e7 = e20 * e20, e14 * e14
        e5 = e10 * e10
        m_inf = rising(jnp.exp(v * (1.0 / 9.03)), 56.86 / 9.03)
        tau_m = 0.1 * rising(e5, 12.0) * (falling(e5, 7.0) + falling(e200, -0.25))
        h_inf = falling(jnp.exp(v * (1.0 / 7.43)), 71.55 / 7.43)
        h_inf = h_inf * h_inf
        h_rate, j_rate = self._sodium_inactivation(v)
        tau_xr1 = 2700.0 * rising(e10, 4.5) * falling(jnp.exp(v * (1.0 / 11.5)), 30.0 / 11.5)
        tau_xr2 = 3.36 * rising(e20, 3.0) * falling(e20, -3.0)
        tau_xs = 1400.0 * jnp.sqrt(rising(e6, -5.0 / 6.0)) * falling(e15, -35.0 / 15.0) + 80.0
        tau_r = 9.5 * _bell(v, 40.0, 1800.0) + 0.8
        tau_s = self.s_peak * _bell(v, self.s_center, self.s_width) + self.s_step * falling(e5, -4.0) + self.s_floor
        tau_d = (1.4 * rising(jnp.exp(v * (1.0 / 13.0)), 35.0 / 13.0) + 0.25) * 1.4 * falling(e5, 1.0)
        tau_d = tau_d + rising(e20, -2.5)
        low = falling(e10, 3.0)
        tau_f = 1102.5 * _bell(v, 27.0, 225.0) + 200.0 * rising(e10, -1.3) + 180.0 * low + 20.0
        tau_f2 = self.f2_peak * _bell(v, self.f2_center, self.f2_width) + 31.0 * rising(e10, -2.5) + self.f2_low * low
        return (
            Gate(m_inf * m_inf, tau_m),
            Gate(h_inf, 1.0 / h_rate),
            Gate(h_inf, 1.0 / j_rate),
            Gate(rising(e7, 26.0 / 7.0), tau_xr1),
            Gate(falling(jnp.exp(v * (1.0 / 24.0)), 88.0 / 24.0), tau_xr2),
            Gate(rising(e14, 5.0 / 14.0), tau_xs),
            Gate(rising(e6, -20.0 / 6.0), tau_r),
            Gate(1.0 / (1.0 + e5 * jnp.exp(0.2 * self.s_half)), tau_s),
            Gate(rising(e15 * e15, 8.0 / 7.5), tau_d),
            Gate(falling(e7, 20.0 / 7.0), tau_f),
            Gate(0.67 * falling(e7, 5.0) + 0.33, tau_f2),
        )

    def _sodium_inactivation(self, v: Any) -> tuple[Any, Any]:
        """1 / tau of h and j: one formula below -40 mV, another above."""
        h_below = 0.057 * jnp.exp((v + 80.0) * (-1.0 / 6.8)) + 2.7 * jnp.exp(0.079 * v) + 3.1e5 * jnp.exp(0.3485 * v)
        h_above = (0.77 / 0.13) / (1.0 + jnp.exp((v + 10.66) * (-1.0 / 11.1)))
        j_alpha = -(2.5428e4 * jnp.exp(0.2444 * v) + 6.948e-6 * jnp.exp(-0.04391 * v)) * (v + 37.78)
        j_alpha = j_alpha / (1.0 + jnp.exp(0.311 * (v + 79.23)))
        j_below = j_alpha + 0.02424 * jnp.exp(-0.01052 * v) / (1.0 + jnp.exp(-0.1378 * (v + 40.14)))
        j_above = 0.6 * jnp.exp(0.057 * v) / (1.0 + jnp.exp(-0.1 * (v + 32.0)))
        return (
            switch(v + 40.0, above=h_above, below=h_below, width=self.gate_width),
            switch(v + 40.0, above=j_above, below=j_below, width=self.gate_width),
        )


def _bell(v: Any, center: Any, width: Any) -> Any:
    """exp(-(v + center)^2 / width)."""
    x = v + center
    return jnp.exp(-x * x * (1.0 / width))


def _free(calcium: Any, total: Any, half: Any) -> Any:
    """Share of a change of total calcium that stays free, for a rapid buffer."""
    bound = half + calcium
    return bound * bound / (bound * bound + total * half)
