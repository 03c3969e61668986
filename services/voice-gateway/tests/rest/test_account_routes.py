"""`/auth` and `/users`: what is asked of the service, and what the client gets."""

from __future__ import annotations

import pytest
from rest_stand import NOW, PASSWORD, RestStand, a_session, a_user, an_agent, problem

from voxbus.contracts import agents, auth
from voxbus.contracts.access import Permission, Role
from voxbus.contracts.rpc import RequestErrorCode

pytestmark = pytest.mark.unit

ACCOUNT = {"email": "grace@example.com", "password": PASSWORD}
KEY = auth.ApiKey(
    id="key_1", user_id="user_1", name="Reports", permissions=(Permission.AGENTS_READ,), hint="abcd", created_at=NOW
)


@pytest.fixture
def stand() -> RestStand:
    """The API on fakes that know a user."""
    stand = RestStand()
    for operation in (auth.SIGN_UP, auth.LOG_IN, auth.REFRESH):
        stand.services.answer(operation, a_session())
    for done in (auth.LOG_OUT, auth.CHANGE_PASSWORD, auth.DELETE_USER, auth.REVOKE_API_KEY):
        stand.services.answer(done, auth.Done())
    for user in (auth.GET_USER, auth.UPDATE_USER):
        stand.services.answer(user, a_user())
    stand.services.answer(auth.CREATE_USER, auth.CreatedUser(user=a_user()))
    stand.services.answer(auth.LIST_USERS, auth.UserPage(items=(a_user(),), next_cursor="next+1"))
    stand.services.answer(auth.LIST_API_KEYS, auth.ApiKeyPage(items=(KEY,)))
    stand.services.answer(auth.CREATE_API_KEY, auth.NewApiKey(key=KEY, secret="vxk_key_1_secret"))
    stand.services.answer(agents.GET_AGENT, an_agent())
    stand.services.answer(auth.ISSUE_CALL_TOKEN, auth.CallToken(token="jwt", agent_id="front-desk", expires_at=NOW))
    return stand


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [("/auth/signup", ACCOUNT, 201), ("/auth/login", ACCOUNT, 200), ("/auth/refresh", {"refresh_token": "vxr_1"}, 200)],
)
async def test_sessions(stand: RestStand, path: str, body: dict[str, str], status: int) -> None:
    """Sign-up, login and refresh give a session that no cache keeps, and tell `auth` where the client is."""
    answer = await stand.client(None).post(path, json=body, headers={"User-Agent": "x" * 600})
    assert (answer.status_code, answer.json()["refresh_token"]) == (status, "vxr_1")
    assert answer.headers["cache-control"] == "no-store"
    request = stand.services.asked[-1][1]
    assert request.actor is None
    assert request.client == auth.Client(address="192.0.2.1", user_agent="x" * 512)


async def test_short_password_of_a_new_account(stand: RestStand) -> None:
    """A password that is too short is refused where it is, and is not in the answer."""
    answer = await stand.client(None).post("/auth/signup", json={**ACCOUNT, "password": "tiny-secret"})
    assert problem(answer, 422, "invalid")["errors"][0]["pointer"] == "/password"
    assert "tiny-secret" not in answer.text


async def test_short_password_at_login(stand: RestStand) -> None:
    """Any password can be tried, so that rules for new ones don't tell which are impossible."""
    assert (await stand.client(None).post("/auth/login", json={**ACCOUNT, "password": "x"})).status_code == 200


async def test_me(stand: RestStand) -> None:
    """Everybody with a good credential can ask who they are, an API key without the permission `account` too."""
    answer = await stand.client("vxk_reports").get("/auth/me")
    assert (answer.status_code, answer.json()["id"]) == (200, "user_1")
    assert stand.services.asked[-1][1].user_id == "user_1"


async def test_password_and_logout(stand: RestStand) -> None:
    """Both are done for the actor and answer 204."""
    passwords = {"current_password": "x", "new_password": PASSWORD}
    assert (await stand.client().post("/auth/password", json=passwords)).status_code == 204
    assert (await stand.client().post("/auth/logout", json={"refresh_token": "vxr_1"})).status_code == 204
    assert [(name, request.actor.user_id) for name, request in stand.services.asked] == [
        ("auth.change_password", "user_1"),
        ("auth.log_out", "user_1"),
    ]


async def test_call_token(stand: RestStand) -> None:
    """A call token comes with the address of the voice socket and is kept by no cache."""
    answer = await stand.client().post("/auth/call-tokens", json={"agent_id": "front-desk", "ttl_s": 60})
    assert answer.status_code == 201
    assert answer.json()["voice_url"] == stand.settings.voice_url
    assert answer.headers["cache-control"] == "no-store"
    assert [name for name, _ in stand.services.asked] == ["agents.get", "auth.issue_call_token"]
    assert stand.services.asked[-1][1].ttl_s == 60


