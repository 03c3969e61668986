"""Clients that send rubbish, too much, too fast, or don't read: the call goes on where it can, and memory stays bounded."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import socket
import time
import tracemalloc
from typing import Any

import pytest
import websockets
from fake_call import RecordingCall
from prometheus_client import REGISTRY
from voice_client import (
    Gateway,
    RawClient,
    StartGateway,
    close_code,
    eventually,
    expect_fatal,
    frame_header,
    receive,
    receive_audio,
)

from voxbus.contracts.audio import FRAME_BYTES, FRAME_MS
from voxbus.voice_gateway.edge.limits import EdgeLimits

pytestmark = pytest.mark.integration

TEN_MB = 10_000_000


async def talk(gateway: Gateway, client: websockets.ClientConnection) -> None:
    """The call still works both ways."""
    call: RecordingCall = gateway.call
    heard = len(call.frames)
    await client.send(bytes(FRAME_BYTES))
    await eventually(lambda: len(call.frames) == heard + 1)
    call.line.send_audio(b"\7\0" * 320)
    assert await receive_audio(client) == b"\7\0" * 320


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("", "invalid_message"),
        ("{", "invalid_message"),
        ("\ud83d".encode("utf-8", "surrogatepass"), "invalid_message"),
        ("null", "invalid_message"),
        ("{}", "invalid_message"),
        ('{"type":"sing"}', "invalid_message"),
        ('{"type":"ready"}', "invalid_message"),
        ('{"type":"dtmf","digit":"12"}', "invalid_message"),
        ('{"type":"mark"}', "invalid_message"),
        ('{"type":"mark","name":"' + "x" * 65 + '"}', "invalid_message"),
        ("[" * 60_000, "invalid_message"),
        ('{"type":"audio"}', "invalid_message"),
        ('{"type":"audio","data":17}', "invalid_message"),
        ('{"type":"audio","data":"*"}', "invalid_audio"),
        ('{"type":"audio","data":"ähm="}', "invalid_audio"),
        ('{"type":"audio","data":"AAA="}', None),
        ('{"type":"audio","data":"AAAA"}', "invalid_audio"),
        (b"\0" * 641, "invalid_audio"),
        (b"\0", "invalid_audio"),
        (b"", None),
        ('{"type":"mark","name":"unknown"}', None),
        ('{"type":"dtmf","digit":"1","from":"the future"}', None),
    ],
)
async def test_bad_message_does_not_end_the_call(gateway: Gateway, message: str | bytes, code: str | None) -> None:
    """A malformed message gets an error that is not fatal, a harmless one gets none, and the call goes on."""
    is_text = isinstance(message, str) or message.startswith(b"\xed")
    async with gateway.connect() as client:
        await gateway.ready(client)
        await client.send(message, text=is_text)
        if code is not None:
            error = await receive(client, "error")
            assert (error["code"], error["fatal"]) == (code, False)
        else:
            await (await client.ping())
        gateway.call.frames.clear()
        await client.send(bytes(FRAME_BYTES))
        await eventually(lambda: gateway.call.frames)
        await talk(gateway, client)
        assert "disconnected" not in gateway.call.events


async def test_second_auth(gateway: Gateway) -> None:
    """A second auth is an error and changes nothing."""
    async with gateway.connect() as client:
        await gateway.ready(client)
        await client.send(gateway.auth())
        assert (await receive(client, "error"))["code"] == "invalid_message"
        await talk(gateway, client)


async def test_errors_do_not_quote_the_client(gateway: Gateway, logs: list[Any]) -> None:
    """What a client sent is neither logged nor sent back."""
    async with gateway.connect() as client:
        await gateway.ready(client)
        for message in ('{"type":"hunter2"}', '{"type":"dtmf","digit":"hunter2"}', "hunter2", '{"hunter2":1}'):
            await client.send(message)
            assert "hunter2" not in json.dumps(await receive(client, "error"))
    assert "hunter2" not in json.dumps(logs)
    assert {entry["event"] for entry in logs} == {"client fault"}


async def test_what_is_logged_of_a_call_names_it(gateway: Gateway, logs: list[Any]) -> None:
    """From `ready` on each line has the call and the agent."""
    async with gateway.connect() as client:
        await gateway.ready(client)
        await client.send("no message")
        await receive(client, "error")
    assert [(entry["call_id"], entry["agent_id"]) for entry in logs] == [(gateway.call.id, gateway.call.agent.id)]


async def test_random_messages(gateway: Gateway) -> None:
    """No message, however odd, does more than end its own connection in an orderly way."""
    rng = random.Random(7)  # noqa: S311 - the same messages in every run
    good = [b'{"type":"audio","data":"AAAA"}', b'{"type":"mark","name":"m"}', b'{"type":"dtmf","digit":"5"}']
    for _ in range(40):
        async with gateway.connect() as client:
            await gateway.ready(client)
            for _ in range(10):
                message = bytearray(rng.choice(good))
                for _ in range(rng.randint(1, 4)):
                    message[rng.randrange(len(message))] = rng.randrange(256)
                await client.send(bytes(message), text=rng.random() < 0.8)
            await (await client.ping())
    async with gateway.connect() as client:
        await gateway.ready(client)


async def test_flood_of_bad_messages(start_gateway: StartGateway) -> None:
    """A client that sends nothing but rubbish gets some errors, then a fatal one and 4429."""
    gateway = await start_gateway(fault_burst=5.0)
    async with gateway.connect() as client:
        await gateway.ready(client)
        for _ in range(6):
            await client.send("rubbish")
        for _ in range(5):
            assert not (await receive(client, "error"))["fatal"]
        await expect_fatal(client, "overloaded", 4429)
    await asyncio.wait_for(gateway.call.disconnected.wait(), 5)


async def _send_until_closed(client: websockets.ClientConnection, message: str | bytes) -> None:
    while client.close_code is None:
        try:
            await client.send(message)
            await asyncio.sleep(0)  # let it see the close
        except websockets.ConnectionClosed:
            return


@pytest.mark.parametrize("message", [b"", '{"type":"dtmf","digit":"1"}'])
async def test_flood_of_good_messages(start_gateway: StartGateway, message: str | bytes) -> None:
    """Even well-formed messages may not come without end."""
    gateway = await start_gateway(message_rate=50.0)
    async with gateway.connect() as client:
        await gateway.ready(client)
        await _send_until_closed(client, message)
        assert await close_code(client) == 4429
    assert len(gateway.call.events) < 300


async def test_audio_faster_than_real_time(start_gateway: StartGateway) -> None:
    """A burst is taken; what is further ahead of real time is dropped with an error, and the call goes on."""
    gateway = await start_gateway(audio_burst_s=1.0, message_rate=1e5)
    async with gateway.connect() as client:
        await gateway.ready(client)
        for _ in range(75):
            await client.send(bytes(FRAME_BYTES))
        error = await receive(client, "error")
        assert (error["code"], error["fatal"]) == ("overloaded", False)
        await (await client.ping())
        assert 50 <= len(gateway.call.frames) < 75
        heard = len(gateway.call.frames)
        while len(gateway.call.frames) == heard:  # real time catches up
            await client.send(bytes(FRAME_BYTES))
            await (await client.ping())


async def test_endless_audio_flood(start_gateway: StartGateway) -> None:
    """A client that never stops sending faster than real time is dropped with 4429."""
    gateway = await start_gateway(max_dropped_s=3.0)
    metric = ("voxbus_edge_audio_dropped_seconds_total", {"protocol": "native"})
    before = REGISTRY.get_sample_value(*metric) or 0.0
    async with gateway.connect() as client:
        await gateway.ready(client)
        begun = time.monotonic()
        await _send_until_closed(client, bytes(32_000))
        assert await close_code(client) == 4429
    await asyncio.wait_for(gateway.call.disconnected.wait(), 5)
    lasted_s = time.monotonic() - begun
    assert len(gateway.call.frames) * FRAME_MS / 1000 <= EdgeLimits().audio_burst_s + lasted_s + 0.1
    assert 3.0 < (REGISTRY.get_sample_value(*metric) or 0.0) - before <= 4.0


@pytest.mark.parametrize("authenticated", [True, False])
@pytest.mark.parametrize("text", [True, False])
async def test_ten_megabytes(gateway: Gateway, authenticated: bool, text: bool) -> None:
    """A message of 10 MB gets too_large and 1009."""
    async with gateway.connect() as client:
        if authenticated:
            await gateway.ready(client)
        sending = asyncio.create_task(client.send("x" * TEN_MB if text else bytes(TEN_MB)))
        await expect_fatal(client, "too_large", 1009)
        await asyncio.gather(sending, return_exceptions=True)
    await eventually(lambda: gateway.server.connections == 0)


def _push(port: int, header: bytes) -> None:
    """Upgrade, then send `header` and 100 MB after it as fast as they go, until the server has had enough."""
    piece = bytes(1_000_000)
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n" + header
        )
        with contextlib.suppress(OSError):
            for _ in range(100):
                client.sendall(piece)


async def test_large_message_takes_no_memory(gateway: Gateway) -> None:
    """The payload of a message that is too large does not pile up, however fast it comes."""
    header = frame_header(2, 100_000_000) + b"mask"
    tracemalloc.start()
    await asyncio.to_thread(_push, gateway.server.port, header)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000 + 600_000  # the client's own piece, and what there is to a connection


async def test_large_message_is_refused_by_its_header(gateway: Gateway) -> None:
    """The error comes after the header alone."""
    client = await RawClient.connect(gateway.server.port)
    client.writer.write(frame_header(2, TEN_MB) + b"mask")
    opcode, payload = await client.receive_frame()
    assert (opcode, json.loads(payload)["code"]) == (1, "too_large")
    assert await client.receive_close() == 1009
    await client.close()


async def test_fragments_that_add_up(gateway: Gateway) -> None:
    """A message that is too large in pieces gets too_large and 1009 as well."""
    async with gateway.connect() as client:
        await gateway.ready(client)

        async def send() -> None:
            await client.send(bytes(60_000) for _ in range(200))

        sending = asyncio.create_task(send())
        await expect_fatal(client, "too_large", 1009)
        await asyncio.gather(sending, return_exceptions=True)
    assert gateway.call.frames == []


async def test_largest_message(gateway: Gateway) -> None:
    """A message of exactly 64 KiB is fine, one byte more is not."""
    async with gateway.connect() as client:
        await gateway.ready(client, sample_rate=48_000)
        await client.send(bytes(65_536))
        await eventually(lambda: len(gateway.call.frames) == 34)
        await client.send(bytes(65_537))
        await expect_fatal(client, "too_large", 1009)


async def test_fragments(gateway: Gateway) -> None:
    """Messages in fragments are put together, with pings between the fragments."""
    client = await RawClient.connect(gateway.server.port)
    auth = gateway.auth().encode()
    client.send_frame(1, auth[:10], fin=False)
    client.send_frame(9, b"ping")
    client.send_frame(0, auth[10:50], fin=False)
    client.send_frame(0, auth[50:])
    assert await client.receive_frame() == (10, b"ping")
    opcode, payload = await client.receive_frame()
    assert (opcode, json.loads(payload)["type"]) == (1, "ready")
    client.send_frame(2, b"\1\0" * 100, fin=False)
    client.send_frame(0, b"\2\0" * 220)
    await eventually(lambda: gateway.call.frames == [b"\1\0" * 100 + b"\2\0" * 220])
    await client.close()


@pytest.mark.parametrize(
    "frames",
    [
        [{"opcode": 0, "payload": b"x"}],
        [{"opcode": 1, "payload": b"{", "fin": False}, {"opcode": 1, "payload": b"}"}],
        [{"opcode": 2, "payload": b"xx", "rsv": 4}],
        [{"opcode": 3, "payload": b"x"}],
        [{"opcode": 11, "payload": b"x"}],
        [{"opcode": 2, "payload": b"xx", "masked": False}],
        [{"opcode": 9, "payload": b"x", "fin": False}],
        [{"opcode": 9, "payload": b"x" * 126}],
    ],
)
async def test_not_websocket(gateway: Gateway, frames: list[dict[str, Any]]) -> None:
    """Frames that RFC 6455 forbids end the connection with 1002, and the call with it."""
    client = await RawClient.connect(gateway.server.port)
    client.send_frame(1, gateway.auth().encode())
    await client.receive_frame()
    for frame in frames:
        client.send_frame(**frame)
    assert await client.receive_close() == 1002
    await asyncio.wait_for(gateway.call.disconnected.wait(), 5)
    await client.close()
    await eventually(lambda: gateway.server.connections == 0)
    assert gateway.call.events == ["disconnected"]


async def test_noise_on_the_socket(gateway: Gateway) -> None:
    """Random bytes, before or after the upgrade, end that connection and nothing else."""
    for _ in range(10):
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.server.port)
        writer.write(os.urandom(2000) + b"\r\n\r\n")
        await asyncio.wait_for(_drained(writer), 5)
        client = await RawClient.connect(gateway.server.port)
        client.writer.write(os.urandom(2000))
        await client.close()
    async with gateway.connect() as client:
        await gateway.ready(client)
        await talk(gateway, client)


async def _drained(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def _stalled_client(gateway: Gateway) -> RawClient:
    """In a call, with a small receive buffer, and not reading."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", gateway.server.port))
    client = await RawClient.upgrade(*await asyncio.open_connection(sock=sock, limit=1024))
    client.send_frame(1, gateway.auth().encode())
    await client.receive_frame()
    client.writer.transport.pause_reading()
    return client


