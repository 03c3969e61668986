"""A worker process's end of the stage stream protocol: opens, input, heartbeats, capacity, drain, orphans."""

from __future__ import annotations

import asyncio
import time
from typing import Generic

import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from pydantic import ValidationError

from voxbus.contracts.frame import FrameError, Kind, decode_frame
from voxbus.contracts.stage import ErrorCode, StreamOpened, StreamReply
from voxbus.contracts.subjects import INPUT, OPEN, queue_group
from voxbus.runtime import metrics
from voxbus.runtime.bus import LiveBus
from voxbus.runtime.streams.failure import StageFailure
from voxbus.runtime.streams.service import OpenT, StageService
from voxbus.runtime.streams.worker_stream import WorkerStream

log = structlog.get_logger(__name__)

_TICK_S = 0.05
_OPEN_TIMEOUT_S = 5.0
"""For a provider to be ready; the owner has long asked another worker by then."""
_INPUT_LOST = StageFailure(ErrorCode.INTERNAL, "input frames were lost; replay them", retryable=True)
_NOT_READY = StageFailure(ErrorCode.TIMEOUT, f"no provider was ready within {_OPEN_TIMEOUT_S} s", retryable=True)
_DRAINING = StageFailure(ErrorCode.DRAINING, "this worker is stopping; open the stream on another one", retryable=True)


