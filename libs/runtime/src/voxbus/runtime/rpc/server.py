"""The answering side: a process's share of the requests to its service."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from pydantic import ValidationError
from structlog.contextvars import bind_contextvars

from voxbus.contracts.base import Message
from voxbus.contracts.rpc import Operation, Reply, Request, RequestError, RequestErrorCode, RequestT, ResultT
from voxbus.runtime.bus import EventBus, patience_s
from voxbus.runtime.metrics import RPC_SERVED, RPC_SERVED_SECONDS
from voxbus.runtime.rpc.errors import RequestFailedError, problems_of
from voxbus.runtime.trace import trace_id

log = structlog.get_logger(__name__)

_BUSY = RequestError(code=RequestErrorCode.UNAVAILABLE, message="the service is overloaded", retryable=True)
Translate = Callable[[Exception], RequestFailedError | None]
"""Makes a typed failure of an exception that handlers let through, such as a store's; None: it does not know it."""


@dataclass(frozen=True)
class _Answering:
    operation: Operation[Any, Any]
    handler: Callable[[Any], Awaitable[Message]]


class RpcServer:
    """Answers requests in the queue group of the service, at most `max_workers` at a time; the others wait their turn.

    A request whose sender has given up while it waited is dropped.
    """

    def __init__(
        self,
        events: EventBus,
        service: str,
        *,
        max_workers: int = 32,
        max_waiting: int = 1000,
        translate: Translate | None = None,
    ) -> None:
        """`max_waiting`: requests beyond those are refused as UNAVAILABLE at once."""
        self._events = events
        self._service = service
        self._free = asyncio.Semaphore(max_workers)
        self._most = max_workers + max_waiting
        self._translate = translate
        self._answering: list[_Answering] = []
        self._subscriptions: list[Subscription] = []
        self._running: set[asyncio.Task[None]] = set()

    @property
    def active(self) -> int:
        """Requests being worked on, and those that wait."""
        return len(self._running)

    def answer(
        self, operation: Operation[RequestT, ResultT], handler: Callable[[RequestT], Awaitable[ResultT]]
    ) -> None:
        """Answer an operation of this service by `handler`; call it before `start`.

        What the handler raises is answered too: RequestFailedError as it is, anything unknown as INTERNAL without details.
        """
        if operation.service != self._service:
            raise ValueError(f"{operation.subject} is not answered by {self._service}")
        self._answering.append(_Answering(operation, handler))

    async def start(self) -> None:
        """Join the queue group; returns when requests can come."""
        for answering in self._answering:
            subject = answering.operation.subject
            subscription = await self._events.subscribe_requests(subject, self._accept(answering), self._service)
            self._subscriptions.append(subscription)
        await self._events.flush()

    async def drain(self) -> None:
        """Leave the queue group and answer what has come: no request is lost while another process serves."""
        subscriptions, self._subscriptions = self._subscriptions, []
        await asyncio.gather(*(self._events.leave(subscription) for subscription in subscriptions))
        while self._running:
            await asyncio.gather(*self._running)

    def _accept(self, answering: _Answering) -> Callable[[Msg], Awaitable[None]]:
        async def accept(message: Msg) -> None:
            if len(self._running) >= self._most:
                RPC_SERVED.labels(self._service, answering.operation.name, RequestErrorCode.UNAVAILABLE).inc()
                await self._respond_failure(message, _BUSY)
                return
            task = asyncio.create_task(self._in_turn(answering, message, time.perf_counter()))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

        return accept

    async def _in_turn(self, answering: _Answering, message: Msg, arrived: float) -> None:
        async with self._free:
            if time.perf_counter() - arrived > patience_s(message):
                # Nobody waits for the answer any more: after a store has hung, what can still be answered comes first,
                # and nothing is done behind the back of somebody who was told that it failed.
                RPC_SERVED.labels(self._service, answering.operation.name, "late").inc()
            else:
                await self._serve(answering, message, arrived)

    async def _serve(self, answering: _Answering, message: Msg, arrived: float) -> None:
        operation = answering.operation
        reply, outcome = await self._reply(answering, message.data)
        try:
            await message.respond(reply)
        except nats.errors.MaxPayloadError:
            log.warning("answer too large for the bus", operation=operation.name, size_bytes=len(reply))
            outcome = RequestErrorCode.TOO_LARGE
            await self._respond_failure(message, RequestError(code=outcome, message="the answer is too large"))
        except nats.errors.Error as error:
            log.warning("answer not sent", operation=operation.name, error=type(error).__name__)
        RPC_SERVED.labels(self._service, operation.name, outcome).inc()
        RPC_SERVED_SECONDS.labels(self._service, operation.name).observe(time.perf_counter() - arrived)

    async def _respond_failure(self, message: Msg, error: RequestError) -> None:
        try:
            await message.respond(_failure(error))
        except nats.errors.Error as failure:
            log.warning("answer not sent", error=type(failure).__name__)

    async def _reply(self, answering: _Answering, payload: bytes) -> tuple[bytes, str]:
        """The encoded reply and the outcome: `ok` or the error's code."""
        request: Request | None = None
        try:
            request = answering.operation.request.model_validate_json(payload)
            bind_contextvars(trace_id=trace_id(request.traceparent))  # of this task, which is this request's alone
            result = await answering.handler(request)
            return _success(result), "ok"
        except Exception as error:  # every request is answered
            failure = self._failure_of(error, answering.operation, request)
        return _failure(failure), failure.code

    def _failure_of(self, error: Exception, operation: Operation[Any, Any], request: Request | None) -> RequestError:
        if isinstance(error, RequestFailedError):
            return error.error
        if isinstance(error, ValidationError) and request is None:
            return RequestError(
                code=RequestErrorCode.INVALID, message="the request is not valid", problems=problems_of(error)
            )
        known = self._translate(error) if self._translate else None
        if known:
            log.warning("request failed", operation=operation.name, error=type(error).__name__)
            return known.error
        # Not the exception's text: those of stores and validation quote the record.
        where = traceback.format_tb(error.__traceback__)
        kind = type(error).__name__
        log.error("request failed", operation=operation.name, error=kind, traceback="".join(where))
        log.debug("request failed", operation=operation.name, exc_info=error)
        return RequestError(code=RequestErrorCode.INTERNAL, message="something went wrong inside")


def _success(result: Message) -> bytes:
    # The bytes of `Reply(result=result)`, without validating the result once more.
    return b'{"result":' + result.encode() + b"}"


def _failure(error: RequestError) -> bytes:
    return Reply[Message](error=error).encode()
