"""Contacts in MongoDB. Only `contact_changes` may count them: the campaign's document keeps their number."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any, Final, TypeVar

from pymongo import ASCENDING, DESCENDING
from pymongo.errors import BulkWriteError

from voxbus.campaigns.contact_changes import windows
from voxbus.campaigns.migrations import CONTACTS
from voxbus.campaigns.records import Document, to_contact
from voxbus.contracts.campaigns import ListContacts
from voxbus.runtime.rpc import invalid
from voxbus.runtime.store import DocumentStore

ValueT = TypeVar("ValueT", int, str)
_DUPLICATE_KEY: Final = 11000
_WIDENING: Final = 4
_PAGE_BYTES: Final = 800_000
"""Of the contacts in a page: it travels in one message of at most 1 MiB."""
_AFTER_DIGITS: Final = ":"
"""Greater than any digit, so that numbers that begin with a prefix lie between the prefix and this."""


class ContactRepository:
    """The collection `contacts`."""

    def __init__(self, store: DocumentStore) -> None:
        self._collection = store.collection(CONTACTS)

    async def add(self, documents: Sequence[Document]) -> int:
        """How many were added; the numbers of the others are in the campaign already."""
        if not documents:
            return 0
        try:
            result = await self._collection.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            return len(documents) - _duplicates(error)
        return len(result.inserted_ids)

    async def find(self, campaign_id: str, contact_id: str) -> Document | None:
        """One contact of the campaign."""
        return await self._collection.find_one({"_id": contact_id, "campaign_id": campaign_id})

    async def delete(self, campaign_id: str, contact_id: str) -> int:
        """1, or 0 when it is not there."""
        result = await self._collection.delete_one({"_id": contact_id, "campaign_id": campaign_id})
        return result.deleted_count

    async def delete_all(self, campaign_id: str, top: int) -> None:
        """Remove the contacts of a campaign, whose positions go up to `top`."""
        for window in windows(top, size=1000):
            await self._collection.delete_many({"campaign_id": campaign_id, "position": window})

    async def page(self, request: ListContacts, top: int) -> tuple[list[Document], str | None]:
        """A page of the contacts of a campaign whose positions go up to `top`. Raises INVALID."""
        where: Document = {"campaign_id": request.campaign_id}
        if request.status is not None:
            where["status"] = request.status.value
        order = request.sort or "created_at"
        name = order.removeprefix("-")
        if name == "phone_number":
            return await self._page_by_number(where, request, order)
        if name != "created_at":
            raise invalid("/sort", "sort by one of created_at, phone_number, with - before it for descending")
        if request.phone_number is None:
            return await self._page_by_position(where, request, order, top)
        where["phone_number"] = _beginning_with(request.phone_number)
        return await self._page_of_prefix(where, request, order)

    async def _page_by_number(
        self, where: Document, request: ListContacts, order: str
    ) -> tuple[list[Document], str | None]:
        """Numbers are unique in a campaign: without a second key the index gives them in order, and no more than needed."""
        descending = order.startswith("-")
        bounds = _beginning_with(request.phone_number or "+")
        if request.cursor:
            last = _decode(request.cursor, order, str)
            bounds = {**bounds, "$lt": min(last, bounds["$lt"])} if descending else {**bounds, "$gt": last}
        cursor = self._collection.find({**where, "phone_number": bounds})
        cursor = cursor.sort("phone_number", DESCENDING if descending else ASCENDING)
        found = await cursor.limit(request.limit + 1).to_list()
        return _page_of(found, request, order, "phone_number")

    async def _page_of_prefix(
        self, where: Document, request: ListContacts, order: str
    ) -> tuple[list[Document], str | None]:
        """Those of a prefix in the order of their positions."""
        descending = order.startswith("-")
        if request.cursor:
            where["position"] = {"$lt" if descending else "$gt": _decode(request.cursor, order, int)}
        cursor = self._collection.find(where).sort("position", DESCENDING if descending else ASCENDING)
        found = await cursor.limit(request.limit + 1).to_list()
        return _page_of(found, request, order, "position")

    async def _page_by_position(
        self, where: Document, request: ListContacts, order: str, top: int
    ) -> tuple[list[Document], str | None]:
        """Looks at ever wider stretches of positions: a store that sorts before it limits would sort all contacts each time."""
        descending = order.startswith("-")
        at = _decode(request.cursor, order, int) if request.cursor else (top + 1 if descending else 0)
        wanted, width = request.limit + 1, 2 * request.limit
        found: list[Document] = []
        while len(found) < wanted and (at > 1 if descending else at < top):
            stretch = {"$gte": at - width, "$lt": at} if descending else {"$gt": at, "$lte": at + width}
            cursor = self._collection.find({**where, "position": stretch})
            cursor = cursor.sort("position", DESCENDING if descending else ASCENDING)
            found += await cursor.limit(wanted - len(found)).to_list()
            at += -width if descending else width
            width *= _WIDENING
        return _page_of(found, request, order, "position")


def _duplicates(error: BulkWriteError) -> int:
    """How many numbers were there already. Raises the error again when it is about something else."""
    problems: list[dict[str, Any]] = error.details["writeErrors"]
    if error.details.get("writeConcernErrors") or any(problem["code"] != _DUPLICATE_KEY for problem in problems):
        raise error
    # An id can only be there already when the driver sent the command twice: that contact is one of ours.
    return sum("_id" not in problem.get("keyPattern", ()) for problem in problems)


def _beginning_with(prefix: str) -> Document:
    return {"$gte": prefix, "$lt": prefix + _AFTER_DIGITS}


def _page_of(found: list[Document], request: ListContacts, order: str, field: str) -> tuple[list[Document], str | None]:
    page = _fitting(found[: request.limit])
    if len(found) == len(page):
        return page, None
    content = json.dumps([order, page[-1][field]]).encode()
    return page, base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _fitting(documents: list[Document]) -> list[Document]:
    """As many of the first ones as fit into an answer: a contact may take 25 kB, and 100 of them more than a message."""
    size_bytes = 0
    for count, document in enumerate(documents):
        size_bytes += len(to_contact(document).encode())
        if size_bytes > _PAGE_BYTES:
            return documents[: max(count, 1)]
    return documents


def _decode(cursor: str, order: str, kind: type[ValueT]) -> ValueT:
    try:
        named, value = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, TypeError):
        raise invalid("/cursor", "this is no cursor of this list") from None
    if named != order:
        raise invalid("/cursor", "the cursor belongs to another order; begin without one")
    if type(value) is not kind or (isinstance(value, int) and not 0 < value < 1 << 53):
        raise invalid("/cursor", "this is no cursor of this list")
    return value
