"""Who may call each route: every operation of the OpenAPI document is walked by everyone who must not use it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
import pytest
from control_plane import ControlPlane
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pymongo import MongoClient

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

PUBLIC = {
    ("POST", "/auth/signup"),
    ("POST", "/auth/login"),
    ("POST", "/auth/refresh"),
    ("POST", "/auth/logout"),
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/health"),
}
"""Routes that need no credentials."""
SPEC = {"name": "Walked", "greeting": "Hello."}


@dataclass(frozen=True)
class Route:
    """An operation of the document."""

    method: str
    path: str
    operation: dict[str, Any]

    @property
    def needs_if_match(self) -> bool:
        """Whether it changes a record that has an ETag."""
        return any(parameter["name"].lower() == "if-match" for parameter in self.operation.get("parameters", []))


@dataclass(frozen=True)
class Things:
    """Records of one user, for the path parameters."""

    ids: dict[str, str]

    def path(self, route: Route) -> str:
        """The route's path with this user's records in it."""
        return re.sub(r"\{(\w+)\}", lambda match: self.ids[match[1]], route.path)


@pytest.fixture(scope="module")
def admin(plane: ControlPlane) -> Iterator[httpx.Client]:
    """The admin."""
    with plane.log_in() as client:
        yield client


@pytest.fixture(scope="module")
def owner(plane: ControlPlane, admin: httpx.Client) -> Iterator[httpx.Client]:
    """Whose records the routes are walked with."""
    with plane.new_user(admin, "owner@walk.example") as client:
        yield client


@pytest.fixture(scope="module")
def other(plane: ControlPlane, admin: httpx.Client) -> Iterator[httpx.Client]:
    """Another user."""
    with plane.new_user(admin, "other@walk.example") as client:
        yield client


@pytest.fixture(scope="module")
def things(owner: httpx.Client) -> Things:
    """A record of every kind, the owner's."""
    agent = _made(owner.post("/agents", json=SPEC))
    _ok(owner.post(f"/agents/{agent['id']}/publish", headers={"if-match": "*"}, json={}))
    campaign = _made(owner.post("/campaigns", json={"name": "Walked", "agent_id": agent["id"]}))
    contacts = {"contacts": [{"phone_number": "+14155550123"}]}
    _ok(owner.post(f"/campaigns/{campaign['id']}/contacts", json=contacts))
    contact = _ok(owner.get(f"/campaigns/{campaign['id']}/contacts"))["items"][0]
    key = _made(owner.post("/auth/api-keys", json={"name": "walk", "permissions": ["agents:read"]}))
    user = _ok(owner.get("/auth/me"))
    return Things(
        {
            "agent_id": agent["id"],
            "campaign_id": campaign["id"],
            "contact_id": contact["id"],
            "key_id": key["key"]["id"],
            "user_id": user["id"],
            "version": "1",
        }
    )


