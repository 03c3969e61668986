"""A client of the REST API: credentials, renewal of logins, pages, and refusals as errors of the command line."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from types import TracebackType
from typing import Any, Final, Self

import httpx

from voxbus.local.access import Access, Anonymous, LoginAccess
from voxbus.local.credentials import CREDENTIALS_FILE, CredentialsFile
from voxbus.local.errors import GatewayUnreachableError, UsageError
from voxbus.local.problem import ApiError, error_of
from voxbus.local.state import StackInfo, StateDir

MAX_PAGE: Final = 100
_TIMEOUT: Final = httpx.Timeout(30.0, connect=5.0)
_UPLOAD_TIMEOUT: Final = httpx.Timeout(600.0, connect=5.0)
_LOST: Final = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)
"""The connection broke after it was made: what was asked may have been done."""


@dataclass(frozen=True)
class Answer:
    """A successful answer."""

    status: int
    data: Any
    """The JSON; None when there is no content."""
    etag: str | None
    replayed: bool
    """An earlier request with the same idempotency key made the record."""


class ApiClient:
    """Talks to the API at `url`. Use it as `async with`; every method raises CommandError.

    `If-Match` is given as `revision`: a number, an ETag, or `*`. Creates carry an idempotency key, so that one that is sent
    again after a broken connection makes no second record.
    """

    def __init__(
        self, url: str, access: Access | None = None, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.url = normal_url(url)
        self._access = access or Anonymous()
        self._client = httpx.AsyncClient(
            base_url=self.url,
            timeout=_TIMEOUT,
            transport=transport,
            trust_env=not is_loopback(self.url),  # a proxy of the environment is for other machines
            headers={"user-agent": f"voxbus/{version('voxbus')}", "accept": "application/json"},
        )

    @classmethod
    def for_stack(cls, stack: StackInfo, state: StateDir) -> Self:
        """The API of the running stack, as its admin. The session is kept in the state directory."""
        url = normal_url(stack.rest_url)
        file = CredentialsFile(state.path / CREDENTIALS_FILE)
        return cls(url, LoginAccess(url, file, email=stack.admin_email, password=state.admin_password))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def get(self, path: str, **params: Any) -> Any:
        """The JSON at a path; parameters that are None are left out."""
        return (await self.request("GET", path, params=params)).data

    async def post(self, path: str, body: Any = None, *, revision: int | str | None = None) -> Any:
        """Do something; the JSON of the answer."""
        return (await self.request("POST", path, body=body, revision=revision)).data

    async def create(self, path: str, body: Any, *, key: str | None = None) -> Answer:
        """Make a record, once, whatever happens to the connection; `key` is its idempotency key [a new one]."""
        return await self.request("POST", path, body=body, headers={"idempotency-key": key or secrets.token_hex(16)})

    async def put(self, path: str, body: Any, *, revision: int | str = "*") -> Any:
        """Replace a record."""
        return (await self.request("PUT", path, body=body, revision=revision)).data

    async def patch(self, path: str, body: Any, *, revision: int | str = "*") -> Any:
        """Change a record by a JSON merge patch."""
        headers = {"content-type": "application/merge-patch+json"}
        return (await self.request("PATCH", path, body=body, revision=revision, headers=headers)).data

    async def delete(self, path: str, *, revision: int | str | None = None) -> Any:
        """Delete a record."""
        return (await self.request("DELETE", path, revision=revision)).data

    async def upload(self, path: str, content: bytes, content_type: str) -> Any:
        """Send a file; the JSON of the answer."""
        return (await self.request("POST", path, content=content, headers={"content-type": content_type})).data

    async def page(self, path: str, *, limit: int, cursor: str | None = None, **params: Any) -> dict[str, Any]:
        """One page of at most `limit` items (100 are the most there can be). A page that follows another waits its turn."""
        answer: dict[str, Any]
        while True:
            try:
                answer = await self.get(path, limit=min(limit, MAX_PAGE), cursor=cursor, **params)
            except ApiError as error:
                if cursor is None or error.status != httpx.codes.TOO_MANY_REQUESTS or error.retry_after_s is None:
                    raise
                await asyncio.sleep(error.retry_after_s)
            else:
                return answer

    async def items(self, path: str, **params: Any) -> AsyncIterator[Any]:
        """All items of a list, page after page."""
        cursor: str | None = None
        while True:
            page = await self.page(path, limit=MAX_PAGE, cursor=cursor, **params)
            for item in page["items"]:
                yield item
            cursor = page.get("next_cursor")
            if not cursor:
                return

    async def ask(self, path: str, body: dict[str, Any]) -> Any:
        """Post without credentials: logins, refreshes."""
        return _answer(await self._send("POST", path, token=None, body=body)).data

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        revision: int | str | None = None,
    ) -> Answer:
        """Any request, with the credentials; a login that the server does not take any more is renewed once."""
        sent = {"params": params, "body": body, "content": content, "headers": _with_match(headers, revision)}
        token = await self._access.token(self.ask)
        response = await self._send(method, path, token=token, **sent)
        if response.status_code == httpx.codes.UNAUTHORIZED and token:
            fresh = await self._access.token(self.ask, refused=token)
            if fresh:
                response = await self._send(method, path, token=fresh, **sent)
        return _answer(response)

    async def _send(
        self,
        method: str,
        path: str,
        *,
        token: str | None,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        request = self._client.build_request(
            method,
            path.lstrip("/"),
            params={name: _query(value) for name, value in (params or {}).items() if value is not None},
            headers={**(headers or {}), **({"authorization": f"Bearer {token}"} if token else {})},
            timeout=_UPLOAD_TIMEOUT if content is not None else _TIMEOUT,
            content=content,
            json=body,
        )
        repeatable = method == "GET" or "idempotency-key" in request.headers
        try:
            return await self._client.send(request)
        except _LOST as error:
            if not repeatable:
                raise self._unreachable(error) from None
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from None
        try:
            return await self._client.send(request)
        except httpx.TransportError as error:
            raise self._unreachable(error) from None

    def _unreachable(self, error: Exception) -> GatewayUnreachableError:
        reason = str(error) or type(error).__name__
        return GatewayUnreachableError(
            f"no REST API answers at {self.url} ({reason})",
            "start a stack with `voxbus up`, or check --url and VOXBUS_URL",
        )


def normal_url(url: str) -> str:
    """How a server is called in the file of logins: no path slash at its end. Raises UsageError."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL("")
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.query or parsed.userinfo:
        shown = "what you gave" if parsed.userinfo else repr(url)
        raise UsageError(f"{shown} is not a URL of a server", "write it like https://voice.example.com")
    return str(parsed).rstrip("/")


def is_loopback(url: str) -> bool:
    """Whether the server is this machine."""
    host = httpx.URL(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _with_match(headers: Mapping[str, str] | None, revision: int | str | None) -> dict[str, str]:
    if revision is None:
        return dict(headers or {})
    return {**(headers or {}), "if-match": f'"{revision}"' if isinstance(revision, int) else revision}


def _query(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _answer(response: httpx.Response) -> Answer:
    """What a response says; raises the error that it stands for."""
    if not response.is_success:
        raise error_of(response)
    try:
        data = response.json() if response.content else None
    except ValueError:
        raise GatewayUnreachableError(f"{response.url} does not speak Voxbus' API", "check --url") from None
    replayed = response.headers.get("idempotency-replayed") == "true"
    return Answer(response.status_code, data, response.headers.get("etag"), replayed)
