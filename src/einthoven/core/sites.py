"""Named sites: unique names, matching by name, electrodes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from einthoven.core.arrays import frozen
from einthoven.core.errors import InputError, some


def check_names(names: Sequence[str], what: str) -> tuple[str, ...]:
    """Return the names as a tuple; raise `InputError` if one is repeated or not text."""
    strange = [name for name in names if not isinstance(name, str)]
    if strange or isinstance(names, str):
        raise InputError(f"{what} must have names, a sequence of texts; got {some(strange) or repr(names)}.")
    seen, twice = set(), []
    for name in names:
        if name in seen:
            twice.append(name)
        seen.add(name)
    if twice:
        raise InputError(f"{what} must have unique names; {some(twice)} occur more than once. Rename them.")
    return tuple(names)


def match_names(wanted: Sequence[str], available: Sequence[str], what: str) -> list[int]:
    """Positions of `wanted` within `available`, by name.

    Raises
    ------
    InputError
        If a wanted name is missing; the message lists what there is.
    """
    position = {name: i for i, name in enumerate(available)}
    missing = [name for name in wanted if name not in position]
    if missing:
        raise InputError(
            f"{what}: no site named {some(missing)}; there are {some(available)}. "
            "Sites are matched by name: rename them or select the common ones."
        )
    return [position[name] for name in wanted]


def new_names(names: Sequence[str], changes: Mapping[str, str], what: str) -> tuple[str, ...]:
    """Apply changes of names; raises `InputError` if a name to change does not exist."""
    match_names(tuple(changes), names, what)
    return tuple(changes.get(name, name) for name in names)


@dataclass(frozen=True, eq=False)
class Electrodes:
    """Named electrodes on the body surface.

    Parameters
    ----------
    names
        One per electrode, unique.
    positions
        Shape (n_electrodes, 3), mm, in the coordinates of the torso.
    """

    names: tuple[str, ...]
    positions: Float[np.ndarray, "n_electrodes 3"]

    def __post_init__(self):
        object.__setattr__(self, "names", check_names(self.names, "electrodes"))
        positions = np.asarray(self.positions)
        if positions.shape != (len(self.names), 3):
            raise InputError(
                f"electrode positions must have shape ({len(self.names)}, 3), one row per name; got {positions.shape}."
            )
        bad = np.flatnonzero(~np.isfinite(positions).all(axis=1))
        if bad.size:
            raise InputError(
                f"electrode positions must be finite; {some(self.names[i] for i in bad)} hold NaN or infinity. "
                "Leave these electrodes out or re-digitize them."
            )
        object.__setattr__(self, "positions", frozen(positions, np.float64))

    def __repr__(self) -> str:
        return f"Electrodes({len(self)}: {some(self.names, limit=3)})"

    def __len__(self) -> int:
        return len(self.names)

    def select(self, names: Sequence[str]) -> "Electrodes":
        """Return the named electrodes, in the order given."""
        index = match_names(names, self.names, "electrodes")
        return Electrodes(tuple(names), self.positions[index])

    def renamed(self, names: Mapping[str, str]) -> "Electrodes":
        """Return the same electrodes with new names for those given; the others keep theirs."""
        return Electrodes(new_names(self.names, names, "electrodes"), self.positions)
