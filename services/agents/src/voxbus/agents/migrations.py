"""What the store needs before agents can be kept in it."""

from __future__ import annotations

from typing import Any, Final

from pymongo import ASCENDING, DESCENDING
from pymongo.asynchronous.database import AsyncDatabase

from voxbus.agents.repository import AGENTS, VERSIONS
from voxbus.runtime.store.documents import idempotency_index
from voxbus.runtime.store.migrations import Migration
from voxbus.runtime.store.outbox import outbox_index


async def _indexes(database: AsyncDatabase[dict[str, Any]]) -> None:
    agents = database[AGENTS]
    await agents.create_index([("user_id", ASCENDING), ("created_at", DESCENDING), ("_id", DESCENDING)])
    await agents.create_index([("created_at", DESCENDING), ("_id", DESCENDING)])
    await database[VERSIONS].create_index([("history_id", ASCENDING), ("revision", ASCENDING)])
    await idempotency_index(database, AGENTS)
    await outbox_index(database, AGENTS)


MIGRATIONS: Final = (Migration(1, "indexes of agents and their versions", _indexes),)
