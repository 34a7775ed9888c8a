"""The two biophysical models written out as in their papers, one exponential for each: what fast forms must equal."""

from math import exp, log, sqrt

RTF = 8.314472 * 310 / 96.4853415  # ten Tusscher-Panfilov
RTF_ATRIAL = 8.3143 * 310 / 96.4867


def ten_tusscher_panfilov(v: float, x: dict[str, float], *, endocardial: bool = False, g_ks: float = 0.392) -> dict:
    """Rates of v and every state."""
    e_na, e_k = RTF * log(140 / x["na_i"]), RTF * log(5.4 / x["k_i"])
    e_ks = RTF * log((5.4 + 0.03 * 140) / (x["k_i"] + 0.03 * x["na_i"]))
    e_ca = 0.5 * RTF * log(2.0 / x["ca_i"])
    a_k1 = 0.1 / (1 + exp(0.06 * (v - e_k - 200)))
    b_k1 = (3 * exp(0.0002 * (v - e_k + 100)) + exp(0.1 * (v - e_k - 10))) / (1 + exp(-0.5 * (v - e_k)))
    i_k1 = 5.405 * a_k1 / (a_k1 + b_k1) * (v - e_k)
    i_to = (0.073 if endocardial else 0.294) * x["r"] * x["s"] * (v - e_k)
    i_kr = 0.153 * x["xr1"] * x["xr2"] * (v - e_k)
    i_ks = g_ks * x["xs"] ** 2 * (v - e_ks)
    i_na = 14.838 * x["m"] ** 3 * x["h"] * x["j"] * (v - e_na)
    y = exp(2 * (v - 15) / RTF)
    drive = 4 * (v - 15) * 96.4853415 / RTF * (0.25 * x["ca_ss"] * y - 2.0) / (y - 1)
    i_cal = 0.0398 * x["d"] * x["f"] * x["f2"] * x["f_cass"] * drive
    sat = (87.5**3 + 140**3) * (1.38 + 2) * (1 + 0.1 * exp((0.35 - 1) * v / RTF))
    i_naca = exp(0.35 * v / RTF) * x["na_i"] ** 3 * 2 - exp((0.35 - 1) * v / RTF) * 140**3 * x["ca_i"] * 2.5
    i_naca = 1000 * i_naca / sat
    i_nak = 2.724 * 5.4 / (5.4 + 1) * x["na_i"] / (x["na_i"] + 40)
    i_nak = i_nak / (1 + 0.1245 * exp(-0.1 * v / RTF) + 0.0353 * exp(-v / RTF))
    i_pca, i_pk = 0.1238 * x["ca_i"] / (x["ca_i"] + 0.0005), 0.0146 * (v - e_k) / (1 + exp((25 - v) / 5.98))
    i_bna, i_bca = 0.00029 * (v - e_na), 0.000592 * (v - e_ca)
    k_casr = 2.5 - (2.5 - 1) / (1 + (1.5 / x["ca_sr"]) ** 2)
    k1, k2 = 0.15 / k_casr, 0.045 * k_casr
    o = k1 * x["ca_ss"] ** 2 * x["r_prime"] / (0.06 + k1 * x["ca_ss"] ** 2)
    rel, leak = 0.102 * o * (x["ca_sr"] - x["ca_ss"]), 0.00036 * (x["ca_sr"] - x["ca_i"])
    up, xfer = 0.006375 / (1 + 0.00025**2 / x["ca_i"] ** 2), 0.0038 * (x["ca_ss"] - x["ca_i"])
    f = 96.4853415
    d_i = xfer + (leak - up) * 1094 / 16404 - (i_bca + i_pca - 2 * i_naca) * 185 / (2 * 16404 * f)
    d_ss = -xfer * 16404 / 54.68 + rel * 1094 / 54.68 - i_cal * 185 / (2 * 54.68 * f)
    rates = {
        "v": -(i_k1 + i_to + i_kr + i_ks + i_cal + i_nak + i_na + i_bna + i_naca + i_bca + i_pk + i_pca),
        "ca_i": d_i / (1 + 0.2 * 0.001 / (x["ca_i"] + 0.001) ** 2),
        "ca_sr": (up - rel - leak) / (1 + 10 * 0.3 / (x["ca_sr"] + 0.3) ** 2),
        "ca_ss": d_ss / (1 + 0.4 * 0.00025 / (x["ca_ss"] + 0.00025) ** 2),
        "na_i": -(i_na + i_bna + 3 * i_nak + 3 * i_naca) * 185 / (16404 * f),
        "k_i": -(i_k1 + i_to + i_kr + i_ks + i_pk - 2 * i_nak) * 185 / (16404 * f),
        "r_prime": -k2 * x["ca_ss"] * x["r_prime"] + 0.005 * (1 - x["r_prime"]),
    }
    if v < -40:
        a_h, b_h = 0.057 * exp(-(v + 80) / 6.8), 2.7 * exp(0.079 * v) + 310000 * exp(0.3485 * v)
        a_j = (-25428 * exp(0.2444 * v) - 6.948e-6 * exp(-0.04391 * v)) * (v + 37.78) / (1 + exp(0.311 * (v + 79.23)))
        b_j = 0.02424 * exp(-0.01052 * v) / (1 + exp(-0.1378 * (v + 40.14)))
    else:
        a_h, b_h = 0.0, 0.77 / (0.13 * (1 + exp(-(v + 10.66) / 11.1)))
        a_j, b_j = 0.0, 0.6 * exp(0.057 * v) / (1 + exp(-0.1 * (v + 32)))
    h_inf = 1 / (1 + exp((v + 71.55) / 7.43)) ** 2
    tau_m = 0.1 / (1 + exp((v + 35) / 5)) + 0.1 / (1 + exp((v - 50) / 200))
    tau_d = (1.4 / (1 + exp((-35 - v) / 13)) + 0.25) * 1.4 / (1 + exp((v + 5) / 5)) + 1 / (1 + exp((50 - v) / 20))
    tau_f = 1102.5 * exp(-((v + 27) ** 2) / 225) + 200 / (1 + exp((13 - v) / 10)) + 180 / (1 + exp((v + 30) / 10)) + 20
    tau_f2 = 562 * exp(-((v + 27) ** 2) / 240) + 31 / (1 + exp((25 - v) / 10)) + 80 / (1 + exp((v + 30) / 10))
    if endocardial:
        s_inf, tau_s = 1 / (1 + exp((v + 28) / 5)), 1000 * exp(-((v + 67) ** 2) / 1000) + 8
    else:
        s_inf = 1 / (1 + exp((v + 20) / 5))
        tau_s = 85 * exp(-((v + 45) ** 2) / 320) + 5 / (1 + exp((v - 20) / 5)) + 3
    q = 1 + (x["ca_ss"] / 0.05) ** 2
    gates = {
        "m": (1 / (1 + exp((-56.86 - v) / 9.03)) ** 2, tau_m / (1 + exp((-60 - v) / 5))),
        "h": (h_inf, 1 / (a_h + b_h)),
        "j": (h_inf, 1 / (a_j + b_j)),
        "xr1": (1 / (1 + exp((-26 - v) / 7)), 450 / (1 + exp((-45 - v) / 10)) * 6 / (1 + exp((v + 30) / 11.5))),
        "xr2": (1 / (1 + exp((v + 88) / 24)), 3 / (1 + exp((-60 - v) / 20)) * 1.12 / (1 + exp((v - 60) / 20))),
        "xs": (1 / (1 + exp((-5 - v) / 14)), 1400 / sqrt(1 + exp((5 - v) / 6)) / (1 + exp((v - 35) / 15)) + 80),
        "r": (1 / (1 + exp((20 - v) / 6)), 9.5 * exp(-((v + 40) ** 2) / 1800) + 0.8),
        "s": (s_inf, tau_s),
        "d": (1 / (1 + exp((-8 - v) / 7.5)), tau_d),
        "f": (1 / (1 + exp((v + 20) / 7)), tau_f),
        "f2": (0.67 / (1 + exp((v + 35) / 7)) + 0.33, tau_f2),
        "f_cass": (0.6 / q + 0.4, 80 / q + 2),
    }
    return rates | {k: (inf - x[k]) / tau for k, (inf, tau) in gates.items()}


