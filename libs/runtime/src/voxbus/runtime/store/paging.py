"""Keyset pages: stable while records come and go, and as quick at the end as at the beginning."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import bson
from bson.codec_options import CodecOptions
from bson.errors import BSONError
from pymongo import ASCENDING, DESCENDING
from pymongo.asynchronous.collection import AsyncCollection

from voxbus.contracts.rpc import PageRequest
from voxbus.runtime.rpc.errors import RequestFailedError, invalid
from voxbus.runtime.store.connection import Document

_AWARE: CodecOptions[Document] = CodecOptions(tz_aware=True)


async def find_page(
    collection: AsyncCollection[Document],
    *,
    where: Mapping[str, Any],
    request: PageRequest,
    sorts: Mapping[str, str],
    default: str,
    projection: Mapping[str, Any] | None = None,
) -> tuple[list[Document], str | None]:
    """One page of what matches `where`, and the cursor of the next one; None: this is the last.

    `sorts` maps the names of the API to fields, whose values are numbers, strings, times, booleans or absent; `default` is
    such as `-created_at`. Ties are ordered by `_id`. A `projection` must keep the sorted field. Raises INVALID at `/sort`
    or `/cursor`.
    """
    order = request.sort or default
    descending, name = order.startswith("-"), order.removeprefix("-")
    if name not in sorts:
        raise invalid("/sort", f"sort by one of {', '.join(sorted(sorts))}, with - before it for descending")
    field = sorts[name]
    ranges: list[Document] = [{}]
    if request.cursor:
        ranges = _after(field, descending, *_decode(request.cursor, order))
    direction = DESCENDING if descending else ASCENDING
    keys = [("_id", direction)] if field == "_id" else [(field, direction), ("_id", direction)]
    found: list[Document] = []
    for part in ranges:
        missing = request.limit + 1 - len(found)
        if missing:
            found += await collection.find(_both(where, part), projection).sort(keys).limit(missing).to_list()
    page, more = found[: request.limit], len(found) > request.limit
    return page, _encode(order, _value(page[-1], field), page[-1]["_id"]) if more else None


def _both(where: Mapping[str, Any], part: Document) -> Document:
    """Flat where that is possible: not every server of MongoDB's protocol uses indexes below `$and`."""
    merged = dict(where)
    for field, condition in part.items():
        if field in merged:
            ours, theirs = _operators(merged[field]), _operators(condition)
            if not ours.keys().isdisjoint(theirs):
                return {"$and": [dict(where), part]}
            merged[field] = {**ours, **theirs}
        else:
            merged[field] = condition
    return merged


def _operators(condition: Any) -> Mapping[str, Any]:
    if isinstance(condition, Mapping) and any(name.startswith("$") for name in condition):
        return condition
    return {"$eq": condition}


def _after(field: str, descending: bool, value: Any, document_id: str) -> list[Document]:
    """What comes after a record, in order, as queries that an index answers each (their `$or` it would not, everywhere).

    MongoDB orders absent and null before everything, and compares only within a type.
    """
    further = "$lt" if descending else "$gt"
    if field == "_id":
        return [{"_id": {further: document_id}}]
    tie: Document = {field: value, "_id": {further: document_id}}
    if value is None:
        return [tie] if descending else [tie, {field: {"$ne": None}}]
    rest: Document = {field: {further: value}}
    return [tie, rest, {field: None}] if descending else [tie, rest]


def _value(document: Document, field: str) -> Any:
    value: Any = document
    for part in field.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _encode(order: str, value: Any, document_id: str) -> str:
    packed = bson.encode({"o": order, "v": value, "i": document_id})
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def _decode(cursor: str, order: str) -> tuple[Any, str]:
    try:
        packed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        content = bson.decode(packed, _AWARE)
    except (binascii.Error, BSONError, ValueError) as error:
        raise _bad_cursor("this is no cursor of this list") from error
    value, document_id = content.get("v"), content.get("i")
    if not isinstance(document_id, str) or not isinstance(value, str | int | float | datetime | None):
        raise _bad_cursor("this is no cursor of this list")  # nor may it bring operators into the query
    if content.get("o") != order:
        raise _bad_cursor("the cursor belongs to another order; begin without one")
    return value, document_id


def _bad_cursor(message: str) -> RequestFailedError:
    return invalid("/cursor", message)
