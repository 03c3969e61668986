"""`/agents`: drafts, versions, and what calls use."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from fastapi import Depends, Path, Query, Request
from pydantic import BaseModel, Field, JsonValue
from starlette.responses import Response

from voxbus.contracts import agents
from voxbus.contracts.access import Actor, Permission
from voxbus.contracts.base import Identifier
from voxbus.contracts.stage import ProviderName
from voxbus.voice_gateway.rest.answers import (
    answer,
    answer_created,
    answer_page,
    answer_read,
    answer_record,
    done,
)
from voxbus.voice_gateway.rest.backend import AskServices
from voxbus.voice_gateway.rest.bodies import JsonBody, MergePatch
from voxbus.voice_gateway.rest.deps import DEFAULT_LIMIT, Cursor, IdempotencyKey, Limit, RecordId, require
from voxbus.voice_gateway.rest.etag import ExpectedRevision, OptionalRevision
from voxbus.voice_gateway.rest.openapi import problems
from voxbus.voice_gateway.rest.routing import api_router

router = api_router("/agents", "Agents")

Sort = Literal["created_at", "-created_at", "updated_at", "-updated_at", "name", "-name"]
Version = Annotated[
    str, Path(pattern=r"^(published|[1-9][0-9]{0,8})$", description="A number, or `published`.", examples=["1"])
]
Number = Annotated[int, Path(ge=1, le=999_999_999)]


class DraftBody(agents.AgentSpec):
    """What is edited of an agent."""

    user_id: Identifier | None = Field(default=None, description="The owner; named by administrators.")


class AgentBody(DraftBody):
    """A new agent."""

    id: agents.AgentId | None = Field(default=None, description="Yours to choose once; without it, one is made up.")


class PublicationBody(BaseModel):
    """A new version."""

    note: str = Field(default="", max_length=500, description="What is new in it.")


_READ: Final = require(Permission.AGENTS_READ)
_WRITE: Final = require(Permission.AGENTS_WRITE)
_SMALL: Final = {
    "name": "Front desk",
    "greeting": "Hello, how can I help?",
    "system_prompt": "You answer a small hotel's phone.",
}
_LARGE: Final = {
    **_SMALL,
    "id": "front-desk",
    "language": "en",
    "llm_provider": "scripted",
    "llm_settings": {"script": "receptionist"},
    "llm_fallbacks": [{"name": "local", "settings": {"model": "qwen3:8b"}}],
    "turn_taking": {"silence_ms": 1200, "min_words_to_interrupt": 2},
    "limits": {"max_duration_s": 900, "silence_s": 8},
    "tools": [
        {
            "name": "book_room",
            "description": "Book a room.",
            "kind": "http",
            "parameters": {
                "type": "object",
                "properties": {"nights": {"type": "integer", "minimum": 1}},
                "required": ["nights"],
            },
            "http": {"url": "https://hotel.example/bookings", "secret_headers": {"Authorization": "Bearer 5f0c"}},
        }
    ],
    "metadata": {"team": "reception"},
}
_PATCH: Final = {"greeting": None, "limits": {"max_duration_s": 600}}


@router.get("", response_model=agents.AgentPage)
async def list_agents(
    request: Request,
    actor: Annotated[Actor, _READ],
    services: AskServices,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
    sort: Annotated[Sort, Query()] = "-created_at",
    name: Annotated[str | None, Query(max_length=100, description="Part of the name, whatever its case.")] = None,
    user_id: Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="The owner.")] = None,
    published: Annotated[bool | None, Query(description="Whether it can be called.")] = None,
    language: Annotated[str | None, Query(max_length=35)] = None,
    provider: Annotated[ProviderName | None, Query(description="Used at any stage; fallbacks do not count.")] = None,
) -> Response:
    """The agents that you see: your own, and for administrators all."""
    wanted = agents.ListAgents(
        actor=actor,
        limit=limit,
        cursor=cursor,
        sort=sort,
        name=name,
        user_id=user_id,
        published=published,
        language=language,
        provider=provider,
    )
    return answer_page(request, await services.request(agents.LIST_AGENTS, wanted))


@router.post("", status_code=201, response_model=agents.Agent, responses=problems(409))
async def create_agent(
    actor: Annotated[Actor, _WRITE],
    body: Annotated[AgentBody, Depends(JsonBody(AgentBody, examples={"small": _SMALL, "large": _LARGE}))],
    services: AskServices,
    key: IdempotencyKey = None,
) -> Response:
    """Make an agent. It is a draft until it is published. 409 when the id is taken."""
    wanted = agents.CreateAgent(
        actor=actor, agent_id=body.id, user_id=body.user_id, spec=_spec(body), idempotency_key=key
    )
    made = await services.request(agents.CREATE_AGENT, wanted)
    return answer_created(made.agent, f"/agents/{made.agent.id}", replayed=made.replayed)


@router.get("/{agent_id}", response_model=agents.Agent)
async def get_agent(
    request: Request, agent_id: RecordId, actor: Annotated[Actor, _READ], services: AskServices
) -> Response:
    """One agent with its draft. Values of secret headers are shown as `********`."""
    wanted = agents.GetAgent(actor=actor, agent_id=agent_id)
    return answer_read(request, await services.request(agents.GET_AGENT, wanted))


@router.put("/{agent_id}", response_model=agents.Agent, responses=problems(409))
async def replace_agent(
    agent_id: RecordId,
    actor: Annotated[Actor, _WRITE],
    revision: ExpectedRevision,
    body: Annotated[DraftBody, Depends(JsonBody(DraftBody, examples={"draft": _SMALL}))],
    services: AskServices,
) -> Response:
    """Replace the draft. A secret header sent as `********` keeps its value. Calls go on with what is published."""
    wanted = agents.ReplaceAgent(
        actor=actor, agent_id=agent_id, expected_revision=revision, spec=_spec(body), user_id=body.user_id
    )
    return answer_record(await services.request(agents.REPLACE_AGENT, wanted))


@router.patch("/{agent_id}", response_model=agents.Agent, responses=problems(409))
async def patch_agent(
    agent_id: RecordId,
    actor: Annotated[Actor, _WRITE],
    revision: ExpectedRevision,
    patch: Annotated[dict[str, JsonValue], Depends(MergePatch(DraftBody, examples={"patch": _PATCH}))],
    services: AskServices,
) -> Response:
    """Change parts of the draft by a merge patch (RFC 7396): null takes away, lists are replaced as a whole."""
    wanted = agents.PatchAgent(actor=actor, agent_id=agent_id, expected_revision=revision, patch=patch)
    return answer_record(await services.request(agents.PATCH_AGENT, wanted))


@router.delete("/{agent_id}", status_code=204, responses=problems(409))
async def delete_agent(
    agent_id: RecordId, actor: Annotated[Actor, _WRITE], revision: ExpectedRevision, services: AskServices
) -> Response:
    """Remove an agent and its versions. 409 when a campaign that is scheduled, running or paused uses it."""
    wanted = agents.DeleteAgent(actor=actor, agent_id=agent_id, expected_revision=revision)
    await services.request(agents.DELETE_AGENT, wanted)
    return done()


@router.post("/{agent_id}/publish", response_model=agents.Agent, responses=problems(409, 422))
async def publish_agent(
    agent_id: RecordId,
    actor: Annotated[Actor, _WRITE],
    revision: OptionalRevision,
    body: Annotated[
        PublicationBody,
        Depends(JsonBody(PublicationBody, examples={"note": {"note": "Shorter greeting"}}, optional=True)),
    ],
    services: AskServices,
) -> Response:
    """Make the draft a version, which calls use from now on. 409 when nothing was changed since the last one."""
    wanted = agents.PublishAgent(actor=actor, agent_id=agent_id, expected_revision=revision, note=body.note)
    return answer_record(await services.request(agents.PUBLISH_AGENT, wanted))


@router.get("/{agent_id}/versions", response_model=agents.AgentVersionPage)
async def list_versions(
    request: Request,
    agent_id: RecordId,
    actor: Annotated[Actor, _READ],
    services: AskServices,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """The published versions, newest first; the newest 1,000 are kept."""
    wanted = agents.ListAgentVersions(actor=actor, agent_id=agent_id, limit=limit, cursor=cursor)
    return answer_page(request, await services.request(agents.LIST_AGENT_VERSIONS, wanted))


@router.get("/{agent_id}/versions/{version}", response_model=agents.AgentVersionDetail)
async def get_version(
    agent_id: RecordId, version: Version, actor: Annotated[Actor, _READ], services: AskServices
) -> Response:
    """One version with its content."""
    wanted = agents.GetAgentVersion(actor=actor, agent_id=agent_id, version=version)
    return answer(await services.request(agents.GET_AGENT_VERSION, wanted))


@router.get("/{agent_id}/compare", response_model=agents.AgentComparison, responses=problems(413))
async def compare_versions(
    agent_id: RecordId,
    actor: Annotated[Actor, _READ],
    services: AskServices,
    before: Annotated[agents.VersionName, Query(description="`draft`, `published` or a number.")] = "published",
    after: Annotated[agents.VersionName, Query(description="`draft`, `published` or a number.")] = "draft",
) -> Response:
    """What differs between two versions, place by place. A secret that differs is shown masked on both sides."""
    wanted = agents.CompareAgentVersions(actor=actor, agent_id=agent_id, before=before, after=after)
    return answer(await services.request(agents.COMPARE_AGENT_VERSIONS, wanted))


@router.post("/{agent_id}/versions/{version}/restore", response_model=agents.Agent, responses=problems(409))
async def restore_version(
    agent_id: RecordId,
    version: Number,
    actor: Annotated[Actor, _WRITE],
    revision: OptionalRevision,
    services: AskServices,
) -> Response:
    """Make the draft what a version was. Calls go on with what is published until you publish it."""
    wanted = agents.RestoreAgentVersion(actor=actor, agent_id=agent_id, version=version, expected_revision=revision)
    return answer_record(await services.request(agents.RESTORE_AGENT_VERSION, wanted))


def _spec(body: DraftBody) -> agents.AgentSpec:
    return agents.AgentSpec(**{name: getattr(body, name) for name in agents.AgentSpec.model_fields})
