"""Finding an agent for somebody, and changing it without losing another's change."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from voxbus.agents.repository import AgentRepository, Change
from voxbus.contracts.access import Actor
from voxbus.contracts.base import Message
from voxbus.contracts.event import DataT, Event
from voxbus.contracts.rpc import RequestErrorCode
from voxbus.runtime.rpc import RequestFailedError, not_found

log = structlog.get_logger(__name__)

Document = dict[str, Any]
Edit = Callable[[Document], Awaitable[Change | None]]
_ATTEMPTS: Final = 10
_PAUSE_S: Final = 0.02


class Editor:
    """What the use cases share."""

    def __init__(self, repository: AgentRepository, source: str) -> None:
        self._repository = repository
        self._source = source

    def event(self, document: Document, data: DataT, traceparent: str | None) -> Event[DataT]:
        """A fact about an agent."""
        return Event(source=self._source, subject=document["_id"], data=data, traceparent=traceparent)

    async def visible(self, agent_id: str, actor: Actor | None) -> Document:
        """An agent that the actor may see; NOT_FOUND."""
        return seen(await self._repository.find(agent_id), actor)

    async def change(self, agent_id: str, actor: Actor | None, expected_revision: int | None, edit: Edit) -> Document:
        """Edit an agent as it is now; an edit of None leaves it. STALE when it is not at the expected revision.

        Without one, a change by somebody else in between is taken in, and the edit made anew.
        """
        for attempt in range(_ATTEMPTS):
            await asyncio.sleep(random.uniform(0, attempt * _PAUSE_S))  # noqa: S311  # so that not all come again at once
            document = await self.visible(agent_id, actor)
            require_revision(document, expected_revision)
            change = await edit(document)
            if change is None:
                return document
            changed = await self._repository.change(document, change)
            if changed is not None:
                _log(changed, change.event.data)
                return changed
        raise busy()


def seen(document: Document | None, actor: Actor | None) -> Document:
    """The document, when the actor may see it; NOT_FOUND, as for one that is not there."""
    if document is None or (actor is not None and not actor.sees(document["user_id"])):
        raise not_found("agent")
    return document


def require_revision(document: Document, expected: int | None) -> None:
    """STALE when the document is at another revision."""
    if expected is not None and document["revision"] != expected:
        message = f"the agent was changed: it is at revision {document['revision']}, not {expected}"
        raise RequestFailedError(RequestErrorCode.STALE, message)


def busy() -> RequestFailedError:
    """Others keep changing the agent."""
    return RequestFailedError(
        RequestErrorCode.CONFLICT, "others are changing this agent now; try again", retryable=True
    )


def _log(document: Document, data: Message) -> None:
    log.info("agent changed", agent_id=document["_id"], revision=document["revision"], change=type(data).__name__)
