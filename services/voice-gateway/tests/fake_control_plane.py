"""Stand-ins for `auth` and `agents` on a real bus, as far as the voice gateway asks them."""

from __future__ import annotations

import asyncio
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm

from voxbus.contracts import agents, auth
from voxbus.contracts.agent import AgentConfig
from voxbus.contracts.base import Message, new_id
from voxbus.contracts.rpc import RequestErrorCode
from voxbus.runtime.bus import EventBus
from voxbus.runtime.rpc import RequestFailedError, RpcServer, not_found


class FakeService:
    """A service that can be stopped and started again."""

    name: str

    def __init__(self, url: str) -> None:
        self.asked = 0
        """Requests so far."""
        self.gate = asyncio.Event()
        """Answers come once it is set."""
        self.gate.set()
        self.failure: RequestFailedError | None = None
        self.bus: EventBus
        self._url = url
        self._server: RpcServer | None = None

    async def start(self) -> None:
        """Answer requests."""
        self.bus = EventBus(self._url, self.name, new_id("p"))
        await self.bus.start()
        self._server = RpcServer(self.bus, self.name)
        self.register(self._server)
        await self._server.start()

    async def stop(self) -> None:
        """Be gone."""
        server, self._server = self._server, None
        if server is not None:
            self.gate.set()
            await server.drain()
            await self.bus.stop()

    async def tell(self, event: Message) -> None:
        """Publish an event."""
        await self.bus.publish(event, subject="test")

    def register(self, server: RpcServer) -> None:
        """Say what is answered."""
        raise NotImplementedError

    async def turn(self) -> None:
        """Before each answer."""
        self.asked += 1
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure


class FakeAuth(FakeService):
    """Public keys."""

    name = "auth"

    def __init__(self, url: str, *keys: Ed25519PrivateKey) -> None:
        super().__init__(url)
        self.keys = list(keys)

    def register(self, server: RpcServer) -> None:
        server.answer(auth.GET_JWKS, self._jwks)

    async def _jwks(self, _: auth.GetJwks) -> auth.JwkSet:
        jwks = tuple(OKPAlgorithm.to_jwk(key.public_key(), as_dict=True) for key in self.keys)
        await self.turn()
        return auth.JwkSet(keys=jwks)


class FakeAgents(FakeService):
    """Published agents."""

    name = "agents"

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.published: dict[str, AgentConfig] = {}

    def publish(self, agent_id: str, **fields: Any) -> AgentConfig:
        """Another version; nobody is told."""
        before = self.published.get(agent_id)
        version = before.version + 1 if before else 1
        config = AgentConfig.model_validate({"id": agent_id, "version": version, "name": "Tester", **fields})
        self.published[agent_id] = config
        return config

    def register(self, server: RpcServer) -> None:
        server.answer(agents.RESOLVE_AGENT, self._resolve)

    async def _resolve(self, request: agents.ResolveAgent) -> agents.ResolvedAgent:
        found = self.published.get(request.agent_id)
        await self.turn()
        if found is None:
            raise not_found("agent")
        return agents.ResolvedAgent(user_id="user_1", config=found)


def unavailable() -> RequestFailedError:
    """What a service answers whose store is away."""
    return RequestFailedError(RequestErrorCode.UNAVAILABLE, "the store cannot be reached", retryable=True)
