"""A gateway's calls on the real bus, with one fake worker of each stage."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from fake_line import FakeLine
from fake_stages import FakeEar, FakeMind, FakeMouth

from voxbus.contracts.agent import AgentConfig
from voxbus.contracts.audio import FRAME_BYTES
from voxbus.contracts.base import Message, new_id
from voxbus.runtime.bus import LiveBus
from voxbus.runtime.streams import StageClient, StageWorker
from voxbus.runtime.streams.owned_stream import OwnerSettings
from voxbus.voice_gateway.agents import AgentUnavailableError
from voxbus.voice_gateway.calls import Calls
from voxbus.voice_gateway.edge.line import CallRequest
from voxbus.voice_gateway.settings import GatewaySettings

FRAME = bytes(FRAME_BYTES)


class KeptEvents:
    """Stands in for the event bus: keeps what would be published."""

    def __init__(self) -> None:
        self.kept: list[Message] = []

    async def publish(self, data: Message, *, subject: str, traceparent: str | None = None) -> None:
        self.kept.append(data)

    def of(self, kind: type[Any]) -> list[Any]:
        """Those of one type."""
        return [data for data in self.kept if isinstance(data, kind)]


class FixedAgents:
    """Stands in for the catalogue."""

    def __init__(self) -> None:
        self.known: dict[str, AgentConfig] = {}
        self.away = False

    async def get(self, agent_id: str) -> AgentConfig | None:
        if self.away:
            raise AgentUnavailableError(agent_id)
        return self.known.get(agent_id)


class Stand:
    """A gateway's calls and one fake worker of each stage."""

    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self.agents = FixedAgents()
        self.ear, self.mind, self.mouth = FakeEar(), FakeMind(), FakeMouth()
        self.events = KeptEvents()
        self.workers: dict[str, StageWorker[Any]] = {}
        self.calls: Calls
        self._url, self._stack = url, stack

    async def start(self) -> None:
        """Start all."""
        for service in (self.ear, self.mind, self.mouth):
            await self.add_worker(service)
        live = await self._bus()
        settings = OwnerSettings(watchdog_s=0.3, heartbeat_s=0.1, open_deadline_s=0.5)
        client = StageClient(live, new_id("gw"), settings)
        await client.start()
        self._stack.push_async_callback(client.stop)
        gateway = GatewaySettings(
            max_calls=3,
            call_setup_timeout_s=0.3,
            turn_stall_timeout_s=2.0,
        )
        self.calls = Calls(gateway, client, self.agents, self.events)  # type: ignore[arg-type]
        self.calls.start()
        self._stack.push_async_callback(self.calls.stop)

    async def add_worker(self, service: Any) -> StageWorker[Any]:
        """One more worker."""
        live = await self._bus()
        worker: StageWorker[Any] = StageWorker(service, live, worker_id=new_id("w"), capacity=10)
        await worker.start()
        await live.flush()
        self._stack.push_async_callback(worker.stop)
        self.workers[service.stage.value] = worker
        return worker

    async def _bus(self) -> LiveBus:
        live = await LiveBus.connect(self._url, "test")
        self._stack.push_async_callback(live.close)
        return live

    async def call(self, line: FakeLine | None = None, **agent: Any) -> tuple[Any, FakeLine]:
        """A started call with an agent of these settings."""
        config = AgentConfig.model_validate({"id": "tester", "name": "Tester", **agent})
        self.agents.known["tester"] = config
        line = line or FakeLine()
        request = CallRequest("tester", "fake", 16_000, "user", "127.0.0.1")
        return await self.calls.create(request, line), line

    @property
    def heard(self) -> Any:
        """The ear of the latest call."""
        return self.ear.handlers[-1]
