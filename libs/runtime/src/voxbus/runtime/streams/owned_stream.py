"""The owner's end of one stream, over all of its attempts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import structlog
from pydantic import ValidationError

from voxbus.contracts.base import Message
from voxbus.contracts.frame import Frame, Kind
from voxbus.contracts.stage import ErrorCode, Stage, StageError, StreamOpen, StreamOpened
from voxbus.runtime import metrics
from voxbus.runtime.streams.failure import StageFailure
from voxbus.runtime.streams.leg import KeptInputs, Leg
from voxbus.runtime.streams.legs import Legs
from voxbus.runtime.streams.opening import compose_open, request_open, until_taken
from voxbus.runtime.streams.owner_settings import OwnerSettings, Takeover
from voxbus.runtime.trace import trace_id

if TYPE_CHECKING:
    from voxbus.runtime.streams.owner import StageClient, StreamListener

__all__ = ["OwnedStream", "OwnerSettings", "Takeover"]

_BLAMELESS = {"moving", ErrorCode.DRAINING.value}
"""Reasons for a takeover that are nobody's failure: a rolling restart must not wear a stream out."""
_PROVIDER_TROUBLE = {ErrorCode.PROVIDER_FAILED.value, ErrorCode.TIMEOUT.value}
"""Reasons for a takeover after which the next provider of the list goes first."""


