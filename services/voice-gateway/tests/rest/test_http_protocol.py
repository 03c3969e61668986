"""What is not yet a request costs little, and not for long."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from starlette.types import Receive, Scope, Send

from voxbus.voice_gateway.rest import http_protocol
from voxbus.voice_gateway.rest.http_protocol import MAX_HEAD_BYTES, MAX_PIPELINED
from voxbus.voice_gateway.rest.server import HttpServer

pytestmark = [pytest.mark.unit, pytest.mark.timeout(30)]

GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
FLOOD = 64 * MAX_HEAD_BYTES


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers how many bytes the body has, and the headers as they are by then."""
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
        if message["type"] == "http.disconnect":
            return
    if scope["path"] == "/slow":
        await asyncio.sleep(0.5)
    body = json.dumps([size, [name.decode() for name, _ in scope["headers"]]]).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest_asyncio.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """A server that waits 0.3 s for a head."""
    monkeypatch.setattr(http_protocol, "HEAD_TIMEOUT_S", 0.3)
    server = HttpServer(echo, "127.0.0.1", 0, 1.0)
    await server.start()
    yield server.port
    await server.stop()


async def exchange(port: int, *parts: bytes) -> bytes:
    """Send the parts, a little time between them, and read until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.05)
        answer = await reader.read(-1)
    except ConnectionError:  # closed by the server while we were sending
        pass
    finally:
        writer.close()
    return answer


@pytest.mark.parametrize(
    "flood",
    [
        GET + b"".join(b"X-%d: %s\r\n" % (number, b"a" * 1000) for number in range(FLOOD // 1000)),
        GET + b"X-Endless: " + b"a" * FLOOD,
        b"GET /" + b"a" * FLOOD,
        CHUNKED + b"1;" + b"a" * FLOOD,
        CHUNKED + b"1\r\na\r\n0\r\nX-Trailer: " + b"a" * FLOOD,
    ],
    ids=["headers", "header", "path", "chunk-extension", "trailer"],
)
async def test_endless_heads(port: int, flood: bytes) -> None:
    """A head, or what else is no content, that goes on and on is ended by the server."""
    async with asyncio.timeout(10):
        answer = await exchange(port, *(flood[at : at + 65536] for at in range(0, len(flood), 65536)))
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")


async def test_slow_heads(port: int) -> None:
    """A connection on which nothing, or a part of a head, comes in time is closed; also when it was used before."""
    async with asyncio.timeout(10):
        assert await exchange(port) == b""
        assert (await exchange(port, GET)).startswith(b"HTTP/1.1 408 ")
        twice = await exchange(port, GET + b"\r\n", GET)
    assert twice.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 408 " in twice


async def test_what_takes_its_time(port: int) -> None:
    """A large body, a slow body, a slow answer and a pipelined request are no slow heads."""
    length = 10 * MAX_HEAD_BYTES
    large = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % length
    assert b"[%d, " % length in await exchange(port, large + b"a" * length)
    slow = CHUNKED.replace(b"Host", b"Connection: close\r\nHost")
    assert b"[12, " in await exchange(port, slow, *[b"1\r\na\r\n"] * 12, b"0\r\n\r\n")
    late = GET.replace(b"/ ", b"/slow ") + b"\r\n"
    both = await exchange(port, late + GET + b"Connection: close\r\n\r\n")
    assert both.count(b"HTTP/1.1 200 ") == 2


async def test_pipelines(port: int) -> None:
    """Some requests may wait on a connection; one that sends thousands without reading answers is closed."""
    late, more = GET.replace(b"/ ", b"/slow ") + b"\r\n", GET + b"\r\n"
    last = GET + b"Connection: close\r\n\r\n"
    assert (await exchange(port, late + more * (MAX_PIPELINED - 1) + last)).count(b"HTTP/1.1 200 ") == MAX_PIPELINED + 1
    async with asyncio.timeout(10):
        assert (await exchange(port, late + more * 3000)).count(b"HTTP/1.1 200 ") <= MAX_PIPELINED


async def test_trailers(port: int) -> None:
    """Trailers do not become headers of the request."""
    close = CHUNKED.replace(b"Host", b"Connection: close\r\nHost")
    answer = await exchange(port, close + b"1\r\na\r\n0\r\nAuthorization: x\r\n\r\n")
    assert b'[1, ["connection", "host", "transfer-encoding"]]' in answer


async def test_no_http(port: int) -> None:
    """What is no HTTP gets a problem document."""
    answer = await exchange(port, b"hello\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in head
    assert json.loads(body)["code"] == "bad_request"
