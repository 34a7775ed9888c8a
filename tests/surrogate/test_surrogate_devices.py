"""Training over several devices: four virtual ones give what one gives."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).with_name("devices_script.py")


def numbers(devices: int) -> dict:
    path = os.pathsep.join(filter(None, [str(SCRIPT.parents[1]), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    environment["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
    done = subprocess.run([sys.executable, str(SCRIPT)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_four_devices_train_as_one_does():
    one, four = numbers(1), numbers(4)
    assert (one.pop("devices"), four.pop("devices")) == (1, 4)
    assert (one.pop("pieces"), four.pop("pieces")) == ([0, 0], [4, 4])
    assert (one.pop("odd"), four.pop("odd")) == ([7], [7, 7, 7, 7])
    for name, found in one.items():
        assert np.allclose(four[name], found, rtol=2e-4), name
