"""Agents and their versions in MongoDB.

A spec is stored as JSON text: settings and schemas hold keys such as `$ref` and `a.b`, and numbers of any size, about which BSON
has ideas of its own. What lists need stands beside it. Version content is kept under the agent's `history_id`, not its id, so
that an agent made anew under an old id never meets versions of the old one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pymongo.errors import DuplicateKeyError

from voxbus.agents.domain import KEPT_VERSIONS
from voxbus.contracts.event import Event
from voxbus.contracts.rpc import PageRequest
from voxbus.runtime.store import DocumentStore
from voxbus.runtime.store.documents import create_once, now
from voxbus.runtime.store.outbox import OutboxRelay, deletion, entry
from voxbus.runtime.store.paging import find_page

AGENTS: Final = "agents"
VERSIONS: Final = "agent_versions"

Document = dict[str, Any]
_LIVE: Final[Mapping[str, Any]] = {"deleted": {"$ne": True}}
_WITHOUT_LISTS: Final = {"versions": False, "outbox": False, "idempotency": False}
_SUMMARY: Final = {**_WITHOUT_LISTS, "draft": False}
_SORTS: Final = {"created_at": "created_at", "updated_at": "updated_at", "name": "name_folded"}


@dataclass(frozen=True)
class Change:
    """What becomes of an agent, and the fact that tells of it."""

    values: Mapping[str, Any]
    event: Event[Any]
    version: Mapping[str, Any] | None = None
    """A version to add to its list."""


class AgentRepository:
    """The collections `agents` and `agent_versions`. Store errors pass through."""

    def __init__(self, store: DocumentStore, relay: OutboxRelay) -> None:
        self._agents = store.collection(AGENTS)
        self._versions = store.collection(VERSIONS)
        self._relay = relay

    async def insert(self, document: Document, event: Event[Any]) -> tuple[Document, bool]:
        """Add an agent, or find what the same request made before (True). DuplicateKeyError when the id is taken."""
        made, replayed = await create_once(self._agents, {**document, "outbox": [entry(event)]})
        if not replayed:
            self._relay.nudge(AGENTS, made["_id"])
        return made, replayed

    async def find(self, agent_id: str) -> Document | None:
        """An agent that is not deleted, without its list of versions."""
        return await self._agents.find_one({"_id": agent_id, **_LIVE}, _WITHOUT_LISTS)

    async def find_with_versions(self, agent_id: str) -> Document | None:
        """An agent with its list of versions, oldest first."""
        return await self._agents.find_one({"_id": agent_id, **_LIVE}, {"outbox": False})

    async def page(self, where: Mapping[str, Any], request: PageRequest) -> tuple[list[Document], str | None]:
        """Agents that match, without drafts."""
        return await find_page(
            self._agents,
            where={**where, **_LIVE},
            request=request,
            sorts=_SORTS,
            default="-created_at",
            projection=_SUMMARY,
        )

    async def change(self, document: Document, change: Change) -> Document | None:
        """Change an agent that is still as in `document`; None when it was changed or deleted meanwhile.

        What it becomes is known beforehand: the revision stands for all the rest. So the store need not answer with it, which
        costs one that speaks MongoDB's protocol a look at the whole collection.
        """
        values = {**change.values, "updated_at": now()}
        pushes: dict[str, Any] = {"outbox": entry(change.event)}
        if change.version is not None:
            pushes["versions"] = {"$each": [dict(change.version)], "$slice": -KEPT_VERSIONS}
        written = await self._agents.update_one(
            {"_id": document["_id"], "revision": document["revision"], **_LIVE},
            {"$set": values, "$push": pushes, "$inc": {"revision": 1}},
        )
        if not written.modified_count:
            return None
        self._relay.nudge(AGENTS, document["_id"])
        return {**document, **values, "revision": document["revision"] + 1}

    async def mark(self, document: Document, token: str, until: datetime) -> bool:
        """Mark an agent as about to be deleted; False when it changed, is marked or is gone."""
        where = {"_id": document["_id"], "revision": document["revision"], "deleting": None, **_LIVE}
        result = await self._agents.update_one(where, {"$set": {"deleting": {"token": token, "until": until}}})
        return bool(result.modified_count)

    async def unmark(self, agent_id: str, token: str) -> None:
        """Take a mark away; the deletion that made it can no longer be completed."""
        await self._agents.update_one({"_id": agent_id, "deleting.token": token}, {"$unset": {"deleting": ""}})

    async def delete(self, document: Document, token: str, revision: int | None, event: Event[Any]) -> bool:
        """Delete an agent that still has the mark, and the revision unless that is None; its versions go with it.

        What is left waits for its event to be published. Its draft is gone at once, with the secrets in it.
        """
        where: Document = {"_id": document["_id"], "deleting.token": token, **_LIVE}
        if revision is not None:
            where["revision"] = revision
        update = deletion(event)
        update["$unset"] |= dict.fromkeys(("deleting", "draft", "versions"), "")
        if not (await self._agents.update_one(where, update)).modified_count:
            return False
        self._relay.nudge(AGENTS, document["_id"])
        await self._versions.delete_many({"history_id": document["history_id"]})
        return True

    async def keep_version(self, document: Document) -> str:
        """Store the draft of `document` as the content of a version, and give its key.

        The key is made of the revision, and a revision has one content: whoever stores it first, or again, stores the same.
        """
        key = f"{document['history_id']}:{document['revision']}"
        content = {
            "_id": key,
            "agent_id": document["_id"],
            "history_id": document["history_id"],
            "revision": document["revision"],
            "spec": document["draft"],
            "created_at": now(),
        }
        try:
            await self._versions.insert_one(content)
        except DuplicateKeyError:
            pass  # by another request, or one that was cut off
        return key

    async def version_text(self, key: str) -> str | None:
        """The stored content of a version."""
        found = await self._versions.find_one({"_id": key}, {"spec": True})
        return None if found is None else str(found["spec"])

    async def drop_versions(self, history_id: str, *, before: int) -> None:
        """Remove what was stored before a revision."""
        await self._versions.delete_many({"history_id": history_id, "revision": {"$lt": before}})

    async def sweep(self) -> int:
        """Remove versions whose agent is gone, and give how many there were.

        They are left when a process dies between deleting an agent and its versions, or when an agent is deleted while it is
        being published. A history that has no agent never gets one again, so nothing is removed that is needed.
        """
        removed = 0
        group = {"$group": {"_id": "$history_id", "agent_id": {"$first": "$agent_id"}}}
        async with await self._versions.aggregate([group]) as histories:
            async for history in histories:
                where = {"_id": history["agent_id"], "history_id": history["_id"], **_LIVE}
                if await self._agents.find_one(where, {"_id": True}) is None:
                    removed += (await self._versions.delete_many({"history_id": history["_id"]})).deleted_count
        return removed
