"""`/campaigns` over the real campaigns service: what a client of HTTP sees."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from campaigns_stand import CampaignsStand, World, actor, numbers, world
from rest_stand import FakeCallers, FakeHealth, FakeLimits, problem
from rpc_stand import connected

from voxbus.runtime.rpc import RpcClient
from voxbus.voice_gateway.rest.api import make_api
from voxbus.voice_gateway.rest.backend import Backend
from voxbus.voice_gateway.rest.settings import RestSettings

pytestmark = pytest.mark.integration

ANY = {"If-Match": "*"}


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CampaignsStand]:
    """Two processes of the campaigns service."""
    stand = CampaignsStand(tmp_path_factory.mktemp("campaigns"), processes=2)
    try:
        stand.start()
        yield stand
    finally:
        stand.stop()


@pytest.fixture
async def around(stand: CampaignsStand) -> AsyncIterator[World]:
    """The services around it."""
    async with world(stand.nats.url) as around:
        yield around


@pytest.fixture
async def client(stand: CampaignsStand, around: World) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the owner; with `Authorization: Bearer other` it is another user's."""
    callers = FakeCallers()
    callers.known |= {"owner": around.owner, "other": actor()}
    async with connected(stand.nats.url, "rest-gateway") as bus:
        settings = RestSettings(_env_file=None)  # type: ignore[call-arg]
        api = make_api(Backend(settings, RpcClient(bus), callers, FakeLimits(), FakeHealth()))
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(api), base_url="http://api", headers={"authorization": "Bearer owner"}
        ) as client:
            yield client


async def _make(client: httpx.AsyncClient, around: World, **fields: Any) -> dict[str, Any]:
    answer = await client.post("/campaigns", json={"name": "Check-ups", "agent_id": around.add_agent(), **fields})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_a_campaign_is_made_read_changed_and_removed(client: httpx.AsyncClient, around: World) -> None:
    """With entity tags that tell the states apart, and no change without one."""
    body = {"name": "Check-ups", "agent_id": around.add_agent(), "start_at": "2031-05-04T09:00:00+05:30"}
    made = await client.post("/campaigns", json=body)
    assert (made.status_code, made.headers["etag"]) == (201, '"1"')
    path = made.headers["location"]
    assert path == f"/campaigns/{made.json()['id']}"
    read = await client.get(path)
    assert read.json() == made.json()
    assert read.json()["start_at"] == "2031-05-04T03:30:00Z"
    assert (await client.get(path, headers={"If-None-Match": '"1"'})).status_code == 304
    problem(await client.patch(path, json={"name": "June"}), 428, "precondition_required")
    changed = await client.patch(path, json={"name": "June"}, headers={"If-Match": '"1"'})
    assert (changed.json()["name"], changed.headers["etag"]) == ("June", '"2"')
    problem(await client.patch(path, json={"name": "July"}, headers={"If-Match": '"1"'}), 412, "stale")
    problem(await client.delete(path, headers={"If-Match": '"1"'}), 412, "stale")
    assert (await client.delete(path, headers={"If-Match": '"2"'})).status_code == 204
    problem(await client.get(path), 404, "not_found")


async def test_a_create_may_be_repeated(client: httpx.AsyncClient, around: World) -> None:
    """The same key with the same content answers the same campaign; with other content it is refused."""
    body, key = {"name": "Once", "agent_id": around.add_agent()}, {"Idempotency-Key": f"key-{around.owner.user_id}"}
    first = await client.post("/campaigns", json=body, headers=key)
    again = await client.post("/campaigns", json=body, headers=key)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    assert again.json() == first.json()
    problem(await client.post("/campaigns", json={**body, "name": "Twice"}, headers=key), 422, "key_reused")


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"agent_id": "agent_0"}, "/agent_id"),
        ({"timezone": "Mars/Olympus"}, "/timezone"),
        ({"default_region": "XX"}, "/default_region"),
        ({"default_region": "us"}, "/default_region"),
        ({"start_at": "2031-05-04T09:00:00"}, "/start_at"),
        ({"start_at": "0001-01-01T00:00:00+10:00"}, "/start_at"),
        ({"name": " "}, "/name"),
        ({"colour": "red"}, "/colour"),
        ({"metadata": {"a": 1}}, "/metadata/a"),
    ],
)
async def test_what_is_wrong_has_a_place(
    client: httpx.AsyncClient, around: World, fields: dict[str, Any], pointer: str
) -> None:
    """The same one, whoever found it, on a create and on a change."""
    answer = await client.post("/campaigns", json={"name": "x", "agent_id": around.add_agent(), **fields})
    assert [error["pointer"] for error in problem(answer, 422, "invalid")["errors"]] == [pointer]
    campaign = await _make(client, around)
    answer = await client.patch(f"/campaigns/{campaign['id']}", json=fields, headers=ANY)
    assert [error["pointer"] for error in problem(answer, 422, "invalid")["errors"]] == [pointer]


