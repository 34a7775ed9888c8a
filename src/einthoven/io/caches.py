"""The one folder in which the package keeps what it can make or fetch again; deleting it costs time only."""

import os
from pathlib import Path
from typing import Literal

#: Names the folder, where it is set.
CACHE_DIR = "EINTHOVEN_CACHE_DIR"


def cache_folder(part: Literal["kernels", "beats", "datasets"]) -> Path:
    """Where a part of the cache is; makes nothing.

    Parameters
    ----------
    part
        Compiled kernels, beats of the built-in cases, or downloaded datasets.

    Returns
    -------
    Path
        A sub-folder of what ``EINTHOVEN_CACHE_DIR`` names, else of the user's cache folder (``pooch.os_cache``).
    """
    root = os.environ.get(CACHE_DIR)
    if not root:
        import pooch

        root = pooch.os_cache("einthoven")
    return Path(root) / part
