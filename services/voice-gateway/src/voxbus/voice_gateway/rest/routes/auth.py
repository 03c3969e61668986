"""`/auth`: accounts of one's own, logins, call tokens."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from voxbus.contracts import agents, auth
from voxbus.contracts.access import Actor, Permission
from voxbus.contracts.base import Identifier
from voxbus.voice_gateway.rest.answers import NO_STORE, answer, answer_read, done
from voxbus.voice_gateway.rest.backend import AskServices, backend_of
from voxbus.voice_gateway.rest.bodies import JsonBody
from voxbus.voice_gateway.rest.context import request_context
from voxbus.voice_gateway.rest.deps import LOGIN_LIMIT, REFRESH_LIMIT, SIGN_UP_LIMIT, limited, require
from voxbus.voice_gateway.rest.errors import ProblemError
from voxbus.voice_gateway.rest.openapi import problems
from voxbus.voice_gateway.rest.routing import api_router

router = api_router("/auth", "Authentication")

_USER_AGENT_CHARS = 512


class SignUpBody(BaseModel):
    """A new account."""

    email: auth.Email
    password: auth.Password


class LogInBody(BaseModel):
    """An account's email and password."""

    email: str = Field(max_length=254)
    password: str = Field(max_length=256)


class RefreshBody(BaseModel):
    """The refresh token of the session. It is good for one refresh: keep the new one that is answered."""

    refresh_token: str = Field(max_length=512)


class LogOutBody(BaseModel):
    """Which session ends: that of the refresh token, else that of the access token; or all of them."""

    refresh_token: str | None = Field(default=None, max_length=512)
    everywhere: bool = False


class PasswordBody(BaseModel):
    """The old password and the new one."""

    current_password: str = Field(max_length=256)
    new_password: auth.Password


class CallTokenBody(BaseModel):
    """The agent to call, and how long the token may be used to begin a call."""

    agent_id: Identifier
    ttl_s: int = Field(default=600, ge=30, le=3600)


_ACCOUNT = {"email": "grace@example.com", "password": "a long walk along the harbour"}
_REFRESH = {"refresh_token": "vxr_…"}
_PASSWORDS = {"current_password": _ACCOUNT["password"], "new_password": "another walk along the river"}


@router.post("/signup", status_code=201, response_model=auth.Session, dependencies=[limited(SIGN_UP_LIMIT)],
             responses=problems(403, 409))  # fmt: skip
async def sign_up(
    request: Request,
    body: Annotated[SignUpBody, Depends(JsonBody(SignUpBody, examples={"account": _ACCOUNT}))],
    services: AskServices,
) -> Response:
    """Make an account and log in. 403 where sign-up is off, 409 when the email is taken."""
    wanted = auth.SignUp(email=body.email, password=body.password, client=_client(request))
    session = await services.request(auth.SIGN_UP, wanted)
    return answer(session, 201, {"Location": "/auth/me", **NO_STORE})


@router.post("/login", response_model=auth.Session, dependencies=[limited(LOGIN_LIMIT)], responses=problems(401))
async def log_in(
    request: Request,
    body: Annotated[LogInBody, Depends(JsonBody(LogInBody, examples={"account": _ACCOUNT}))],
    services: AskServices,
) -> Response:
    """Log in. Every answer about a wrong email or password is the same."""
    wanted = auth.LogIn(email=body.email, password=body.password, client=_client(request))
    return answer(await services.request(auth.LOG_IN, wanted), headers=NO_STORE)


@router.post("/refresh", response_model=auth.Session, dependencies=[limited(REFRESH_LIMIT)], responses=problems(401))
async def refresh(
    request: Request,
    body: Annotated[RefreshBody, Depends(JsonBody(RefreshBody, examples={"refresh": _REFRESH}))],
    services: AskServices,
) -> Response:
    """A new access token and a new refresh token. An old refresh token that is used again ends the session."""
    wanted = auth.Refresh(refresh_token=body.refresh_token, client=_client(request))
    return answer(await services.request(auth.REFRESH, wanted), headers=NO_STORE)


@router.post("/logout", status_code=204)
async def log_out(
    actor: Annotated[Actor, require(Permission.ACCOUNT)],
    body: Annotated[LogOutBody, Depends(JsonBody(LogOutBody, examples={"refresh": _REFRESH}, optional=True))],
    services: AskServices,
) -> Response:
    """End the session, or all of one's sessions. Access tokens stay good until they expire, in minutes."""
    await services.request(
        auth.LOG_OUT, auth.LogOut(actor=actor, refresh_token=body.refresh_token, everywhere=body.everywhere)
    )
    return done()


@router.post("/password", status_code=204)
async def change_password(
    request: Request,
    actor: Annotated[Actor, require(Permission.ACCOUNT)],
    body: Annotated[PasswordBody, Depends(JsonBody(PasswordBody, examples={"passwords": _PASSWORDS}))],
    services: AskServices,
) -> Response:
    """Change one's own password; ends one's other sessions. Counts as a login of the user, for the limit of those."""
    await backend_of(request).limits.take(
        LOGIN_LIMIT, actor.user_id
    )  # else a stolen token could try passwords for long
    wanted = auth.ChangePassword(actor=actor, current_password=body.current_password, new_password=body.new_password)
    await services.request(auth.CHANGE_PASSWORD, wanted)
    return done()


@router.get("/me", response_model=auth.User)
async def me(request: Request, actor: Annotated[Actor, require()], services: AskServices) -> Response:
    """Whom the credentials stand for."""
    return answer_read(request, await services.request(auth.GET_USER, auth.GetUser(actor=actor, user_id=actor.user_id)))


@router.post("/call-tokens", status_code=201, response_model=auth.CallToken, responses=problems(404, 409))
async def issue_call_token(
    request: Request,
    actor: Annotated[Actor, require(Permission.CALLS_START)],
    body: Annotated[
        CallTokenBody, Depends(JsonBody(CallTokenBody, examples={"token": {"agent_id": "front-desk", "ttl_s": 60}}))
    ],
    services: AskServices,
) -> Response:
    """A token with which one agent can be called. 409 when the agent was never published."""
    agent = await services.request(agents.GET_AGENT, agents.GetAgent(actor=actor, agent_id=body.agent_id))
    if agent.published_version is None:
        raise ProblemError(409, "the agent was never published, so it cannot be called yet")
    issued = await services.request(
        auth.ISSUE_CALL_TOKEN, auth.IssueCallToken(actor=actor, agent_id=agent.id, ttl_s=body.ttl_s)
    )
    told = issued.model_copy(update={"voice_url": backend_of(request).settings.voice_url})
    return answer(told, 201, NO_STORE)


@router.post("/keys/rotate", response_model=auth.JwkSet)
async def rotate_keys(actor: Annotated[Actor, require(Permission.PLATFORM_WRITE)], services: AskServices) -> Response:
    """Make a new key that signs tokens. Nobody is logged out: tokens of the old one stay good."""
    return answer(await services.request(auth.ROTATE_KEYS, auth.RotateKeys(actor=actor)))


def _client(request: Request) -> auth.Client:
    agent = request.headers.get("user-agent", "")[:_USER_AGENT_CHARS]
    return auth.Client(address=request_context(request.scope).address, user_agent=agent)
