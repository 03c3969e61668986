"""Who sends a request: access tokens verified here, API keys verified by `auth` and remembered for a minute."""

from __future__ import annotations

import hashlib
import math
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
    revision: int | None = None
    """Of the user that a token was issued for; None: it does not say."""


@dataclass(frozen=True)
class _Change:
    """What made the tokens of a user stale."""

    at: float
    """Unix time."""
    revision: float
    """Of the user since then, infinite when there is none any more; 0: it was not told."""

    def makes_stale(self, token: _Known) -> bool:
        """Whether `token` was issued before. Revisions tell it exactly; times as well as the clocks of two machines agree."""
        if token.revision is not None and self.revision:
            return token.revision < self.revision
        return token.issued_at < self.at


class Callers:
    """Turns credentials into actors."""

    def __init__(self, client: Asks, keys: VerifiesTokens, clock: Callable[[], float] = time.time) -> None:
        """`clock` tells Unix time."""
        self._client = client
        self._keys = keys
        self._clock = clock
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._changes: OrderedDict[str, _Change] = OrderedDict()
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
        change = self._changes.get(known.actor.user_id) if known.actor.api_key_id is None else None
        if change is not None and change.makes_stale(known):
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

    def user_changed(
        self, user_id: str, at: datetime, *, access_changed: bool = True, revision: int | None = None
    ) -> None:
        """Ask anew about a user's keys and, when their access changed, refuse tokens for revisions before `revision`.

        Tokens that don't name one, or all when it is not told, are refused when they were issued before `at`.
        """
        self._drop(lambda actor: actor.user_id == user_id)
        if access_changed:
            self._keep(user_id, _Change(at.astimezone(UTC).timestamp(), revision or 0))

    def user_deleted(self, user_id: str, at: datetime) -> None:
        """Refuse everything of a user."""
        self._drop(lambda actor: actor.user_id == user_id)
        self._keep(user_id, _Change(at.astimezone(UTC).timestamp(), math.inf))

    def _keep(self, user_id: str, change: _Change) -> None:
        before = self._changes.pop(user_id, change)
        self._changes[user_id] = _Change(max(before.at, change.at), max(before.revision, change.revision))
        while self._changes and self._oldest() < self._clock() - LONGEST_TOKEN_S:
            self._changes.popitem(last=False)

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
        return next(iter(self._changes.values())).at


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
        revision = int(str(claims["rev"])) if "rev" in claims else None
    except (ValidationError, LookupError, ValueError):
        raise unauthenticated("the token is not an access token of this platform") from None
    return _Known(actor, issued_at, min(expires_at, now + CACHE_S), revision)
