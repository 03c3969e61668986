"""The asking side."""

from __future__ import annotations

import asyncio
import time
from functools import cache
from typing import Any

import structlog
from pydantic import ValidationError

from voxbus.contracts.rpc import Operation, Reply, RequestErrorCode, RequestT, ResultT
from voxbus.runtime.bus import BusUnavailableError, EventBus, NoWorkerError, TooLargeError
from voxbus.runtime.metrics import RPC_ASKED, RPC_ASKED_SECONDS
from voxbus.runtime.rpc.errors import RequestFailedError, unavailable

log = structlog.get_logger(__name__)

_NOBODY_S = 0.5
"""How long a service may be without a process, as when its only one is started anew, before that is a failure."""
_NOBODY_STEP_S = 0.05


class RpcClient:
    """Sends requests to services."""

    def __init__(self, events: EventBus) -> None:
        self._events = events

    async def request(
        self, operation: Operation[RequestT, ResultT], request: RequestT, *, timeout_s: float = 3.0
    ) -> ResultT:
        """The result. Raises RequestFailedError: the service's, or UNAVAILABLE when none answers.

        `timeout_s` is for one try; a safe operation that is not answered in time is tried once more. What is not safe may
        have been done although no answer came.
        """
        started = time.perf_counter()
        outcome: str = "cancelled"
        try:
            result = await self._ask(operation, request, timeout_s)
            outcome = "ok"
        except RequestFailedError as error:
            outcome = error.code
            raise
        else:
            return result
        finally:
            RPC_ASKED.labels(operation.service, operation.name, outcome).inc()
            RPC_ASKED_SECONDS.labels(operation.service, operation.name).observe(time.perf_counter() - started)

    async def _ask(self, operation: Operation[RequestT, ResultT], request: RequestT, timeout_s: float) -> ResultT:
        payload = request.encode()
        tries_left = 2 if operation.safe else 1
        while True:
            tries_left -= 1
            try:
                return _result(operation, await self._somebody(operation, payload, timeout_s))
            except TimeoutError:
                if not tries_left:
                    raise unavailable(f"the service {operation.service} did not answer in time") from None

    async def _somebody(self, operation: Operation[Any, Any], payload: bytes, timeout_s: float) -> bytes:
        """The answer of a process of the service, waiting a little for one to be there."""
        until = time.monotonic() + _NOBODY_S
        while True:
            try:
                return await self._events.request(operation.subject, payload, timeout_s)
            except NoWorkerError:
                if time.monotonic() > until:
                    raise unavailable(f"the service {operation.service} is not there") from None
                await asyncio.sleep(_NOBODY_STEP_S)
            except BusUnavailableError:
                raise unavailable("the bus cannot be reached") from None
            except TooLargeError:
                raise RequestFailedError(RequestErrorCode.TOO_LARGE, "the request is too large") from None


@cache
def _reply_type(result: type[Any]) -> type[Reply[Any]]:
    return Reply[result]  # type: ignore[valid-type]


def _result(operation: Operation[RequestT, ResultT], payload: bytes) -> ResultT:
    try:
        reply = _reply_type(operation.result).model_validate_json(payload)
    except ValidationError as error:
        log.error("unreadable answer", operation=operation.subject, problems=error.error_count())  # noqa: TRY400
        raise RequestFailedError(RequestErrorCode.INTERNAL, "the answer of a service cannot be read") from None
    if reply.error:
        failed = reply.error
        raise RequestFailedError(failed.code, failed.message, problems=failed.problems, retryable=failed.retryable)
    if reply.result is None:
        raise RequestFailedError(RequestErrorCode.INTERNAL, "the answer of a service is empty")
    result: ResultT = reply.result
    return result
