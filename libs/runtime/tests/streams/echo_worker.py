"""The echo stage as a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))

from echo_stage import EchoService

from voxbus.runtime.process import run_worker
from voxbus.runtime.settings import WorkerSettings

if __name__ == "__main__":
    run_worker("echo-worker", WorkerSettings, lambda _settings: EchoService())
