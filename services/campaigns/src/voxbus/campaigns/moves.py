"""Use cases that move a campaign on: asked by people, due by the clock, or because its agent is gone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import structlog

from voxbus.campaigns.directory import Directory
from voxbus.campaigns.domain import ENDED, NEEDS_AGENT, NotAllowedError, after_move, check_start
from voxbus.campaigns.lookup import Lookup, conflict
from voxbus.campaigns.records import Document, to_campaign
from voxbus.campaigns.repository import CampaignRepository
from voxbus.contracts.access import Actor
from voxbus.contracts.agents import Agent
from voxbus.contracts.campaign_events import CampaignMoved
from voxbus.contracts.campaigns import Campaign, CampaignMove, CampaignStatus, MoveCampaign
from voxbus.runtime.rpc import RequestFailedError
from voxbus.runtime.store.documents import now

log = structlog.get_logger(__name__)

_HAS_CONTACTS = {"contact_count": {"$gt": 0}}
_BACK = {CampaignStatus.SCHEDULED: CampaignMove.UNSCHEDULE, CampaignStatus.RUNNING: CampaignMove.PAUSE}
"""Out of what cannot be without an agent."""


class MoveService:
    """Moves campaigns."""

    def __init__(self, repository: CampaignRepository, lookup: Lookup, directory: Directory) -> None:
        self._repository = repository
        self._lookup = lookup
        self._directory = directory

    async def move(self, request: MoveCampaign) -> Campaign:
        """The campaign after the move. Raises NOT_FOUND, STALE, CONFLICT that says what is missing, UNAVAILABLE."""

        async def edit(document: Document) -> Document | None:
            status = after_move(CampaignStatus(document["status"]), request.move)
            if request.move is CampaignMove.SCHEDULE:
                check_start(document["start_at"], now())
            if request.move not in NEEDS_AGENT:
                return await self._write(document, request.move, status, request.actor, request.traceparent)
            if not document["contact_count"]:
                raise NotAllowedError("the campaign has no contacts to call")
            _require_published(await self._directory.agent(document["agent_id"], request.actor))
            return await self._write(
                document, request.move, status, request.actor, request.traceparent, only_if=_HAS_CONTACTS
            )

        changed = await self._lookup.edit(request.campaign_id, request.actor, request.expected_revision, edit)
        if request.move in NEEDS_AGENT and "agent_unchecked" in changed:
            await self._look_again(changed)
        return to_campaign(changed)

    async def start_due(self) -> None:
        """Start campaigns whose time has come. Of several processes one succeeds with each."""
        for document in await self._repository.due(now()):
            # The agent is there: it cannot be deleted while the campaign is scheduled.
            await self._write(document, CampaignMove.START, CampaignStatus.RUNNING, None, None)

    async def check_agents(self, moved_before: datetime) -> None:
        """Look after the agents of campaigns whose move nobody has completed: the process that made it died."""
        for document in await self._repository.with_unchecked_agent(moved_before):
            await self._settle(document)

    async def _look_again(self, document: Document) -> None:
        """The other half of deleting an agent safely.

        A deletion marks the agent, then asks which campaigns use it; we have written that we do, and now read the agent, which
        waits while it is marked. Whatever the order, one of the two sees the other: no event of the deletion is needed.
        """
        try:
            there = await self._settle(document)
        except RequestFailedError as error:
            log.warning("agent not looked after", campaign_id=document["_id"], code=error.code.value)
            return  # the note in the document stays, and the caretaker looks later
        if not there:
            raise conflict("its agent was deleted at the same moment")

    async def _settle(self, document: Document) -> bool:
        """Whether the agent is still there; if not, the campaign is moved back."""
        there = await self._directory.agent(document["agent_id"], None) is not None
        back = None if there else _BACK.get(CampaignStatus(document["status"]))
        if back is not None:
            status = after_move(CampaignStatus(document["status"]), back)
            if await self._write(document, back, status, None, None) is None:
                return False  # changed meanwhile: the note stays for the caretaker
        await self._repository.agent_checked(document["_id"], document["agent_unchecked"])
        return there

    async def _write(
        self,
        document: Document,
        move: CampaignMove,
        status: CampaignStatus,
        actor: Actor | None,
        traceparent: str | None,
        only_if: Mapping[str, Any] | None = None,
    ) -> Document | None:
        before = CampaignStatus(document["status"])
        data = CampaignMoved(
            campaign_id=document["_id"],
            user_id=document["user_id"],
            agent_id=document["agent_id"],
            move=move,
            before=before,
            status=status,
            by=actor.user_id if actor else None,
        )
        event = self._lookup.event(document["_id"], data, traceparent)
        changed = await self._repository.change(
            document, _values(document, before, status, now()), event, only_if=only_if
        )
        if changed is not None:
            log.info("campaign moved", campaign_id=document["_id"], move=move.value, status=status.value)
        return changed


def _values(document: Document, before: CampaignStatus, status: CampaignStatus, moment: datetime) -> Document:
    values: Document = {"status": status.value}
    if status is CampaignStatus.RUNNING and document["started_at"] is None:
        values["started_at"] = moment
    if status in ENDED:
        values["ended_at"] = moment
    if before is CampaignStatus.DRAFT and status not in ENDED:
        values["agent_unchecked"] = moment
    return values


def _require_published(agent: Agent | None) -> None:
    if agent is None:
        raise NotAllowedError("its agent is not there any more: name another one in a draft")
    if agent.published_version is None:
        raise NotAllowedError("its agent is not published")
