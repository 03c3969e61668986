"""Deleting an agent that no campaign needs, without a gap between the question and the deed.

Both sides write first and look afterwards: a deletion marks the agent and then asks which campaigns use it; a campaign that is
scheduled or started writes that and then reads the agent, and a read of a marked agent waits until its deletion is decided. So at
least one of the two sees the other. A mark whose process died is taken away by the next one who meets it, and with the mark goes
the right to complete that deletion.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

import structlog

from voxbus.agents.editor import Document, Editor, busy, require_revision
from voxbus.agents.repository import AgentRepository
from voxbus.contracts.access import Actor
from voxbus.contracts.agents import AgentDeleted, DeleteAgent
from voxbus.contracts.base import new_id
from voxbus.contracts.campaigns import CAMPAIGNS_OF_AGENT, AgentUse, CampaignsOfAgent
from voxbus.contracts.rpc import RequestErrorCode
from voxbus.runtime.rpc import RequestFailedError, RpcClient
from voxbus.runtime.store.documents import now

log = structlog.get_logger(__name__)

_MARK_LIFE: Final = timedelta(seconds=10)
_PATIENCE_S: Final = 2.0
"""How long a read waits for a deletion to be decided; requests are given up after 3 s."""
_POLL_S: Final = 0.05
_ATTEMPTS: Final = 5
_NAMED: Final = 3
"""Campaigns in an error message."""
_ASK_S: Final = 1.0
"""For one try of two, so that the answer comes before the sender of the request gives up."""


class Deletion:
    """Removes agents."""

    def __init__(self, repository: AgentRepository, editor: Editor, client: RpcClient) -> None:
        self._repository = repository
        self._editor = editor
        self._client = client

    async def delete(self, request: DeleteAgent) -> None:
        """Remove an agent and its versions. NOT_FOUND, STALE, CONFLICT when a campaign uses it, UNAVAILABLE."""
        for _ in range(_ATTEMPTS):
            document, token = await self._marked(request.agent_id, request.actor, request.expected_revision)
            try:
                await self._require_unused(request.agent_id, request.actor)
                data = AgentDeleted(agent_id=request.agent_id, user_id=document["user_id"])
                event = self._editor.event(document, data, request.traceparent)
                if await self._repository.delete(document, token, request.expected_revision, event):
                    log.info("agent deleted", agent_id=request.agent_id)
                    return
            finally:
                await self._repository.unmark(request.agent_id, token)
        raise busy()

    async def decided(self, agent_id: str) -> Document | None:
        """The agent once it is not about to be deleted any more; None: it is deleted. UNAVAILABLE when that takes long."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                while True:
                    document = await self._repository.find(agent_id)
                    mark = document.get("deleting") if document else None
                    if not mark:
                        return document
                    if mark["until"] < now():
                        await self._repository.unmark(agent_id, mark["token"])
                    else:
                        await asyncio.sleep(_POLL_S)
        except TimeoutError:
            message = "the agent is about to be deleted; try again"
            raise RequestFailedError(RequestErrorCode.UNAVAILABLE, message, retryable=True) from None

    async def _marked(self, agent_id: str, actor: Actor | None, expected: int | None) -> tuple[Document, str]:
        for _ in range(_ATTEMPTS):
            document = await self._editor.visible(agent_id, actor)
            require_revision(document, expected)
            if document.get("deleting"):
                await self.decided(agent_id)
                continue
            token = new_id("del")
            if await self._repository.mark(document, token, now() + _MARK_LIFE):
                return document, token
        raise busy()

    async def _require_unused(self, agent_id: str, actor: Actor | None) -> None:
        question = CampaignsOfAgent(agent_id=agent_id)
        use = await self._client.request(CAMPAIGNS_OF_AGENT, question, timeout_s=_ASK_S)
        if use.total:
            raise RequestFailedError(RequestErrorCode.CONFLICT, _in_use(use, actor))


def _in_use(use: AgentUse, actor: Actor | None) -> str:
    shown = [item for item in use.campaigns if actor is None or actor.sees(item.user_id)][:_NAMED]
    named = ", ".join(f"{item.name} ({item.id}, {item.status.value})" for item in shown)
    hidden = use.total - len(shown)
    more = f" and {hidden} more" if shown and hidden else "" if shown else "not yours"
    campaigns = "1 campaign uses" if use.total == 1 else f"{use.total} campaigns use"
    return f"{campaigns} this agent: {named}{more}; cancel or complete them first"
