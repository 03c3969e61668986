"""Who may ask: every route, by what it depends on."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from rest_stand import RestStand, a_user, problem

from voxbus.contracts import auth
from voxbus.contracts.access import Permission
from voxbus.contracts.rpc import RequestErrorCode
from voxbus.runtime.rpc import RequestFailedError
from voxbus.voice_gateway.rest.deps import Limited, Require
from voxbus.voice_gateway.rest.routing import dependants

pytestmark = pytest.mark.unit

PUBLIC = {
    "/auth/signup", "/auth/login", "/auth/refresh",
    "/health", "/ready", "/metrics", "/.well-known/jwks.json", "/openapi.json", "/", "/docs",
    "/docs/start.js", "/docs/{name}",
}  # fmt: skip
COUNTED = {"/auth/signup", "/auth/login", "/auth/refresh", "/.well-known/jwks.json"}


def routes() -> list[tuple[str, str, APIRoute]]:
    """Method, path and route of the whole API."""
    found = [route for route in RestStand().api.routes if isinstance(route, APIRoute)]
    return [(method, route.path, route) for route in found for method in sorted(route.methods or ())]


def guard_of(route: APIRoute) -> Require | None:
    """What the route asks of its sender."""
    guards = [needed.call for needed in dependants(route.dependant) if isinstance(needed.call, Require)]
    assert len(guards) <= 1
    return guards[0] if guards else None


GUARDED = [(method, path) for method, path, route in routes() if guard_of(route)]
SCOPED = [
    (method, path) for method, path, route in routes() if (guard := guard_of(route)) and guard.permission is not None
]


def concrete(path: str) -> str:
    """The path with something in place of its parameters."""
    return path.format_map(_Anything())


class _Anything(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return "1"


async def send(stand: RestStand, method: str, path: str, credential: str | None, **more: Any) -> httpx.Response:
    """A request without a body."""
    return await stand.client(credential).request(method, concrete(path), **more)


@pytest.fixture
def stand() -> RestStand:
    """The API on fakes."""
    return RestStand()


def test_what_is_public() -> None:
    """Exactly these routes can be used without credentials."""
    assert {path for _, path, route in routes() if guard_of(route) is None} == PUBLIC


def test_what_is_counted_by_address() -> None:
    """Every public route that asks a service is limited per address."""
    limited = {
        path
        for _, path, route in routes()
        if any(isinstance(needed.call, Limited) for needed in dependants(route.dependant))
    }
    assert limited == COUNTED


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_anonymous(stand: RestStand, method: str, path: str) -> None:
    """Without credentials every other route answers 401, whatever else is wrong with the request."""
    problem(await send(stand, method, path, None), 401, "unauthenticated")
    assert stand.services.asked == []


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_expired(stand: RestStand, method: str, path: str) -> None:
    """With a token that is not good every other route answers 401."""
    assert "expired" in problem(await send(stand, method, path, "old"), 401, "unauthenticated")["detail"]
    assert stand.services.asked == []


@pytest.mark.parametrize(("method", "path"), SCOPED)
async def test_wrong_scope(stand: RestStand, method: str, path: str) -> None:
    """Without the permission that a route needs it answers 403 and names it, and no service is asked."""
    content = problem(await send(stand, method, path, "powerless"), 403, "forbidden")
    assert content["detail"].rpartition(" ")[2] in list(Permission)
    assert stand.services.asked == []


def test_users_do_not_reach_what_is_for_administrators() -> None:
    """The routes of users and platform ask for permissions that users don't have."""
    for _, path, route in routes():
        guard = guard_of(route)
        if guard and (path.startswith("/users") or path == "/auth/keys/rotate"):
            assert guard.permission in (Permission.USERS_READ, Permission.USERS_WRITE, Permission.PLATFORM_WRITE)


async def test_both_ways_to_send_an_api_key(stand: RestStand) -> None:
    """An API key is taken as a bearer token and in X-API-Key, and the service is told which key it was."""
    stand.services.answer(auth.GET_USER, a_user())
    assert (await stand.client("vxk_reports").get("/auth/me")).status_code == 200
    assert (await stand.client(None).get("/auth/me", headers={"X-API-Key": "vxk_reports"})).status_code == 200
    assert [request.actor.api_key_id for _, request in stand.services.asked] == ["key_1", "key_1"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Basic dXNlcjpwYXNz"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer  "},
        {"Authorization": "user"},
        {"Authorization": ""},
        {"Authorization": "Bearer " + "x" * 9000},
        {"X-API-Key": "user"},
        {"X-API-Key": ""},
        {"Authorization": "Bearer user", "X-API-Key": "vxk_reports"},
    ],
)
async def test_credentials_that_are_none(stand: RestStand, headers: dict[str, str]) -> None:
    """What is no credential, or more than one, is a 401."""
    problem(await stand.client(None).get("/auth/me", headers=headers), 401, "unauthenticated")


async def test_what_a_request_counts_against(stand: RestStand) -> None:
    """A request counts for its user or API key, and for its address when it has no good credential."""
    stand.services.answer(auth.GET_USER, a_user())
    for credential in ("user", "vxk_reports", None, "old"):
        await stand.client(credential).get("/auth/me")
    assert stand.limits.taken == [("api", "user_1"), ("api", "key_1"), ("api", "192.0.2.1"), ("api", "192.0.2.1")]


async def test_logins_count_by_address(stand: RestStand) -> None:
    """Login, sign-up and refresh each have a limit per address, which is asked before the body is read."""
    stand.limits.exhausted = {"login", "signup", "refresh"}
    for path in ("/auth/login", "/auth/signup", "/auth/refresh"):
        answer = await stand.client(None).post(path, content=b"no json")
        problem(answer, 429, "rate_limited")
        assert answer.headers["retry-after"] == "7"
    assert stand.limits.taken == [(name, "192.0.2.1") for name in ("login", "signup", "refresh")]


async def test_when_it_cannot_be_told_who_asks(stand: RestStand) -> None:
    """A credential that cannot be verified now is a 503: the client shall not throw it away."""

    async def away(_credential: str) -> Any:
        raise RequestFailedError(RequestErrorCode.UNAVAILABLE, "tokens cannot be verified now")

    stand.callers.identify = away  # type: ignore[method-assign]
    problem(await stand.client().get("/auth/me"), 503, "unavailable")


async def test_password_changes_count_as_logins_of_the_user(stand: RestStand) -> None:
    """Who has an access token cannot try passwords as fast as the API may be used, from however many addresses."""
    stand.limits.exhausted = {"login"}
    body = {"current_password": "a guess", "new_password": "another walk along the river"}
    problem(await stand.client().post("/auth/password", json=body), 429, "rate_limited")
    assert ("login", "user_1") in stand.limits.taken
    assert stand.services.asked == []
