"""When each step of a turn happened, by the gateway's clock."""

from __future__ import annotations

import time
from dataclasses import dataclass

from voxbus.contracts.call import TurnTimings


@dataclass
class TurnClock:
    """Seconds of the monotonic clock; None: has not happened."""

    speech_end: float
    turn_decided: float | None = None
    first_token: float | None = None
    first_sentence: float | None = None
    first_audio: float | None = None
    first_played: float | None = None
    stt_ms: float | None = None
    llm_ms: float | None = None
    tts_ms: float | None = None

    @classmethod
    def unprompted(cls) -> TurnClock:
        """Of a turn that the agent starts by itself: its steps count from now."""
        return cls(speech_end=time.monotonic())

    def mark(self, step: str) -> None:
        """The step has happened now, unless it had before."""
        if getattr(self, step) is None:
            setattr(self, step, time.monotonic())

    def timings(self) -> TurnTimings:
        """In milliseconds after the end of speech."""

        def after(moment: float | None) -> float | None:
            return None if moment is None else round((moment - self.speech_end) * 1000, 1)

        return TurnTimings(
            turn_decided=after(self.turn_decided),
            first_token=after(self.first_token),
            first_sentence=after(self.first_sentence),
            first_audio=after(self.first_audio),
            first_played=after(self.first_played),
            stt_ms=self.stt_ms,
            llm_ms=self.llm_ms,
            tts_ms=self.tts_ms,
        )
