"""Who sends a request: access tokens verified here, API keys verified by `auth` and remembered for a minute."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from pydantic import JsonValue, ValidationError

from voxbus.contracts import auth
from voxbus.contracts.access import Actor, Permission
from voxbus.contracts.rpc import RequestErrorCode
from voxbus.runtime.rpc import RequestFailedError
from voxbus.voice_gateway.edge.tokens import InvalidTokenError
from voxbus.voice_gateway.rest.backend import Asks
from voxbus.voice_gateway.rest.errors import unauthenticated
from voxbus.voice_gateway.rest.metrics import API_KEY_CHECKS

CACHE_S: Final = 60.0
LONGEST_TOKEN_S: Final = 24 * 3600.0
"""No access token lives longer; what made tokens stale is remembered as long."""
_MOST: Final = 20_000
_PERMISSIONS: Final = frozenset(Permission)


class VerifiesTokens(Protocol):
    """The public keys, as `KeyRing` has them."""

    async def verify(self, token: str, audience: str) -> Mapping[str, JsonValue]:
        """The claims. Raises InvalidTokenError, or RequestFailedError when it cannot be told now."""
        ...


@dataclass(frozen=True)
class _Known:
    """A credential that was good."""

    actor: Actor
    issued_at: float
    """Unix time; of an API key, that of its check."""
    until: float
    """Unix time until which it need not be checked again."""


class Callers:
    """Turns credentials into actors."""

    def __init__(self, client: Asks, keys: VerifiesTokens, clock: Callable[[], float] = time.time) -> None:
        """`clock` tells Unix time."""
        self._client = client
        self._keys = keys
        self._clock = clock
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._stale_before: OrderedDict[str, float] = OrderedDict()
        self._dropped = 0

    async def identify(self, credential: str) -> Actor:
        """Whom a credential stands for. Raises ProblemError 401, RequestFailedError when it cannot be told now."""
        now = self._clock()
        digest = hashlib.sha256(credential.encode("utf-8", "surrogateescape")).digest()
        known = self._known.get(digest)
        if known is None or known.until <= now:
            dropped = self._dropped
            known = await self._check(credential, now)
            if dropped == self._dropped:  # else what was just answered may be what was just taken away
                self._remember(digest, known)
        if known.actor.api_key_id is None and known.issued_at < self._stale_before.get(known.actor.user_id, 0.0):
            raise unauthenticated("the user was changed since this token was issued; log in or refresh")
        return known.actor

    async def _check(self, credential: str, now: float) -> _Known:
        if credential.startswith(auth.API_KEY_PREFIX):
            return await self._check_api_key(credential, now)
        try:
            claims = await self._keys.verify(credential, auth.API_AUDIENCE)
        except InvalidTokenError as error:
            raise unauthenticated(str(error)) from None
        return _from_claims(claims, now)

    async def _check_api_key(self, secret: str, now: float) -> _Known:
        try:
            verified = await self._client.request(auth.VERIFY_API_KEY, auth.VerifyApiKey(secret=secret))
        except (ValidationError, RequestFailedError) as error:
            refused = isinstance(error, ValidationError) or error.code is RequestErrorCode.UNAUTHENTICATED
            API_KEY_CHECKS.labels("refused" if refused else "failed").inc()
            if not refused:
                raise
            raise unauthenticated("the API key is not known, or it was revoked or has expired") from None
        API_KEY_CHECKS.labels("ok").inc()
        until = now + CACHE_S
        if verified.expires_at is not None:
            until = min(until, verified.expires_at.timestamp())
        return _Known(verified.actor, now, until)

    def _remember(self, digest: bytes, known: _Known) -> None:
        self._known[digest] = known
        self._known.move_to_end(digest)
        if len(self._known) > _MOST:
            self._known.popitem(last=False)

    def user_changed(self, user_id: str, at: datetime, *, access_changed: bool = True) -> None:
        """Refuse what was issued to a user before `at`, and ask anew about their keys."""
        self._drop(lambda actor: actor.user_id == user_id)
        if access_changed:
            moment = at.astimezone(UTC).timestamp()
            self._stale_before[user_id] = max(moment, self._stale_before.pop(user_id, 0.0))
            while self._stale_before and self._oldest() < self._clock() - LONGEST_TOKEN_S:
                self._stale_before.popitem(last=False)

    def api_key_revoked(self, api_key_id: str) -> None:
        """Refuse a key from now on."""
        self._drop(lambda actor: actor.api_key_id == api_key_id)

    def forget(self) -> None:
        """Check everything anew: something may have happened that nobody told us."""
        self._drop(lambda _actor: True)

    def _drop(self, which: Callable[[Actor], bool]) -> None:
        self._dropped += 1
        for digest in [digest for digest, known in self._known.items() if which(known.actor)]:
            del self._known[digest]

    def _oldest(self) -> float:
        return next(iter(self._stale_before.values()))


def _from_claims(claims: Mapping[str, JsonValue], now: float) -> _Known:
    permissions = claims.get("permissions")
    given: list[Any] = permissions if isinstance(permissions, list) else []
    try:
        actor = Actor.model_validate(
            {
                "user_id": claims.get("user_id"),
                "role": claims.get("role"),
                "session_id": claims.get("sid"),
                # A newer `auth` may know permissions that nothing here asks for.
                "permissions": [name for name in given if name in _PERMISSIONS],
            }
        )
        issued_at, expires_at = float(str(claims["iat"])), float(str(claims["exp"]))
    except (ValidationError, LookupError, ValueError):
        raise unauthenticated("the token is not an access token of this platform") from None
    return _Known(actor, issued_at, min(expires_at, now + CACHE_S))
