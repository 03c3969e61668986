"""What goes to the server of an HTTP tool, and what the model is told of its answer."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs
from tool_server import Answer, ToolServer, certificate

from voxbus.contracts.llm import HttpEndpoint
from voxbus.llm_worker import http_tools
from voxbus.llm_worker.destinations import Destinations
from voxbus.llm_worker.http_tools import CUT, MAX_BYTES, HttpResult, HttpTools, Origin

pytestmark = pytest.mark.integration

ORIGIN = Origin("call_1", "book", "key-1")
HERE = Destinations(["127.0.0.0/8"])


@pytest_asyncio.fixture
async def server() -> AsyncIterator[ToolServer]:
    """A tool's server."""
    async with ToolServer() as made:
        yield made


async def call(url: str, arguments: Any = None, *, destinations: Destinations = HERE, **fields: Any) -> HttpResult:
    """Call a tool once."""
    endpoint = HttpEndpoint.model_validate({"url": url, "timeout_s": 5, **fields})
    return await HttpTools(destinations).call(endpoint, arguments or {}, ORIGIN)


async def answered(server: ToolServer, answer: Answer, **fields: Any) -> HttpResult:
    """Call the server once, which answers this."""
    server.answers.append(answer)
    return await call(server.url(), **fields)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_arguments_in_the_body(server: ToolServer, method: str) -> None:
    """They are sent as JSON, and the answer's text is the result."""
    server.answers.append(Answer('{"täg": "Tuesday"}'.encode()))
    result = await call(server.url("/book?v=1"), {"day": "Dienstag ü", "n": [1, None]}, method=method)
    assert result == HttpResult('{"täg": "Tuesday"}')
    asked = server.asked[0]
    assert (asked.method, asked.target, asked.content) == (method, "/book?v=1", {"day": "Dienstag ü", "n": [1, None]})
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["host"] == f"127.0.0.1:{server.port}"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_arguments_in_the_query(server: ToolServer, method: str) -> None:
    """They join the parameters of the address: lists as several, objects as JSON, null not at all."""
    arguments = {"day": "a b&c", "n": 2, "yes": True, "none": None, "all": ["x", 1], "deep": {"a": 1}}
    await call(server.url("/find?v=1"), arguments, method=method)
    asked = server.asked[0]
    assert asked.target == "/find?v=1&day=a+b%26c&n=2&yes=true&all=x&all=1&deep=%7B%22a%22%3A+1%7D"
    assert (asked.method, asked.body) == (method, b"")


async def test_headers(server: ToolServer) -> None:
    """The endpoint's headers and its secret ones are sent; those of the platform and of the connection are its own."""
    await call(
        server.url(),
        headers={
            "X-Shop": "7",
            "accept": "text/plain",
            "x-voxbus-call-id": "other",
            "Host": "inside",
            "Connection": "x",
        },
        secret_headers={"Authorization": "Bearer s3cret ", "Content-Length": "1", "Transfer-Encoding": "chunked"},
    )
    headers = server.asked[0].headers
    assert headers["x-shop"] == "7"
    assert headers["authorization"] == "Bearer s3cret"
    assert headers["accept"] == "text/plain"
    assert headers["x-voxbus-call-id"] == "call_1"
    assert headers["idempotency-key"] == "key-1"
    assert headers["host"] == f"127.0.0.1:{server.port}"
    assert headers["content-length"] == "2"
    assert "transfer-encoding" not in headers


