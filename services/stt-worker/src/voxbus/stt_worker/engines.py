"""What all calls of a worker share."""

from __future__ import annotations

from dataclasses import dataclass

from voxbus.stt_worker.pool import InferencePool
from voxbus.stt_worker.smart_turn import SmartTurn
from voxbus.stt_worker.vad import VadTicker


@dataclass(frozen=True)
class Engines:
    """Models and the threads they run on."""

    vad: VadTicker
    smart_turn: SmartTurn
    pool: InferencePool
