"""What is done around every request: its id, its address, the log, metrics, safe headers, and an answer whatever happens.

Plain ASGI: Starlette's `BaseHTTPMiddleware` costs a task and two queues per request.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import MutableMapping
from typing import Any, Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from voxbus.runtime.trace import new_traceparent, trace_id
from voxbus.voice_gateway.rest.client_address import client_address
from voxbus.voice_gateway.rest.context import RequestContext, put_context
from voxbus.voice_gateway.rest.errors import MEDIA_TYPE, ProblemError, problem_body
from voxbus.voice_gateway.rest.metrics import REQUEST_SECONDS, REQUESTS, REQUESTS_RUNNING
from voxbus.voice_gateway.rest.settings import RestSettings

log = structlog.get_logger("voxbus.voice_gateway.rest.access")

_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_QUIET: Final = frozenset({"/health", "/ready", "/metrics"})
"""Asked by machines every few seconds: logged only when they fail."""


class RequestMiddleware:
    """Around the whole application."""

    def __init__(self, app: ASGIApp, settings: RestSettings) -> None:
        self._app = app
        self._trusted = settings.trusted_proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        context = _context(scope, client_address(scope, self._trusted))
        put_context(scope, context)
        started = time.perf_counter()
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(message["headers"], context)
            await send(message)

        structlog.contextvars.bind_contextvars(request_id=context.request_id, trace_id=trace_id(context.traceparent))
        REQUESTS_RUNNING.inc()
        try:
            await self._app(scope, receive, send_with_headers)
        except Exception:
            log.exception("request failed", method=scope["method"], route=_route(scope))
            if status:
                raise  # the answer has begun: the server ends the connection, and the client knows it is not whole
            await _send_internal_error(scope, context, send_with_headers)
        finally:
            REQUESTS_RUNNING.dec()
            _record(scope, context, status, time.perf_counter() - started)
            structlog.contextvars.unbind_contextvars("request_id", "trace_id")


def _context(scope: Scope, address: str) -> RequestContext:
    request_id, traceparent = b"", b""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            request_id = value
        elif name == b"traceparent":
            traceparent = value
    given = request_id.decode() if _SANE_ID.fullmatch(request_id) else f"req_{secrets.token_hex(10)}"
    trace = traceparent.decode("latin-1")
    return RequestContext(given, address, trace if trace_id(trace) else new_traceparent())


def _add_headers(headers: list[tuple[bytes, bytes]], context: RequestContext) -> None:
    headers.append((b"x-request-id", context.request_id.encode()))
    headers.append((b"x-content-type-options", b"nosniff"))
    if not any(name == b"cache-control" for name, _ in headers):
        # Every answer depends on who asks; with an ETag a client may ask whether its copy is still good.
        headers.append((b"cache-control", b"private, no-cache"))
    headers.extend((name.lower().encode(), value.encode()) for name, value in context.headers.items())


async def _send_internal_error(scope: Scope, context: RequestContext, send: Send) -> None:
    error = ProblemError(500, f"this is our fault; name request {context.request_id} when you report it")
    body = problem_body(error, scope["path"], context.request_id)
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _route(scope: MutableMapping[str, Any]) -> str:
    """The template of the route; what has none shares a name, or anybody could make series without end."""
    return str(getattr(scope.get("route"), "path", "none"))


def _record(scope: Scope, context: RequestContext, status: int, seconds: float) -> None:
    route = _route(scope)
    method = scope["method"] if scope["method"] in _METHODS else "other"
    REQUESTS.labels(method, route, status).inc()
    REQUEST_SECONDS.labels(method, route).observe(seconds)
    if route in _QUIET and status < 500:
        return
    actor = context.actor
    log.info(
        "request",
        method=method,
        route=route,
        status=status,
        duration_ms=round(seconds * 1000, 1),
        address=context.address,
        user_id=actor.user_id if actor else None,
        api_key_id=actor.api_key_id if actor else None,
    )
