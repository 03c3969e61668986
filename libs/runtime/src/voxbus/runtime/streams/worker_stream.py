"""A worker's end of one stream."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import structlog

from voxbus.contracts.base import Message
from voxbus.contracts.frame import Kind, encode_frame
from voxbus.contracts.stage import StreamOpen
from voxbus.contracts.subjects import OUTPUT
from voxbus.runtime.streams.failure import StageFailure
from voxbus.runtime.streams.sequence import Sequence
from voxbus.runtime.trace import trace_id

if TYPE_CHECKING:
    from voxbus.runtime.streams.service import StreamHandler

Publish = Callable[[str, bytes], Awaitable[None]]


class WorkerStream:
    """Numbers and sends the output of a stream. A handler uses `emit`, `send_audio`, `ack`, `fail` and `finish`."""

    __slots__ = (
        "_acked", "_ended", "_opened_at", "_output", "_publish", "_seq", "attempt", "call_id", "closed",
        "handler", "heartbeat_s", "inputs", "last_received", "last_sent", "log", "provider", "stream_id",
    )  # fmt: skip

    def __init__(
        self, stage: str, request: StreamOpen, publish: Publish, ended: Callable[[WorkerStream, str], None]
    ) -> None:
        self.call_id = request.call_id
        self.stream_id = request.stream_id
        self.attempt = request.attempt
        self.heartbeat_s = request.heartbeat_ms / 1000
        self.closed = False
        self.handler: StreamHandler | None = None
        self.provider = request.providers[0].name
        self.inputs = Sequence()
        self.log: Any = structlog.get_logger(__name__).bind(
            call_id=request.call_id,
            agent_id=request.agent_id,
            trace_id=trace_id(request.traceparent),
            stream_id=request.stream_id,
            attempt=request.attempt,
        )
        self._output = OUTPUT(stage=stage, owner_id=request.owner_id, stream_id=request.stream_id)
        self._publish = publish
        self._ended = ended
        self._seq = 0
        self._acked = 0
        self._opened_at = time.monotonic()
        self.last_sent = self.last_received = self._opened_at

    def elapsed_ms(self) -> float:
        """Since the worker got the open."""
        return (time.monotonic() - self._opened_at) * 1000

    def ack(self, count: int) -> None:
        """Input frames with seq < `count` need never be replayed; sent along with the next output."""
        self._acked = max(self._acked, count)

    async def emit(self, message: Message) -> None:
        """Send a message of the stage; nothing happens once the stream is closed."""
        await self._send(Kind.MESSAGE, message.encode())

    async def send_audio(self, pcm: bytes, timestamp_us: int) -> None:
        """Send 1 to 50 whole 20 ms frames of PCM16 mono 16 kHz."""
        await self._send(Kind.AUDIO, pcm, timestamp_us)

    async def heartbeat(self) -> None:
        """Send a sign of life (the runtime does it)."""
        await self._send(Kind.HEARTBEAT)

    async def moving(self, failure: StageFailure) -> None:
        """Ask the owner to open the stream elsewhere (the runtime does it)."""
        await self._send(Kind.MOVING, failure.to_error().encode())

    async def fail(self, failure: StageFailure) -> None:
        """Send the error and end the stream."""
        await self._send(Kind.ERROR, failure.to_error().encode())
        self.log.warning("stream failed", code=failure.code.value, retryable=failure.retryable)
        self.end(f"failed_{failure.code.value}")

    async def finish(self) -> None:
        """Say that all output has been sent and end the stream."""
        await self._send(Kind.CLOSE)
        self.end("finished")

    def end(self, outcome: str) -> None:
        """Forget the stream without a word to the owner (the runtime does it)."""
        if not self.closed:
            self.closed = True
            self._ended(self, outcome)

    async def _send(self, kind: Kind, body: bytes = b"", timestamp_us: int | None = None) -> None:
        if self.closed:
            return
        now = time.monotonic()
        stamp = timestamp_us if timestamp_us is not None else int((now - self._opened_at) * 1e6)
        seq = self._seq
        self._seq = seq + 1
        self.last_sent = now
        await self._publish(
            self._output,
            encode_frame(kind, attempt=self.attempt, seq=seq, ack=self._acked, timestamp_us=stamp, body=body),
        )
