"""The composition root of the voice gateway."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import structlog

from voxbus.contracts.audio import SAMPLE_RATE
from voxbus.contracts.native import SAMPLE_RATES
from voxbus.runtime.audio import StreamResampler
from voxbus.runtime.process import Application, Context
from voxbus.runtime.streams import StageClient
from voxbus.runtime.streams.owned_stream import OwnerSettings
from voxbus.voice_gateway.agents import AgentDirectory
from voxbus.voice_gateway.calls import Calls
from voxbus.voice_gateway.edge.limits import EdgeLimits
from voxbus.voice_gateway.edge.routes import ROUTES
from voxbus.voice_gateway.edge.server import VoiceServer
from voxbus.voice_gateway.edge.tokens import TokenVerifier
from voxbus.voice_gateway.edge.wire import Edge
from voxbus.voice_gateway.settings import GatewaySettings

log = structlog.get_logger(__name__)


class VoiceGateway(Application):
    """The voice WebSocket and the calls behind it."""

    def __init__(self, context: Context, settings: GatewaySettings) -> None:
        self._settings = settings
        self._context = context
        self._agents = AgentDirectory(settings.agents_dir)
        owner = OwnerSettings(watchdog_s=settings.watchdog_ms / 1000, heartbeat_s=settings.heartbeat_ms / 1000)
        self._client = StageClient(context.live, context.instance_id, owner)
        self._calls = Calls(settings, self._client, self._agents, context.events)
        self._server: VoiceServer | None = None

    async def start(self) -> None:
        """Raises SystemExit with a readable log line when the key, the agents or the port are not usable."""
        settings = self._settings
        try:
            verifier = TokenVerifier.from_file(
                settings.token_public_key_file, algorithms=settings.token_algorithms, audience=settings.token_audience
            )
        except (OSError, ValueError) as error:
            log.error("token keys cannot be used", file=str(settings.token_public_key_file), error=str(error))  # noqa: TRY400
            raise SystemExit(3) from None
        limits = EdgeLimits(
            auth_timeout_s=settings.auth_timeout_s,
            max_connections=settings.max_connections,
            ping_interval_s=settings.ping_interval_s,
        )
        edge = Edge(start_call=self._calls.create, tokens=verifier, limits=limits)
        self._server = VoiceServer(edge, ROUTES, self._health, settings.voice_host, settings.voice_port)
        for rate in SAMPLE_RATES:
            # Filters are made on first use, in up to 10 ms: not in the middle of somebody's call.
            StreamResampler(rate, SAMPLE_RATE), StreamResampler(SAMPLE_RATE, rate)
        await self._client.start()
        self._calls.start()
        try:
            await self._server.start()
        except OSError as error:
            log.error("voice port is not free", port=settings.voice_port, error=error.strerror)  # noqa: TRY400
            raise SystemExit(3) from None
        log.info("voice socket open", host=settings.voice_host, port=self._server.port, agents=len(self._agents.ids()))

    async def drain(self) -> None:
        """Take no new calls; those that run may finish within the drain time."""
        self._calls.draining = True
        if self._server is not None:
            self._server.stop_accepting()
        deadline = time.monotonic() + self._settings.drain_timeout_s
        while self._calls.live and time.monotonic() < deadline:  # noqa: ASYNC110  # a bound and a condition
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        await self._calls.stop()
        if self._server is not None:
            await self._server.stop()
        await self._client.stop()

    def status(self) -> dict[str, Any]:
        return {
            "ready": self._server is not None and self._context.live.connected,
            "draining": self._calls.draining,
            "active": self._calls.live,
            "capacity": self._settings.max_calls,
        }

    def _health(self) -> tuple[bool, Mapping[str, Any]]:
        return self._context.health.report()