class OwnedStream:
    """Numbers and sends the input of a stream, keeps what is not acknowledged, and moves to another worker on failure.

    Output is delivered from one leg (an attempt on a worker) at a time. While an open is under way, the old leg's output, if it
    still lives, is held back: when the open succeeds it is dropped, because the new worker was told of what had been
    delivered before and does the rest again; when it fails, it is delivered.
    """

    def __init__(self, client: StageClient, stage: Stage, request: StreamOpen, listener: StreamListener) -> None:
        self.stage = stage
        self.stream_id = request.stream_id
        self.attempt = request.attempt
        """Of the leg that serves, or served last."""
        self.worker_id = ""
        self.provider = ""
        self.over = False
        """Whether the stream has been closed, cancelled or given up."""
        self._client = client
        self._settings = client.settings
        self._request = request
        self._listener = listener
        self._next_attempt = request.attempt
        self._legs = Legs()
        self._inputs = KeptInputs(self._settings.replay_frames)
        self._failures = 0
        self._passed_over = 0
        self._moving = False
        self._reason = ""  # of the latest takeover
        self._connecting = False
        self._failure: StageError | None = None
        self._opened_at = self._last_sign = time.monotonic()
        self._log: Any = structlog.get_logger(__name__).bind(
            call_id=request.call_id,
            agent_id=request.agent_id,
            trace_id=trace_id(request.traceparent),
            stage=stage.value,
            stream_id=request.stream_id,
        )

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
        if not self.over:
            leg = self._legs.current
            self._end()
            if leg is not None:
                await self._cancel_leg(leg)

    async def _send(self, kind: Kind, timestamp_us: int, body: bytes) -> None:
        if self.over:
            return
        leg = self._legs.current
        if leg is None or self._legs.settling:
            self._inputs.add(KeptInputs.NOT_SENT, kind, timestamp_us, body)
            return
        seq = leg.take_number()
        self._inputs.add(seq, kind, timestamp_us, body)
        await leg.send(kind, seq, timestamp_us, body)

    async def _cancel_leg(self, leg: Leg) -> None:
        await leg.send(Kind.CANCEL, leg.take_number(), self._elapsed_us())

    def _elapsed_us(self) -> int:
        return int((time.monotonic() - self._opened_at) * 1e6)

    # Output.

    def receive(self, frame: Frame) -> None:
        """Handle one frame of output (called by the client)."""
        leg = None if self.over else self._legs.route(frame)
        if leg is not None:
            self._accept(leg, frame)

    def _accept(self, leg: Leg, frame: Frame) -> None:
        missing = leg.outputs.accept(frame.seq)
        if missing < 0:
            metrics.STREAM_REPEATS.labels(self.stage.value, "output").inc()
            return
        if missing:
            metrics.STREAM_GAPS.labels(self.stage.value, "output").inc(missing)
            self._lose(leg, "gap")
            return
        self._inputs.acknowledge(frame.ack)
        try:
            self._deliver(leg, frame)
        except ValidationError:
            self._log.exception("unreadable output")
            self._lose(leg, "unreadable")
        except Exception:
            self._log.exception("output not handled")
            self._give_up(StageError(code=ErrorCode.INTERNAL, message="the owner failed on an output", retryable=False))

    def _deliver(self, leg: Leg, frame: Frame) -> None:
        match frame.kind:
            case Kind.AUDIO:
                self._failures = 0
                self._listener.on_audio(frame.timestamp_us, frame.body)
            case Kind.MESSAGE:
                self._failures = 0
                self._listener.on_message(frame.body)
            case Kind.CLOSE:
                self._end()
                self._listener.on_closed()
            case Kind.MOVING:
                self._move_on("moving")
            case Kind.ERROR:
                error = StageError.model_validate_json(frame.body)
                if error.retryable:
                    self._lose(leg, error.code.value)
                else:
                    self._legs.current = None  # the worker has ended it
                    self._give_up(error)
            case _:
                if leg.last_received - leg.opened_at > self._settings.healthy_s:
                    self._failures = 0

    def _end(self) -> None:
        self.over = True
        self._legs.clear()
        self._inputs.clear()
        self._client.forget(self)  # an open that is under way ends by itself and cancels what it got

    def _give_up(self, error: StageError) -> None:
        if self.over:
            return
        leg = self._legs.current
        self._end()
        if leg is not None:
            self._client.spawn(self._cancel_leg(leg))
        self._failure = error
        if not self._connecting:
            self._listener.on_failed(error)

    # Opening.

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

        Raises StageFailure when a worker refuses for good or fails at once, or none takes it within `deadline_s` (default:
        the settings').
        """
        self._connecting = True
        try:
            await self._find_worker(self._settings.open_deadline_s if deadline_s is None else deadline_s)
        except StageFailure:
            self._end()
            raise
        finally:
            self._connecting = False
        if self._failure is not None:
            raise StageFailure.of(self._failure)

    async def _find_worker(self, deadline_s: float) -> None:
        await until_taken(
            self._try_open,
            live=self._client.live,
            settings=self._settings,
            deadline_s=deadline_s,
            over=lambda: self.over,
            served=lambda: self._legs.current is not None,
        )

    async def _try_open(self) -> StageFailure | None:
        """One open, under a new attempt number, so that a late answer to an older one is never taken for this one's."""
        leg = Leg(self._next_attempt, self._client.live)
        self._legs.begin(leg)
        self._next_attempt += 1
        try:
            opened = await request_open(
                self._client.live, self.stage, self._open_request(leg.attempt), self._settings.open_timeout_s
            )
        except StageFailure as failure:
            self._accept_all(self._legs.current, self._legs.abandon())
            return failure
        await self._switch_to(leg, opened)
        return None

    def _open_request(self, attempt: int) -> StreamOpen:
        request = self._request if attempt == self._request.attempt else self._listener.reopen()
        return compose_open(
            request,
            stream_id=self.stream_id,
            attempt=attempt,
            owner_id=self._client.owner_id,
            heartbeat_s=self._settings.heartbeat_s,
            passed_over=self._passed_over,
        )

    async def _switch_to(self, leg: Leg, opened: StreamOpened) -> None:
        leg.opened(self.stage.value, opened.worker_id, self.stream_id)
        if self.over:  # cancelled while the answer was under way
            await self._cancel_leg(leg)
            return
        before = self._legs.switch()
        self.attempt, self.worker_id, self.provider = leg.attempt, opened.worker_id, opened.provider
        if before is not None:
            await self._cancel_leg(before)
        await self._inputs.replay(leg)
        early = self._legs.settled()
        if self._legs.current is leg:
            self._accept_all(leg, early)
        else:  # cancelled meanwhile
            await self._cancel_leg(leg)

    def _accept_all(self, leg: Leg | None, frames: list[Frame]) -> None:
        for frame in frames:
            if leg is not None and self._legs.current is leg:
                self._accept(leg, frame)

    # Takeover.

    def _lose(self, leg: Leg, reason: str) -> None:
        """The leg is of no use any more; nothing it sends from now on is delivered."""
        if self._legs.current is not leg:
            return
        self._legs.current = None
        self._last_sign = leg.last_received
        # Best effort: if the old worker still lives, it stops.
        self._client.spawn(self._cancel_leg(leg))
        if reason not in _BLAMELESS:
            self._failures += 1
        if reason in _PROVIDER_TROUBLE:
            self._passed_over += 1
        if self._failures > self._settings.max_failures:
            message = f"the {self.stage.value} stage failed {self._failures} times in a row, last: {reason}"
            self._give_up(StageError(code=ErrorCode.PROVIDER_FAILED, message=message, retryable=True))
        else:
            self._move_on(reason)

    def _move_on(self, reason: str) -> None:
        """Find another worker in the background, unless that is already being done."""
        self._reason = reason
        if not self._moving:
            self._moving = True
            self._client.spawn(self._move())

    async def _move(self) -> None:
        old_worker = self.worker_id
        try:
            await self._find_worker(self._settings.open_deadline_s)
        except StageFailure as failure:
            if self._legs.current is None:
                self._give_up(failure.to_error())
            return
        finally:
            self._moving = False
        if self.over:
            return
        self._report(old_worker)
        if self._legs.current is None and not self.over:  # the new worker failed at once
            self._move_on(self._reason)

    def _report(self, old_worker: str) -> None:
        reason, now = self._reason, time.monotonic()
        gap_s = 0.0 if reason in _BLAMELESS else now - self._last_sign
        takeover = Takeover(self.attempt, reason, old_worker, self.worker_id, gap_s)
        metrics.TAKEOVERS.labels(self.stage.value, reason).inc()
        metrics.TAKEOVER_GAP.labels(self.stage.value).observe(gap_s)
        self._log.info("stream taken over", reason=reason, attempt=takeover.attempt, gap_ms=round(gap_s * 1000))
        self._listener.on_takeover(takeover)

    async def check(self, now: float, grace_from: float) -> None:
        """Watchdog and sign of life (called by the client's timer)."""
        leg = self._legs.current
        if leg is None or self._legs.settling:
            return
        if now - max(leg.last_received, grace_from) > self._settings.watchdog_s:
            self._lose(leg, "silent")
        elif now - leg.last_sent > self._settings.keepalive_s:
            await leg.send(Kind.HEARTBEAT, leg.take_number(), self._elapsed_us())
