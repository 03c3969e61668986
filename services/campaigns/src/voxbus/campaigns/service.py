"""Use cases of campaigns: create, read, list, edit, delete."""

from __future__ import annotations

from typing import Any, Final

import structlog
from pydantic import TypeAdapter, ValidationError

from voxbus.campaigns.directory import Directory
from voxbus.campaigns.domain import WrongValueError, check_deletion, check_edit, normalised
from voxbus.campaigns.lookup import Lookup
from voxbus.campaigns.records import Document, new_campaign, spec_fields, to_campaign, to_spec, to_summary
from voxbus.campaigns.repository import CampaignRepository
from voxbus.contracts.access import Actor
from voxbus.contracts.base import Identifier
from voxbus.contracts.campaign_events import CampaignCreated, CampaignDeleted, CampaignUpdated
from voxbus.contracts.campaigns import (
    CREATE_CAMPAIGN,
    AgentUse,
    Campaign,
    CampaignPage,
    CampaignsOfAgent,
    CampaignSpec,
    CampaignStatus,
    CreateCampaign,
    CreatedCampaign,
    DeleteCampaign,
    GetCampaign,
    ListCampaigns,
    PatchCampaign,
)
from voxbus.contracts.rpc import Done, RequestErrorCode
from voxbus.runtime.rpc import RequestFailedError, invalid, problems_of
from voxbus.runtime.store.documents import idempotency, merge_patch, now

log = structlog.get_logger(__name__)

_IDENTIFIER: Final[TypeAdapter[str]] = TypeAdapter(Identifier)