class StageWorker(Generic[OpenT]):
    """Runs a `StageService`: takes streams while there is room, and leaves the queue group while there is none."""

    def __init__(
        self,
        service: StageService[OpenT],
        live: LiveBus,
        *,
        worker_id: str,
        capacity: int,
        orphan_timeout_s: float = 5.0,
    ) -> None:
        self.service = service
        self.worker_id = worker_id
        self.capacity = capacity
        self.draining = False
        self.ready = False
        self._live = live
        self._orphan_timeout_s = orphan_timeout_s
        self._stage = service.stage.value
        self._streams: dict[str, WorkerStream] = {}
        self._reserved = 0
        self._open_subscription: Subscription | None = None
        self._input_subscription: Subscription | None = None
        self._membership = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._prefix = len(INPUT(stage=self._stage, worker_id=worker_id, stream_id="x")) - 1
        metrics.STREAMS_CAPACITY.labels(self._stage).set(capacity)

    @property
    def active(self) -> int:
        """Open streams, and those that are being opened."""
        return len(self._streams) + self._reserved

    @property
    def fit(self) -> bool:
        """Whether the service is up and can do its work."""
        return self.ready and self.service.problem() is None

    async def start(self) -> None:
        """Start the service, then take streams."""
        await self.service.start()
        subject = INPUT.wildcard(stage=self._stage, worker_id=self.worker_id)
        self._input_subscription = await self._live.subscribe(subject, self._on_input)
        self.ready = True
        await self._update_membership()
        self._spawn(self._tick())

    async def drain(self, timeout_s: float) -> None:
        """Take no more streams and hand over those that run, for at most `timeout_s`."""
        self.draining = True
        await self._update_membership()
        for stream in list(self._streams.values()):
            await stream.moving(_DRAINING)
        deadline = time.monotonic() + timeout_s
        while self._streams and time.monotonic() < deadline:  # noqa: ASYNC110  # a bound and a condition
            await asyncio.sleep(_TICK_S)

    async def stop(self) -> None:
        """End all streams and the service."""
        self.draining = True
        self.ready = False
        subscription, self._open_subscription = self._open_subscription, None
        if subscription is not None and self._live.connected:
            await self._live.leave(subscription)
        for stream in list(self._streams.values()):
            await stream.fail(_DRAINING)
            await self._cancel_handler(stream)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.service.stop()

    def _spawn(self, coroutine: object) -> None:
        task: asyncio.Task[None] = asyncio.create_task(coroutine)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Opens.

    async def _update_membership(self) -> None:
        """Join or leave the queue group, whichever fits the room there is."""
        async with self._membership:
            wanted = self.fit and not self.draining and self.active < self.capacity
            if wanted and self._open_subscription is None:
                group = queue_group(self.service.stage)
                self._open_subscription = await self._live.subscribe(OPEN(stage=self._stage), self._on_open, group)
            elif not wanted and self._open_subscription is not None:
                subscription, self._open_subscription = self._open_subscription, None
                self._spawn(self._live.leave(subscription))

    async def _on_open(self, msg: Msg) -> None:
        # Nothing is awaited here: a provider that connects slowly does not hold up the opens behind it, and leaving the
        # group, which ends the task that runs this, cannot cut an answer off.
        refusal = self._refusal()
        if refusal is not None:
            self._spawn(self._refuse(msg, refusal))
            return
        self._reserved += 1
        self._spawn(self._open(msg))
        if self.active >= self.capacity:
            self._spawn(self._update_membership())

    def _refusal(self) -> StageFailure | None:
        if self.draining:
            return _DRAINING
        if not self.fit:
            return StageFailure(ErrorCode.INTERNAL, self.service.problem() or "this worker is starting", retryable=True)
        if self.active >= self.capacity:
            return StageFailure(ErrorCode.AT_CAPACITY, "this worker is at capacity", retryable=True)
        return None

    async def _open(self, msg: Msg) -> None:
        reserved = True
        try:
            request = self.service.open_model.model_validate_json(msg.data)
            stream = WorkerStream(self._stage, request, self._live.publish, self._stream_ended)
            self._replace_older(stream)
            self._streams[stream.stream_id] = stream
            self._reserved, reserved = self._reserved - 1, False
            metrics.STREAMS_ACTIVE.labels(self._stage).set(len(self._streams))
            try:
                async with asyncio.timeout(_OPEN_TIMEOUT_S):
                    stream.handler = await self.service.open(request, stream)
            except BaseException:
                stream.end("refused")
                raise
            if self._streams.get(stream.stream_id, stream) is not stream:
                await self._cancel_handler(stream)  # a newer attempt came while this one was being opened
            reply = StreamReply(opened=StreamOpened(worker_id=self.worker_id, provider=stream.provider))
            await msg.respond(reply.encode())
            metrics.STREAM_OPENS.labels(self._stage, "ok").inc()
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in problem["loc"])
            failure = StageFailure(ErrorCode.BAD_REQUEST, f"{where}: {problem['msg']}", retryable=False)
            await self._refuse(msg, failure)
        except StageFailure as failure:
            await self._refuse(msg, failure)
        except TimeoutError:
            await self._refuse(msg, _NOT_READY)
        except Exception:
            log.exception("open failed")
            await self._refuse(
                msg, StageFailure(ErrorCode.INTERNAL, "the worker failed to open the stream", retryable=True)
            )
        finally:
            if reserved:
                self._reserved -= 1
                await self._update_membership()

    def _replace_older(self, stream: WorkerStream) -> None:
        known = self._streams.get(stream.stream_id)
        if known is None:
            return
        if known.attempt >= stream.attempt:
            message = f"attempt {stream.attempt} of this stream is not newer than attempt {known.attempt}"
            raise StageFailure(ErrorCode.BAD_REQUEST, message, retryable=False)
        known.end("replaced")
        self._spawn(self._cancel_handler(known))

    async def _refuse(self, msg: Msg, failure: StageFailure) -> None:
        metrics.STREAM_OPENS.labels(self._stage, failure.code.value).inc()
        await msg.respond(StreamReply(error=failure.to_error()).encode())

    def _stream_ended(self, stream: WorkerStream, outcome: str) -> None:
        if self._streams.get(stream.stream_id) is stream:
            del self._streams[stream.stream_id]
        metrics.STREAM_ENDS.labels(self._stage, outcome).inc()
        metrics.STREAMS_ACTIVE.labels(self._stage).set(len(self._streams))
        if self._open_subscription is None:
            self._spawn(self._update_membership())

    # Input.

    async def _on_input(self, msg: Msg) -> None:
        stream = self._streams.get(msg.subject[self._prefix :])
        if stream is None or stream.handler is None:
            return  # the tail of a stream that has ended
        try:
            frame = decode_frame(msg.data)
        except FrameError:
            metrics.STREAM_BAD_FRAMES.labels(self._stage, "input").inc()
            return
        if frame.attempt != stream.attempt:
            return
        missing = stream.inputs.accept(frame.seq)
        if missing < 0:
            metrics.STREAM_REPEATS.labels(self._stage, "input").inc()
            return
        stream.last_received = time.monotonic()
        handler = stream.handler
        try:
            if missing:
                metrics.STREAM_GAPS.labels(self._stage, "input").inc(missing)
                if handler.gaps_are_fatal:
                    await self._fail(stream, _INPUT_LOST)
                    return
            if frame.kind is Kind.AUDIO:
                await handler.on_audio(frame.seq, frame.timestamp_us, frame.body)
            elif frame.kind is Kind.MESSAGE:
                await handler.on_message(frame.seq, frame.body)
            elif frame.kind is Kind.CLOSE:
                await handler.on_close()
            elif frame.kind is Kind.CANCEL:
                stream.end("cancelled")
                self._spawn(self._cancel_handler(stream))
        except StageFailure as failure:
            await self._fail(stream, failure)
        except Exception:
            stream.log.exception("stream handler failed")
            await self._fail(stream, StageFailure(ErrorCode.INTERNAL, "the worker failed on an input", retryable=True))

    async def _fail(self, stream: WorkerStream, failure: StageFailure) -> None:
        await stream.fail(failure)
        # A task: a handler that is slow to stop must not hold up the input of the others.
        self._spawn(self._cancel_handler(stream))

    async def _cancel_handler(self, stream: WorkerStream) -> None:
        if stream.handler is None:
            return
        try:
            await stream.handler.on_cancel()
        except Exception:
            stream.log.exception("stream handler failed to cancel")

    # Time.

    async def _tick(self) -> None:
        """Heartbeats and orphans of all streams, with one timer."""
        grace_from = 0.0
        fit = True
        while True:
            await asyncio.sleep(_TICK_S)
            now = time.monotonic()
            if self.fit is not fit:
                fit = not fit
                log.warning(
                    "worker takes streams again" if fit else "worker takes no streams", problem=self.service.problem()
                )
                self._spawn(self._update_membership())
            if not self._live.connected:
                grace_from = now  # nobody can be heard: no owner is gone for that
            for stream in list(self._streams.values()):
                try:
                    await self._check(stream, now, grace_from)
                except Exception:
                    stream.log.exception("heartbeat failed")  # the other streams still need theirs

    async def _check(self, stream: WorkerStream, now: float, grace_from: float) -> None:
        if stream.handler is None:
            return
        if now - max(stream.last_received, grace_from) > self._orphan_timeout_s:
            stream.log.info("stream ended, its owner is gone")
            stream.end("orphaned")
            self._spawn(self._cancel_handler(stream))
        elif now - stream.last_sent >= stream.heartbeat_s - _TICK_S:
            await stream.heartbeat()
