"""A voice server on a free port, on both event loops, and a check that nothing a client did was logged as a failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import pytest
import structlog
import uvloop
from fake_call import Exchange
from voice_client import FixedKeys, Gateway, Signer, StartGateway

from voxbus.voice_gateway.edge.limits import EdgeLimits
from voxbus.voice_gateway.edge.routes import ROUTES
from voxbus.voice_gateway.edge.server import VoiceServer
from voxbus.voice_gateway.edge.tokens import CallTokens
from voxbus.voice_gateway.edge.wire import Edge


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every test here runs on both event loops: picows has code of its own for each."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
def failures_expected() -> list[str]:
    """A test that breaks the edge's own code puts the log message here."""
    return []


@pytest.fixture(autouse=True)
def logs(caplog: pytest.LogCaptureFixture, failures_expected: list[str]) -> Iterator[list[Any]]:
    """What was logged. Fails the test when something was logged as a warning or worse, or with a traceback."""
    with structlog.testing.capture_logs() as entries:
        yield entries
    bad = [
        entry
        for entry in entries
        if (entry["log_level"] not in ("debug", "info") or entry.get("exc_info"))
        and entry["event"] not in failures_expected
    ]
    assert bad == []
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR", "CRITICAL")] == []


@pytest.fixture
def signer() -> Signer:
    return Signer()


@pytest.fixture
async def start_gateway(signer: Signer) -> AsyncIterator[StartGateway]:
    """Starts a server with given limits."""
    servers: list[VoiceServer] = []

    async def start(**limits: Any) -> Gateway:
        exchange = Exchange()
        keys = FixedKeys(signer.key)
        edge = Edge(exchange.start_call, CallTokens(keys), EdgeLimits(**limits))
        server = VoiceServer(edge, ROUTES, lambda: (True, {"status": "ok"}), "127.0.0.1", 0)
        await server.start()
        servers.append(server)
        return Gateway(server, exchange, signer, keys)

    yield start
    for server in servers:
        await server.stop()


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> Gateway:
    """A server with the default limits."""
    return await start_gateway()
