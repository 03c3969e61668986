"""`/users`, for administrators."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Depends, Query, Request
from pydantic import BaseModel
from starlette.responses import Response

from voxbus.contracts import auth
from voxbus.contracts.access import Actor, Permission, Role
from voxbus.voice_gateway.rest.answers import answer_created, answer_page, answer_read, answer_record, done
from voxbus.voice_gateway.rest.backend import AskServices
from voxbus.voice_gateway.rest.bodies import MERGE_PATCH, JsonBody
from voxbus.voice_gateway.rest.deps import DEFAULT_LIMIT, Cursor, IdempotencyKey, Limit, RecordId, require
from voxbus.voice_gateway.rest.etag import ExpectedRevision
from voxbus.voice_gateway.rest.openapi import problems
from voxbus.voice_gateway.rest.routing import api_router

router = api_router("/users", "Users")

Sort = Literal["created_at", "-created_at", "email", "-email"]


class UserBody(BaseModel):
    """A new user."""

    email: auth.Email
    password: auth.Password
    role: Role = Role.USER


class UserChangeBody(JsonBody[auth.UserChange]):
    """A merge patch. Nothing of a user can be taken away, so a null leaves it as it is."""

    media_types = MERGE_PATCH


_USER = {"email": "grace@example.com", "password": "a long walk along the harbour", "role": "user"}
_READ = require(Permission.USERS_READ)
_WRITE = require(Permission.USERS_WRITE)


@router.get("", response_model=auth.UserPage)
async def list_users(
    request: Request,
    actor: Annotated[Actor, _READ],
    services: AskServices,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
    sort: Annotated[Sort, Query()] = "-created_at",
    role: Annotated[Role | None, Query()] = None,
    enabled: Annotated[bool | None, Query()] = None,
    email: Annotated[str | None, Query(max_length=254, description="Part of the email.")] = None,
) -> Response:
    """The users."""
    wanted = auth.ListUsers(actor=actor, limit=limit, cursor=cursor, sort=sort, role=role, enabled=enabled, email=email)
    return answer_page(request, await services.request(auth.LIST_USERS, wanted))


@router.post("", status_code=201, response_model=auth.User, responses=problems(409))
async def create_user(
    actor: Annotated[Actor, _WRITE],
    body: Annotated[UserBody, Depends(JsonBody(UserBody, examples={"user": _USER}))],
    services: AskServices,
    key: IdempotencyKey = None,
) -> Response:
    """Make a user. 409 when the email is taken."""
    wanted = auth.CreateUser(actor=actor, email=body.email, password=body.password, role=body.role, idempotency_key=key)
    made = await services.request(auth.CREATE_USER, wanted)
    return answer_created(made.user, f"/users/{made.user.id}", replayed=made.replayed)


@router.get("/{user_id}", response_model=auth.User)
async def get_user(
    request: Request, user_id: RecordId, actor: Annotated[Actor, _READ], services: AskServices
) -> Response:
    """One user."""
    return answer_read(request, await services.request(auth.GET_USER, auth.GetUser(actor=actor, user_id=user_id)))


@router.patch("/{user_id}", response_model=auth.User, responses=problems(409))
async def update_user(
    user_id: RecordId,
    actor: Annotated[Actor, _WRITE],
    revision: ExpectedRevision,
    change: Annotated[
        auth.UserChange, Depends(UserChangeBody(auth.UserChange, examples={"disable": {"enabled": False}}))
    ],
    services: AskServices,
) -> Response:
    """Change email, role or password, or whether the user may log in. 409 when no administrator would be left."""
    wanted = auth.UpdateUser(actor=actor, user_id=user_id, expected_revision=revision, change=change)
    return answer_record(await services.request(auth.UPDATE_USER, wanted))


@router.delete("/{user_id}", status_code=204, responses=problems(409))
async def delete_user(
    user_id: RecordId, actor: Annotated[Actor, _WRITE], revision: ExpectedRevision, services: AskServices
) -> Response:
    """Remove a user; their agents and campaigns stay, for administrators. 409 when no administrator would be left."""
    await services.request(auth.DELETE_USER, auth.DeleteUser(actor=actor, user_id=user_id, expected_revision=revision))
    return done()
