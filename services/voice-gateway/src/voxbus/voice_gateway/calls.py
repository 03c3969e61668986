"""All calls of the process: admits, counts and ends them."""

from __future__ import annotations

import asyncio

import structlog

from voxbus.contracts.agent import AgentConfig
from voxbus.contracts.call import EndReason
from voxbus.contracts.native import NativeErrorCode
from voxbus.contracts.stage import ErrorCode
from voxbus.runtime.bus import EventBus
from voxbus.runtime.streams import StageClient, StageFailure
from voxbus.voice_gateway.agents import AgentCatalogue, AgentUnavailableError
from voxbus.voice_gateway.call import Call
from voxbus.voice_gateway.call_parts import CallParts
from voxbus.voice_gateway.edge.line import CallRefused, CallRequest, Line
from voxbus.voice_gateway.metrics import CALLS_REFUSED
from voxbus.voice_gateway.playout import Clock
from voxbus.voice_gateway.pump import AudioPump
from voxbus.voice_gateway.settings import GatewaySettings

log = structlog.get_logger(__name__)


class Calls:
    """The factory and register of calls."""

    def __init__(
        self, settings: GatewaySettings, client: StageClient, agents: AgentCatalogue, events: EventBus
    ) -> None:
        self.draining = False
        self._settings = settings
        self._agents = agents
        self._clock = Clock(settings.playout_tick_ms)
        self._pump = AudioPump()
        self._calls: dict[str, Call] = {}
        self._parts = CallParts(settings, client, self._clock, self._pump, events.publish, self._forget)
        self._starting = 0
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def live(self) -> int:
        """Calls now, and those that are being set up."""
        return len(self._calls) + self._starting

    def start(self) -> None:
        """Begin to take calls."""
        self._clock.start()
        self._pump.start()

    async def create(self, request: CallRequest, line: Line) -> Call:
        """A call that has begun. Raises CallRefused, also when the gateway stopped or the client left meanwhile."""
        if self.draining or self.live >= self._settings.max_calls:
            raise self._refused(
                "capacity", NativeErrorCode.OVERLOADED, "this gateway takes no more calls now; try again later"
            )
        self._starting += 1
        try:
            call = Call(self._parts, await self._agent(request.agent_id), line)
            await self._connect(call)
        finally:
            self._starting -= 1
        if self.draining or line.closed:
            await call.abandon()
            raise self._refused("late", NativeErrorCode.OVERLOADED, "this gateway is stopping; try again elsewhere")
        self._calls[call.id] = call
        call.begin()
        return call

    async def _agent(self, agent_id: str) -> AgentConfig:
        try:
            agent = await self._agents.get(agent_id)
        except AgentUnavailableError:
            log.warning("call refused", agent_id=agent_id, code="agent_unavailable")
            message = "the agent cannot be looked up now; try again later"
            raise self._refused("agent_unavailable", NativeErrorCode.OVERLOADED, message) from None
        if agent is None:
            raise self._refused("unknown_agent", NativeErrorCode.UNKNOWN_AGENT, f"there is no agent {agent_id!r}")
        return agent

    async def _connect(self, call: Call) -> None:
        try:
            await call.connect()
        except StageFailure as failure:
            log.warning("call refused", agent_id=call.agent.id, code=failure.code.value)
            if failure.code in (ErrorCode.AT_CAPACITY, ErrorCode.TIMEOUT, ErrorCode.DRAINING):
                message = "no speech-to-text worker has room now; try again later"
                raise self._refused("stage", NativeErrorCode.OVERLOADED, message) from failure
            raise self._refused(
                "stage", NativeErrorCode.INTERNAL, f"speech-to-text refused: {failure.message}"
            ) from failure

    async def stop(self) -> None:
        """End all calls."""
        self.draining = True
        for call in list(self._calls.values()):
            call.end(EndReason.GATEWAY_STOPPED)
        if self._ending:
            await asyncio.wait(self._ending, timeout=3)
        await self._clock.stop()
        await self._pump.stop()

    def _refused(self, reason: str, code: NativeErrorCode, message: str) -> CallRefused:
        CALLS_REFUSED.labels(reason).inc()
        return CallRefused(code, message)

    def _forget(self, call: Call) -> None:
        self._calls.pop(call.id, None)
        task = asyncio.create_task(call.finished())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
