"""Asking processes how they are: over HTTP, and MongoDB in its own protocol."""

from __future__ import annotations

import asyncio
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx

from voxbus.local import mongo_server

POLL_S = 0.05
_TIMEOUT_S = 1.0


class Probe:
    """A client for the health endpoints of this machine; it uses no proxy."""

    def __init__(self) -> None:
        self._client = httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False)

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def ok(self, url: str, instance_id: str | None = None) -> bool:
        """Whether `url` answers 200 within a second, and as the process `instance_id` if one is named.

        Of a `mongodb://` URL: whether it answers a ping.
        """
        if url.startswith("mongodb://"):
            return await mongo_server.answers(url)
        if not _listens(url):
            return False
        try:
            response = await self._client.get(url)
            known = instance_id is None or response.json()["instance_id"] == instance_id
        except (httpx.HTTPError, ValueError, LookupError, TypeError):
            return False
        return known and response.status_code == httpx.codes.OK

    async def wait_ok(self, url: str, instance_id: str | None = None) -> None:
        """Return when `ok`, however long that takes."""
        while not await self.ok(url, instance_id):  # noqa: ASYNC110 - there is no event across processes
            await asyncio.sleep(POLL_S)

    async def json(self, url: str) -> dict[str, Any] | None:
        """The JSON object at `url`, whatever the status; None when there is none."""
        if not url.startswith("http") or not _listens(url):
            return None
        try:
            body = (await self._client.get(url)).json()
        except (httpx.HTTPError, ValueError):
            return None
        return body if isinstance(body, dict) else None


def _listens(url: str) -> bool:
    """Whether anybody takes connections. On this machine that is known at once, and costs a hundredth of a request that fails."""
    parts = urlsplit(url)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(_TIMEOUT_S)
        return probe.connect_ex((parts.hostname or "", parts.port or 80)) == 0
