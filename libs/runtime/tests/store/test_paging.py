"""Pages of records, as a client that follows cursors sees them."""

from __future__ import annotations

import base64
from datetime import timedelta
from itertools import chain
from typing import Any

import bson
import pytest

from voxbus.contracts.rpc import PageRequest, RequestErrorCode
from voxbus.runtime.rpc import RequestFailedError
from voxbus.runtime.store import DocumentStore
from voxbus.runtime.store.documents import now
from voxbus.runtime.store.paging import find_page

pytestmark = pytest.mark.integration

SORTS = {"created_at": "created_at", "name": "draft.name", "id": "_id"}
START = now()


async def page(
    store: DocumentStore, sort: str | None = None, cursor: str | None = None, limit: int = 2, **where: Any
) -> tuple[list[str], str | None]:
    """The ids of one page, and the next cursor."""
    request = PageRequest(sort=sort, cursor=cursor, limit=limit)
    found, following = await find_page(
        store.collection("agents"), where=where, request=request, sorts=SORTS, default="-created_at"
    )
    return [document["_id"] for document in found], following


async def pages(store: DocumentStore, sort: str | None = None, *, limit: int = 2, **where: Any) -> list[list[str]]:
    """All pages."""
    ids, cursor = await page(store, sort, limit=limit, **where)
    result = [ids]
    while cursor:
        ids, cursor = await page(store, sort, cursor, limit, **where)
        result.append(ids)
    return result


async def everything(store: DocumentStore, sort: str | None = None, limit: int = 2) -> list[str]:
    """The ids of all pages."""
    return list(chain.from_iterable(await pages(store, sort, limit=limit)))


async def insert(store: DocumentStore, document_id: str, *, age_s: int = 0, **fields: Any) -> None:
    """One record."""
    created_at = START - timedelta(seconds=age_s)
    await store.collection("agents").insert_one({"_id": document_id, "created_at": created_at, **fields})


async def failed_at(store: DocumentStore, **request: Any) -> list[str]:
    """Where a request is INVALID."""
    with pytest.raises(RequestFailedError) as raised:
        await page(store, **request)
    assert raised.value.code is RequestErrorCode.INVALID
    return [problem.path for problem in raised.value.error.problems]


async def test_pages_cover_everything_once_in_both_directions(store: DocumentStore) -> None:
    """Records come once each, in order, and the last page has no cursor, also when it is full."""
    for number in range(4):
        await insert(store, f"agent_{number}", age_s=number)
    assert await pages(store) == [["agent_0", "agent_1"], ["agent_2", "agent_3"]]
    assert await pages(store, "created_at") == [["agent_3", "agent_2"], ["agent_1", "agent_0"]]
    assert await pages(store, "-id") == [["agent_3", "agent_2"], ["agent_1", "agent_0"]]
    assert await pages(store, "id", created_at={"$lt": START}) == [["agent_1", "agent_2"], ["agent_3"]]


async def test_ties_are_ordered_by_id(store: DocumentStore) -> None:
    """Records with the same value neither repeat nor vanish at the edge of a page."""
    for number in range(5):
        await insert(store, f"agent_{number}")
    assert await everything(store) == [f"agent_{number}" for number in (4, 3, 2, 1, 0)]
    assert await everything(store, "created_at") == [f"agent_{number}" for number in range(5)]


async def test_absent_values_have_their_place(store: DocumentStore) -> None:
    """Records without the field, or with null, come first ascending and last descending."""
    await insert(store, "agent_0")
    await insert(store, "agent_1", draft={"name": None})
    await insert(store, "agent_2", draft={"name": "a"})
    await insert(store, "agent_3", draft={"name": "b"})
    await insert(store, "agent_4", draft={})
    ascending = ["agent_0", "agent_1", "agent_4", "agent_2", "agent_3"]
    for limit in range(1, 6):
        assert await everything(store, "name", limit) == ascending
        assert await everything(store, "-name", limit) == ascending[::-1]


@pytest.mark.parametrize("sort", ["-created_at", "created_at"])
async def test_records_that_come_and_go_disturb_nothing(store: DocumentStore, sort: str) -> None:
    """While a client turns pages, inserts and deletes neither repeat nor hide a record that was there all the time."""
    for number in range(6):
        await insert(store, f"agent_{number}", age_s=10 * number)
    seen, cursor = await page(store, sort)
    await store.collection("agents").delete_one({"_id": seen[-1]})  # the record of the cursor itself
    await insert(store, "agent_newest", age_s=-100)
    await insert(store, "agent_oldest", age_s=100)
    while cursor:
        ids, cursor = await page(store, sort, cursor)
        seen += ids
    old = [agent for agent in seen if agent[-1].isdigit()]
    assert sorted(old) == [f"agent_{number}" for number in range(6)]
    assert len(set(seen)) == len(seen)


async def test_a_cursor_belongs_to_its_order(store: DocumentStore) -> None:
    """A cursor of one order is refused in another: it would skip records."""
    for number in range(3):
        await insert(store, f"agent_{number}", draft={"name": str(number)})
    _, cursor = await page(store, "name")
    assert await failed_at(store, sort="-name", cursor=cursor) == ["/cursor"]
    assert await failed_at(store, sort=None, cursor=cursor) == ["/cursor"]


def forged(value: Any, document_id: Any = "agent_1") -> str:
    """A cursor that a client made up."""
    return base64.urlsafe_b64encode(bson.encode({"o": "name", "v": value, "i": document_id})).decode()


@pytest.mark.parametrize(
    "cursor",
    ["", "!", "é", "AAAA", "e30", forged({"$ne": 1}), forged("a", {"$gt": ""}), forged(["a"]), forged(bson.Regex("a"))],
)
async def test_a_made_up_cursor_is_refused(store: DocumentStore, cursor: str) -> None:
    """Rubbish and operators in a cursor are INVALID at `/cursor`; an empty one is none."""
    await insert(store, "agent_0", draft={"name": "b"})
    if not cursor:
        assert await page(store, "name", cursor) == (["agent_0"], None)
    else:
        assert await failed_at(store, sort="name", cursor=cursor) == ["/cursor"]


async def test_an_unknown_order_is_refused(store: DocumentStore) -> None:
    """Only the fields that the list names can be sorted by."""
    assert await failed_at(store, sort="password") == ["/sort"]
    assert await failed_at(store, sort="--name") == ["/sort"]


@pytest.mark.parametrize("sort", ["name", "-name"])
async def test_a_condition_on_the_sorted_field_holds_on_every_page(store: DocumentStore, sort: str) -> None:
    """What is sought by name and sorted by name comes once each, also where names are the same."""
    for number in range(9):
        await insert(store, f"agent_{number}", draft={"name": f"{'desk' if number % 3 else 'door'} {number // 4}"})
    condition: dict[str, Any] = {"draft.name": {"$regex": "desk"}}
    found = list(chain.from_iterable(await pages(store, sort, **condition)))
    wanted = [f"agent_{number}" for number in (1, 2, 4, 5, 7, 8)]
    assert found == (wanted if sort == "name" else wanted[::-1])
