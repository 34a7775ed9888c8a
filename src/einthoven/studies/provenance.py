"""What was run: versions, machine, checksums of the data."""

import hashlib
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from einthoven.core import Case

#: Packages whose version can change a number.
PACKAGES = ("einthoven", "numpy", "scipy", "numba", "jax")


def versions(packages: Sequence[str] | None = None) -> dict[str, str]:
    """Return the versions of packages; without names, of Python and of those whose version can change a number."""
    found = {"python": platform.python_version()} if packages is None else {}
    for package in PACKAGES if packages is None else packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found


def machine() -> dict[str, Any]:
    """Return processor, system and number of cores."""
    import os

    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
    }


def _processor() -> str:
    if sys.platform == "linux":
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def checksum(*arrays: np.ndarray) -> str:
    """SHA-256 over shapes, types and bytes of the arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def case_checksums(case: Case) -> dict[str, str]:
    """Checksums of everything a case holds, by name."""
    found = {r.surface.name: checksum(r.surface.points, r.surface.triangles) for r in case.conductor.regions}
    for source in case.sources:
        found[source.surface.name] = checksum(source.surface.points, source.surface.triangles)
        if source.truth is not None:
            found[f"{source.surface.name} truth"] = checksum(source.truth.values, source.truth.times)
    found["electrodes"] = checksum(case.electrodes.positions)
    if case.recording is not None:
        found["recording"] = checksum(case.recording.values, case.recording.times)
    return found
