"""Keys for machines: made, listed, revoked, verified."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog

from voxbus.auth.api_key_repository import ApiKeyRepository
from voxbus.auth.domain import effective_permissions, key_permissions_problem
from voxbus.auth.failures import bad_api_key, conflict, nobody
from voxbus.auth.secret_tokens import new_api_key, parse_api_key
from voxbus.auth.user_repository import UserRepository
from voxbus.contracts.access import Actor
from voxbus.contracts.auth import (
    CREATE_API_KEY,
    ApiKey,
    ApiKeyPage,
    CreateApiKey,
    ListApiKeys,
    NewApiKey,
    RevokeApiKey,
    VerifiedApiKey,
    VerifyApiKey,
)
from voxbus.contracts.base import new_id
from voxbus.contracts.rpc import Done
from voxbus.runtime.rpc import invalid, not_found
from voxbus.runtime.store.documents import idempotency

log = structlog.get_logger(__name__)

_HINT = 4
MAX_KEYS = 100
"""Of a user: each has a rate limit of its own."""


class ApiKeys:
    """Use cases of API keys."""

    def __init__(self, keys: ApiKeyRepository, users: UserRepository, clock: Callable[[], datetime]) -> None:
        self._keys = keys
        self._users = users
        self._clock = clock

    async def create(self, request: CreateApiKey) -> NewApiKey:
        """See the contract. The secret cannot be shown again, so a repeated idempotency key is a conflict."""
        actor = request.actor
        if actor is None:
            raise nobody()
        if problem := key_permissions_problem(request.permissions, actor.permissions):
            raise invalid("/permissions", problem)
        at = self._clock()
        _check_expiry(request.expires_at, at)
        if await self._keys.count(actor.user_id) >= MAX_KEYS:
            raise conflict(f"you have {MAX_KEYS} API keys, which are the most; revoke one first")
        token = new_api_key(new_id("key"))
        key = ApiKey(
            id=token.record_id,
            user_id=actor.user_id,
            name=request.name.strip(),
            permissions=tuple(dict.fromkeys(request.permissions)),
            hint=token.secret[-_HINT:],
            created_at=at,
            expires_at=request.expires_at,
        )
        name = None
        if request.idempotency_key:
            content = request.model_dump(mode="json", include={"name", "permissions", "expires_at"})
            name = idempotency(actor, CREATE_API_KEY, request.idempotency_key, content)
        if not await self._keys.create(key, token, name):
            raise conflict("this idempotency key made an API key before, whose secret is not shown again")
        log.info("API key made", api_key_id=key.id, user_id=key.user_id)
        return NewApiKey(key=key, secret=token.text)

    async def list(self, request: ListApiKeys) -> ApiKeyPage:
        """See the contract. Who is no admin finds their own only."""
        actor = request.actor
        sees_all = actor is None or actor.is_admin
        own = actor.user_id if actor else None
        owner_id = request.user_id or own
        if request.all_users and sees_all:
            owner_id = None
        if not sees_all and owner_id != own:
            return ApiKeyPage(items=())
        items, cursor = await self._keys.page(request, owner_id)
        return ApiKeyPage(items=tuple(items), next_cursor=cursor)

    async def revoke(self, request: RevokeApiKey) -> Done:
        """See the contract."""
        record = await self._keys.by_id(request.api_key_id)
        actor = request.actor
        visible = record is not None and (actor is None or actor.sees(record.key.user_id))
        if record is None or not visible or not await self._keys.revoke(record.key):
            raise not_found("API key")
        log.info("API key revoked", api_key_id=record.key.id, user_id=record.key.user_id)
        return Done()

    async def verify(self, request: VerifyApiKey) -> VerifiedApiKey:
        """See the contract. Its permissions are those it was given that its user still has."""
        token = parse_api_key(request.secret)
        record = await self._keys.by_id(token.record_id) if token else None
        if token is None or record is None or not token.fits(record.digest):
            raise bad_api_key()
        key = record.key
        if key.expires_at is not None and key.expires_at <= self._clock():
            raise bad_api_key()
        owner = await self._users.by_id(key.user_id)
        if owner is None or not owner.user.enabled:
            raise bad_api_key()
        await self._keys.used(key)
        actor = Actor(
            user_id=key.user_id,
            role=owner.user.role,
            permissions=effective_permissions(key.permissions, owner.user.role),
            api_key_id=key.id,
        )
        return VerifiedApiKey(actor=actor, expires_at=key.expires_at)


def _check_expiry(expires_at: datetime | None, at: datetime) -> None:
    if expires_at is None:
        return
    if expires_at.tzinfo is None:
        raise invalid("/expires_at", "say the time zone, such as Z for UTC")
    if expires_at <= at:
        raise invalid("/expires_at", "this time has passed")
