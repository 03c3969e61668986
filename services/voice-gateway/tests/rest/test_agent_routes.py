"""`/agents` over the real agents service: what a client of HTTP sees."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import pytest_asyncio
from agents_stand import AgentsStand, Neighbours, admin, neighbours, user

from voxbus.contracts.access import Actor, Permission
from voxbus.contracts.agents import MASK
from voxbus.contracts.campaigns import AgentUse
from voxbus.runtime.bus import EventBus
from voxbus.runtime.rpc import RpcClient
from voxbus.voice_gateway.rest.api import make_api
from voxbus.voice_gateway.rest.backend import Backend
from voxbus.voice_gateway.rest.errors import unauthenticated
from voxbus.voice_gateway.rest.settings import RestSettings

pytestmark = pytest.mark.integration

SPEC: dict[str, Any] = {"name": "Front desk", "greeting": "Hello"}
ANY = {"If-Match": "*"}


class KnownCallers:
    """Credentials are names."""

    def __init__(self) -> None:
        reader = user()
        self.actors: dict[str, Actor] = {
            "owner": user(),
            "other": user(),
            "admin": admin(),
            "reader": reader.model_copy(update={"permissions": (Permission.AGENTS_READ,)}),
        }

    async def identify(self, credential: str) -> Actor:
        """Whom the name stands for."""
        if credential not in self.actors:
            raise unauthenticated("unknown")
        return self.actors[credential]


class NoLimits:
    """Everybody may ask as often as they like."""

    async def take(self, name: str, key: str) -> None:
        """Count nothing."""


class Clients:
    """A client of each caller."""

    def __init__(self, app: Any, callers: KnownCallers, around: Neighbours) -> None:
        self._app = app
        self.actors = callers.actors
        self.around = around

    def of(self, name: str) -> httpx.AsyncClient:
        """Sends the credential `name`."""
        transport = httpx.ASGITransport(self._app)
        headers = {"authorization": f"Bearer {name}"}
        return httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers)

    @property
    def owner(self) -> httpx.AsyncClient:
        """Of the user whose agents they are."""
        return self.of("owner")


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentsStand]:
    """One process of the agents service."""
    stand = AgentsStand(tmp_path_factory.mktemp("agents"), processes=1)
    try:
        stand.start()
        yield stand
    finally:
        stand.stop()


@pytest_asyncio.fixture
async def clients(stand: AgentsStand) -> AsyncIterator[Clients]:
    """The API on the real service."""
    callers = KnownCallers()
    bus = EventBus(stand.nats.url, "rest-gateway", "rest")
    await bus.start()
    async with neighbours(stand.nats.url) as around:
        backend = Backend(RestSettings(), RpcClient(bus), callers, NoLimits(), SimpleNamespace())  # type: ignore[arg-type]
        yield Clients(make_api(backend), callers, around)
    await bus.stop()


def places(answer: httpx.Response) -> list[str]:
    """Where a refused request is wrong."""
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), answer.text
    return [error["pointer"] for error in answer.json()["errors"]]


async def made(client: httpx.AsyncClient, **spec: Any) -> dict[str, Any]:
    """A new agent."""
    answer = await client.post("/agents", json={**SPEC, **spec})
    assert answer.status_code == 201, answer.text
    agent: dict[str, Any] = answer.json()
    return agent


async def test_life_of_an_agent(clients: Clients) -> None:
    """Created, read, changed, published, restored, deleted: each answer has its status, its ETag, and the record."""
    owner = clients.owner
    answer = await owner.post("/agents", json=SPEC)
    agent = answer.json()
    path = f"/agents/{agent['id']}"
    assert (answer.status_code, answer.headers["location"], answer.headers["etag"]) == (201, path, '"1"')
    assert (await owner.get(path, headers={"If-None-Match": '"1"'})).status_code == 304
    replaced = await owner.put(path, json={**SPEC, "greeting": "Hi"}, headers={"If-Match": '"1"'})
    assert (replaced.status_code, replaced.headers["etag"], replaced.json()["draft"]["greeting"]) == (200, '"2"', "Hi")
    patched = await owner.patch(
        path, json={"greeting": None}, headers={"If-Match": '"2"', "content-type": "application/merge-patch+json"}
    )
    assert (patched.status_code, patched.json()["draft"]["greeting"]) == (200, None)
    published = await owner.post(f"{path}/publish", json={"note": "first"}, headers={"If-Match": '"3"'})
    assert (published.status_code, published.json()["published_version"]) == (200, 1)
    assert (await owner.post(f"{path}/publish")).status_code == 409
    await owner.patch(path, json={"greeting": "Hey"}, headers=ANY)
    compared = (await owner.get(f"{path}/compare")).json()
    assert compared["differences"] == [{"path": "/greeting", "change": "changed", "before": None, "after": "Hey"}]
    restored = await owner.post(f"{path}/versions/1/restore")
    assert (restored.status_code, restored.json()["unpublished_changes"]) == (200, False)
    versions = (await owner.get(f"{path}/versions")).json()
    assert [(item["version"], item["note"], item["current"]) for item in versions["items"]] == [(1, "first", True)]
    detail = await owner.get(f"{path}/versions/published")
    assert (detail.json()["version"], detail.json()["spec"]["name"]) == (1, "Front desk")
    assert (await owner.delete(path, headers={"If-Match": restored.headers["etag"]})).status_code == 204
    assert (await owner.get(path)).status_code == 404


async def test_no_lost_update(clients: Clients) -> None:
    """A change without If-Match is 428, one of an old state 412, and neither is done."""
    agent = await made(clients.owner)
    path = f"/agents/{agent['id']}"
    for method, body in (("PUT", SPEC), ("PATCH", {"name": "x"}), ("DELETE", None)):
        assert (await clients.owner.request(method, path, json=body)).status_code == 428
        stale = await clients.owner.request(method, path, json=body, headers={"If-Match": '"7"'})
        assert (stale.status_code, stale.json()["code"]) == (412, "stale")
    stale = await clients.owner.post(f"{path}/publish", headers={"If-Match": '"7"'})
    assert stale.status_code == 412
    assert (await clients.owner.get(path)).json() == agent


async def test_idempotency_key(clients: Clients) -> None:
    """A create sent twice makes one agent, and the second answer says so; other content under the key is refused."""
    key = {"Idempotency-Key": "k1"}
    first, second = [await clients.owner.post("/agents", json=SPEC, headers=key) for _ in range(2)]
    assert (second.status_code, second.json(), second.headers["idempotency-replayed"]) == (201, first.json(), "true")
    assert "idempotency-replayed" not in first.headers
    other = await clients.owner.post("/agents", json={"name": "Other"}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")


async def test_access(clients: Clients) -> None:
    """Another user gets 404, a key without the scope 403, a stranger 401; an admin reaches it and may give it away."""
    agent = await made(clients.owner)
    path = f"/agents/{agent['id']}"
    assert (await clients.of("other").get(path)).status_code == 404
    assert (await clients.of("other").delete(path, headers=ANY)).status_code == 404
    assert (await clients.of("reader").delete(path, headers=ANY)).status_code == 403
    assert (await clients.of("nobody").get(path)).status_code == 401
    assert (await clients.of("admin").get(path)).status_code == 200
    heir = clients.actors["other"].user_id
    clients.around.users.add(heir)
    assert (await clients.owner.patch(path, json={"user_id": heir}, headers=ANY)).status_code == 403
    assert (await clients.of("admin").patch(path, json={"user_id": heir}, headers=ANY)).status_code == 200
    assert (await clients.of("other").get(path)).status_code == 200
    unknown = await clients.of("admin").post("/agents", json={**SPEC, "user_id": "nobody"})
    assert places(unknown) == ["/user_id"]


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"name": " "}, "/name"),
        ({"name": "A", "llm_provider": "nobody"}, "/llm_provider"),
        ({"name": "A", "stt_fallbacks": [{"name": "x"}]}, "/stt_fallbacks/0/name"),
        ({"name": "A", "limits": {"max_duration_s": "60"}}, "/limits/max_duration_s"),
        ({"name": "A", "gretting": "x"}, "/gretting"),
        ({"name": "A", "turn_taking": {"silence": 1}}, "/turn_taking/silence"),
        ({"name": "A", "id": "A"}, "/id"),
        ({"name": "A", "tools": [{"name": "t", "parameters": {"type": "text"}}]}, "/tools/0/parameters/type"),
    ],
)
async def test_wrong_body(clients: Clients, body: dict[str, Any], place: str) -> None:
    """A wrong body is a problem document that points at the place, whoever found it."""
    assert places(await clients.owner.post("/agents", json=body)) == [place]


async def test_wrong_patch(clients: Clients) -> None:
    """A patch whose result is no draft is refused with the place in the result."""
    path = f"/agents/{(await made(clients.owner))['id']}"
    for patch, place in (
        ({"name": None}, "/name"),
        ({"limits": {"max_duration_s": "60"}}, "/limits/max_duration_s"),
        ({"gretting": "x"}, "/gretting"),
        ({"tools": [{"name": "t"}, {"name": "t"}]}, "/tools/1/name"),
    ):
        assert places(await clients.owner.patch(path, json=patch, headers=ANY)) == [place]


async def test_secret_is_never_answered(clients: Clients) -> None:
    """No answer about an agent holds a secret header's value; the record as it was read can be sent back."""
    tool = {"name": "t", "kind": "http", "http": {"url": "https://a.example", "secret_headers": {"K": "hush"}}}
    created = await clients.owner.post("/agents", json={**SPEC, "tools": [tool]})
    path = f"/agents/{created.json()['id']}"
    read = await clients.owner.get(path)
    draft = read.json()["draft"]
    assert draft["tools"][0]["http"]["secret_headers"] == {"K": MASK}
    sent_back = await clients.owner.put(path, json=draft, headers=ANY)
    assert (sent_back.status_code, sent_back.headers["etag"]) == (200, '"1"')
    published = await clients.owner.post(f"{path}/publish")
    draft["tools"][0]["http"]["secret_headers"]["K"] = "other"
    changed = await clients.owner.put(path, json=draft, headers=ANY)
    more = [await clients.owner.get(path + rest) for rest in ("/versions/1", "/versions", "/compare")]
    for answer in (created, read, sent_back, published, changed, *more):
        assert "hush" not in answer.text
        assert "other" not in answer.text


