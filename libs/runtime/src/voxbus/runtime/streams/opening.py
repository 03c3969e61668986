"""One open request of an owner."""

from __future__ import annotations

import time

from pydantic import ValidationError

from voxbus.contracts.stage import ErrorCode, Stage, StageError, StreamOpen, StreamOpened, StreamReply
from voxbus.contracts.subjects import OPEN
from voxbus.runtime import metrics
from voxbus.runtime.bus import BusUnavailableError, LiveBus, NoWorkerError
from voxbus.runtime.streams.failure import StageFailure


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
