"""`/auth/api-keys`: keys for machines."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Depends, Query, Request
from pydantic import AwareDatetime, BaseModel, Field
from starlette.responses import Response

from voxbus.contracts import auth
from voxbus.contracts.access import Actor, Permission
from voxbus.voice_gateway.rest.answers import NO_STORE, answer, answer_page, done
from voxbus.voice_gateway.rest.backend import AskServices
from voxbus.voice_gateway.rest.bodies import JsonBody
from voxbus.voice_gateway.rest.deps import DEFAULT_LIMIT, Cursor, IdempotencyKey, Limit, RecordId, require
from voxbus.voice_gateway.rest.openapi import problems
from voxbus.voice_gateway.rest.routing import api_router

router = api_router("/auth/api-keys", "API keys")


class ApiKeyBody(BaseModel):
    """A new key: some of one's own permissions, never `account`."""

    name: str = Field(min_length=1, max_length=100, pattern=r"\S")
    permissions: tuple[Permission, ...] = Field(min_length=1, max_length=len(Permission))
    expires_at: AwareDatetime | None = None
    """With a time zone offset; null: it does not expire."""


_KEY = {"name": "Night shift reports", "permissions": ["agents:read", "campaigns:read"]}


@router.get("", response_model=auth.ApiKeyPage)
async def list_api_keys(
    request: Request,
    actor: Annotated[Actor, require(Permission.ACCOUNT)],
    services: AskServices,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
    sort: Annotated[Literal["created_at", "-created_at"], Query()] = "-created_at",
    user_id: Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="For administrators.")] = None,
    all_users: Annotated[bool, Query(description="For administrators: the keys of everybody.")] = False,
) -> Response:
    """One's own keys, without their secrets."""
    wanted = auth.ListApiKeys(actor=actor, limit=limit, cursor=cursor, sort=sort, user_id=user_id, all_users=all_users)
    return answer_page(request, await services.request(auth.LIST_API_KEYS, wanted))


@router.post("", status_code=201, response_model=auth.NewApiKey, responses=problems(409))
async def create_api_key(
    actor: Annotated[Actor, require(Permission.ACCOUNT)],
    body: Annotated[ApiKeyBody, Depends(JsonBody(ApiKeyBody, examples={"key": _KEY}))],
    services: AskServices,
    key: IdempotencyKey = None,
) -> Response:
    """Make a key. Its secret is in this answer and never again, so a repeated Idempotency-Key is a 409."""
    wanted = auth.CreateApiKey(
        actor=actor,
        name=body.name,
        permissions=body.permissions,
        expires_at=body.expires_at,
        idempotency_key=key,
    )
    made = await services.request(auth.CREATE_API_KEY, wanted)
    return answer(made, 201, {"Location": f"/auth/api-keys/{made.key.id}", **NO_STORE})


@router.delete("/{key_id}", status_code=204)
async def revoke_api_key(
    key_id: RecordId, actor: Annotated[Actor, require(Permission.ACCOUNT)], services: AskServices
) -> Response:
    """Make a key useless at once."""
    await services.request(auth.REVOKE_API_KEY, auth.RevokeApiKey(actor=actor, api_key_id=key_id))
    return done()
