"""One folder for all that is cached, and nothing made before it is needed."""

import os
import subprocess
import sys

import pooch
import pytest

from einthoven.datasets import registry
from einthoven.io.caches import CACHE_DIR, cache_folder
from einthoven.simulate import kernels_module
from einthoven.studies import kept


def users() -> list[str]:
    """Folders of compiled kernels, of beats and of a dataset."""
    record = registry.dataset("ptb-s0010")
    return [str(kernels_module.cache_folder()), str(kept.cache_folder()), str(registry._cache_folder(record))]


@pytest.fixture(autouse=True)
def no_numba_folder(monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)


def below(root) -> list[str]:
    return [os.path.join(root, *parts) for parts in (("kernels",), ("beats",), ("datasets", "ptb_12lead"))]


def test_everything_is_below_the_folder_that_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_DIR, str(tmp_path))
    assert users() == below(tmp_path)


@pytest.mark.parametrize("unset", [None, ""])
def test_without_a_name_it_is_the_users_cache(monkeypatch, unset):
    monkeypatch.delenv(CACHE_DIR, raising=False)
    if unset is not None:
        monkeypatch.setenv(CACHE_DIR, unset)
    assert users() == below(pooch.os_cache("einthoven"))


def test_numbas_own_folder_wins_for_kernels(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_DIR, str(tmp_path / "ours"))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "numba"))
    assert kernels_module.cache_folder() == tmp_path / "numba" / "einthoven-kernels"
    assert kept.cache_folder() == cache_folder("beats")


def test_importing_makes_no_folder_and_does_not_look_for_one(tmp_path):
    code = (
        "import sys; import einthoven.datasets.registry, einthoven.simulate.kernels_module, einthoven.studies.kept; "
        "print('pooch' in sys.modules)"
    )
    environment = os.environ | {CACHE_DIR: str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "False"
    assert not (tmp_path / "cache").exists()