async def test_cookies_are_not_kept(server: ToolServer) -> None:
    """What a server sets in one call is not sent in the next, which may be another agent's."""
    await answered(server, Answer(b"{}", headers=(("Set-Cookie", "session=1; Path=/"),)))
    await call(server.url())
    assert "cookie" not in server.asked[1].headers


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (Answer(b"", status=204, content_type=None), "ok"),
        (Answer(b"  \n", content_type="text/plain"), "ok"),
        (Answer(b"", content_type="application/pdf"), "ok"),
        (Answer(b"plain", content_type=None), "plain"),
        (Answer(b"<b>hi</b>", content_type="text/html"), "<b>hi</b>"),
        (Answer(b"[1]", content_type="application/vnd.shop+json; charset=utf-8"), "[1]"),
        (Answer("grün".encode("latin-1"), content_type="text/plain; charset=iso-8859-1"), "grün"),
        (Answer(b"a\xffb", content_type="text/plain; charset=nonsense"), "a\ufffdb"),
        (Answer(b"a\x00b\x1bc\td", content_type="text/plain"), "abc\td"),
        (Answer(b"error: none found", content_type="text/plain"), "answer: error: none found"),
    ],
)
async def test_good_answers(server: ToolServer, answer: Answer, text: str) -> None:
    """Text and JSON reach the model as they are; nothing at all is "ok"; a success never looks like a failure."""
    assert await answered(server, answer) == HttpResult(text)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (Answer(b"%PDF", content_type="application/pdf"), "neither text nor JSON"),
        (Answer(gzip.compress(b"{}" * 1000), headers=(("Content-Encoding", "gzip"),)), "compressed"),
        (Answer(b'{"why": "full"}', status=409), 'the tool answered 409: {"why": "full"}'),
        (Answer(b"\x00\x01", status=500, content_type="image/png"), "the tool answered 500"),
        (Answer(raw=b"nonsense\r\n\r\n"), "cannot be talked to"),
        (Answer(raw=b""), "cannot be talked to"),
        (Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"), "cannot be talked to"),
        (Answer(status=302, headers=(("Location", "http://other.example/"),)), "redirects to another place"),
        (Answer(status=302, headers=(("Location", "/again"),) * 1), "redirects without end"),
    ],
)
async def test_bad_answers(server: ToolServer, answer: Answer, problem: str) -> None:
    """Each is a result that tells the model what is wrong."""
    server.answers.extend([answer] * 5)
    result = await call(server.url())
    assert not result.ok
    assert result.text.startswith("error: ")
    assert problem in result.text


