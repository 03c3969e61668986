"""Use cases of versions: publish, read, compare, restore, and what a call gets."""

from __future__ import annotations

import base64
import binascii
from typing import Final

import structlog

from voxbus.agents import views
from voxbus.agents.differences import differences
from voxbus.agents.domain import KEPT_VERSIONS, config_of, read_spec
from voxbus.agents.editor import Document, Editor, seen
from voxbus.agents.repository import AgentRepository, Change
from voxbus.agents.secret_headers import mask
from voxbus.agents.service import checked, draft_values, updated
from voxbus.contracts import agents
from voxbus.contracts.access import Actor
from voxbus.contracts.rpc import RequestErrorCode
from voxbus.runtime.rpc import RequestFailedError, invalid, not_found
from voxbus.runtime.store.documents import now

log = structlog.get_logger(__name__)

_COMPARISON_BYTES: Final = 800_000
"""What fits into an answer."""


class VersionService:
    """Published versions of agents."""

    def __init__(self, repository: AgentRepository, editor: Editor) -> None:
        self._repository = repository
        self._editor = editor

    async def publish(self, request: agents.PublishAgent) -> agents.Agent:
        """The draft becomes a version that calls use. CONFLICT when it is what they use already."""

        async def edit(document: Document) -> Change:
            return await self._publication(document, request)

        document = await self._editor.change(request.agent_id, request.actor, request.expected_revision, edit)
        await self._drop_oldest(request.agent_id, document["published_version"])
        return views.agent(document)

    async def list(self, request: agents.ListAgentVersions) -> agents.AgentVersionPage:
        """Newest first."""
        if request.sort not in (None, "-version"):
            raise invalid("/sort", "versions are listed newest first; the only order is -version")
        below = _read_cursor(request.cursor) if request.cursor else None
        document = await self._with_versions(request.agent_id, request.actor)
        entries = [entry for entry in reversed(document["versions"]) if below is None or entry["version"] < below]
        page = entries[: request.limit]
        return agents.AgentVersionPage(
            items=tuple(views.version(document, entry) for entry in page),
            next_cursor=_cursor(page[-1]["version"]) if len(entries) > request.limit else None,
        )

    async def get(self, request: agents.GetAgentVersion) -> agents.AgentVersionDetail:
        """One version with its content, secrets masked."""
        if request.version == "draft":
            raise invalid("/version", "the draft is no version: it is part of the agent; name a number, or published")
        document = await self._with_versions(request.agent_id, request.actor)
        entry = _entry(document, request.version)
        values = views.version_values(document, entry)
        return agents.AgentVersionDetail(**values, spec=mask(await self._content(document, entry)))

    async def compare(self, request: agents.CompareAgentVersions) -> agents.AgentComparison:
        """What differs between two versions, or a version and the draft."""
        document = await self._with_versions(request.agent_id, request.actor)
        before_name, before = await self._named(document, request.before)
        after_name, after = await self._named(document, request.after)
        return agents.AgentComparison(
            agent_id=request.agent_id, before=before_name, after=after_name, differences=_differences(before, after)
        )

    async def restore(self, request: agents.RestoreAgentVersion) -> agents.Agent:
        """The draft becomes what a version was, secrets included."""

        async def edit(document: Document) -> Change | None:
            entries = await self._with_versions(request.agent_id, request.actor)
            spec = await self._content(entries, _entry(entries, str(request.version)))
            values = draft_values(spec)
            if values["draft_hash"] == document["draft_hash"]:
                return None
            return Change(values, updated(self._editor, document, document["user_id"], request.traceparent))

        return views.agent(await self._editor.change(request.agent_id, request.actor, request.expected_revision, edit))

    async def resolve(self, request: agents.ResolveAgent) -> agents.ResolvedAgent:
        """What a call uses, secrets included. FORBIDDEN for everybody but the platform."""
        if request.actor is not None:
            raise RequestFailedError(RequestErrorCode.FORBIDDEN, "only the platform resolves agents")
        document = await self._repository.find(request.agent_id)
        if document is None or document["published_key"] is None:
            raise not_found("published agent")
        text = await self._repository.version_text(document["published_key"])
        if text is None:  # deleted since it was found
            raise not_found("published agent")
        config = config_of(request.agent_id, document["published_version"], read_spec(text))
        return agents.ResolvedAgent(user_id=document["user_id"], config=config)

    async def _publication(self, document: Document, request: agents.PublishAgent) -> Change:
        if document["draft_hash"] == document["published_hash"]:
            message = f"nothing was changed since version {document['published_version']} was published"
            raise RequestFailedError(RequestErrorCode.CONFLICT, message)
        spec = read_spec(document["draft"])
        checked(spec, spec)  # what was valid when it was written may name a provider that is gone
        version = (document["published_version"] or 0) + 1
        at = now()
        key = await self._repository.keep_version(document)
        data = agents.AgentPublished(
            agent_id=document["_id"],
            user_id=document["user_id"],
            version=version,
            config=config_of(document["_id"], version, mask(spec)),
        )
        return Change(
            values={
                "published_version": version,
                "published_at": at,
                "published_hash": document["draft_hash"],
                "published_key": key,
            },
            event=self._editor.event(document, data, request.traceparent),
            version={
                "version": version,
                "revision": document["revision"],
                "key": key,
                "published_at": at,
                "published_by": request.actor.user_id if request.actor else None,
                "note": request.note,
            },
        )

    async def _drop_oldest(self, agent_id: str, newest: int) -> None:
        """Remove the content of versions that fell off the list."""
        if newest <= KEPT_VERSIONS:
            return
        document = await self._repository.find_with_versions(agent_id)
        if document is not None:
            await self._repository.drop_versions(document["history_id"], before=document["versions"][0]["revision"])

    async def _with_versions(self, agent_id: str, actor: Actor | None) -> Document:
        return seen(await self._repository.find_with_versions(agent_id), actor)

    async def _named(self, document: Document, name: str) -> tuple[str, agents.AgentSpec]:
        if name == "draft":
            return name, read_spec(document["draft"])
        entry = _entry(document, name)
        return str(entry["version"]), await self._content(document, entry)

    async def _content(self, document: Document, entry: Document) -> agents.AgentSpec:
        text = await self._repository.version_text(entry["key"])
        if text is None:  # deleted, or fallen off the list, since the list was read
            raise not_found("version")
        return read_spec(text)


def _entry(document: Document, name: str) -> Document:
    number = document["published_version"] if name == "published" else int(name)
    for entry in document["versions"]:
        if entry["version"] == number:
            found: Document = entry
            return found
    raise not_found("version")


def _differences(before: agents.AgentSpec, after: agents.AgentSpec) -> tuple[agents.Difference, ...]:
    found = []
    size_bytes = 0
    for difference in differences(before, after):
        size_bytes += len(difference.encode()) + 1
        if size_bytes > _COMPARISON_BYTES:
            raise RequestFailedError(RequestErrorCode.TOO_LARGE, "the versions differ in too many places to list them")
        found.append(difference)
    return tuple(found)


def _cursor(version: int) -> str:
    return base64.urlsafe_b64encode(f"version:{version}".encode()).decode()


def _read_cursor(cursor: str) -> int:
    try:
        kind, _, number = base64.urlsafe_b64decode(cursor).decode().partition(":")
        if kind == "version":
            return int(number)
    except (binascii.Error, ValueError):
        pass
    raise invalid("/cursor", "this is no cursor of this list")