class CampaignService:
    """Campaigns, without their moves and contacts."""

    def __init__(self, repository: CampaignRepository, lookup: Lookup, directory: Directory) -> None:
        self._repository = repository
        self._lookup = lookup
        self._directory = directory

    async def create(self, request: CreateCampaign) -> CreatedCampaign:
        """A new draft. Raises INVALID, FORBIDDEN, KEY_REUSED, UNAVAILABLE."""
        spec = _checked(request.spec)
        owner = _new_owner(request.actor, request.user_id)
        document = new_campaign(owner, spec, now())
        if request.idempotency_key is not None:
            content = {"user_id": owner, "spec": spec.model_dump(mode="json")}
            document["idempotency"] = idempotency(request.actor, CREATE_CAMPAIGN, request.idempotency_key, content)
            # Before the agent is asked for: it may have gone since the first time.
            earlier = await self._repository.made_with(document["idempotency"])
            if earlier is not None:
                return CreatedCampaign(campaign=to_campaign(earlier), replayed=True)
        await self._require_owner(request.actor, owner)
        await self._require_agent(spec.agent_id, request.actor)
        data = CampaignCreated(campaign_id=document["_id"], user_id=owner, agent_id=spec.agent_id)
        event = self._lookup.event(document["_id"], data, request.traceparent)
        created, replayed = await self._repository.create(document, event)
        if not replayed:
            log.info("campaign created", campaign_id=created["_id"], user_id=owner)
        return CreatedCampaign(campaign=to_campaign(created), replayed=replayed)

    async def get(self, request: GetCampaign) -> Campaign:
        """One campaign. Raises NOT_FOUND."""
        return to_campaign(await self._lookup.visible(request.campaign_id, request.actor))

    async def page(self, request: ListCampaigns) -> CampaignPage:
        """The actor's campaigns; all for an admin. Raises INVALID."""
        if request.name is not None and "\0" in request.name:
            raise invalid("/name", "must not hold a null character")
        owner = request.actor.user_id if request.actor and not request.actor.is_admin else None
        documents, cursor = await self._repository.page(request, owner)
        return CampaignPage(items=tuple(to_summary(document) for document in documents), next_cursor=cursor)

    async def patch(self, request: PatchCampaign) -> Campaign:
        """The campaign after a merge patch. Raises INVALID, FORBIDDEN, NOT_FOUND, STALE, CONFLICT, UNAVAILABLE."""
        patch = dict(request.patch)
        named_owner = _named_owner(patch)

        async def edit(document: Document) -> Document | None:
            before, owner = to_spec(document), document["user_id"]
            after = _checked(_patched(before, patch))
            check_edit(CampaignStatus(document["status"]), before, after, now())
            if after.agent_id != before.agent_id:
                await self._require_agent(after.agent_id, request.actor)
            if named_owner is not None and named_owner != owner:
                await self._require_new_owner(request.actor, named_owner)
                owner = named_owner
            values = {"user_id": owner, **spec_fields(after)}
            if all(document[name] == value for name, value in values.items()):
                return document
            data = CampaignUpdated(
                campaign_id=document["_id"],
                user_id=owner,
                agent_id=after.agent_id,
                revision=document["revision"] + 1,
            )
            event = self._lookup.event(document["_id"], data, request.traceparent)
            return await self._repository.change(document, values, event)

        changed = await self._lookup.edit(request.campaign_id, request.actor, request.expected_revision, edit)
        return to_campaign(changed)

    async def delete(self, request: DeleteCampaign) -> Done:
        """Hide it at once; its contacts go soon after. Raises NOT_FOUND, STALE, CONFLICT."""

        async def edit(document: Document) -> Document | None:
            check_deletion(CampaignStatus(document["status"]))
            data = CampaignDeleted(campaign_id=document["_id"], user_id=document["user_id"])
            event = self._lookup.event(document["_id"], data, request.traceparent)
            return document if await self._repository.remove(document, event) else None

        await self._lookup.edit(request.campaign_id, request.actor, request.expected_revision, edit)
        log.info("campaign deleted", campaign_id=request.campaign_id)
        return Done()

    async def of_agent(self, request: CampaignsOfAgent) -> AgentUse:
        """Campaigns in which an agent must stay, whoever owns them."""
        documents, total = await self._repository.using_agent(request.agent_id)
        return AgentUse(campaigns=tuple(to_summary(document) for document in documents), total=total)

    async def _require_agent(self, agent_id: str, actor: Actor | None) -> None:
        # It may be deleted right after this: a draft may name an agent that is gone, and is refused when it is to start.
        if await self._directory.agent(agent_id, actor) is None:
            raise invalid("/agent_id", "there is no such agent")

    async def _require_owner(self, actor: Actor | None, owner: str) -> None:
        if actor is None or owner != actor.user_id:
            await self._require_new_owner(actor, owner)

    async def _require_new_owner(self, actor: Actor | None, owner: str) -> None:
        if actor is not None and not actor.is_admin:
            message = "only an admin makes campaigns for other users"
            raise RequestFailedError(RequestErrorCode.FORBIDDEN, message)
        await self._directory.require_user(owner)


def _new_owner(actor: Actor | None, named: str | None) -> str:
    owner = named or (actor.user_id if actor else None)
    if owner is None:
        raise invalid("/user_id", "the platform must say whose the campaign is")
    return owner


def _checked(spec: CampaignSpec) -> CampaignSpec:
    try:
        return normalised(spec)
    except WrongValueError as error:
        raise invalid(f"/{error.field}", str(error)) from None


def _patched(spec: CampaignSpec, patch: dict[str, Any]) -> CampaignSpec:
    merged = merge_patch(spec.model_dump(mode="json"), patch)
    try:
        return CampaignSpec.model_validate(merged, extra="forbid")
    except ValidationError as error:
        message = "the campaign would not be valid"
        raise RequestFailedError(RequestErrorCode.INVALID, message, problems=problems_of(error)) from None


def _named_owner(patch: dict[str, Any]) -> str | None:
    """Takes `user_id` out of the patch. Raises INVALID."""
    if "user_id" not in patch:
        return None
    try:
        return _IDENTIFIER.validate_python(patch.pop("user_id"))
    except ValidationError:
        raise invalid("/user_id", "must be the id of a user") from None