async def test_a_campaign_moves_on(client: httpx.AsyncClient, around: World) -> None:
    """By a POST per move; what is not allowed is a 409 with the reason, and `allowed_moves` says so before."""
    campaign = await _make(client, around, start_at="2031-05-04T09:00:00Z")
    path = f"/campaigns/{campaign['id']}"
    assert campaign["allowed_moves"] == ["schedule", "start", "cancel"]
    refused = problem(await client.post(f"{path}/schedule"), 409, "conflict")
    assert refused["detail"] == "the campaign has no contacts to call"
    added = await client.post(f"{path}/contacts", json={"contacts": [{"phone_number": "+14155552671"}]})
    assert added.json()["contact_count"] == 1
    statuses = []
    for move in ("schedule", "unschedule", "start", "pause", "resume", "complete"):
        answer = await client.post(f"{path}/{move}")
        assert answer.status_code == 200, answer.text
        assert answer.headers["etag"] == f'"{answer.json()["revision"]}"'
        statuses.append(answer.json()["status"])
    assert statuses == ["scheduled", "draft", "running", "paused", "running", "completed"]
    assert "it has ended" in problem(await client.post(f"{path}/cancel"), 409, "conflict")["detail"]
    problem(await client.post(f"{path}/cancel", headers={"If-Match": '"1"'}), 412, "stale")


async def test_a_file_becomes_contacts(client: httpx.AsyncClient, around: World) -> None:
    """Good rows are added, bad ones reported as the spreadsheet numbers them; sent again, all are duplicates."""
    campaign = await _make(client, around, default_region="US")
    path = f"/campaigns/{campaign['id']}/contacts"
    written = numbers(1500)
    lines = ["Phone;Name;Doctor", *(f"{number};Somebody;Dr. Müller" for number in written)]
    lines[2] = "12;Too short;"
    lines[3] = lines[1]
    csv = {"content-type": "text/csv"}
    content = "\r\n".join(lines).encode("utf-16")
    report = (await client.post(f"{path}/import", content=content, headers=csv)).json()
    assert {name: report[name] for name in ("rows", "added", "duplicates", "rejected_count", "contact_count")} == {
        "rows": 1500, "added": 1498, "duplicates": 1, "rejected_count": 1, "contact_count": 1498,
    }  # fmt: skip
    assert report["rejected"] == [{"row": 3, "column": "Phone", "value": "12", "message": "too short for +1"}]
    again = (await client.post(f"{path}/import", content=content, headers=csv)).json()
    assert (again["added"], again["duplicates"], again["contact_count"]) == (0, 1499, 1498)
    page = await client.get(path, params={"limit": 2})
    assert [contact["phone_number"] for contact in page.json()["items"]] == [written[0], written[3]]
    assert page.json()["items"][0]["variables"] == {"Doctor": "Dr. Müller"}
    next_page = await client.get(page.links["next"]["url"])
    assert next_page.json()["items"][0]["phone_number"] == written[4]


async def test_a_contact_is_read_and_removed(client: httpx.AsyncClient, around: World) -> None:
    """By its id, below its campaign."""
    campaign = await _make(client, around)
    path = f"/campaigns/{campaign['id']}/contacts"
    await client.post(path, json={"contacts": [{"phone_number": "+14155552671", "name": "Ada"}]})
    [contact] = (await client.get(path, params={"phone_number": "+1415"})).json()["items"]
    assert (await client.get(f"{path}/{contact['id']}")).json() == contact
    assert (await client.delete(f"{path}/{contact['id']}")).status_code == 204
    problem(await client.delete(f"{path}/{contact['id']}"), 404, "not_found")
    problem(await client.get(path, params={"cursor": "x"}), 422, "invalid")


async def test_others_find_nothing(client: httpx.AsyncClient, around: World) -> None:
    """No route tells another user that there is such a campaign."""
    campaign = await _make(client, around)
    path = f"/campaigns/{campaign['id']}"
    other = {"authorization": "Bearer other"}
    answers = [
        await client.get(path, headers=other),
        await client.patch(path, json={"name": "Mine"}, headers={**other, **ANY}),
        await client.delete(path, headers={**other, **ANY}),
        await client.post(f"{path}/cancel", headers=other),
        await client.get(f"{path}/contacts", headers=other),
        await client.post(f"{path}/contacts", json={"contacts": [{"phone_number": "+1"}]}, headers=other),
        await client.post(f"{path}/contacts/import", content=b"", headers={**other, "content-type": "text/csv"}),
        await client.delete(f"{path}/contacts/contact_1", headers=other),
    ]
    for answer in answers:
        assert problem(answer, 404, "not_found")["detail"] == "there is no such campaign"
    assert (await client.get("/campaigns", headers=other)).json()["items"] == []


async def test_a_list_is_paged_sorted_and_filtered(client: httpx.AsyncClient, around: World) -> None:
    """With the address of the next page."""
    for name in ("Carol", "alice", "Bob"):
        await _make(client, around, name=name)
    page = await client.get("/campaigns", params={"sort": "name", "limit": 2})
    assert [item["name"] for item in page.json()["items"]] == ["alice", "Bob"]
    rest = await client.get(page.links["next"]["url"])
    assert [item["name"] for item in rest.json()["items"]] == ["Carol"]
    assert "link" not in rest.headers
    filtered = await client.get("/campaigns", params={"name": "LI", "status": "draft"})
    assert [item["name"] for item in filtered.json()["items"]] == ["alice"]
