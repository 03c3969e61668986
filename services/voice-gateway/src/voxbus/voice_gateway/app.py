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
from voxbus.runtime.process import Application, CannotStartError, Context
from voxbus.runtime.rpc import RpcClient
from voxbus.runtime.streams import StageClient
from voxbus.runtime.streams.owned_stream import OwnerSettings
from voxbus.voice_gateway.agents import AgentCatalogue
from voxbus.voice_gateway.calls import Calls
from voxbus.voice_gateway.edge.limits import EdgeLimits
from voxbus.voice_gateway.edge.routes import ROUTES
from voxbus.voice_gateway.edge.server import VoiceServer
from voxbus.voice_gateway.edge.tokens import CallTokens
from voxbus.voice_gateway.edge.wire import Edge
from voxbus.voice_gateway.keyring import KeyRing
from voxbus.voice_gateway.settings import GatewaySettings

log = structlog.get_logger(__name__)


class VoiceGateway(Application):
    """The voice WebSocket and the calls behind it."""

    def __init__(self, context: Context, settings: GatewaySettings) -> None:
        self._settings = settings
        self._context = context
        self._rpc = RpcClient(context.events)
        directory = settings.cache_dir / "agents" if settings.cache_dir else None
        self._agents = AgentCatalogue(self._rpc, context.events, directory=directory)
        owner = OwnerSettings(watchdog_s=settings.watchdog_ms / 1000, heartbeat_s=settings.heartbeat_ms / 1000)
        self._client = StageClient(context.live, context.instance_id, owner)
        self._calls = Calls(settings, self._client, self._agents, context.events)
        self._keys: KeyRing | None = None
        self._server: VoiceServer | None = None

    async def start(self) -> None:
        """Raises CannotStartError when the key or the port is not usable."""
        settings = self._settings
        self._keys = keys = self._key_ring()
        await keys.start()
        await self._agents.start()
        self._context.health.add("token_keys", keys.problem)
        self._context.health.add("agents", self._agents.problem)
        limits = EdgeLimits(
            auth_timeout_s=settings.auth_timeout_s,
            max_connections=settings.max_connections,
            ping_interval_s=settings.ping_interval_s,
        )
        edge = Edge(start_call=self._calls.create, tokens=CallTokens(keys, settings.token_audience), limits=limits)
        server = VoiceServer(edge, ROUTES, self._health, settings.voice_host, settings.voice_port)
        for rate in SAMPLE_RATES:
            # Filters are made on first use, in up to 10 ms: not in the middle of somebody's call.
            StreamResampler(rate, SAMPLE_RATE)
            StreamResampler(SAMPLE_RATE, rate)
        await self._client.start()
        self._calls.start()
        try:
            await server.start()
        except OSError as error:
            raise CannotStartError(f"voice port {settings.voice_port}: {error.strerror}") from error
        self._server = server  # from here on the gateway is ready
        log.info("voice socket open", host=settings.voice_host, port=server.port)

    def _key_ring(self) -> KeyRing:
        settings, file = self._settings, self._settings.token_public_key_file
        cache = settings.cache_dir / "public-keys.json" if settings.cache_dir else None
        try:
            pem = file.read_bytes() if file else None
            return KeyRing(
                self._rpc, self._context.events, cache_file=cache, static_pem=pem, algorithms=settings.token_algorithms
            )
        except (OSError, ValueError) as error:
            raise CannotStartError(f"token keys in {file}: {error}") from error

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
        if self._keys is not None:
            await self._keys.stop()
        await self._agents.stop()
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
