"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# no test asserts a time: a busy machine must not fail one
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder with the measured recordings; tests that need it skip only where none is named."""
    folder = os.environ.get("EINTHOVEN_DATA_DIR")
    if not folder:
        pytest.skip("EINTHOVEN_DATA_DIR is not set: the tests on measured recordings did not run")
    path = Path(folder)
    assert path.is_dir(), f"EINTHOVEN_DATA_DIR names {path}, which is not a folder"
    return path
