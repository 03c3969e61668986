"""Lists of campaigns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from campaigns_stand import World, actor

from voxbus.contracts.access import Actor, Role
from voxbus.contracts.campaigns import LIST_CAMPAIGNS, CampaignPage, ListCampaigns
from voxbus.contracts.rpc import RequestErrorCode

pytestmark = pytest.mark.integration


async def _list(around: World, who: Actor | None = None, **fields: object) -> CampaignPage:
    request = ListCampaigns.model_validate({"actor": who or around.owner, **fields})
    return await around.ask(LIST_CAMPAIGNS, request)


async def test_lists_are_filtered_and_sorted(around: World) -> None:
    """By part of the name whatever its case, agent, status and owner; users see theirs only."""
    first = await around.create(name="Alpha (one)", contacts=1, start_at=datetime.now(UTC) + timedelta(days=2))
    second = await around.create(name="beta", start_at=datetime.now(UTC) + timedelta(days=1))
    third = await around.create(name="ALPHABET")
    await around.move(first.id, "start")

    async def ids(**fields: object) -> list[str]:
        return [item.id for item in (await _list(around, **fields)).items]

    assert await ids() == [third.id, second.id, first.id]
    assert await ids(sort="name") == [first.id, third.id, second.id]
    assert await ids(sort="start_at") == [third.id, second.id, first.id]
    assert await ids(name="alpha", sort="created_at") == [first.id, third.id]
    assert await ids(name="(ONE)") == [first.id]
    assert await ids(agent_id=second.agent_id) == [second.id]
    assert await ids(status="running") == [first.id]
    assert await ids(user_id="user_other") == []
    assert [item.id for item in (await _list(around, actor(Role.ADMIN), user_id=around.owner.user_id)).items] == (
        await ids()
    )
    assert (await _list(around, actor())).items == ()


@pytest.mark.parametrize("sort", ["created_at", "-created_at", "updated_at", "-start_at", "start_at", "name"])
async def test_pages_bring_every_campaign_once(around: World, sort: str) -> None:
    """Ties and missing starts included."""
    start_at = datetime.now(UTC) + timedelta(days=1)
    made = [(await around.create(name="Same", start_at=start_at if n % 2 else None)).id for n in range(5)]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = await _list(around, sort=sort, limit=2, cursor=cursor)
        seen += [item.id for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert sorted(seen) == sorted(made)


async def test_a_name_to_look_for_cannot_break_the_query(around: World) -> None:
    """A null character, which no store's pattern takes, is a problem of the request."""
    error = await around.refused(LIST_CAMPAIGNS, ListCampaigns(actor=around.owner, name="a\0"))
    assert error.code is RequestErrorCode.INVALID
