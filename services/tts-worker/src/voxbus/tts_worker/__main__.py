"""Run the text-to-speech worker: `python -m voxbus.tts_worker`."""

from __future__ import annotations

from voxbus.runtime.process import run_worker
from voxbus.tts_worker.service import TtsService
from voxbus.tts_worker.settings import DEFAULT_CAPACITY, Settings

if __name__ == "__main__":
    run_worker("tts-worker", Settings, TtsService, default_capacity=DEFAULT_CAPACITY)
