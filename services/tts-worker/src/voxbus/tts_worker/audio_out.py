"""The audio of an utterance on its way to the owner: whole frames, grouped in messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from voxbus.contracts.audio import FRAME_BYTES, FRAME_US
from voxbus.runtime.audio import Reframer
from voxbus.runtime.streams import WorkerStream
from voxbus.tts_worker.pace import Pace

FIRST_FRAMES: Final = 3
"""The first message of a sentence is small, so that play-out can start while the rest is still being sent."""
MIN_FRAMES: Final = 10
MAX_FRAMES: Final = 25
SAFE_LEAD_S: Final = 0.4
"""With this much audio ahead of play-out, frames wait until `MIN_FRAMES` are there; with less, none waits."""


class AudioOut:
    """Sends chunks of any size; `timestamp_us` is the position in the utterance's audio of this attempt."""

    def __init__(self, stream: WorkerStream, pace: Pace) -> None:
        self._stream = stream
        self._pace = pace
        self._reframer = Reframer()
        self._waiting = b""
        self._on_first: Callable[[], Awaitable[None]] | None = None
        self._sentence_began_at = 0
        self.sent_frames = 0

    @property
    def sentence_ms(self) -> float:
        """Duration of what was sent of this sentence."""
        return (self.sent_frames - self._sentence_began_at) * FRAME_US / 1000

    def begin_sentence(self, on_first: Callable[[], Awaitable[None]]) -> None:
        """What follows is a new sentence; `on_first` is awaited before its first frame is sent."""
        self._reframer.flush()
        self._waiting = b""
        self._on_first = on_first
        self._sentence_began_at = self.sent_frames

    async def write(self, pcm: bytes) -> None:
        """More audio of the sentence."""
        self._waiting += self._reframer.push(pcm)
        while self._waiting:
            frames = len(self._waiting) // FRAME_BYTES
            first = self.sent_frames == self._sentence_began_at
            if not first and frames < MIN_FRAMES and self._pace.lead_s > SAFE_LEAD_S:
                return
            await self._send(FIRST_FRAMES if first else MAX_FRAMES)

    async def end_sentence(self) -> None:
        """All audio of the sentence was written; the last frame is padded with silence."""
        self._waiting += self._reframer.flush()
        while self._waiting:
            await self._send(MAX_FRAMES)

    async def _send(self, frames: int) -> None:
        pcm, self._waiting = self._waiting[: frames * FRAME_BYTES], self._waiting[frames * FRAME_BYTES :]
        if self._on_first is not None:
            on_first, self._on_first = self._on_first, None
            await on_first()
        timestamp_us = self.sent_frames * FRAME_US
        count = len(pcm) // FRAME_BYTES
        self.sent_frames += count
        self._pace.audio_sent(count * FRAME_US / 1e6)
        await self._stream.send_audio(pcm, timestamp_us)
