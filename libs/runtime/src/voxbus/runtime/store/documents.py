"""What documents of all services share: times, hashes, merge patches, creates that may be repeated."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from voxbus.contracts.access import Actor
from voxbus.contracts.rpc import Operation, RequestErrorCode
from voxbus.runtime.rpc.errors import RequestFailedError
from voxbus.runtime.store.connection import Document


def now() -> datetime:
    """The time in UTC with the precision that MongoDB keeps, milliseconds."""
    time = datetime.now(UTC)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def content_hash(content: BaseModel | Mapping[str, Any]) -> str:
    """SHA-256 of the content's canonical JSON, in hex: the order of keys does not matter."""
    plain = content.model_dump(mode="json") if isinstance(content, BaseModel) else content
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def idempotency(
    actor: Actor | None, operation: Operation[Any, Any], key: str, content: BaseModel | Mapping[str, Any]
) -> dict[str, str]:
    """The `idempotency` field of a document made by a create with this key, for `create_once`.

    `content` is the JSON content that must be the same when the key comes again. It is kept as a fast hash: leave passwords out.
    """
    owner = actor.user_id if actor else ""
    name = hashlib.sha256(f"{owner}\n{operation.subject}\n{key}".encode()).hexdigest()
    return {"key": name, "content": content_hash(content)}


async def idempotency_index(database: AsyncDatabase[Document], collection: str) -> None:
    """The index that `create_once` needs; a step of the service's migrations."""
    await database[collection].create_index(
        "idempotency.key",
        name="idempotency",
        unique=True,
        partialFilterExpression={"idempotency.key": {"$exists": True}},
    )


async def create_once(collection: AsyncCollection[Document], document: Document) -> tuple[Document, bool]:
    """Insert; returns the document and whether it is that of an earlier create with the same idempotency key.

    Raises RequestFailedError KEY_REUSED when that one had other content, and pymongo's DuplicateKeyError when another
    unique field is taken, which the service translates.
    """
    try:
        await collection.insert_one(document)
    except DuplicateKeyError:
        earlier = await _earlier(collection, document)
        if earlier is None:
            raise
        return earlier, True
    return document, False


async def _earlier(collection: AsyncCollection[Document], document: Document) -> Document | None:
    wanted = document.get("idempotency")
    if not wanted:
        return None
    found = await collection.find_one({"idempotency.key": wanted["key"]})
    if found and found["idempotency"]["content"] != wanted["content"]:
        raise RequestFailedError(RequestErrorCode.KEY_REUSED, "the idempotency key was used with other content")
    return found


def merge_patch(document: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7396): objects are merged, null removes, all else replaces. Changes neither argument."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(document) if isinstance(document, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), value)
    return result
