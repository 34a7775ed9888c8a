"""Peak memory of a part of a run."""

import contextlib
from pathlib import Path
from types import TracebackType


class PeakMemory:
    """Largest resident memory of this process within a ``with`` block, MB; None where the system does not tell.

    Linux resets its high-water mark on request, so that what was needed before does not count; what is still held does.
    """

    def __init__(self):
        self.mb: float | None = None

    def __enter__(self) -> "PeakMemory":
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        return self

    def __exit__(self, kind: type | None, problem: BaseException | None, trace: TracebackType | None) -> None:
        with contextlib.suppress(OSError):
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    self.mb = int(line.split()[1]) / 1024
