"""Simulated cases, built once."""

import pytest
from inverse_cases import Simulated, build


@pytest.fixture(scope="session")
def simulated() -> Simulated:
    """162 nodes, 64 leads, 24 frames, 1 % noise."""
    return build(2, 64, noise=0.01)


@pytest.fixture(scope="session")
def overdetermined() -> Simulated:
    """42 nodes, 120 leads, no noise."""
    return build(1, 120)


@pytest.fixture(scope="session")
def tiny() -> Simulated:
    """42 nodes, 16 leads, 6 frames, 5 % noise: small enough for dense solves in space and time."""
    return build(1, 16, n_times=6, noise=0.05)