async def test_pages(clients: Clients) -> None:
    """A list is walked by its Link headers; filters stay in them; an unknown parameter or order is refused."""
    for name in ("a1", "a2", "a3", "b1"):
        await made(clients.owner, name=name)
    names: list[str] = []
    address: str | None = "/agents?limit=2&sort=name&name=A"
    while address:
        answer = await clients.owner.get(address)
        assert answer.status_code == 200, answer.text
        names += [item["name"] for item in answer.json()["items"]]
        address = answer.links["next"]["url"] if "next" in answer.links else None
    assert names == ["a1", "a2", "a3"]
    for query in ("?sort=draft", "?colour=red", "?limit=0", "?cursor=x", "?provider=A"):
        assert len(places(await clients.owner.get("/agents" + query))) == 1


async def test_used_by_a_campaign(clients: Clients) -> None:
    """An agent that a campaign uses is not deleted, and the problem says why; without campaigns it is 503."""
    path = f"/agents/{(await made(clients.owner))['id']}"
    clients.around.use = AgentUse(campaigns=(), total=2)
    refused = await clients.owner.delete(path, headers=ANY)
    assert refused.status_code == 409
    assert "2 campaigns use this agent" in refused.json()["detail"]
    clients.around.use = None
    away = await clients.owner.delete(path, headers=ANY)
    assert (away.status_code, "retry-after" in away.headers) == (503, True)
