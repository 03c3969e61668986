"""Steps that make the collections of this service what the code expects."""

from __future__ import annotations

from typing import Any, Final

from pymongo import ASCENDING
from pymongo.asynchronous.database import AsyncDatabase

from voxbus.auth.api_key_repository import API_KEYS
from voxbus.auth.session_repository import SESSIONS
from voxbus.auth.signing_key_repository import SIGNING_KEYS
from voxbus.auth.user_repository import USERS
from voxbus.runtime.store.documents import idempotency_index
from voxbus.runtime.store.migrations import Migration
from voxbus.runtime.store.outbox import outbox_index

OUTBOXES: Final = (USERS, API_KEYS, SIGNING_KEYS)


async def _users(database: AsyncDatabase[dict[str, Any]]) -> None:
    users = database[USERS]
    # Partial: tombstones have no email.
    await users.create_index("email", name="email", unique=True, partialFilterExpression={"email": {"$exists": True}})
    await users.create_index([("created_at", ASCENDING), ("_id", ASCENDING)], name="created_at")
    await users.create_index([("role", ASCENDING), ("enabled", ASCENDING)], name="role")
    await idempotency_index(database, USERS)


async def _sessions(database: AsyncDatabase[dict[str, Any]]) -> None:
    await database[SESSIONS].create_index("user_id", name="user_id")
    await database[SESSIONS].create_index("expires_at", name="expiry", expireAfterSeconds=0)


async def _api_keys(database: AsyncDatabase[dict[str, Any]]) -> None:
    keys = [("user_id", ASCENDING), ("created_at", ASCENDING), ("_id", ASCENDING)]
    await database[API_KEYS].create_index(keys, name="user_id")
    await idempotency_index(database, API_KEYS)


async def _signing_keys(database: AsyncDatabase[dict[str, Any]]) -> None:
    await database[SIGNING_KEYS].create_index("generation", name="generation", unique=True)


async def _outboxes(database: AsyncDatabase[dict[str, Any]]) -> None:
    for collection in OUTBOXES:
        await outbox_index(database, collection)


MIGRATIONS: Final = (
    Migration(1, "indexes of users", _users),
    Migration(2, "indexes of sessions", _sessions),
    Migration(3, "indexes of API keys", _api_keys),
    Migration(4, "one signing key per generation", _signing_keys),
    Migration(5, "indexes of outboxes", _outboxes),
)
