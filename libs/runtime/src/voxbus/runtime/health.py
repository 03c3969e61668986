"""`/health`, `/ready` and `/metrics` of a process, served by uvicorn in the process's own event loop."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

Check = Callable[[], str | None]
"""None when fine, else what is wrong."""
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Health:
    """What the process knows of itself.

    `/health` says that the process is alive (always 200) and lists the checks; `/ready` is 200 only when all checks pass.
    """

    def __init__(self, service: str, instance_id: str, version: str) -> None:
        self._identity = {"service": service, "instance_id": instance_id, "version": version}
        self._checks: dict[str, Check] = {}

    def add(self, name: str, check: Check) -> None:
        """Add a check; it is called on each request and must not block."""
        self._checks[name] = check

    def report(self) -> tuple[bool, dict[str, Any]]:
        """Whether all is well, and the details."""
        results = {name: check() for name, check in self._checks.items()}
        ready = not any(results.values())
        checks = {name: problem or "ok" for name, problem in results.items()}
        return ready, {**self._identity, "status": "ok" if ready else "degraded", "checks": checks}


class HealthServer:
    """Serves a `Health` on a port of its own."""

    def __init__(self, health: Health, host: str, port: int) -> None:
        self._health = health
        self._host, self._port = host, port
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port in use."""
        return self._port

    async def start(self) -> None:
        """Bind and serve. Raises OSError when the port is taken."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self._host, self._port))
        self._port = listener.getsockname()[1]
        config = uvicorn.Config(
            self._app,
            log_config=None,
            access_log=False,
            interface="asgi3",
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=1,
        )
        self._server = _EmbeddedServer(config)
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]), name="health-server")

    async def stop(self) -> None:
        """Stop serving."""
        if self._server and self._task:
            self._server.should_exit = True
            await asyncio.gather(self._task, return_exceptions=True)

    async def _app(self, scope: Scope, _receive: Receive, send: Send) -> None:
        status, content_type, body = self._answer(scope["path"])
        headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body if scope["method"] != "HEAD" else b""})

    def _answer(self, path: str) -> tuple[int, str, bytes]:
        if path == "/metrics":
            return 200, CONTENT_TYPE_LATEST, generate_latest(REGISTRY)
        ready, report = self._health.report()
        if path in ("/health", "/ready"):
            return 200 if ready or path == "/health" else 503, "application/json", json.dumps(report).encode()
        return 404, "application/json", b'{"detail": "try /health, /ready or /metrics"}'


class _EmbeddedServer(uvicorn.Server):
    """Uvicorn without its signal handlers: signals are the process's own matter."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them alone."""
        yield
