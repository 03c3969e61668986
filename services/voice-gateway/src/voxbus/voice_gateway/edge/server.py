"""The voice WebSocket server: one port for all wire protocols and `/health`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import structlog
from picows import WSUpgradeRequest, WSUpgradeResponse, WSUpgradeResponseWithListener

# The public `ws_create_server` has one logger for all connections; picows announces a frame that is too large only there.
from picows.picows import WSAutoPingStrategy, WSProtocol  # type: ignore[attr-defined]

from voxbus.voice_gateway.edge import metrics
from voxbus.voice_gateway.edge.close_code import CloseCode
from voxbus.voice_gateway.edge.connection import Connection
from voxbus.voice_gateway.edge.wire import Edge, WireProtocol

log = structlog.get_logger(__name__)

HealthReport = Callable[[], tuple[bool, Mapping[str, Any]]]
"""Whether all is well, and the details for the body."""


class VoiceServer:
    """Listens, routes by path, keeps connections alive, and stops gracefully."""

    def __init__(
        self, edge: Edge, routes: Mapping[str, WireProtocol], health: HealthReport, host: str, port: int
    ) -> None:
        """`routes` maps paths to protocols; port 0 takes a free one."""
        self._edge = edge
        self._routes = routes
        self._health = health
        self._host, self._port = host, port
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._sweep_s = min(1.0, edge.limits.ping_interval_s / 2)

    @property
    def port(self) -> int:
        """The port in use."""
        return self._port

    @property
    def connections(self) -> int:
        """Open sockets, authenticated or not."""
        return len(self._connections)

    async def start(self) -> None:
        """Bind and serve. Raises OSError when the port is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, self._host, self._port, backlog=512)
        self._port = self._server.sockets[0].getsockname()[1]
        self._sweeper = loop.call_later(self._sweep_s, self._sweep)

    def stop_accepting(self) -> None:
        """Take no new connection; those that are open go on."""
        if self._server is not None:
            self._server.close()

    async def stop(self) -> None:
        """Take no new connection, close what is open with 1001 and wait for it to be gone (at most `close_timeout_s`)."""
        self.stop_accepting()
        remaining = tuple(self._connections)
        for connection in remaining:
            connection.close(CloseCode.GOING_AWAY, "the server is going away")
        await asyncio.gather(*(connection.wait_gone() for connection in remaining))
        if self._sweeper is not None:
            self._sweeper.cancel()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweeper = loop.call_later(self._sweep_s, self._sweep)
        now = loop.time()
        for connection in tuple(self._connections):
            connection.sweep(now)

    def _accept(self) -> asyncio.BaseProtocol:
        faults = _Faults()

        def route(request: WSUpgradeRequest) -> Connection | WSUpgradeResponseWithListener:
            faults.connection = connection = self._route(request)
            return connection

        limits = self._edge.limits
        # Keep-alive and pongs are the connection's own: picows would have a task per connection for them.
        protocol: asyncio.BaseProtocol = WSProtocol(
            None,  # host and port: client only
            None,  # path: client only
            False,  # is_client_side
            route,
            faults,  # logger
            True,  # disconnect_on_exception
            limits.auth_timeout_s,  # of the HTTP upgrade
            False,  # enable_auto_ping
            limits.ping_interval_s,
            limits.ping_interval_s,
            WSAutoPingStrategy.PING_WHEN_IDLE,
            False,  # enable_auto_pong
            limits.max_message_bytes,
            None,  # extra_headers: client only
            4096,  # initial size of the read buffer; it grows
        )
        return protocol

    def _route(self, request: WSUpgradeRequest) -> Connection | WSUpgradeResponseWithListener:
        path = request.path.split(b"?", 1)[0].decode("ascii", "replace")
        if path == "/health":
            return self._answer_health()
        protocol = self._routes.get(path)
        if protocol is None:
            return _answer(HTTPStatus.NOT_FOUND, {"detail": "no such path"})
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return _answer(HTTPStatus.UPGRADE_REQUIRED, {"detail": "this is a WebSocket"}, {"Upgrade": "websocket"})
        if self.connections >= self._edge.limits.max_connections:
            metrics.CONNECTIONS_REFUSED.labels("max_connections").inc()
            log.info("connection refused", reason="max_connections")
            return _answer(HTTPStatus.SERVICE_UNAVAILABLE, {"detail": "too many connections"}, {"Retry-After": "5"})
        _normalise_connection_header(request)
        make = protocol.make_handler
        return Connection(
            protocol.name, self._edge.limits, lambda connection: make(self._edge, connection), self._connections
        )

    def _answer_health(self) -> WSUpgradeResponseWithListener:
        ready, report = self._health()
        return _answer(HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE, report)


def _normalise_connection_header(request: WSUpgradeRequest) -> None:
    """Firefox and some proxies send `Connection: keep-alive, Upgrade`; picows wants the one word."""
    tokens = ",".join(request.headers.getall("Connection", [])).split(",")
    if any(token.strip().lower() == "upgrade" for token in tokens):
        request.headers["Connection"] = "Upgrade"


def _answer(
    status: HTTPStatus, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> WSUpgradeResponseWithListener:
    response = WSUpgradeResponse.create_ok_response(
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "Cache-Control": "no-store", **(headers or {})},
    )
    response.status = status
    return WSUpgradeResponseWithListener(response, None)


class _Faults:
    """Stands in for the logger of one picows connection.

    When a client sends a frame that is too large, or no WebSocket frame at all, picows says so to its logger before it
    sends the close frame. That is the only moment to tell the client in the words of its protocol. Everything else that
    picows logs is either a client's doing (silent) or a fault of ours (logged).
    """

    def __init__(self) -> None:
        self.connection: Connection | WSUpgradeResponseWithListener | None = None

    def isEnabledFor(self, _level: int) -> bool:  # noqa: N802 - the name is logging's
        """Nothing below INFO."""
        return False

    def debug(self, *_args: object) -> None:
        """A client's doing."""

    log = info = warning = debug

    def error(self, message: str, *args: object) -> None:
        """A protocol fault of the client: `args` is `((close code, reason),)`."""
        if not isinstance(self.connection, Connection) or not (args and isinstance(args[0], tuple)):
            log.error("websocket library failed", event_text=message)
        elif args[0][0] == CloseCode.TOO_LARGE:
            self.connection.too_large()
        else:
            self.connection.broken()

    def exception(self, message: str, *_args: object) -> None:
        """A fault of ours, or of picows."""
        log.error("websocket library failed", event_text=message, exc_info=True)  # noqa: LOG014 - picows is in its handler
