"""`/campaigns`: campaigns and their moves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Final, Literal

from fastapi import Depends, Query, Request
from pydantic import Field, JsonValue
from starlette.responses import Response

from voxbus.contracts import campaigns
from voxbus.contracts.access import Actor, Permission
from voxbus.contracts.base import Identifier
from voxbus.contracts.campaigns import CampaignMove
from voxbus.voice_gateway.rest.answers import answer_created, answer_page, answer_read, answer_record, done
from voxbus.voice_gateway.rest.backend import AskServices
from voxbus.voice_gateway.rest.bodies import JsonBody, MergePatch
from voxbus.voice_gateway.rest.deps import DEFAULT_LIMIT, Cursor, IdempotencyKey, Limit, RecordId, require
from voxbus.voice_gateway.rest.etag import ExpectedRevision, OptionalRevision
from voxbus.voice_gateway.rest.openapi import problems
from voxbus.voice_gateway.rest.routing import api_router

router = api_router("/campaigns", "Campaigns")

Sort = Literal[
    "created_at", "-created_at", "updated_at", "-updated_at", "start_at", "-start_at", "name", "-name"
]  # fmt: skip
Id = Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class CampaignBody(campaigns.CampaignSpec):
    """What is edited of a campaign."""

    user_id: Identifier | None = Field(default=None, description="The owner; named by administrators.")


_READ: Final = require(Permission.CAMPAIGNS_READ)
_WRITE: Final = require(Permission.CAMPAIGNS_WRITE)
_SMALL: Final = {"name": "May check-ups", "agent_id": "front-desk"}
_LARGE: Final = {
    **_SMALL,
    "description": "Patients whose last check-up was a year ago.",
    "default_region": "IN",
    "start_at": "2031-05-04T09:00:00+05:30",
    "timezone": "Asia/Kolkata",
    "metadata": {"clinic": "north"},
}
_PATCH: Final = {"name": "June check-ups", "start_at": "2031-06-01T09:00:00+05:30", "metadata": {"clinic": None}}
_MOVES: Final = {
    CampaignMove.SCHEDULE: "Let it start by itself at its `start_at`, which must be in the future. From draft.",
    CampaignMove.UNSCHEDULE: "Do not let it start by itself: it is a draft again.",
    CampaignMove.START: "Begin to call. From draft or scheduled; the agent must be published and somebody be there to call.",
    CampaignMove.PAUSE: "Make no new calls for now. From running.",
    CampaignMove.RESUME: "Go on after a pause.",
    CampaignMove.COMPLETE: "End it as done. From running or paused, and for ever.",
    CampaignMove.CANCEL: "End it, from whatever status it is in, and for ever.",
}


@router.get("", response_model=campaigns.CampaignPage)
async def list_campaigns(
    request: Request,
    actor: Annotated[Actor, _READ],
    services: AskServices,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
    sort: Annotated[Sort, Query()] = "-created_at",
    name: Annotated[str | None, Query(max_length=100, description="Part of the name, whatever its case.")] = None,
    user_id: Id = None,
    agent_id: Id = None,
    status: Annotated[campaigns.CampaignStatus | None, Query()] = None,
) -> Response:
    """The campaigns that you see: your own, and for administrators all."""
    wanted = campaigns.ListCampaigns(
        actor=actor,
        limit=limit,
        cursor=cursor,
        sort=sort,
        name=name,
        user_id=user_id,
        agent_id=agent_id,
        status=status,
    )
    return answer_page(request, await services.request(campaigns.LIST_CAMPAIGNS, wanted))


@router.post("", status_code=201, response_model=campaigns.Campaign)
async def create_campaign(
    actor: Annotated[Actor, _WRITE],
    body: Annotated[CampaignBody, Depends(JsonBody(CampaignBody, examples={"small": _SMALL, "large": _LARGE}))],
    services: AskServices,
    key: IdempotencyKey = None,
) -> Response:
    """Make a draft. Its agent must be one that you see; it need not be published yet."""
    spec = campaigns.CampaignSpec(**{name: getattr(body, name) for name in campaigns.CampaignSpec.model_fields})
    wanted = campaigns.CreateCampaign(actor=actor, user_id=body.user_id, spec=spec, idempotency_key=key)
    made = await services.request(campaigns.CREATE_CAMPAIGN, wanted)
    return answer_created(made.campaign, f"/campaigns/{made.campaign.id}", replayed=made.replayed)


@router.get("/{campaign_id}", response_model=campaigns.Campaign)
async def get_campaign(
    request: Request, campaign_id: RecordId, actor: Annotated[Actor, _READ], services: AskServices
) -> Response:
    """One campaign."""
    wanted = campaigns.GetCampaign(actor=actor, campaign_id=campaign_id)
    return answer_read(request, await services.request(campaigns.GET_CAMPAIGN, wanted))


@router.patch("/{campaign_id}", response_model=campaigns.Campaign, responses=problems(409))
async def patch_campaign(
    campaign_id: RecordId,
    actor: Annotated[Actor, _WRITE],
    revision: ExpectedRevision,
    patch: Annotated[dict[str, JsonValue], Depends(MergePatch(CampaignBody, examples={"patch": _PATCH}))],
    services: AskServices,
) -> Response:
    """Change parts by a merge patch (RFC 7396). The agent changes only in a draft, the start only before it."""
    wanted = campaigns.PatchCampaign(actor=actor, campaign_id=campaign_id, expected_revision=revision, patch=patch)
    return answer_record(await services.request(campaigns.PATCH_CAMPAIGN, wanted))


@router.delete("/{campaign_id}", status_code=204, responses=problems(409))
async def delete_campaign(
    campaign_id: RecordId, actor: Annotated[Actor, _WRITE], revision: ExpectedRevision, services: AskServices
) -> Response:
    """Remove a campaign and its contacts. 409 while it is running or paused: cancel it first."""
    wanted = campaigns.DeleteCampaign(actor=actor, campaign_id=campaign_id, expected_revision=revision)
    await services.request(campaigns.DELETE_CAMPAIGN, wanted)
    return done()


def _mover(move: CampaignMove) -> Callable[..., Awaitable[Response]]:
    async def route(
        campaign_id: RecordId, actor: Annotated[Actor, _WRITE], revision: OptionalRevision, services: AskServices
    ) -> Response:
        wanted = campaigns.MoveCampaign(actor=actor, campaign_id=campaign_id, move=move, expected_revision=revision)
        return answer_record(await services.request(campaigns.MOVE_CAMPAIGN, wanted))

    return route


for _move, _description in _MOVES.items():
    router.add_api_route(
        f"/{{campaign_id}}/{_move}",
        _mover(_move),
        methods=["POST"],
        name=f"{_move}_campaign",
        summary=f"{_move.capitalize()} Campaign",
        description=_description,
        response_model=campaigns.Campaign,
        responses=problems(409),
    )
