"""Fixtures shared by all tests."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# no test asserts a time: a busy machine must not fail one. The same examples in every run, so that a failure is a
# change of the code; HYPOTHESIS_PROFILE=explore looks for new ones.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


# Beside other work, threads of BLAS wait for each other, spinning: up to 15 times the processor time. The workers of
# pytest-xdist inherit this before they load NumPy.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# most of the time of tests in JAX is compilation
os.environ.setdefault("XLA_FLAGS", "--xla_llvm_disable_expensive_passes=true --xla_backend_optimization_level=0")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: what is left at the end is quick, so that no worker waits long for the other."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tests run side by side: parallel kernels take one thread each, where a test does not ask for more."""
    import numba

    numba.set_num_threads(1)


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C raises `KeyboardInterrupt`, also where the tests were started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def sheet_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stored set of twenty small sheets; not to be changed."""
    from einthoven.studies.sheet_sets import make_sheets
    from surrogate_cases import recipe

    path = tmp_path_factory.mktemp("sheets")
    make_sheets(recipe(), path)
    return path


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder with the measured recordings; tests that need it skip only where none is named."""
    folder = os.environ.get("EINTHOVEN_DATA_DIR")
    if not folder:
        pytest.skip("EINTHOVEN_DATA_DIR is not set: the tests on measured recordings did not run")
    path = Path(folder)
    assert path.is_dir(), f"EINTHOVEN_DATA_DIR names {path}, which is not a folder"
    return path
