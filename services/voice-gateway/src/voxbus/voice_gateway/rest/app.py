"""The composition root of the REST process."""

from __future__ import annotations

from typing import Any

import structlog

from voxbus.runtime.process import Application, CannotStartError, Context
from voxbus.runtime.rpc import RpcClient
from voxbus.voice_gateway.keyring import KeyRing
from voxbus.voice_gateway.rest.access_events import AccessEvents
from voxbus.voice_gateway.rest.api import make_api
from voxbus.voice_gateway.rest.backend import Backend
from voxbus.voice_gateway.rest.callers import Callers
from voxbus.voice_gateway.rest.deps import API_LIMIT, LOGIN_LIMIT, REFRESH_LIMIT, SIGN_UP_LIMIT
from voxbus.voice_gateway.rest.limits import SharedLimits
from voxbus.voice_gateway.rest.platform_status import PlatformStatus
from voxbus.voice_gateway.rest.server import HttpServer
from voxbus.voice_gateway.rest.settings import RestSettings

log = structlog.get_logger(__name__)


class RestGateway(Application):
    """The REST API as a process."""

    def __init__(self, context: Context, settings: RestSettings) -> None:
        client = RpcClient(context.events)
        self._context = context
        self._settings = settings
        self._keys = KeyRing(client, context.events)
        callers = Callers(client, self._keys)
        self._access_events = AccessEvents(context.events, callers)
        rates = {
            API_LIMIT: settings.rate_limit_api,
            LOGIN_LIMIT: settings.rate_limit_login,
            SIGN_UP_LIMIT: settings.rate_limit_login,
            REFRESH_LIMIT: settings.rate_limit_refresh,
        }
        self._limits = SharedLimits(context.events, rates)
        status = PlatformStatus(context.events, settings.expected_services, context.health.report)
        self.api = make_api(Backend(settings, client, callers, self._limits, status))
        self._server: HttpServer | None = None
        self._draining = False
        context.health.add("keys", self._keys.problem)

    async def start(self) -> None:
        """Raises CannotStartError when the port is taken."""
        await self._keys.start()
        await self._access_events.start()
        await self._limits.start()
        settings = self._settings
        server = HttpServer(self.api, settings.rest_host, settings.rest_port, settings.drain_timeout_s)
        try:
            await server.start()
        except OSError as error:
            raise CannotStartError(f"REST port {settings.rest_port}: {error.strerror}") from error
        self._server = server
        log.info("REST API open", host=settings.rest_host, port=server.port)

    @property
    def port(self) -> int:
        """The port in use, once started."""
        return self._server.port if self._server else self._settings.rest_port

    async def drain(self) -> None:
        """Accept no connection any more; requests that have begun are answered."""
        self._draining = True
        if self._server:
            await self._server.stop()

    async def stop(self) -> None:
        if self._server:
            await self._server.stop()
        await self._limits.stop()
        await self._access_events.stop()
        await self._keys.stop()

    def status(self) -> dict[str, Any]:
        return {"ready": self._server is not None and self._context.events.connected, "draining": self._draining}
