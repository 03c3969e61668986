"""The collection `sessions`: one document for each login, with the hash of its newest refresh token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pymongo import ReturnDocument

from voxbus.auth.secret_tokens import SecretToken
from voxbus.contracts.auth import Client
from voxbus.runtime.store import DocumentStore

SESSIONS: Final = "sessions"


@dataclass(frozen=True)
class SessionRecord:
    """A login."""

    id: str
    user_id: str
    epoch: int
    """The user's `session_epoch` when it began."""
    digest: str
    """Of the only refresh token that is good now."""
    created_at: datetime
    expires_at: datetime


class SessionRepository:
    """Reads and writes logins."""

    def __init__(self, store: DocumentStore) -> None:
        self._sessions = store.collection(SESSIONS)

    async def by_id(self, session_id: str) -> SessionRecord | None:
        """The login of an id, also when it has expired and still lies there."""
        found = await self._sessions.find_one({"_id": session_id})
        return _record(found) if found else None

    async def create(self, record: SessionRecord, client: Client) -> None:
        """Keep a new login."""
        await self._sessions.insert_one(
            {
                "_id": record.id,
                "user_id": record.user_id,
                "epoch": record.epoch,
                "digest": record.digest,
                "created_at": record.created_at,
                "refreshed_at": record.created_at,
                "expires_at": record.expires_at,
                "client": client.model_dump(),
            }
        )

    async def rotate(
        self, used: SecretToken, new: SecretToken, *, at: datetime, expires_at: datetime, client: Client
    ) -> SessionRecord | None:
        """Put `new` in the place of `used`, in one step: of two who use the same token one gets None."""
        changed = await self._sessions.find_one_and_update(
            {"_id": used.record_id, "digest": used.digest, "expires_at": {"$gt": at}},
            {
                "$set": {
                    "digest": new.digest,
                    "refreshed_at": at,
                    "expires_at": expires_at,
                    "client": client.model_dump(),
                }
            },
            return_document=ReturnDocument.AFTER,
        )
        return _record(changed) if changed else None

    async def end(self, session_id: str) -> None:
        """Forget a login; it need not be there."""
        await self._sessions.delete_one({"_id": session_id})

    async def end_all(self, user_id: str, *, but: str | None = None) -> int:
        """Forget a user's logins, but for one. How many they were."""
        where: dict[str, Any] = {"user_id": user_id}
        if but:
            where["_id"] = {"$ne": but}
        return (await self._sessions.delete_many(where)).deleted_count


def _record(document: Mapping[str, Any]) -> SessionRecord:
    return SessionRecord(
        id=document["_id"],
        user_id=document["user_id"],
        epoch=document["epoch"],
        digest=document["digest"],
        created_at=document["created_at"],
        expires_at=document["expires_at"],
    )
