"""The public keys that sign tokens: those of `auth`, and of issuers of one's own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import structlog
from pydantic import JsonValue, ValidationError

from voxbus.contracts import auth, auth_events
from voxbus.contracts.rpc import RequestErrorCode
from voxbus.runtime.bus import EventBus
from voxbus.runtime.rpc import RequestFailedError, RpcClient
from voxbus.voice_gateway.edge.limits import TokenBucket
from voxbus.voice_gateway.edge.tokens import (
    ALGORITHMS,
    KeySet,
    PublicKey,
    UnknownKeyError,
    key_of_jwk,
    keys_of_pem,
)
from voxbus.voice_gateway.files import write_private
from voxbus.voice_gateway.watch import EventWatch

log = structlog.get_logger(__name__)

REFRESH_S: Final = 600.0
"""How often the keys are fetched when nothing says that they changed."""
_RETRY_S: Final = (0.5, 1.0, 2.0, 5.0)
"""Between attempts while `auth` is away; the last one again and again."""
_LOOK_S: Final = 1.0
"""How often it is seen that the bus came back."""
_ANSWER_S: Final = 1.0
"""Asked twice before it is given up: a client waits for it, within the time that it has to authenticate."""
_ASK_RATE, _ASK_BURST = 0.5, 5.0
"""Fetches a second for keys that tokens name and that are not known: anybody can name any."""


class KeyRing:
    """Verifies tokens with the keys of the moment.

    The keys come from `auth` at the start, every ten minutes, when it says that they changed, when the bus comes back, and
    when a token names one that is not known. They are kept in a file, so that a gateway that starts while `auth` is away
    takes the tokens that it took before.
    """

    def __init__(
        self,
        client: RpcClient,
        events: EventBus,
        *,
        cache_file: Path | None = None,
        static_pem: bytes | None = None,
        algorithms: Sequence[str] = ALGORITHMS,
    ) -> None:
        """`static_pem`: keys that count beside those of `auth`. Raises ValueError when they cannot be used."""
        self._client = client
        self._watch = EventWatch(events)
        self._cache_file = cache_file
        self._algorithms = tuple(algorithms)
        self._static: Sequence[PublicKey] = keys_of_pem(static_pem) if static_pem else ()
        self._keys = KeySet(self._static, algorithms=self._algorithms)
        self._changed = asyncio.Event()
        self._asks = TokenBucket(_ASK_RATE, _ASK_BURST)
        self._fetching: asyncio.Task[bool] | None = None
        self._loop: asyncio.Task[None] | None = None
        self._reached: bool | None = None

    async def start(self) -> None:
        """Read the file and begin to fetch; does not wait for `auth`. The bus is connected by now."""
        await self._load()
        await self._watch.on(auth_events.SigningKeysChanged, lambda _: self._changed.set())
        await self._watch.listening()
        self._loop = asyncio.create_task(self._keep_fresh(), name="keyring")

    async def stop(self) -> None:
        """Fetch no more."""
        await self._watch.stop()
        for task in (self._loop, self._fetching):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    def problem(self) -> str | None:
        """For /health: None while tokens can be verified."""
        return None if len(self._keys) else "no public keys yet: auth was never reached"

    async def verify(self, token: str, audience: str) -> Mapping[str, JsonValue]:
        """The claims of a good token for `audience`.

        Raises InvalidTokenError, or RequestFailedError (UNAVAILABLE) when the key may be a new one and `auth` cannot be
        asked for it.
        """
        try:
            return self._keys.verify(token, audience)
        except UnknownKeyError as error:
            if not (error.named or not len(self._keys)):
                raise
            if self._asks.take():
                await self._fetch()
            if not self._reached:
                raise RequestFailedError(
                    RequestErrorCode.UNAVAILABLE, "tokens cannot be verified now; try again later", retryable=True
                ) from None
            return self._keys.verify(token, audience)

    async def _keep_fresh(self) -> None:
        attempts = 0
        while True:
            self._changed.clear()
            reconnects = self._watch.reconnects
            reached = await self._fetch()
            attempts = 0 if reached else attempts + 1
            wait_s = REFRESH_S if reached else _RETRY_S[min(attempts, len(_RETRY_S)) - 1]
            await self._sleep(wait_s, reconnects)

    async def _sleep(self, wait_s: float, reconnects: int) -> None:
        """Until then, or until the keys may have changed."""
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        while (left_s := until - loop.time()) > 0 and self._watch.reconnects == reconnects:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), min(left_s, _LOOK_S))
                return

    async def _fetch(self) -> bool:
        """Whether the keys are those of now. Callers at the same time share one request."""
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._ask(), name="keyring-fetch")
        return await asyncio.shield(self._fetching)

    async def _ask(self) -> bool:
        before, self._reached = self._reached, await self._replace()
        if before is not False and not self._reached:
            log.warning("public keys not fetched, trying again", known=len(self._keys))
        return self._reached

    async def _replace(self) -> bool:
        try:
            found = await self._client.request(auth.GET_JWKS, auth.GetJwks(), timeout_s=_ANSWER_S)
        except RequestFailedError:
            return False
        keys = _readable(found.keys)
        if not keys:
            log.error("auth has no usable public key", keys=len(found.keys))
            return False
        if self._take(keys):
            log.info("public keys fetched", keys=len(keys))
            await self._save(found)
        return True

    def _take(self, keys: Sequence[PublicKey]) -> bool:
        """Use these; whether they are others than before."""
        made = KeySet((*self._static, *keys), algorithms=self._algorithms)
        changed = made.ids != self._keys.ids
        self._keys = made
        return changed

    async def _load(self) -> None:
        if self._cache_file is None:
            return
        try:
            content = await asyncio.to_thread(self._cache_file.read_bytes)
            keys = _readable(auth.JwkSet.model_validate_json(content).keys)
        except FileNotFoundError:
            return
        except (OSError, ValidationError) as error:
            log.warning("kept public keys cannot be read", error=type(error).__name__)
            return
        if keys:
            self._take(keys)

    async def _save(self, found: auth.JwkSet) -> None:
        if self._cache_file is None:
            return
        try:
            await asyncio.to_thread(write_private, self._cache_file, found.encode())
        except OSError as error:
            log.warning("public keys cannot be kept", error=error.strerror)


def _readable(jwks: Sequence[Mapping[str, Any]]) -> list[PublicKey]:
    """The keys that can be used; a newer `auth` may have others."""
    keys: list[PublicKey] = []
    for jwk in jwks:
        try:
            keys.append(key_of_jwk(jwk))
        except ValueError as error:
            log.warning("public key skipped", reason=str(error))
    return keys