def courtemanche(v: float, x: dict[str, float]) -> dict:
    """Rates of v and every state."""
    f, rtf = 96.4867, RTF_ATRIAL
    v_i, v_up, v_rel = 20100 * 0.68, 20100 * 0.0552, 20100 * 0.0048
    e_na, e_k = rtf * log(140 / x["na_i"]), rtf * log(5.4 / x["k_i"])
    e_ca = 0.5 * rtf * log(1.8 / x["ca_i"])
    i_na = 7.8 * x["m"] ** 3 * x["h"] * x["j"] * (v - e_na)
    i_k1 = 0.09 * (v - e_k) / (1 + exp(0.07 * (v + 80)))
    i_to = 0.1652 * x["oa"] ** 3 * x["oi"] * (v - e_k)
    i_kur = (0.005 + 0.05 / (1 + exp((v - 15) / -13))) * x["ua"] ** 3 * x["ui"] * (v - e_k)
    i_kr = 0.029411765 * x["xr"] * (v - e_k) / (1 + exp((v + 15) / 22.4))
    i_ks = 0.12941176 * x["xs"] ** 2 * (v - e_k)
    i_cal = 0.12375 * x["d"] * x["f"] * x["f_ca"] * (v - 65)
    sigma = (exp(140 / 67.3) - 1) / 7
    i_nak = 0.59933874 / (1 + 0.1245 * exp(-0.1 * v / rtf) + 0.0365 * sigma * exp(-v / rtf))
    i_nak = i_nak * 5.4 / (5.4 + 1.5) / (1 + (10 / x["na_i"]) ** 1.5)
    i_naca = exp(0.35 * v / rtf) * x["na_i"] ** 3 * 1.8 - exp((0.35 - 1) * v / rtf) * 140**3 * x["ca_i"]
    i_naca = 1600 * i_naca / ((87.5**3 + 140**3) * (1.38 + 1.8) * (1 + 0.1 * exp((0.35 - 1) * v / rtf)))
    i_bca, i_bna, i_pca = 0.001131 * (v - e_ca), 0.0006744375 * (v - e_na), 0.275 * x["ca_i"] / (0.0005 + x["ca_i"])
    rel, tr = 30 * x["u"] ** 2 * x["v"] * x["w"] * (x["ca_rel"] - x["ca_i"]), (x["ca_up"] - x["ca_rel"]) / 180
    up, leak = 0.005 / (1 + 0.00092 / x["ca_i"]), 0.005 * x["ca_up"] / 15
    b1 = (2 * i_naca - (i_pca + i_cal + i_bca)) * 100 / (2 * v_i * f) + (v_up * (leak - up) + rel * v_rel) / v_i
    b2 = 1 + 0.07 * 0.0005 / (x["ca_i"] + 0.0005) ** 2 + 0.05 * 0.00238 / (x["ca_i"] + 0.00238) ** 2
    potassium = i_k1 + i_to + i_kur + i_kr + i_ks - 2 * i_nak
    rates = {
        "membrane": -(i_na + i_k1 + i_to + i_kur + i_kr + i_ks + i_cal + i_pca + i_nak + i_naca + i_bna + i_bca),
        "na_i": (-3 * i_nak - (3 * i_naca + i_bna + i_na)) * 100 / (v_i * f),
        "k_i": -potassium * 100 / (v_i * f),
        "ca_i": b1 / b2,
        "ca_up": up - (leak + tr * v_rel / v_up),
        "ca_rel": (tr - rel) / (1 + 10 * 0.8 / (x["ca_rel"] + 0.8) ** 2),
    }
    a_m, b_m = 0.32 * (v + 47.13) / (1 - exp(-0.1 * (v + 47.13))), 0.08 * exp(-v / 11)
    if v < -40:
        a_h, b_h = 0.135 * exp((v + 80) / -6.8), 3.56 * exp(0.079 * v) + 3.1e5 * exp(0.35 * v)
        a_j = (-127140 * exp(0.2444 * v) - 3.474e-5 * exp(-0.04391 * v)) * (v + 37.78) / (1 + exp(0.311 * (v + 79.23)))
        b_j = 0.1212 * exp(-0.01052 * v) / (1 + exp(-0.1378 * (v + 40.14)))
    else:
        a_h, b_h = 0.0, 1 / (0.13 * (1 + exp((v + 10.66) / -11.1)))
        a_j, b_j = 0.0, 0.3 * exp(-2.535e-7 * v) / (1 + exp(-0.1 * (v + 32)))
    rate_o = 0.65 / (exp((v + 10) / -8.5) + exp((v - 30) / -59)) + 0.65 / (2.5 + exp((v + 82) / 17))
    rate_oi = 1 / (18.53 + exp((v + 113.7) / 10.95)) + 1 / (35.56 + exp((v + 1.26) / -7.44))
    rate_ui = 1 / (21 + exp((v - 185) / -28)) + 1 / exp((v - 158) / -16)
    rate_xr = 0.0003 * (v + 14.1) / (1 - exp((v + 14.1) / -5))
    rate_xr += 7.3898e-5 * (v - 3.3328) / (exp((v - 3.3328) / 5.1237) - 1)
    rate_xs = 4e-5 * (v - 19.9) / (1 - exp((v - 19.9) / -17)) + 3.5e-5 * (v - 19.9) / (exp((v - 19.9) / 9) - 1)
    tau_d = (1 - exp((v + 10) / -6.24)) / (0.035 * (v + 10) * (1 + exp((v + 10) / -6.24)))
    flux = 1e-12 * v_rel * rel - 5e-13 / f * (0.5 * i_cal - 0.2 * i_naca) * 100
    active = 1 / (1 + exp(-(flux - 3.4175e-13) / 13.67e-16))
    e = exp(-(v - 7.9) / 5)
    gates = {
        "m": (a_m / (a_m + b_m), 1 / (a_m + b_m)),
        "h": (a_h / (a_h + b_h), 1 / (a_h + b_h)),
        "j": (a_j / (a_j + b_j), 1 / (a_j + b_j)),
        "oa": (1 / (1 + exp((v + 20.47) / -17.54)), 1 / rate_o / 3),
        "oi": (1 / (1 + exp((v + 43.1) / 5.3)), 1 / rate_oi / 3),
        "ua": (1 / (1 + exp((v + 30.3) / -9.6)), 1 / rate_o / 3),
        "ui": (1 / (1 + exp((v - 99.45) / 27.48)), 1 / rate_ui / 3),
        "xr": (1 / (1 + exp((v + 14.1) / -6.5)), 1 / rate_xr),
        "xs": (1 / sqrt(1 + exp((v - 19.9) / -12.7)), 0.5 / rate_xs),
        "d": (1 / (1 + exp((v + 10) / -8)), tau_d),
        "f": (1 / (1 + exp((v + 28) / 6.9)), 9 / (0.0197 * exp(-(0.0337**2) * (v + 10) ** 2) + 0.02)),
        "f_ca": (1 / (1 + x["ca_i"] / 0.00035), 2.0),
        "u": (active, 8.0),
        "v": (1 - 1 / (1 + exp(-(flux - 6.835e-14) / 13.67e-16)), 1.91 + 2.09 * active),
        "w": (1 - 1 / (1 + exp(-(v - 40) / 17)), 6 * (1 - e) / ((1 + 0.3 * e) * (v - 7.9))),
    }
    return rates | {k: (inf - x[k]) / tau for k, (inf, tau) in gates.items()}
