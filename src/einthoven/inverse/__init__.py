"""Heart-surface potentials from body-surface potentials: classical solvers and rules for their weight."""

from einthoven.inverse.fundamental_solutions import FundamentalSolutions
from einthoven.inverse.greensite import Greensite
from einthoven.inverse.noise import NoiseCovariance, quiet_sigma, quietest_window
from einthoven.inverse.registry import METHODS, RULES, make_rule, make_solver
from einthoven.inverse.rules import CRESO, GCV, Discrepancy, Fixed, LCurve, Oracle, RobustGCV, Rule, UCurve
from einthoven.inverse.stre import Stre
from einthoven.inverse.tikhonov import Tikhonov, TruncatedSVD
from einthoven.inverse.total_variation import TotalVariation

__all__ = [
    "CRESO",
    "GCV",
    "METHODS",
    "RULES",
    "Discrepancy",
    "Fixed",
    "FundamentalSolutions",
    "Greensite",
    "LCurve",
    "NoiseCovariance",
    "Oracle",
    "RobustGCV",
    "Rule",
    "Stre",
    "Tikhonov",
    "TotalVariation",
    "TruncatedSVD",
    "UCurve",
    "make_rule",
    "make_solver",
    "quiet_sigma",
    "quietest_window",
]