async def test_a_long_answer_is_cut(server: ToolServer) -> None:
    """The model gets 64 KiB and is told that there was more; what is exactly as long stays whole."""
    whole = await answered(server, Answer(b"x" * MAX_BYTES, content_type="text/plain"))
    assert whole.text == "x" * MAX_BYTES
    cut = await answered(server, Answer("é".encode() * MAX_BYTES, content_type="text/plain"))
    assert cut.text == "é" * (MAX_BYTES // 2) + CUT
    assert cut.ok


async def test_an_endless_answer(server: ToolServer) -> None:
    """A server that never stops is left as soon as there is enough."""
    began = time.monotonic()
    result = await answered(server, Answer(endless=True, content_type="text/plain"))
    assert result.text.endswith(CUT)
    assert time.monotonic() - began < 4


async def test_a_slow_server(server: ToolServer) -> None:
    """After `timeout_s` the model is told, and the request is dropped."""
    result = await answered(server, Answer(hangs=True), timeout_s=0.2)
    assert result == HttpResult("error: the tool did not answer within 0.2 s", ok=False)
    await asyncio.wait_for(server.left.wait(), 5)


async def test_nobody_there() -> None:
    """A closed port and a name that does not exist are the same to the model."""
    async with ToolServer() as server:
        url = server.url()
    assert await call(url) == HttpResult("error: the tool's server cannot be reached", ok=False)

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        raise OSError("no such name")

    unknown = Destinations(resolve=resolve)
    assert "cannot be reached" in (await call("http://nowhere.example/", destinations=unknown)).text


async def test_inside_is_not_reached(server: ToolServer) -> None:
    """Without permission nothing is sent to this machine, whatever the address is called."""
    for host in ("127.0.0.1", "localhost", "2130706433"):
        result = await call(server.url(host=host), destinations=Destinations())
        assert result == HttpResult("error: the tool's address is not allowed", ok=False)
    assert server.asked == []


async def test_the_checked_address_is_the_one_that_is_used(server: ToolServer) -> None:
    """A name is looked up once per request: one that means another address a moment later gains nothing by it."""
    lookups: list[str] = []

    async def resolve(host: str, _port: int) -> Sequence[str]:
        lookups.append(host)
        return ["127.0.0.1"] if len(lookups) == 1 else ["10.255.255.1"]

    url = server.url(host="tool.example")
    result = await call(url, destinations=Destinations(["127.0.0.1"], resolve=resolve))
    assert result.ok
    assert lookups == ["tool.example"]
    assert server.asked[0].headers["host"] == f"tool.example:{server.port}"


async def test_the_next_address_of_a_host(server: ToolServer) -> None:
    """An address that refuses the connection is not the end, and the request is sent once."""

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return ["127.0.0.2", "::1", "127.0.0.1"]

    result = await call(server.url(host="tool.example"), destinations=Destinations(["tool.example"], resolve=resolve))
    assert result.ok
    assert len(server.asked) == 1


async def test_redirects_within_the_host(server: ToolServer) -> None:
    """They are followed with secrets and arguments, as the status says."""
    server.answers.append(Answer(status=307, headers=(("Location", "/new"),)))
    server.answers.append(Answer(status=303, headers=(("Location", server.url("/done")),)))
    result = await call(server.url(), {"day": "Tuesday"}, secret_headers={"X-Key": "s3cret"})
    assert result == HttpResult('{"ok": true}')
    assert [(asked.method, asked.target) for asked in server.asked] == [
        ("POST", "/tool"), ("POST", "/new"), ("GET", "/done"),
    ]  # fmt: skip
    assert server.asked[1].content == {"day": "Tuesday"}
    assert {asked.headers["x-key"] for asked in server.asked} == {"s3cret"}


async def test_redirects_elsewhere(server: ToolServer) -> None:
    """Another host, port or name of the same machine gets nothing: the secrets are not meant for it."""
    async with ToolServer() as other:
        for target in (other.url(), server.url(host="localhost"), f"//127.0.0.1:{other.port}/", "ftp://127.0.0.1/"):
            result = await answered(server, Answer(status=307, headers=(("Location", target),)))
            assert not result.ok
        assert other.asked == []
    assert len(server.asked) == 4


async def test_tls_is_of_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificate must be for the host of the address, although it is an address that is connected to."""
    serving, trusting = certificate("tool.example", tmp_path)
    monkeypatch.setattr(http_tools, "_tls", lambda: trusting)

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    here = Destinations(["127.0.0.1"], resolve=resolve)
    async with ToolServer(tls=serving) as server:
        assert (await call(server.url(host="tool.example"), destinations=here)).ok
        assert "cannot be reached" in (await call(server.url(host="other.example"), destinations=here)).text
    assert len(server.asked) == 1


async def test_secrets_and_arguments_stay_out_of_logs_and_results(server: ToolServer) -> None:
    """Neither a good call, nor one whose headers the client library quotes in its errors, tells them."""
    secret = {"X-Key": "s3cret\r\nX-Evil: 1"}
    with capture_logs() as logs:
        results = [
            await call(server.url(), {"name": "Mrs Miller"}, secret_headers={"X-Key": "s3cret"}),
            await call(server.url("/?a=s3cret"), {"name": "Mrs Miller"}, method="GET"),
            await call("http://127.0.0.1:9/", secret_headers={"X-Key": "s3cret"}),
            await HttpTools(HERE).call(
                HttpEndpoint.model_construct(
                    url=server.url(), method="POST", headers={}, secret_headers=secret, timeout_s=5.0
                ),
                {},
                ORIGIN,
            ),
        ]
    assert not results[-1].ok
    said = json.dumps(logs) + " ".join(result.text for result in results)
    assert "s3cret" not in said
    assert "Miller" not in said
    assert [entry["outcome"] for entry in logs if entry["event"] == "http tool called"][:2] == ["ok", "ok"]
