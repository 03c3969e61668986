"""The owner's end of the stage stream protocol: opens, input, watchdog, takeover."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any

import structlog
from nats.aio.msg import Msg

from voxbus.contracts.frame import FrameError, decode_frame
from voxbus.contracts.stage import Stage, StageError, StreamOpen
from voxbus.contracts.subjects import OUTPUT
from voxbus.runtime import metrics
from voxbus.runtime.bus import LiveBus
from voxbus.runtime.streams.owned_stream import OwnedStream
from voxbus.runtime.streams.owner_settings import OwnerSettings, Takeover

__all__ = ["OwnedStream", "OwnerSettings", "StageClient", "StreamListener", "Takeover"]

log = structlog.get_logger(__name__)

_TICK_S = 0.05
_LATE_S = 0.1


class StreamListener(ABC):
    """What the owner does with the output of a stream. Calls come in order; they must not block."""

    def on_audio(self, timestamp_us: int, pcm: bytes) -> None:
        """1 to 50 whole 20 ms frames."""

    def on_message(self, body: bytes) -> None:
        """A JSON message of the stage. Raising ValueError (also pydantic's) counts as a failure of the worker."""

    @abstractmethod
    def reopen(self) -> StreamOpen:
        """What to ask of the next worker after a failure; ids and attempt are filled in by the runtime."""

    def on_takeover(self, takeover: Takeover) -> None:
        """Another worker goes on; input that was not acknowledged has been sent to it again."""

    @abstractmethod
    def on_closed(self) -> None:
        """All output has come."""

    @abstractmethod
    def on_failed(self, error: StageError) -> None:
        """The stream is over: no worker can or will go on."""


class StageClient:
    """Owns stage streams. One per process, for all stages."""

    def __init__(self, live: LiveBus, owner_id: str, settings: OwnerSettings | None = None) -> None:
        self.owner_id = owner_id
        self.settings = settings or OwnerSettings()
        self.live = live
        self._streams: dict[str, OwnedStream] = {}
        self._prefix = len(OUTPUT(stage="stt", owner_id=owner_id, stream_id="x")) - 1
        self._task: asyncio.Task[None] | None = None
        self._grace_from = 0.0
        self._background: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen for output; returns when the server knows the subscription."""
        await self.live.subscribe(OUTPUT.wildcard(owner_id=self.owner_id), self._on_output)
        await self.live.flush()
        self._task = asyncio.create_task(self._tick(), name="stage-client")

    async def stop(self) -> None:
        """Cancel what is still open."""
        for stream in list(self._streams.values()):
            await stream.cancel()
        tasks = [*self._background, *([self._task] if self._task else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def stream(self, stage: Stage, request: StreamOpen, listener: StreamListener) -> OwnedStream:
        """A stream that is not open yet: what is sent is kept until `connect` has found a worker."""
        stream = OwnedStream(self, stage, request, listener)
        self._streams[stream.stream_id] = stream
        metrics.OWNED_STREAMS.labels(stage.value).inc()
        return stream

    async def open(
        self, stage: Stage, request: StreamOpen, listener: StreamListener, *, deadline_s: float | None = None
    ) -> OwnedStream:
        """A stream that a worker has taken. Raises StageFailure as `OwnedStream.connect` does."""
        stream = self.stream(stage, request, listener)
        await stream.connect(deadline_s)
        return stream

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run an open or a takeover in the background (called by streams)."""
        task = asyncio.create_task(coroutine)
        self._background.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("stream task failed", exc_info=task.exception())

    def forget(self, stream: OwnedStream) -> None:
        """Drop a stream that is over (called by the stream itself)."""
        if self._streams.pop(stream.stream_id, None) is not None:
            metrics.OWNED_STREAMS.labels(stream.stage.value).dec()

    async def _on_output(self, msg: Msg) -> None:
        stream = self._streams.get(msg.subject[self._prefix :])
        if stream is None:
            return  # the tail of a stream that is over
        try:
            frame = decode_frame(msg.data)
        except FrameError:
            metrics.STREAM_BAD_FRAMES.labels(stream.stage.value, "output").inc()
            return
        stream.receive(frame)  # handles what its listener raises

    async def _tick(self) -> None:
        """Watchdog and signs of life of all streams, with one timer."""
        last = time.monotonic()
        while True:
            await asyncio.sleep(_TICK_S)
            now = time.monotonic()
            # When this loop itself was late, or the bus is away, the silence is ours: output may be waiting unread.
            if now - last > _TICK_S + _LATE_S or not self.live.connected:
                self._grace_from = now
            last = now
            for stream in list(self._streams.values()):
                try:
                    await stream.check(now, self._grace_from)
                except Exception:
                    log.exception("watchdog failed for a stream")  # the others still need it
