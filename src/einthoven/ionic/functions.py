"""Functions that several membrane models share: thresholds, sigmoids and the removable singularity x / (exp(x) - 1)."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from einthoven.core import InputError


def switch(x: Any, *, above: Any, below: Any, width: float) -> Any:
    """`above` where x >= 0 and `below` elsewhere: exact if width is 0, else blended by logistic(x / width).

    Both sides must be finite everywhere. Each is weighted on its own, so that one that grows fast beyond the threshold
    does not cancel.
    """
    if width == 0:
        return jnp.where(x >= 0.0, above, below)
    return above * jax.lax.logistic(x / width) + below * jax.lax.logistic(-x / width)


def rising(exponential: Any, ratio: float) -> Any:
    """1 / (1 + exp(-(v + a) / b)), from exponential = exp(v / b) and ratio = a / b."""
    return exponential / (exponential + math.exp(-ratio))


def falling(exponential: Any, ratio: float) -> Any:
    """1 / (1 + exp((v + a) / b)), from exponential = exp(v / b) and ratio = a / b."""
    return 1.0 / (1.0 + math.exp(ratio) * exponential)


def bernoulli(x: Any) -> Any:
    """Bernoulli function x / (exp(x) - 1), which is 1 at x = 0; value and derivative are right there.

    Below |x| = 0.05 the series 1 - x/2 + x^2/12 - x^4/720 takes over (error 5e-13). Note that
    x exp(x) / (exp(x) - 1) = bernoulli(x) + x.
    """
    small = jnp.abs(x) < 0.05
    safe = jnp.where(small, 1.0, x)
    square = x * x
    series = 1.0 - 0.5 * x + square * (1.0 / 12.0 - square * (1.0 / 720.0))
    return jnp.where(small, series, safe / (jnp.exp(safe) - 1.0))


def check_width(width: float, *, below: float = math.inf) -> None:
    """Refuse a gate width that is not a number from 0 to `below`."""
    if not 0 <= width < below:
        limit = f" and below {below:g}, where both formulas still fade" if below < math.inf else ""
        raise InputError(f"gate_width must be 0 (exact thresholds) or positive{limit}; got {width:g}.")
