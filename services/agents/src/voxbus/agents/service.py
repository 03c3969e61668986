"""Use cases of drafts: create, read, list, edit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import structlog
from pydantic import ValidationError
from pydantic_core import to_json
from pymongo.errors import DuplicateKeyError

from voxbus.agents import views
from voxbus.agents.checks import check
from voxbus.agents.deletion import Deletion
from voxbus.agents.domain import content_hash, read_spec, spec_text
from voxbus.agents.editor import Document, Editor, seen
from voxbus.agents.owners import Owners
from voxbus.agents.repository import AgentRepository, Change
from voxbus.agents.secret_headers import mask, unmask
from voxbus.contracts import agents
from voxbus.contracts.base import new_id
from voxbus.contracts.event import Event
from voxbus.contracts.rpc import FieldProblem, RequestErrorCode
from voxbus.contracts.stage import Stage
from voxbus.runtime.rpc import RequestFailedError, invalid, problems_of
from voxbus.runtime.store.documents import idempotency, merge_patch, now

log = structlog.get_logger(__name__)


class AgentService:
    """Agents as they are edited."""

    def __init__(self, repository: AgentRepository, editor: Editor, owners: Owners, deletion: Deletion) -> None:
        self._repository = repository
        self._editor = editor
        self._owners = owners
        self._deletion = deletion

    async def create(self, request: agents.CreateAgent) -> agents.CreatedAgent:
        """Make an agent, or answer the one that the same request made before."""
        spec = checked(request.spec, None)
        owner = await self._owners.of_new(request.actor, request.user_id)
        document = _new_document(request, spec, owner)
        data = agents.AgentCreated(agent_id=document["_id"], user_id=owner)
        event = self._editor.event(document, data, request.traceparent)
        try:
            made, replayed = await self._repository.insert(document, event)
        except DuplicateKeyError:
            message = f"the id {document['_id']} is taken, or was until a moment ago"
            raise RequestFailedError(RequestErrorCode.CONFLICT, message) from None
        if not replayed:
            log.info("agent created", agent_id=made["_id"], user_id=owner)
        return agents.CreatedAgent(agent=views.agent(seen(made, request.actor)), replayed=replayed)

    async def get(self, request: agents.GetAgent) -> agents.Agent:
        """One agent. While it may be about to be deleted, the answer waits until that is decided."""
        document = await self._editor.visible(request.agent_id, request.actor)
        if document.get("deleting"):
            document = seen(await self._deletion.decided(request.agent_id), request.actor)
        return views.agent(document)

    async def list(self, request: agents.ListAgents) -> agents.AgentPage:
        """A page of the agents that the actor sees."""
        if _sees_nobody_of(request):
            return agents.AgentPage(items=())
        documents, cursor = await self._repository.page(_where(request), request)
        return agents.AgentPage(items=tuple(views.summary(document) for document in documents), next_cursor=cursor)

    async def replace(self, request: agents.ReplaceAgent) -> agents.Agent:
        """Another draft, and for admins another owner."""

        async def edit(document: Document) -> Change | None:
            stored = read_spec(document["draft"])
            spec = checked(request.spec, stored)
            owner = await self._owners.changed(request.actor, document["user_id"], request.user_id)
            return self._edited(document, spec, owner, request.traceparent)

        return views.agent(await self._editor.change(request.agent_id, request.actor, request.expected_revision, edit))

    async def patch(self, request: agents.PatchAgent) -> agents.Agent:
        """A merge patch of the draft as it is shown, and of its owner."""
        patch = dict(request.patch)
        named = _named_owner(patch)

        async def edit(document: Document) -> Change | None:
            stored = read_spec(document["draft"])
            spec = checked(_patched(stored, patch), stored)
            owner = await self._owners.changed(request.actor, document["user_id"], named)
            return self._edited(document, spec, owner, request.traceparent)

        return views.agent(await self._editor.change(request.agent_id, request.actor, request.expected_revision, edit))

    def _edited(self, document: Document, spec: agents.AgentSpec, owner: str, traceparent: str | None) -> Change | None:
        values = draft_values(spec)
        if values["draft_hash"] == document["draft_hash"] and owner == document["user_id"]:
            return None
        return Change({**values, "user_id": owner}, updated(self._editor, document, owner, traceparent))


def updated(editor: Editor, document: Document, owner: str, traceparent: str | None) -> Event[agents.AgentUpdated]:
    """The fact that a draft or its owner changed."""
    data = agents.AgentUpdated(agent_id=document["_id"], user_id=owner, revision=document["revision"] + 1)
    return editor.event(document, data, traceparent)


def draft_values(spec: agents.AgentSpec) -> dict[str, Any]:
    """The fields of a document that hold its draft."""
    text = spec_text(spec)
    return {**views.spec_values(spec), "draft": text, "draft_hash": content_hash(text)}


def checked(spec: agents.AgentSpec, stored: agents.AgentSpec | None) -> agents.AgentSpec:
    """The spec with stored secrets in place of masks. INVALID."""
    whole, problems = unmask(spec, stored)
    problems = [*check(whole), *problems]
    if problems:
        raise not_valid(problems)
    return whole


def not_valid(problems: list[FieldProblem]) -> RequestFailedError:
    """INVALID for several reasons."""
    return RequestFailedError(RequestErrorCode.INVALID, "the agent is not valid", problems=problems)


def _patched(stored: agents.AgentSpec, patch: Mapping[str, Any]) -> agents.AgentSpec:
    merged = merge_patch(mask(stored).model_dump(mode="json"), patch)
    try:
        return agents.AgentSpec.model_validate_json(to_json(merged), strict=True, extra="forbid")
    except ValidationError as error:
        raise not_valid(list(problems_of(error))) from None


def _named_owner(patch: dict[str, Any]) -> str | None:
    if "user_id" not in patch:
        return None
    try:
        return agents.GetAgent(agent_id=patch.pop("user_id")).agent_id
    except ValidationError:
        raise invalid("/user_id", "must be the id of a user") from None


def _new_document(request: agents.CreateAgent, spec: agents.AgentSpec, owner: str) -> Document:
    at = now()
    document = {
        "_id": request.agent_id or new_id("agent"),
        "history_id": new_id("history"),
        "user_id": owner,
        **draft_values(spec),
        "revision": 1,
        "published_version": None,
        "published_at": None,
        "published_hash": None,
        "published_key": None,
        "versions": [],
        "created_at": at,
        "updated_at": at,
    }
    if request.idempotency_key is not None:
        content = request.model_dump(mode="json", include={"agent_id", "user_id", "spec"})
        document["idempotency"] = idempotency(request.actor, agents.CREATE_AGENT, request.idempotency_key, content)
    return document


def _where(request: agents.ListAgents) -> dict[str, Any]:
    """What a list asks for, as one flat query: not every server of MongoDB's protocol uses indexes below `$and`."""
    where: dict[str, Any] = {}
    if request.user_id is not None:
        where["user_id"] = request.user_id
    if request.actor is not None and not request.actor.is_admin:
        where["user_id"] = request.actor.user_id
    if request.name is not None:
        if "\0" in request.name:
            raise invalid("/name", "must not hold a null character")
        where["name_folded"] = {"$regex": re.escape(request.name.casefold())}
    if request.published is not None:
        where["published_version"] = {"$ne": None} if request.published else None
    if request.language is not None:
        where["language"] = request.language
    if request.provider is not None:
        where["$or"] = [{f"{stage.value}_provider": request.provider} for stage in Stage]
    return where


def _sees_nobody_of(request: agents.ListAgents) -> bool:
    """Whether the list is of an owner whose agents the actor does not see."""
    owner, actor = request.user_id, request.actor
    return owner is not None and actor is not None and not actor.sees(owner)
