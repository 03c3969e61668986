"""What routes depend on: who asks and whether they may, keys of repeatable creates, the place in a list."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Depends, Header, Path, Query, Request

from voxbus.contracts.access import Actor, Permission
from voxbus.contracts.auth import API_KEY_PREFIX
from voxbus.contracts.rpc import MAX_PAGE, RequestErrorCode
from voxbus.runtime.rpc import RequestFailedError
from voxbus.voice_gateway.rest.backend import backend_of
from voxbus.voice_gateway.rest.context import request_context
from voxbus.voice_gateway.rest.errors import ProblemError, unauthenticated

API_LIMIT: Final = "api"
LOGIN_LIMIT: Final = "login"
SIGN_UP_LIMIT: Final = "signup"
REFRESH_LIMIT: Final = "refresh"
_MAX_CREDENTIAL: Final = 8192


class Require:
    """Dependency: the authenticated sender, who must have `permission`; None: any authenticated sender will do."""

    def __init__(self, permission: Permission | None) -> None:
        self.permission = permission

    async def __call__(self, request: Request) -> Actor:
        actor = await _authenticate(request)
        if self.permission is not None and not actor.may(self.permission):
            raise ProblemError(403, f"this needs the permission {self.permission.value}")
        return actor


def require(permission: Permission | None = None) -> Any:
    """For the annotation of a route's parameter: `actor: Annotated[Actor, require(Permission.AGENTS_READ)]`.

    Make it the first parameter: dependencies are asked in order, and strangers shall learn nothing but 401.
    """
    return Depends(Require(permission))


class Limited:
    """Dependency of routes without authentication: counts the request against limit `name` of the client's address."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def __call__(self, request: Request) -> None:
        await backend_of(request).limits.take(self.name, request_context(request.scope).address)


def limited(name: str) -> Any:
    """For the `dependencies` of a route."""
    return Depends(Limited(name))


def credential_of(request: Request) -> str | None:
    """The access token or API key of a request, None when it has none. Raises 401 for what is neither."""
    key = request.headers.get("x-api-key")
    value = request.headers.get("authorization")
    if value is None:
        if key is not None and not key.startswith(API_KEY_PREFIX):
            raise unauthenticated(f"an API key begins with {API_KEY_PREFIX}")
        return key
    if key is not None:
        raise unauthenticated("send an access token or an API key, not both")
    scheme, _, credential = value.partition(" ")
    if scheme.lower() != "bearer" or not credential.strip():
        raise unauthenticated("send `Authorization: Bearer <access token or API key>`")
    return credential.strip()


async def _authenticate(request: Request) -> Actor:
    """The sender; each request counts against the limit of its sender, one without a good credential of its address."""
    backend, context = backend_of(request), request_context(request.scope)
    try:
        credential = credential_of(request)
        if credential is None or len(credential) > _MAX_CREDENTIAL:
            raise unauthenticated("send `Authorization: Bearer <access token or API key>`")
        actor = await backend.callers.identify(credential)
    except ProblemError:
        await backend.limits.take(API_LIMIT, context.address)
        raise
    except RequestFailedError as error:
        if error.error.code is RequestErrorCode.UNAUTHENTICATED:
            await backend.limits.take(API_LIMIT, context.address)
        raise
    context.actor = actor
    await backend.limits.take(API_LIMIT, actor.api_key_id or actor.user_id)
    return actor


IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x21-\x7e]{1,128}$",
        description="Your name for this create. Sent again with the same content, it answers what was made the first time.",
        examples=["3f1c2c7e-order-118"],
    ),
]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Items on a page at most.")]
DEFAULT_LIMIT: Final = 50
Cursor = Annotated[str | None, Query(max_length=1024, description="`next_cursor` of the page before.")]
RecordId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
"""A path parameter that is an id."""
