"""The HTTP server, in the event loop of the process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from voxbus.voice_gateway.rest.http_protocol import BoundedHttpProtocol

_BACKLOG: Final = 2048
_KEEP_ALIVE_S: Final = 75
"""Longer than the 60 s after which usual proxies close, so that they never send into a connection that is being closed."""


class _EmbeddedServer(uvicorn.Server):
    """Uvicorn without its signal handlers: signals are the process's own matter."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them alone."""
        yield


class HttpServer:
    """Serves an application on a port."""

    def __init__(self, app: ASGIApp, host: str, port: int, drain_timeout_s: float) -> None:
        self._host, self._port = host, port
        config = uvicorn.Config(
            app,
            http=BoundedHttpProtocol,
            log_config=None,
            access_log=False,
            interface="asgi3",
            lifespan="off",
            ws="none",
            server_header=False,
            proxy_headers=False,  # whom to believe is decided in client_address.py
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=max(1, round(drain_timeout_s)),
        )
        self._server = _EmbeddedServer(config)
        self._task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port in use."""
        return self._port

    async def start(self) -> None:
        """Bind and serve. Raises OSError when the port is taken."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self._host, self._port))
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
        self._port = listener.getsockname()[1]
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]), name="rest-server")
        while not self._server.started and not self._task.done():  # noqa: ASYNC110  # uvicorn has no event for it
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Accept nothing more, finish what has begun, and close."""
        if self._task:
            self._server.should_exit = True
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
