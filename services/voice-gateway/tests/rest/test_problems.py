"""Every failure is a problem document."""

from __future__ import annotations

from typing import Any

import pytest
from rest_stand import RestStand, a_user, problem

from voxbus.contracts import auth
from voxbus.contracts.rpc import FieldProblem, RequestErrorCode
from voxbus.runtime.rpc import RequestFailedError

pytestmark = pytest.mark.unit

_EXPECTED = {
    RequestErrorCode.INVALID: (422, "invalid"),
    RequestErrorCode.UNAUTHENTICATED: (401, "unauthenticated"),
    RequestErrorCode.FORBIDDEN: (403, "forbidden"),
    RequestErrorCode.NOT_FOUND: (404, "not_found"),
    RequestErrorCode.CONFLICT: (409, "conflict"),
    RequestErrorCode.STALE: (412, "stale"),
    RequestErrorCode.KEY_REUSED: (422, "key_reused"),
    RequestErrorCode.TOO_LARGE: (413, "too_large"),
    RequestErrorCode.UNAVAILABLE: (503, "unavailable"),
    RequestErrorCode.INTERNAL: (500, "internal"),
}


@pytest.fixture
def stand() -> RestStand:
    """The API on fakes."""
    return RestStand()


@pytest.mark.parametrize("code", list(RequestErrorCode))
async def test_errors_of_services(stand: RestStand, code: RequestErrorCode) -> None:
    """Each typed error of a service has its status."""
    stand.services.fail(auth.GET_USER, code, "because")
    content = problem(await stand.client().get("/auth/me"), *_EXPECTED[code])
    assert content["detail"] == "because"


async def test_unavailable_says_when_to_come_again(stand: RestStand) -> None:
    """A 503 has Retry-After."""
    assert int((await stand.client().get("/auth/me")).headers["retry-after"]) > 0


async def test_unauthenticated_has_the_challenge(stand: RestStand) -> None:
    """A 401 has WWW-Authenticate, also one that a service found."""
    assert (await stand.client(None).get("/auth/me")).headers["www-authenticate"].startswith("Bearer")
    stand.services.fail(auth.LOG_IN, RequestErrorCode.UNAUTHENTICATED)
    answer = await stand.client(None).post("/auth/login", json={"email": "a@b.cd", "password": "x"})
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_problems_of_services_point_into_the_body(stand: RestStand) -> None:
    """A place in the request to a service becomes the place in the body, or the parameter, that the client sent."""
    problems = (FieldProblem(path="/change/email", message="is taken"),)
    failure = RequestFailedError(RequestErrorCode.INVALID, "not valid", problems=problems)
    stand.services.answer(auth.UPDATE_USER, failure)
    answer = await stand.client("admin").patch("/users/u1", json={"email": "a@b.cd"}, headers={"If-Match": "*"})
    content = problem(answer, 422, "invalid")
    assert content["errors"] == [{"pointer": "/email", "detail": "is taken", "in": "body"}]
    assert content["detail"] == "/email: is taken"
    stand.services.answer(
        auth.LIST_USERS,
        RequestFailedError(
            RequestErrorCode.INVALID, "not valid", problems=(FieldProblem(path="/cursor", message="bad"),)
        ),
    )
    content = problem(await stand.client("admin").get("/users?cursor=x"), 422, "invalid")
    assert content["errors"] == [{"pointer": "/cursor", "detail": "bad", "in": "query"}]


async def test_unknown_path(stand: RestStand) -> None:
    """A path without a route is a 404 problem, with a trailing slash too."""
    problem(await stand.client().get("/nothing"), 404, "not_found")
    problem(await stand.client().get("/users/"), 404, "not_found")


async def test_unknown_method(stand: RestStand) -> None:
    """A method that a path does not have is a 405 problem that names those it has."""
    answer = await stand.client().put("/users")
    problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, POST"
    assert (await stand.client().post("/users/u1")).headers["allow"] == "DELETE, GET, PATCH"
    assert (await stand.client().put("/campaigns/c1/contacts/import")).headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=0", "/limit"),
        ("limit=101", "/limit"),
        ("limit=x", "/limit"),
        ("sort=password", "/sort"),
        ("role=king", "/role"),
    ],
)
async def test_parameters(stand: RestStand, query: str, pointer: str) -> None:
    """A parameter that is not valid is named."""
    content = problem(await stand.client("admin").get(f"/users?{query}"), 422, "invalid")
    assert [(error["pointer"], error["in"]) for error in content["errors"]] == [(pointer, "query")]