async def test_slow_reader(start_gateway: StartGateway) -> None:
    """A client that does not read is dropped once its backlog is full; the process holds no more than that for it."""
    gateway = await start_gateway(close_timeout_s=0.3)
    client = await _stalled_client(gateway)
    line = gateway.call.line
    tracemalloc.start()
    sent = 0
    while not line.closed and sent < 20_000_000:
        for _ in range(50):
            line.send_audio(bytes(FRAME_BYTES))
            sent += FRAME_BYTES
        await asyncio.sleep(0)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert line.closed
    assert sent < 2_000_000
    assert held < 1_000_000
    await asyncio.wait_for(gateway.call.disconnected.wait(), 5)
    await eventually(lambda: gateway.server.connections == 0)
    await client.close()


async def test_slow_reader_that_reads_on(gateway: Gateway) -> None:
    """A slow reader that does catch up within the close timeout finds 4430 at the end of what was sent."""
    client = await _stalled_client(gateway)
    line = gateway.call.line
    while not line.closed:
        line.send_audio(bytes(FRAME_BYTES))
        await asyncio.sleep(0)
    client.writer.transport.resume_reading()
    assert await client.receive_close() == 4430
    await client.close()


async def test_pings_of_a_slow_reader(start_gateway: StartGateway) -> None:
    """Pongs count as well: a client cannot make them pile up."""
    gateway = await start_gateway(message_rate=1e6, max_backlog_bytes=65_536, close_timeout_s=0.3)
    client = await _stalled_client(gateway)
    for _ in range(100_000):
        if gateway.call.line.closed:
            break
        client.send_frame(9, bytes(125))
        await asyncio.sleep(0)
    assert gateway.call.line.closed
    await client.close()


async def test_broken_call_logic(gateway: Gateway, failures_expected: list[str]) -> None:
    """An exception in the call logic ends that call with internal and 1011, and no other."""
    failures_expected.append("connection failed")
    async with gateway.connect() as client, gateway.connect() as other:
        await gateway.ready(client)
        gateway.call.broken = True
        await gateway.ready(other)
        await client.send(bytes(FRAME_BYTES))
        await expect_fatal(client, "internal", 1011)
        await asyncio.wait_for(gateway.exchange.calls[0].disconnected.wait(), 5)
        await other.send(bytes(FRAME_BYTES))
        await eventually(lambda: gateway.exchange.calls[1].frames)
