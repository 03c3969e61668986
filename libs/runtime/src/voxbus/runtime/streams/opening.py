"""How an owner gets a stream opened: one request, and trying until a worker took it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from pydantic import ValidationError

from voxbus.contracts.stage import ErrorCode, Stage, StageError, StreamOpen, StreamOpened, StreamReply
from voxbus.contracts.subjects import OPEN
from voxbus.runtime import metrics
from voxbus.runtime.bus import BusUnavailableError, LiveBus, NoWorkerError
from voxbus.runtime.streams.failure import StageFailure
from voxbus.runtime.streams.owner_settings import OwnerSettings

_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 0.5


async def request_open(live: LiveBus, stage: Stage, request: StreamOpen, timeout_s: float) -> StreamOpened:
    """Ask any worker of the stage to take a stream. Raises StageFailure: retryable when no worker has room or none answers."""
    name = stage.value
    started = time.monotonic()
    try:
        reply = StreamReply.model_validate_json(await live.request(OPEN(stage=name), request.encode(), timeout_s))
    except NoWorkerError:
        metrics.OWNER_OPENS.labels(name, "no_worker").inc()
        raise StageFailure(ErrorCode.AT_CAPACITY, f"no {name} worker has room", retryable=True) from None
    except (TimeoutError, BusUnavailableError, ValidationError) as error:
        metrics.OWNER_OPENS.labels(name, type(error).__name__).inc()
        raise StageFailure(ErrorCode.TIMEOUT, f"no {name} worker answered in time", retryable=True) from None
    if reply.opened is None:
        refusal = reply.error or StageError(code=ErrorCode.INTERNAL, message="empty reply", retryable=True)
        metrics.OWNER_OPENS.labels(name, refusal.code.value).inc()
        raise StageFailure.of(refusal)
    metrics.OWNER_OPENS.labels(name, "ok").inc()
    metrics.OPEN_SECONDS.labels(name).observe(time.monotonic() - started)
    return reply.opened


def compose_open(
    request: StreamOpen, *, stream_id: str, attempt: int, owner_id: str, heartbeat_s: float, passed_over: int
) -> StreamOpen:
    """The request of one attempt; the agent's list of providers begins behind those that have failed in this stream."""
    first = passed_over % len(request.providers)
    return request.model_copy(
        update={
            "stream_id": stream_id,
            "attempt": attempt,
            "owner_id": owner_id,
            "heartbeat_ms": int(heartbeat_s * 1000),
            "providers": (*request.providers[first:], *request.providers[:first]),
        }
    )


async def until_taken(
    try_open: Callable[[], Awaitable[StageFailure | None]],
    *,
    live: LiveBus,
    settings: OwnerSettings,
    deadline_s: float,
    over: Callable[[], bool],
    served: Callable[[], bool],
) -> None:
    """Try until a worker took the stream, or it is `over`. Raises the last StageFailure after `deadline_s`.

    Time in which the bus is away (up to `bus_patience_s`), or the stream is still `served` by its old worker, does not count.
    """
    deadline = time.monotonic() + deadline_s
    patience_s = settings.bus_patience_s
    pause_s = _FIRST_PAUSE_S
    while not over():
        waited_s = await _wait_for_bus(live, patience_s, over)
        patience_s -= waited_s
        deadline += waited_s
        failure = await try_open()
        if failure is None or over():
            return
        if served():
            deadline = time.monotonic() + deadline_s
        if not failure.retryable or time.monotonic() + pause_s > deadline:
            raise failure
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)


async def _wait_for_bus(live: LiveBus, patience_s: float, over: Callable[[], bool]) -> float:
    """How long the bus was away, at most `patience_s`."""
    started = time.monotonic()
    # Polled: it is rare, and the bus client has one callback for the whole process.
    while not (live.connected or over()) and time.monotonic() - started < patience_s:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    return time.monotonic() - started
