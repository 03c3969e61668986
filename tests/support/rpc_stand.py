"""A bus and services on it, for tests of what asks or answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from voxbus.contracts.base import new_id
from voxbus.contracts.rpc import Operation
from voxbus.runtime.bus import EventBus
from voxbus.runtime.rpc import RpcServer

Handlers = Mapping[Operation[Any, Any], Callable[[Any], Awaitable[Any]]]


@asynccontextmanager
async def connected(nats_url: str, service: str = "tests") -> AsyncIterator[EventBus]:
    """A bus connection of its own."""
    events = EventBus(nats_url, service, new_id("p"))
    await events.start()
    try:
        yield events
    finally:
        await events.stop()


@asynccontextmanager
async def serving(nats_url: str, service: str, handlers: Handlers, **options: Any) -> AsyncIterator[RpcServer]:
    """A process of a service that answers by these handlers, in the test's own loop."""
    async with connected(nats_url, service) as events:
        server = RpcServer(events, service, **options)
        for operation, handler in handlers.items():
            server.answer(operation, handler)
        await server.start()
        try:
            yield server
        finally:
            await server.drain()
