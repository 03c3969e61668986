"""The owner's end of one stream, over all of its attempts."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

import structlog
from pydantic import ValidationError

from voxbus.contracts.base import Message
from voxbus.contracts.frame import Frame, Kind, encode_frame
from voxbus.contracts.stage import ErrorCode, ProviderChoice, Stage, StageError, StreamOpen, StreamReply
from voxbus.contracts.subjects import INPUT, OPEN
from voxbus.runtime import metrics
from voxbus.runtime.bus import BusUnavailableError, NoWorkerError
from voxbus.runtime.streams.failure import StageFailure
from voxbus.runtime.streams.sequence import Sequence

if TYPE_CHECKING:
    from voxbus.runtime.streams.owner import StageClient, StreamListener

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class OwnerSettings:
    """How patient an owner is."""

    watchdog_s: float = 0.75
    """A stream that is silent for this long is taken over."""
    heartbeat_s: float = 0.25
    """Asked of the workers."""
    keepalive_s: float = 1.0
    """A sign of life to the worker at least this often."""
    open_timeout_s: float = 1.0
    """For one open request."""
    open_deadline_s: float = 10.0
    """For opening, all tries together, and for a takeover."""
    max_failures: int = 5
    """Failures in a row, without output in between, after which a stream is given up."""
    replay_frames: int = 3000
    """Inputs kept for a replay: a minute of audio."""


@dataclass(frozen=True)
class Takeover:
    """A stream went on with another worker."""

    attempt: int
    reason: str
    from_worker: str
    to_worker: str
    gap_s: float


_Input = tuple[int, Kind, int, bytes]  # seq in the current attempt, kind, timestamp_us, body
_NOT_SENT = -1
_PROVIDER_TROUBLE = {ErrorCode.PROVIDER_FAILED.value, ErrorCode.TIMEOUT.value}
"""Reasons for a takeover after which the next provider of the list goes first."""


class _State(Enum):
    CONNECTING = auto()
    OPEN = auto()
    OVER = auto()


class OwnedStream:
    """Numbers and sends the input of a stream, keeps what is not acknowledged, and moves to another worker on failure."""

    def __init__(self, client: StageClient, stage: Stage, request: StreamOpen, listener: StreamListener) -> None:
        self.stage = stage
        self.stream_id = request.stream_id
        self.attempt = request.attempt
        self.worker_id = ""
        self.provider = ""
        self._client = client
        self._settings = client.settings
        self._request = request
        self._listener = listener
        self._state = _State.CONNECTING
        self._input_subject = ""
        self._outputs = Sequence()
        self._unacked: deque[_Input] = deque(maxlen=self._settings.replay_frames)
        self._seq = 0
        self._passed_over = 0
        self._trouble: str | None = None  # a reason for a takeover that came before the open was answered
        self._failures = 0
        self._opened_at = self._last_received = self._last_sent = time.monotonic()

    @property
    def over(self) -> bool:
        """Whether the stream has been closed, cancelled or given up."""
        return self._state is _State.OVER

    # Input.

    async def send_audio(self, pcm: bytes, timestamp_us: int) -> None:
        """Send whole 20 ms frames; kept for a replay until acknowledged."""
        await self._send(Kind.AUDIO, timestamp_us, pcm)

    async def send(self, message: Message) -> None:
        """Send a message of the stage; kept for a replay until acknowledged."""
        await self._send(Kind.MESSAGE, self._elapsed_us(), message.encode())

    async def close(self) -> None:
        """No more input; the worker finishes, then `on_closed` is called."""
        await self._send(Kind.CLOSE, self._elapsed_us(), b"")

    async def cancel(self) -> None:
        """Stop at once; nothing is called any more."""
        if self._state is _State.OVER:
            return
        connected = self._state is _State.OPEN
        self._end()
        if connected:
            await self._publish(Kind.CANCEL, self._elapsed_us(), b"", self._seq)

    async def _send(self, kind: Kind, timestamp_us: int, body: bytes) -> None:
        if self._state is _State.OVER:
            return
        seq = _NOT_SENT
        if self._state is _State.OPEN:
            seq = self._seq
            self._seq = seq + 1
        self._unacked.append((seq, kind, timestamp_us, body))
        if seq != _NOT_SENT:
            await self._publish(kind, timestamp_us, body, seq)

    async def _publish(self, kind: Kind, timestamp_us: int, body: bytes, seq: int) -> None:
        self._last_sent = time.monotonic()
        frame = encode_frame(kind, attempt=self.attempt, seq=seq, timestamp_us=timestamp_us, body=body)
        await self._client.live.publish(self._input_subject, frame)

    def _elapsed_us(self) -> int:
        return int((time.monotonic() - self._opened_at) * 1e6)

    # Output.

    def receive(self, frame: Frame) -> None:
        """Handle one frame of output (called by the client)."""
        if self._state is _State.OVER or frame.attempt != self.attempt:
            return
        missing = self._outputs.accept(frame.seq)
        if missing < 0:
            metrics.STREAM_REPEATS.labels(self.stage.value, "output").inc()
            return
        self._last_received = time.monotonic()
        if missing:
            metrics.STREAM_GAPS.labels(self.stage.value, "output").inc(missing)
            self._take_over("gap")
            return
        self._acknowledge(frame.ack)
        try:
            self._deliver(frame)
        except ValueError:
            log.exception("unreadable output", stage=self.stage.value)
            self._take_over("unreadable")

    def _deliver(self, frame: Frame) -> None:
        if frame.kind is Kind.AUDIO:
            self._failures = 0
            self._listener.on_audio(frame.timestamp_us, frame.body)
        elif frame.kind is Kind.MESSAGE:
            self._failures = 0
            self._listener.on_message(frame.body)
        elif frame.kind is Kind.CLOSE:
            self._end()
            self._listener.on_closed()
        elif frame.kind is Kind.MOVING:
            self._take_over("moving")
        elif frame.kind is Kind.ERROR:
            self._on_error(StageError.model_validate_json(frame.body))

    def _acknowledge(self, ack: int) -> None:
        if self._state is not _State.OPEN:
            return  # numbers are being given anew; the next output repeats the position
        while self._unacked and self._unacked[0][0] < ack:
            self._unacked.popleft()

    def _on_error(self, error: StageError) -> None:
        if error.retryable:
            self._take_over(error.code.value)
        else:
            self._give_up(error)

    def _end(self) -> None:
        self._state = _State.OVER
        self._unacked.clear()
        self._client.forget(self)  # an open that is under way ends by itself and cancels what it got

    def _give_up(self, error: StageError) -> None:
        if self._state is not _State.OVER:
            self._end()
            self._listener.on_failed(error)

    # Opening and takeover.

    def start(self) -> None:
        """Connect in the background; when no worker takes the stream, `on_failed` is called."""
        self._client.spawn(self._connect_or_fail())

    async def _connect_or_fail(self) -> None:
        try:
            await self.connect()
        except StageFailure as failure:
            self._listener.on_failed(failure.to_error())

    async def connect(self, deadline_s: float | None = None) -> None:
        """Find a worker with room; returns when one has taken the stream.

        Raises StageFailure when a worker refuses for good, or none takes it within `deadline_s` (default: the settings').
        """
        try:
            await self._find_worker(self._settings.open_deadline_s if deadline_s is None else deadline_s)
        except StageFailure:
            self._end()
            raise

    async def _find_worker(self, deadline_s: float) -> None:
        deadline = time.monotonic() + deadline_s
        pause = 0.02
        while self._state is not _State.OVER:
            failure = await self._try_open()
            if failure is None or self.over:
                return
            if not failure.retryable or time.monotonic() + pause > deadline:
                raise failure
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.5)

    async def _try_open(self) -> StageFailure | None:
        stage = self.stage.value
        request = self._request.model_copy(
            update={
                "stream_id": self.stream_id,
                "attempt": self.attempt,
                "owner_id": self._client.owner_id,
                "heartbeat_ms": int(self._settings.heartbeat_s * 1000),
                "providers": self._providers(),
            }
        )
        self._outputs = Sequence()
        self._trouble = None
        started = time.monotonic()
        try:
            data = await self._client.live.request(OPEN(stage=stage), request.encode(), self._settings.open_timeout_s)
            reply = StreamReply.model_validate_json(data)
        except NoWorkerError:
            metrics.OWNER_OPENS.labels(stage, "no_worker").inc()
            return StageFailure(ErrorCode.AT_CAPACITY, f"no {stage} worker has room", retryable=True)
        except (TimeoutError, BusUnavailableError, ValidationError) as error:
            # A worker may have taken it and its answer got lost: the next try must not be mistaken for this one.
            self.attempt += 1
            metrics.OWNER_OPENS.labels(stage, type(error).__name__).inc()
            return StageFailure(ErrorCode.TIMEOUT, f"no {stage} worker answered in time", retryable=True)
        if reply.opened is None:
            refusal = reply.error or StageError(code=ErrorCode.INTERNAL, message="empty reply", retryable=True)
            metrics.OWNER_OPENS.labels(stage, refusal.code.value).inc()
            return StageFailure.of(refusal)
        metrics.OWNER_OPENS.labels(stage, "ok").inc()
        metrics.OPEN_SECONDS.labels(stage).observe(time.monotonic() - started)
        await self._opened(reply.opened.worker_id, reply.opened.provider)
        return None

    def _providers(self) -> tuple[ProviderChoice, ...]:
        """The agent's list, beginning behind what has failed in this stream."""
        listed = self._request.providers
        first = self._passed_over % len(listed)
        return (*listed[first:], *listed[:first])

    async def _opened(self, worker_id: str, provider: str) -> None:
        self.worker_id, self.provider = worker_id, provider
        self._input_subject = INPUT(stage=self.stage.value, worker_id=worker_id, stream_id=self.stream_id)
        if self.over:
            # Cancelled, or already complete, while the answer was under way.
            await self._publish(Kind.CANCEL, self._elapsed_us(), b"", 0)
            return
        self._last_received = time.monotonic()
        if await self._replay():
            self._state = _State.OPEN
            if self._trouble:
                self._take_over(self._trouble)

    async def _replay(self) -> bool:
        """Number and send all that is kept; what is sent meanwhile queues up behind it. False: the stream ended meanwhile."""
        sent: deque[_Input] = deque(maxlen=self._unacked.maxlen)
        self._seq = 0
        while self._unacked:
            _, kind, timestamp_us, body = self._unacked.popleft()
            sent.append((self._seq, kind, timestamp_us, body))
            self._seq += 1
            await self._publish(kind, timestamp_us, body, self._seq - 1)
        if self.over:
            return False
        self._unacked = sent
        return True

    def _take_over(self, reason: str) -> None:
        if self._state is _State.CONNECTING:
            self._trouble = reason
        if self._state is not _State.OPEN:
            return
        self._failures += 1
        if self._failures > self._settings.max_failures:
            message = f"the {self.stage.value} stage failed {self._failures} times in a row, last: {reason}"
            self._give_up(StageError(code=ErrorCode.PROVIDER_FAILED, message=message, retryable=True))
            return
        self._state = _State.CONNECTING
        self._client.spawn(self._move(reason))

    async def _move(self, reason: str) -> None:
        old_worker, last_sign = self.worker_id, self._last_received
        # Best effort: the old worker, if it still lives, stops; if not, its late output is dropped by its attempt number.
        await self._publish(Kind.CANCEL, self._elapsed_us(), b"", self._seq)
        self.attempt += 1
        self._request = self._listener.reopen()
        if reason in _PROVIDER_TROUBLE:
            self._passed_over += 1
        try:
            await self._find_worker(self._settings.open_deadline_s)
        except StageFailure as failure:
            self._give_up(failure.to_error())
            return
        if self.over:
            return
        takeover = Takeover(self.attempt, reason, old_worker, self.worker_id, time.monotonic() - last_sign)
        metrics.TAKEOVERS.labels(self.stage.value, reason).inc()
        metrics.TAKEOVER_GAP.labels(self.stage.value).observe(takeover.gap_s)
        log.info("stream taken over", stage=self.stage.value, reason=reason, gap_ms=round(takeover.gap_s * 1000))
        self._listener.on_takeover(takeover)

    async def check(self, now: float, grace_from: float) -> None:
        """Watchdog and sign of life (called by the client's timer)."""
        if self._state is not _State.OPEN:
            return
        if now - max(self._last_received, grace_from) > self._settings.watchdog_s:
            self._take_over("silent")
        elif now - self._last_sent > self._settings.keepalive_s:
            seq = self._seq
            self._seq = seq + 1
            await self._publish(Kind.HEARTBEAT, self._elapsed_us(), b"", seq)
