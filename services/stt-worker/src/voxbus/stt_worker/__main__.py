"""Run the speech-to-text worker: `python -m voxbus.stt_worker`."""

from __future__ import annotations

from voxbus.runtime.process import run_worker
from voxbus.stt_worker.service import SttService
from voxbus.stt_worker.settings import DEFAULT_CAPACITY, Settings

if __name__ == "__main__":
    run_worker("stt-worker", Settings, SttService, default_capacity=DEFAULT_CAPACITY)
