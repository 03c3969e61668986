"""HTTP tools: the model's arguments go to a server of the agent's owner, its answer goes to the model."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import httpx
import structlog
from pydantic import JsonValue

from voxbus.contracts.llm import HttpEndpoint
from voxbus.llm_worker import metrics
from voxbus.llm_worker.destinations import Destinations, ForbiddenDestinationError
from voxbus.llm_worker.providers.base import FAILED, OK, well_formed

log = structlog.get_logger(__name__)

MAX_BYTES: Final = 64 * 1024
"""Of an answer that the model is given; the rest is cut off."""
MAX_ERROR_BYTES: Final = 2048
"""Of the answer to a request that failed."""
CUT: Final = "\n(the answer was longer and is cut here)"
_CONNECT_S: Final = 3.0
_ADDRESSES: Final = 3
"""Of a host, that are tried one after the other."""
_REDIRECTS: Final = 3
_OURS: Final = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade", "accept-encoding"}
)
"""Headers of the connection, which an endpoint cannot set."""
_IN_QUERY: Final = ("GET", "DELETE")
_CONTROLS: Final = dict.fromkeys(code for code in range(32) if chr(code) not in "\t\n")


@dataclass(frozen=True, slots=True)
class HttpResult:
    """What the model is told. `ok`: the server did what it was asked."""

    text: str
    ok: bool = True


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a tool call comes from. The server is told the call, and by `key` that a call is the same one again."""

    call_id: str
    tool: str
    key: str


class _ToolError(Exception):
    """The call failed; the message is for the model, and holds no secret."""

    def __init__(self, outcome: str, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome


class HttpTools:
    """Calls endpoints. A failure is a result that the model can read; nothing is raised, nothing is tried again."""

    def __init__(self, destinations: Destinations | None = None) -> None:
        self._destinations = destinations or Destinations()
        _tls()  # takes some 20 ms: not in the middle of a call

    async def call(self, endpoint: HttpEndpoint, arguments: Mapping[str, JsonValue], origin: Origin) -> HttpResult:
        """The answer of the endpoint to these arguments, within its `timeout_s`."""
        began = time.perf_counter()
        outcome, result = await self._outcome(endpoint, arguments, origin)
        elapsed_s = time.perf_counter() - began
        metrics.HTTP_TOOL_SECONDS.labels(outcome).observe(elapsed_s)
        log.info(
            "http tool called",
            call_id=origin.call_id, tool=origin.tool, outcome=outcome, elapsed_ms=round(elapsed_s * 1000),
        )  # fmt: skip
        return result

    async def _outcome(
        self, endpoint: HttpEndpoint, arguments: Mapping[str, JsonValue], origin: Origin
    ) -> tuple[str, HttpResult]:
        try:
            async with asyncio.timeout(endpoint.timeout_s):
                text = await self._exchange(endpoint, arguments, origin)
        except _ToolError as error:
            outcome, problem = error.outcome, str(error)
        except (TimeoutError, httpx.TimeoutException):
            outcome, problem = "timeout", f"the tool did not answer within {endpoint.timeout_s:g} s"
        except ForbiddenDestinationError:
            outcome, problem = "forbidden", "the tool's address is not allowed"
        except (httpx.ConnectError, OSError):
            outcome, problem = "unreachable", "the tool's server cannot be reached"
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ValueError):
            # Their messages quote headers, and with them secrets.
            outcome, problem = "broken", "the tool's server cannot be talked to"
        except Exception as error:
            log.error("http tool broke", tool=origin.tool, error=type(error).__name__)  # noqa: TRY400  # it may quote a secret
            outcome, problem = "broken", "the tool could not be called"
        else:
            return "ok", HttpResult(text)
        return outcome, HttpResult(FAILED + problem, ok=False)

    async def _exchange(self, endpoint: HttpEndpoint, arguments: Mapping[str, JsonValue], origin: Origin) -> str:
        # A client for each call: cookies of one agent are none of another's.
        async with httpx.AsyncClient(
            transport=_Transport(self._destinations),
            timeout=httpx.Timeout(endpoint.timeout_s, connect=min(_CONNECT_S, endpoint.timeout_s)),
            trust_env=False,
        ) as client:
            request = _request(client, endpoint, arguments, origin)
            for _ in range(_REDIRECTS + 1):
                response = await client.send(request, stream=True)
                try:
                    following = response.next_request
                    if following is None:
                        return await _answer(response)
                    _check_redirect(request.url, following.url)
                    request = following
                finally:
                    await response.aclose()
        raise _ToolError("redirect", "the tool's server redirects without end")


