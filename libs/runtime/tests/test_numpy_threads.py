"""NumPy computes in the thread that asks."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.unit

THREADS = "import voxbus.runtime.audio, os; print(len(os.listdir('/proc/self/task')))"


@pytest.mark.parametrize(("asked", "expected"), [(None, 1), ("2", 2)])
def test_a_process_has_no_threads_of_numpy_unless_asked(asked: str | None, expected: int) -> None:
    """A process that has loaded NumPy through the runtime has one thread; a setting of the operator's own counts."""
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    if asked:
        environment["OPENBLAS_NUM_THREADS"] = asked
    done = subprocess.run([sys.executable, "-c", THREADS], env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) == expected