async def test_call_token_for_what_cannot_be_called(stand: RestStand) -> None:
    """An agent that the actor does not see is a 404, one that was never published a 409; no token is made."""
    stand.services.answer(agents.GET_AGENT, an_agent(published_version=None))
    problem(await stand.client().post("/auth/call-tokens", json={"agent_id": "a"}), 409, "conflict")
    stand.services.fail(agents.GET_AGENT, RequestErrorCode.NOT_FOUND)
    problem(await stand.client().post("/auth/call-tokens", json={"agent_id": "a"}), 404, "not_found")
    assert {name for name, _ in stand.services.asked} == {"agents.get"}


async def test_api_keys(stand: RestStand) -> None:
    """A key is made, listed and revoked; the secret is in the first answer alone, which no cache keeps."""
    body = {"name": "Reports", "permissions": ["agents:read"], "expires_at": "2030-01-01T00:00:00+01:00"}
    made = await stand.client().post("/auth/api-keys", json=body, headers={"Idempotency-Key": "k1"})
    assert (made.status_code, made.json()["secret"]) == (201, "vxk_key_1_secret")
    assert (made.headers["location"], made.headers["cache-control"]) == ("/auth/api-keys/key_1", "no-store")
    assert stand.services.asked[-1][1].idempotency_key == "k1"
    listed = await stand.client().get("/auth/api-keys")
    assert listed.json()["items"][0]["hint"] == "abcd"
    assert "secret" not in listed.text
    assert (await stand.client().delete("/auth/api-keys/key_1")).status_code == 204


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"permissions": ["agents:red"]}, "/permissions/0"),
        ({"permissions": []}, "/permissions"),
        ({"name": "  "}, "/name"),
        ({"expires_at": "2030-01-01T00:00:00"}, "/expires_at"),
        ({"expires_at": 1893456000}, "/expires_at"),
    ],
)
async def test_bad_api_keys(stand: RestStand, change: dict[str, object], pointer: str) -> None:
    """Permissions are known ones, names not blank, and times have an offset."""
    body = {"name": "Reports", "permissions": ["agents:read"], **change}
    answer = await stand.client().post("/auth/api-keys", json=body)
    assert problem(answer, 422, "invalid")["errors"][0]["pointer"] == pointer


async def test_users(stand: RestStand) -> None:
    """Filters, order and place of a list reach the service, and the answer links the next page with them."""
    answer = await stand.client("admin").get(
        "/users?role=admin&enabled=false&email=gr%26ce&limit=10&sort=email&cursor=c"
    )
    request = stand.services.asked[-1][1]
    assert (request.role, request.enabled, request.email) == (Role.ADMIN, False, "gr&ce")
    assert (request.limit, request.sort, request.cursor) == (10, "email", "c")
    assert answer.json()["next_cursor"] == "next+1"
    expected = "</users?role=admin&enabled=false&email=gr%26ce&limit=10&sort=email&cursor=next%2B1>"
    assert answer.headers["link"] == f'{expected}; rel="next"'


async def test_new_user(stand: RestStand) -> None:
    """A created user is told with its address and state; a repeated create says that it is one."""
    answer = await stand.client("admin").post("/users", json=ACCOUNT, headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.headers["location"], answer.headers["etag"]) == (201, "/users/user_1", '"1"')
    assert "idempotency-replayed" not in answer.headers
    stand.services.answer(auth.CREATE_USER, auth.CreatedUser(user=a_user(), replayed=True))
    again = await stand.client("admin").post("/users", json=ACCOUNT, headers={"Idempotency-Key": "k"})
    assert (again.status_code, again.headers["idempotency-replayed"], again.content) == (201, "true", answer.content)


@pytest.mark.parametrize("key", ["", "with space", "ü", "x" * 129])
async def test_bad_idempotency_keys(stand: RestStand, key: str) -> None:
    """An idempotency key is 1 to 128 printable ASCII characters without spaces."""
    answer = await stand.client("admin").post("/users", json=ACCOUNT, headers=[("Idempotency-Key", key.encode())])
    assert problem(answer, 422, "invalid")["errors"][0]["in"] == "header"


async def test_changed_user(stand: RestStand) -> None:
    """Only what is in the patch is changed, of the state that the client read."""
    answer = await stand.client("admin").patch("/users/u1", json={"role": "admin"}, headers={"If-Match": '"1"'})
    assert answer.status_code == 200
    request = stand.services.asked[-1][1]
    assert (request.user_id, request.expected_revision) == ("u1", 1)
    assert request.change == auth.UserChange(role=Role.ADMIN)


async def test_trace_goes_on(stand: RestStand) -> None:
    """The trace of a client reaches the service; a client without one gets one."""
    sent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await stand.client().get("/auth/me", headers={"traceparent": sent})
    await stand.client().get("/auth/me", headers={"traceparent": "nonsense"})
    first, second = (request.traceparent for _, request in stand.services.asked)
    assert first == sent
    assert second.startswith("00-")