class _Transport(httpx.AsyncBaseTransport):
    """Connects to addresses that were checked, and keeps no connection: each goes to the name that it was opened for."""

    def __init__(self, destinations: Destinations) -> None:
        self._destinations = destinations
        self._inner = httpx.AsyncHTTPTransport(
            verify=_tls(), trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises what httpx raises, ForbiddenDestinationError and OSError."""
        host = request.url.raw_host.decode("ascii")
        port = request.url.port or (443 if request.url.scheme == "https" else 80)
        addresses = (await self._destinations.addresses(host, port))[:_ADDRESSES]
        for position, address in enumerate(addresses, start=1):
            try:
                return await self._inner.handle_async_request(_addressed(request, address, host))
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if position == len(addresses):
                    raise
        raise OSError("no address")

    async def aclose(self) -> None:
        await self._inner.aclose()


def _addressed(request: httpx.Request, address: str, host: str) -> httpx.Request:
    """The same request to the address; TLS and the header `Host` still speak of the host."""
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": host},
    )


def _request(
    client: httpx.AsyncClient, endpoint: HttpEndpoint, arguments: Mapping[str, JsonValue], origin: Origin
) -> httpx.Request:
    headers = httpx.Headers({"User-Agent": "voxbus", "Accept": "application/json, text/*;q=0.9"})
    for name, value in (*endpoint.headers.items(), *endpoint.secret_headers.items()):
        if name.lower() not in _OURS:
            headers[name] = value.strip()
    headers.update({"X-Voxbus-Call-Id": origin.call_id, "Idempotency-Key": origin.key, "Accept-Encoding": "identity"})
    url = httpx.URL(endpoint.url)
    if endpoint.method in _IN_QUERY:
        return client.build_request(endpoint.method, url.copy_merge_params(_query(arguments)), headers=headers)
    body = json.dumps(arguments, ensure_ascii=False).encode()
    headers.setdefault("Content-Type", "application/json")
    return client.build_request(endpoint.method, url, headers=headers, content=body)


def _query(arguments: Mapping[str, JsonValue]) -> dict[str, Any]:
    """Lists become several parameters of the name, objects JSON; what is null is left out."""
    return {
        name: [_parameter(item) for item in value] if isinstance(value, list) else _parameter(value)
        for name, value in arguments.items()
        if value is not None
    }


def _parameter(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _check_redirect(before: httpx.URL, after: httpx.URL) -> None:
    """The endpoint's secrets go with it: to the same host alone, and never from TLS to plain text."""
    upgraded = (before.scheme, after.scheme, before.port, after.port) == ("http", "https", None, None)
    same = (before.scheme, before.port) == (after.scheme, after.port)
    if before.raw_host != after.raw_host or not (same or upgraded):
        raise _ToolError("redirect", "the tool's server redirects to another place")


async def _answer(response: httpx.Response) -> str:
    """The text of an answer. Raises _ToolError when it says that the call failed, or is nothing to read."""
    unreadable = _unreadable(response.headers)
    if not response.is_success:
        text = "" if unreadable else await _text(response, MAX_ERROR_BYTES)
        said = f": {text}" if text else ""
        raise _ToolError(f"status_{response.status_code // 100}xx", f"the tool answered {response.status_code}{said}")
    text = await _text(response, MAX_BYTES)
    if not text:
        return OK
    if unreadable:
        raise _ToolError("unreadable", unreadable)
    return f"answer: {text}" if text.startswith(FAILED) else text


def _unreadable(headers: httpx.Headers) -> str:
    """Why an answer is nothing for a model; empty when it is."""
    if headers.get("Content-Encoding", "").lower() not in ("", "identity"):  # a small one may become huge
        return "the tool's answer is compressed, which was not asked for"
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if not kind or kind.startswith("text/") or kind.rpartition("/")[2].rpartition("+")[2] in ("json", "xml"):
        return ""
    return "the tool's answer is neither text nor JSON"


async def _text(response: httpx.Response, limit: int) -> str:
    content = bytearray()
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > limit:
            break
    text = bytes(content[:limit]).decode(_charset(response), "replace")
    if len(content) > limit:
        text = text.rstrip("\ufffd") + CUT
    return well_formed(text.translate(_CONTROLS)).strip()


def _charset(response: httpx.Response) -> str:
    charset = response.charset_encoding or "utf-8"
    try:
        "".encode(charset)
    except (LookupError, ValueError):
        return "utf-8"
    return charset


@cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)