@pytest.fixture(scope="module")
def routes(plane: ControlPlane) -> list[Route]:
    """Every operation of the running API."""
    document = httpx.get(f"{plane.url}/openapi.json").json()
    return [
        Route(method.upper(), path, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if method in ("get", "post", "put", "patch", "delete")
    ]


def _made(answer: httpx.Response) -> Any:
    assert answer.status_code == 201, answer.text
    return answer.json()


def _ok(answer: httpx.Response) -> Any:
    assert answer.is_success, answer.text
    return answer.json() if answer.content else None


def _send(client: httpx.Client, route: Route, things: Things, **headers: str) -> httpx.Response:
    """The route with a body that is good enough to get past the checks of access."""
    body = _body(route, things)
    if_match = {"if-match": "*"} if route.needs_if_match else {}
    kwargs: dict[str, Any] = {"json": body} if body is not None else {}
    if route.path.endswith("/import"):
        kwargs = {"content": b"phone_number\n+14155550199\n"}
        headers["content-type"] = "text/csv"
    query = {"before": "draft", "after": "draft"} if route.path.endswith("/compare") else {}
    return client.request(route.method, things.path(route), params=query, headers={**if_match, **headers}, **kwargs)


def _body(route: Route, things: Things) -> Any:
    bodies: dict[tuple[str, str], Any] = {
        ("POST", "/agents"): SPEC,
        ("PUT", "/agents/{agent_id}"): SPEC,
        ("PATCH", "/agents/{agent_id}"): {"greeting": "Hi."},
        ("POST", "/campaigns"): {"name": "Walked", "agent_id": things.ids["agent_id"]},
        ("PATCH", "/campaigns/{campaign_id}"): {"description": "Changed."},
        ("POST", "/campaigns/{campaign_id}/contacts"): {"contacts": [{"phone_number": "+14155550124"}]},
        ("POST", "/users"): {"email": "made@walk.example", "password": "a long walk along the harbour"},
        ("PATCH", "/users/{user_id}"): {"role": "user"},
        ("POST", "/auth/password"): {
            "current_password": "wrong words here",
            "new_password": "another long walk by the sea",
        },
        ("POST", "/auth/api-keys"): {"name": "walk", "permissions": ["agents:read"]},
        ("POST", "/auth/call-tokens"): {"agent_id": things.ids["agent_id"]},
    }
    return bodies.get((route.method, route.path), {} if "requestBody" in route.operation else None)


def _protected(routes: list[Route]) -> list[Route]:
    return [route for route in routes if (route.method, route.path) not in PUBLIC]


def test_the_walk_meets_every_route(routes: list[Route], things: Things) -> None:
    """Every path parameter of the API is filled by a record of the walk, and the public routes exist as written here."""
    known = {(route.method, route.path) for route in routes}
    assert known >= PUBLIC
    assert len(_protected(routes)) >= 35
    for route in routes:
        things.path(route)


def test_no_route_but_the_public_ones_answers_without_credentials(
    plane: ControlPlane, routes: list[Route], things: Things
) -> None:
    """Without credentials every other route answers 401 with a challenge, as a problem document."""
    with httpx.Client(base_url=plane.url) as anonymous:
        for route in _protected(routes):
            answer = _send(anonymous, route, things)
            assert answer.status_code == 401, (route.method, route.path, answer.text)
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.headers["content-type"].startswith("application/problem+json")


def test_an_expired_or_forged_token_opens_nothing(
    plane: ControlPlane, owner: httpx.Client, routes: list[Route], things: Things
) -> None:
    """A token past its time, one signed by a foreign key, an unsigned one and an unknown API key answer 401 on every route."""
    good = owner.headers["authorization"].removeprefix("Bearer ")
    header, claims = jwt.get_unverified_header(good), jwt.decode(good, options={"verify_signature": False})
    foreign, genuine = Ed25519PrivateKey.generate(), _signing_key(plane, header["kid"])
    past = datetime.now(UTC) - timedelta(minutes=5)
    expired = jwt.encode({**claims, "exp": past}, genuine, algorithm="EdDSA", headers={"kid": header["kid"]})
    renewed = jwt.encode({**claims, "jti": "another"}, genuine, algorithm="EdDSA", headers={"kid": header["kid"]})
    forged = jwt.encode(claims, foreign, algorithm="EdDSA", headers={"kid": header["kid"]})
    unsigned = jwt.encode(claims, "", algorithm="none", headers={"kid": header["kid"]})
    with httpx.Client(base_url=plane.url) as client:
        taken = client.get("/auth/me", headers={"authorization": f"Bearer {renewed}"})
        assert taken.status_code == 200, (
            "the tokens made here are refused for another reason than the one that is meant"
        )
        answer = client.get("/auth/me", headers={"authorization": f"Bearer {expired}"})
        assert "expired" in answer.json()["detail"]
        for token in (expired, forged, unsigned, "vxk_key_00000000000000000000_nothing", "rubbish"):
            for route in _protected(routes):
                answer = _send(client, route, things, authorization=f"Bearer {token}")
                assert answer.status_code == 401, (route.method, route.path, answer.text)


def test_another_user_neither_sees_nor_changes_anything(
    owner: httpx.Client, other: httpx.Client, routes: list[Route], things: Things
) -> None:
    """With records of somebody else every route answers as if there were none, and the records stay as they were."""
    before = _snapshot(owner, things)
    for route in _protected(routes):
        if "{" not in route.path:
            continue
        answer = _send(other, route, things)
        assert answer.status_code in (403, 404), (route.method, route.path, answer.text)
        if route.path.startswith(("/agents/", "/campaigns/")):
            assert answer.status_code == 404, (route.method, route.path, answer.text)
    call_token = other.post("/auth/call-tokens", json={"agent_id": things.ids["agent_id"]})
    assert call_token.status_code == 404, call_token.text
    foreign_agent = other.post("/campaigns", json={"name": "Theirs", "agent_id": things.ids["agent_id"]})
    assert foreign_agent.status_code == 422, foreign_agent.text
    assert _snapshot(owner, things) == before


def test_lists_of_another_user_hold_nothing_of_the_owner(other: httpx.Client, things: Things) -> None:
    """Lists show what is one's own, also when they are asked for somebody else's."""
    owner_id = things.ids["user_id"]
    for path in ("/agents", "/campaigns", "/auth/api-keys"):
        for query in ({}, {"user_id": owner_id}):
            answer = other.get(path, params=query)
            if answer.status_code == 200:
                assert all(item["user_id"] != owner_id for item in answer.json()["items"]), (path, query)
            else:
                assert answer.status_code in (403, 422), answer.text


def test_users_are_for_admins(owner: httpx.Client, routes: list[Route], things: Things) -> None:
    """A user who is no admin gets 403 on every route of `/users` and of the signing keys."""
    for route in routes:
        if route.path.startswith("/users") or route.path == "/auth/keys/rotate":
            answer = _send(owner, route, things)
            assert answer.status_code == 403, (route.method, route.path, answer.text)


def test_an_api_key_reaches_only_what_its_scopes_say(
    plane: ControlPlane, owner: httpx.Client, routes: list[Route], things: Things
) -> None:
    """A key for reading agents reads agents; every other protected route answers 403 and names the missing permission."""
    made = _made(owner.post("/auth/api-keys", json={"name": "reader", "permissions": ["agents:read"]}))
    allowed = {route.path for route in routes if route.method == "GET" and route.path.startswith("/agents")}
    with httpx.Client(base_url=plane.url, headers={"authorization": f"Bearer {made['secret']}"}) as reader:
        for route in _protected(routes):
            answer = _send(reader, route, things)
            if route.method == "GET" and route.path in allowed:
                assert answer.status_code == 200, (route.path, answer.text)
            elif (route.method, route.path) == ("GET", "/auth/me"):
                assert answer.status_code in (200, 403), answer.text
            else:
                assert answer.status_code == 403, (route.method, route.path, answer.text)
                assert ":" in answer.json()["detail"] or "account" in answer.json()["detail"]


def test_an_admin_sees_what_is_anybodys(admin: httpx.Client, routes: list[Route], things: Things) -> None:
    """An admin reads every record of another user."""
    for route in _protected(routes):
        if route.method == "GET" and "{" in route.path:
            answer = _send(admin, route, things)
            assert answer.status_code == 200, (route.path, answer.text)


def _snapshot(owner: httpx.Client, things: Things) -> list[Any]:
    paths = (
        "/agents/{agent_id}",
        "/campaigns/{campaign_id}",
        "/campaigns/{campaign_id}/contacts",
        "/agents/{agent_id}/versions",
    )
    ids = things.ids
    return [_ok(owner.get(path.format(**ids))) for path in paths] + [
        [key["id"] for key in _ok(owner.get("/auth/api-keys"))["items"]]
    ]


def _signing_key(plane: ControlPlane, key_id: str) -> Any:
    """The platform's own private key, out of its store."""
    with MongoClient[dict[str, Any]](plane.mongo.url) as client:
        document = client["voxbus"]["signing_keys"].find_one({"_id": key_id})
    assert document is not None
    return load_pem_private_key(document["private_pem"].encode(), password=None)
