"""Run the speech-to-text worker: `python -m voxbus.stt_worker`."""

from __future__ import annotations

from voxbus.runtime.process import run_worker
from voxbus.stt_worker.service import SttService
from voxbus.stt_worker.settings import STREAMS_PER_CORE, Settings, usable_cores

if __name__ == "__main__":
    run_worker("stt-worker", Settings, SttService, default_capacity=STREAMS_PER_CORE * usable_cores())
