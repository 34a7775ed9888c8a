"""Methods and rules by name, as in the command line."""

from collections.abc import Callable
from difflib import get_close_matches

from einthoven.core import InputError, Recording, Solver
from einthoven.inverse.fundamental_solutions import FundamentalSolutions
from einthoven.inverse.greensite import Greensite
from einthoven.inverse.noise import NoiseCovariance
from einthoven.inverse.rules import CRESO, GCV, Discrepancy, Fixed, LCurve, Oracle, RobustGCV, Rule, UCurve
from einthoven.inverse.stre import Stre
from einthoven.inverse.tikhonov import Tikhonov, TruncatedSVD
from einthoven.inverse.total_variation import TotalVariation

#: Solvers by name: each entry takes a rule and a noise covariance (or None).
METHODS: dict[str, Callable[[Rule, NoiseCovariance | None], Solver]] = {
    "tikhonov0": lambda rule, noise: Tikhonov(0, rule, noise),
    "tikhonov1": lambda rule, noise: Tikhonov(1, rule, noise),
    "tikhonov2": lambda rule, noise: Tikhonov(2, rule, noise),
    "tsvd": lambda rule, noise: TruncatedSVD(rule, noise=noise),
    "greensite": lambda rule, noise: Greensite(rule, noise=noise),
    "stre": lambda rule, noise: Stre(rule, noise=noise),
    "tv": lambda rule, noise: TotalVariation(rule, noise=noise),
    "mfs": lambda rule, noise: FundamentalSolutions(rule, noise=noise),
}

#: Names of rules; ``fixed`` takes a value after a colon.
RULES: tuple[str, ...] = ("lcurve", "gcv", "rgcv", "creso", "ucurve", "discrepancy", "oracle", "fixed:VALUE")


def make_solver(method: str, rule: Rule, *, noise: NoiseCovariance | None = None) -> Solver:
    """Return the solver of that name.

    Parameters
    ----------
    method
        One of `METHODS`.
    rule
        Chooses the weight, as returned by `make_rule`.
    noise
        Covariance of the leads' noise, for whitening.

    Raises
    ------
    InputError
        If there is no such method; the message lists them and the closest match.
    """
    if method not in METHODS:
        raise InputError(_unknown("method", method, tuple(METHODS)))
    return METHODS[method](rule, noise)


def make_rule(
    text: str, *, truth: Recording | None = None, gamma: float | None = None, sigma: float | None = None
) -> Rule:
    """Return the rule of that name.

    Parameters
    ----------
    text
        One of `RULES`, for example ``"lcurve"`` or ``"fixed:0.1"``.
    truth
        Needed by ``oracle``.
    gamma
        Of ``rgcv``; default `RobustGCV.gamma`.
    sigma
        Standard deviation of the noise for ``discrepancy``, mV; default: from the recording's quietest window.

    Raises
    ------
    InputError
        If there is no such rule, the value of ``fixed:`` is not a positive number, or ``oracle`` lacks its truth.
    """
    name, _, value = text.partition(":")
    simple = {"lcurve": LCurve, "gcv": GCV, "creso": CRESO, "ucurve": UCurve}
    if name == "fixed":
        return Fixed(_number(text, value))
    if value or name not in (*simple, "rgcv", "discrepancy", "oracle"):
        raise InputError(_unknown("rule", text, RULES))
    if name == "rgcv":
        return RobustGCV() if gamma is None else RobustGCV(gamma)
    if name == "discrepancy":
        return Discrepancy(sigma)
    if name == "oracle":
        if truth is None:
            raise InputError("the rule oracle needs the measured truth, and there is none here; use lcurve or rgcv.")
        return Oracle(truth)
    return simple[name]()


def _number(text: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise InputError(f"rule {text!r}: fixed needs a number after the colon, for example fixed:0.1.") from None


def _unknown(what: str, given: str, names: tuple[str, ...]) -> str:
    close = get_close_matches(given, names, n=1, cutoff=0.4)
    hint = f" Did you mean {close[0]}?" if close else ""
    return f"unknown {what} {given!r}; there is {', '.join(names)}.{hint}"
