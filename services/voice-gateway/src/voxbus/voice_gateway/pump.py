"""The way of callers' audio to the bus: one task for the whole process, not one per frame."""

from __future__ import annotations

import asyncio
from collections import deque

import structlog

from voxbus.runtime.streams import OwnedStream
from voxbus.voice_gateway.metrics import FRAMES_DROPPED, FRAMES_IN

log = structlog.get_logger(__name__)

_MAX_WAITING = 20_000
"""Frames: two seconds of 200 calls. Beyond it the oldest go: live audio that is late is worth nothing."""


class AudioPump:
    """Takes frames from synchronous callbacks and publishes them in order."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[OwnedStream, bytes, int]] = deque(maxlen=_MAX_WAITING)
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def push(self, stream: OwnedStream, pcm: bytes, timestamp_us: int) -> None:
        """Send a frame on a stream as soon as the loop gets to it; never blocks."""
        if len(self._waiting) == _MAX_WAITING:
            FRAMES_DROPPED.inc()
        self._waiting.append((stream, pcm, timestamp_us))
        self._wake.set()

    def start(self) -> None:
        """Begin to publish."""
        self._task = asyncio.create_task(self._run(), name="audio-pump")

    async def stop(self) -> None:
        """Stop; what still waits is dropped."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            FRAMES_IN.inc(len(self._waiting))
            while self._waiting:
                stream, pcm, timestamp_us = self._waiting.popleft()
                try:
                    await stream.send_audio(pcm, timestamp_us)
                except Exception:
                    log.exception("caller audio could not be sent", stream_id=stream.stream_id)  # the other calls go on
