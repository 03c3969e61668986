"""The server around the calls: HTTP, keep-alive, shutdown, metrics."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest
import websockets
from prometheus_client import REGISTRY
from voice_client import FixedKeys, Gateway, RawClient, StartGateway, close_code, eventually, receive

from voxbus.contracts.audio import FRAME_BYTES
from voxbus.contracts.call import EndReason
from voxbus.contracts.native import Ended
from voxbus.voice_gateway.edge.limits import EdgeLimits
from voxbus.voice_gateway.edge.routes import ROUTES
from voxbus.voice_gateway.edge.server import VoiceServer
from voxbus.voice_gateway.edge.tokens import CallTokens
from voxbus.voice_gateway.edge.wire import Edge

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(("well", "status"), [(True, 200), (False, 503)])
async def test_health(gateway: Gateway, well: bool, status: int) -> None:
    """`/health` answers over plain HTTP with the report that the server was given."""
    report = {"status": "ok" if well else "degraded", "calls": 3}
    server = VoiceServer(_edge(gateway), ROUTES, lambda: (well, report), "127.0.0.1", 0)
    await server.start()
    async with httpx.AsyncClient() as client:
        for _ in range(3):
            answer = await client.get(f"http://127.0.0.1:{server.port}/health?verbose")
            assert (answer.status_code, answer.json()) == (status, report)
            assert answer.headers["content-type"] == "application/json"
    await server.stop()


def _edge(gateway: Gateway) -> Edge:
    return Edge(gateway.exchange.start_call, CallTokens(FixedKeys(gateway.signer.key)), EdgeLimits())


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 426), ("GET", "/nothing", 404), ("POST", "/", 400), ("HEAD", "/health", 400)],
)
async def test_other_http(gateway: Gateway, method: str, path: str, status: int) -> None:
    """Plain HTTP gets an HTTP answer that says what is wrong."""
    async with httpx.AsyncClient() as client:
        answer = await client.request(method, f"http://127.0.0.1:{gateway.server.port}{path}")
    assert answer.status_code == status


async def test_unknown_path(gateway: Gateway) -> None:
    """A WebSocket on an unknown path is answered 404."""
    with pytest.raises(websockets.InvalidStatus, match="404"):
        await gateway.connect("/v2/voice")


@pytest.mark.parametrize("header", ["Upgrade", "keep-alive, Upgrade", "upgrade , keep-alive"])
async def test_connection_header(gateway: Gateway, header: str) -> None:
    """The upgrade works with the `Connection` header as Firefox and proxies send it."""
    client = await RawClient.connect(gateway.server.port, Connection=header)
    await client.close()


async def test_slow_upgrade(start_gateway: StartGateway) -> None:
    """A socket that does not finish its HTTP request in time is dropped."""
    gateway = await start_gateway(auth_timeout_s=0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.server.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n")
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()


async def test_endless_http_header(gateway: Gateway) -> None:
    """A request header without an end is not read without an end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.server.port)
    writer.write(b"GET / HTTP/1.1\r\nX: " + b"x" * 1_000_000)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await asyncio.wait_for(reader.readexactly(1), 5)
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def test_ping_keeps_a_silent_client(start_gateway: StartGateway) -> None:
    """A client that sends nothing but answers pings stays."""
    gateway = await start_gateway(ping_interval_s=0.1)
    async with gateway.connect() as client:
        await gateway.ready(client)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.recv(), 0.6)
        gateway.call.line.send_audio(bytes(FRAME_BYTES))
        assert await asyncio.wait_for(client.recv(), 5) == bytes(FRAME_BYTES)


async def test_dead_peer(start_gateway: StartGateway) -> None:
    """A client that answers nothing is pinged, and dropped after twice the interval."""
    gateway = await start_gateway(ping_interval_s=0.1)
    client = await RawClient.connect(gateway.server.port)
    client.send_frame(1, gateway.auth().encode())
    await client.receive_frame()
    started = time.monotonic()
    assert await client.receive_frame() == (9, b"")
    await asyncio.wait_for(gateway.call.disconnected.wait(), 5)
    assert 0.1 <= time.monotonic() - started < 1
    await client.close()


async def test_client_that_does_not_answer_the_close(start_gateway: StartGateway) -> None:
    """A client that never answers a close frame is dropped after the close timeout."""
    gateway = await start_gateway(close_timeout_s=0.2)
    client = await RawClient.connect(gateway.server.port)
    client.send_frame(1, gateway.auth().encode())
    await client.receive_frame()
    started = time.monotonic()
    await gateway.call.line.end(Ended(reason=EndReason.AGENT_ENDED, duration_s=1))
    assert 0.2 <= time.monotonic() - started < 1
    assert gateway.server.connections == 0
    await client.close()


async def test_shutdown(gateway: Gateway) -> None:
    """A stopping server takes no new connection, closes those that remain with 1001, and tells their calls."""
    async with gateway.connect() as waiting, gateway.connect() as calling:
        await gateway.ready(calling)
        gateway.server.stop_accepting()
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await asyncio.open_connection("127.0.0.1", gateway.server.port)
        gateway.call.line.mark("still here")
        await receive(calling, "mark")
        await gateway.server.stop()
        assert await close_code(waiting) == 1001
        assert await close_code(calling) == 1001
    await asyncio.wait_for(gateway.call.disconnected.wait(), 5)
    assert gateway.call.events == ["disconnected"]
    assert gateway.server.connections == 0


async def test_port_is_taken(gateway: Gateway) -> None:
    """Starting on a port in use fails at once."""
    second = VoiceServer(_edge(gateway), ROUTES, lambda: (True, {}), "127.0.0.1", gateway.server.port)
    with pytest.raises(OSError, match="in use"):
        await second.start()


def _metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, {"protocol": "native", **labels}) or 0.0


async def test_metrics(gateway: Gateway) -> None:
    """Connections, messages, bytes and failures are counted."""
    before_in = _metric("voxbus_edge_bytes_total", direction="in")
    before_out = _metric("voxbus_edge_messages_total", direction="out")
    before_bad = _metric("voxbus_edge_auth_failures_total", code="not_authenticated")
    async with gateway.connect() as client:
        await gateway.ready(client)
        assert _metric("voxbus_edge_connections") == 1
        gateway.call.line.send_audio(bytes(FRAME_BYTES))
        await client.send(bytes(100_000 // 50))
        await client.recv()
    async with gateway.connect() as client:
        await client.send(bytes(2))
        await client.recv()
    await eventually(lambda: gateway.server.connections == 0)
    assert _metric("voxbus_edge_connections") == 0
    assert _metric("voxbus_edge_bytes_total", direction="in") - before_in > 2000
    assert _metric("voxbus_edge_messages_total", direction="out") - before_out == 3
    assert _metric("voxbus_edge_auth_failures_total", code="not_authenticated") - before_bad == 1
