"""How time is stepped: splitting of membrane and diffusion, and how diffusion is solved."""

from dataclasses import dataclass

from einthoven.core import InputError


@dataclass(frozen=True)
class Explicit:
    """Diffusion by forward Euler (`order` 1) or Heun's method (`order` 2); dt is bounded by the mesh."""

    order: int = 1

    def __post_init__(self):
        if self.order not in (1, 2):
            raise InputError(f"explicit diffusion has order 1 (Euler) or 2 (Heun); got {self.order}.")


@dataclass(frozen=True)
class SemiImplicit:
    """Diffusion by the theta rule, solved by conjugate gradients: no bound on dt.

    (I - theta dt A) v+ = (I + (1 - theta) dt A) v; theta 1/2 (Crank & Nicolson) is second order, 1 (backward Euler)
    damps.

    Parameters
    ----------
    theta
        1/2 to 1.
    tolerance
        Relative residual at which the iteration stops.
    """

    theta: float = 0.5
    tolerance: float = 1e-10

    def __post_init__(self):
        if not 0.5 <= self.theta <= 1:
            raise InputError(
                f"theta must be 0.5 to 1; got {self.theta:g}. Below 0.5 the rule is not stable for every dt."
            )
        if not 0 < self.tolerance < 1e-2:
            raise InputError(f"the solver's tolerance must be positive and below 1e-2; got {self.tolerance:g}.")


@dataclass(frozen=True)
class Godunov:
    """Diffusion for dt, then the membrane for dt: first order in dt, one fused pass over memory when explicit."""

    diffusion: Explicit | SemiImplicit = Explicit()


@dataclass(frozen=True)
class Strang:
    """Diffusion for dt/2, the membrane for dt by a second-order method, diffusion for dt/2: second order in dt."""

    diffusion: Explicit | SemiImplicit = Explicit(order=2)


Scheme = Godunov | Strang
