"""The collection `api_keys`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from voxbus.auth.outgoing import Outgoing
from voxbus.auth.secret_tokens import SecretToken
from voxbus.contracts.auth import ApiKey, ListApiKeys
from voxbus.contracts.auth_events import ApiKeyRevoked
from voxbus.runtime.store import DocumentStore, outbox, paging
from voxbus.runtime.store.documents import create_once, now

API_KEYS: Final = "api_keys"
_LIVE: Final[dict[str, Any]] = {"deleted": {"$ne": True}}
_SORTS: Final = {"created_at": "created_at", "name": "name"}
_USE_PRECISION: Final = timedelta(minutes=1)


@dataclass(frozen=True)
class ApiKeyRecord:
    """A key with the hash of its secret."""

    key: ApiKey
    digest: str


class ApiKeyRepository:
    """Reads and writes API keys."""

    def __init__(self, store: DocumentStore, outgoing: Outgoing) -> None:
        self._keys = store.collection(API_KEYS)
        self._outgoing = outgoing

    async def by_id(self, key_id: str) -> ApiKeyRecord | None:
        """The key of an id."""
        found = await self._keys.find_one({"_id": key_id, **_LIVE})
        return ApiKeyRecord(_key(found), found["digest"]) if found else None

    async def page(self, request: ListApiKeys, owner_id: str | None) -> tuple[list[ApiKey], str | None]:
        """A page of the keys of `owner_id`, or of everybody."""
        where = {**_LIVE, "user_id": owner_id} if owner_id is not None else _LIVE
        found, cursor = await paging.find_page(
            self._keys, where=where, request=request, sorts=_SORTS, default="-created_at"
        )
        return [_key(document) for document in found], cursor

    async def count(self, owner_id: str) -> int:
        """How many keys somebody has."""
        return await self._keys.count_documents({"user_id": owner_id, **_LIVE})

    async def create(self, key: ApiKey, token: SecretToken, idempotency: dict[str, str] | None) -> bool:
        """Keep a new key; False: its idempotency key made one before."""
        document: dict[str, Any] = {
            "_id": key.id,
            "revision": 1,
            "created_at": key.created_at,
            "updated_at": key.created_at,
            "user_id": key.user_id,
            "name": key.name,
            "permissions": [permission.value for permission in key.permissions],
            "digest": token.digest,
            "hint": key.hint,
            "expires_at": key.expires_at,
            "last_used_at": None,
            "outbox": [],
        }
        if idempotency:
            document["idempotency"] = idempotency
        _, replayed = await create_once(self._keys, document)
        return not replayed

    async def revoke(self, key: ApiKey) -> bool:
        """Leave a tombstone until the event is published; False: it was revoked meanwhile."""
        data = ApiKeyRevoked(api_key_id=key.id, user_id=key.user_id)
        update = outbox.deletion(self._outgoing.event(key.id, data))
        update["$unset"]["digest"] = ""
        revoked = await self._keys.update_one({"_id": key.id, **_LIVE}, update)
        self._outgoing.nudge(API_KEYS, key.id)
        return revoked.modified_count == 1

    async def used(self, key: ApiKey) -> None:
        """Note that it was used, at most once a minute."""
        at = now()
        if key.last_used_at is None or at - key.last_used_at >= _USE_PRECISION:
            rare = {"$or": [{"last_used_at": None}, {"last_used_at": {"$lte": at - _USE_PRECISION}}]}
            await self._keys.update_one({"_id": key.id, **rare}, {"$set": {"last_used_at": at}})

    async def forget_all(self, user_id: str) -> None:
        """Remove the keys of a user who is gone: the user's own event says all that others need."""
        await self._keys.delete_many({"user_id": user_id, **_LIVE})


def _key(document: Mapping[str, Any]) -> ApiKey:
    expires_at: datetime | None = document["expires_at"]
    return ApiKey(
        id=document["_id"],
        user_id=document["user_id"],
        name=document["name"],
        permissions=tuple(document["permissions"]),
        hint=document["hint"],
        created_at=document["created_at"],
        expires_at=expires_at,
        last_used_at=document["last_used_at"],
    )