async def test_unknown_parameter(stand: RestStand) -> None:
    """A parameter that a route does not know is refused, with the nearest that it knows; a stranger is told 401 alone."""
    content = problem(await stand.client("admin").get("/users?emial=x"), 422, "invalid")
    assert content["errors"][0] == {
        "pointer": "/emial",
        "detail": "unknown parameter; did you mean `email`?",
        "in": "query",
    }
    problem(await stand.client(None).get("/users?emial=x"), 401, "unauthenticated")


async def test_zero_character_in_parameters(stand: RestStand) -> None:
    """U+0000, which no store can look for, is refused in a parameter."""
    problem(await stand.client("admin").get("/users?email=a%00b"), 422, "invalid")


async def test_ids_in_paths(stand: RestStand) -> None:
    """What cannot be an id is refused before a service is asked."""
    content = problem(await stand.client("admin").get("/users/a%20b"), 422, "invalid")
    assert content["errors"][0]["in"] == "path"
    assert stand.services.asked == []


async def test_our_own_failure(stand: RestStand, caplog: pytest.LogCaptureFixture) -> None:
    """What nobody foresaw is a 500 problem that tells the request's id and nothing of the failure."""

    def broken(_request: object) -> auth.User:
        raise RuntimeError("secret detail")

    stand.services.answer(auth.GET_USER, broken)
    content = problem(await stand.client().get("/auth/me"), 500, "internal")
    assert "secret" not in str(content)
    assert content["request_id"] in content["detail"]


async def test_a_client_that_goes_away(stand: RestStand, caplog: pytest.LogCaptureFixture) -> None:
    """A client that hangs up within its body is no failure of ours."""

    async def gone() -> dict[str, str]:
        return {"type": "http.disconnect"}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json"), (b"content-length", b"9")]
    scope = {
        "type": "http", "method": "POST", "path": "/auth/login", "raw_path": b"/auth/login", "query_string": b"",
        "headers": headers, "client": ("192.0.2.1", 1), "server": ("127.0.0.1", 80), "scheme": "http", "root_path": "",
        "http_version": "1.1", "asgi": {"version": "3.0"},
    }  # fmt: skip
    await stand.api(scope, gone, send)
    assert sent[0]["status"] == 400
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_request_ids(stand: RestStand) -> None:
    """A sane id of the client's is kept, another is replaced; every answer has one."""
    stand.services.answer(auth.GET_USER, a_user())
    client = stand.client()
    assert (await client.get("/auth/me", headers={"X-Request-Id": "order-4711"})).headers[
        "x-request-id"
    ] == "order-4711"
    for bad in ("short", "x" * 65, 'quoted"id"', "white space id"):
        given = (await client.get("/auth/me", headers={"X-Request-Id": bad})).headers["x-request-id"]
        assert given != bad
        assert given.startswith("req_")


async def test_safe_headers(stand: RestStand) -> None:
    """No answer is sniffed, none is kept by a shared cache, and what holds a secret is kept by nobody."""
    stand.services.answer(auth.GET_USER, a_user())
    headers = (await stand.client().get("/auth/me")).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "private, no-cache"


async def test_cross_origin() -> None:
    """Origins of the settings may use the API from a browser, others may not; without the setting nobody."""
    stand = RestStand(cors_origins="https://console.example, https://other.example")
    asked = {"Origin": "https://console.example", "Access-Control-Request-Method": "PATCH"}
    allowed = await stand.client(None).options("/users/u1", headers=asked)
    assert allowed.headers["access-control-allow-origin"] == "https://console.example"
    assert "PATCH" in allowed.headers["access-control-allow-methods"]
    plain = await stand.client().get("/nothing", headers={"Origin": "https://console.example"})
    assert "ETag" in plain.headers["access-control-expose-headers"]
    assert plain.headers["access-control-allow-origin"] == "https://console.example"
    refused = await stand.client(None).options("/users/u1", headers={**asked, "Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in refused.headers
    none = await RestStand().client(None).options("/users/u1", headers=asked)
    assert "access-control-allow-origin" not in none.headers
