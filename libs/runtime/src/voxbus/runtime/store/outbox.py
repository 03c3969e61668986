"""The outbox: events are kept in the document whose change they tell, published from there, then removed.

No event without its write, no write without its event. The stream keeps each once and in the order of the writes. Who listens
without the stream may see one twice (the id tells), when two processes write to a document in turn or one dies between
publishing and removing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import structlog
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from voxbus.contracts.event import Event
from voxbus.contracts.rpc import RequestErrorCode
from voxbus.runtime.bus import BusUnavailableError, EventBus, TooLargeError
from voxbus.runtime.metrics import OUTBOX_AGE, OUTBOX_PUBLISHED, OUTBOX_WAITING
from voxbus.runtime.rpc.errors import RequestFailedError
from voxbus.runtime.store.connection import Document, DocumentStore
from voxbus.runtime.store.documents import now

log = structlog.get_logger(__name__)

MAX_EVENT_BYTES = 900_000
"""Leaves room for headers below what NATS carries, 1 MiB."""
_BATCH = 100
_SWEPT = 500
_BATCH_BYTES = 16 * 1024 * 1024
"""Of events in memory at a time, beyond those of one document: agents may leave 15 MB each while the stream is away."""
_GATHER_S = 0.05
"""Under load, between batches: a batch of 50 costs the store a tenth of 50 single ones. A single change is told at once."""
_FOREIGN_S = 2.0
"""An entry of this age is published by whoever finds it: the process that wrote it died or could not."""
_SWEEP_S = 2.0
_SLOWEST_SWEEP_S = 30.0


def entry(event: Event[Any]) -> Document:
    """What to `$push` to `outbox` in the update that makes the event true. Raises RequestFailedError TOO_LARGE."""
    data = event.data.encode()
    if len(data) > MAX_EVENT_BYTES:
        raise RequestFailedError(RequestErrorCode.TOO_LARGE, "the record is too large to tell others about it")
    return {
        "id": event.id,
        "subject": event.bus_subject,
        "headers": event.headers(),
        "data": data.decode(),
        "at": now(),
    }


def deletion(event: Event[Any]) -> Document:
    """The update that deletes a document: it stays as a tombstone until the relay has published `event`.

    Its idempotency key becomes free. Where other unique indexes must not see tombstones, add to `$unset`.
    """
    return {
        "$set": {"deleted": True, "updated_at": now()},
        "$unset": {"idempotency": ""},
        "$push": {"outbox": entry(event)},
        "$inc": {"revision": 1},
    }


async def outbox_index(database: AsyncDatabase[Document], collection: str) -> None:
    """The index by which waiting entries are found; a step of the service's migrations. Empty outboxes are not in it."""
    await database[collection].create_index("outbox.at", name="outbox", sparse=True)


class OutboxRelay:
    """Publishes the outboxes of some collections: at once what this process wrote, and soon what others left behind."""

    def __init__(self, store: DocumentStore, events: EventBus, collections: Sequence[str]) -> None:
        self._store = store
        self._events = events
        self._nudged: dict[str, dict[str, None]] = {name: {} for name in collections}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._failed_sweeps = 0
        self._sweep_at = 0.0
        self._troubled: set[str] = set()
        """Collections whose events wait."""

    async def start(self) -> None:
        """Begin; the first sweep runs at once."""
        self._task = asyncio.create_task(self._run(), name="outbox-relay")

    async def stop(self) -> None:
        """Publish what this process was told of, once; what fails stays in its document."""
        if self._task:
            self._stopping = True
            self._wake.set()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def nudge(self, collection: str, document_id: str) -> None:
        """Publish the outbox of this document now; call it after each write that pushed an entry."""
        self._nudged[collection][document_id] = None
        self._wake.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopping:
            await self._relay_nudged()
            if self._wake.is_set() and not self._stopping:  # more came meanwhile: this is a load
                await asyncio.sleep(_GATHER_S)
            if loop.time() >= self._sweep_at:
                await self._sweep()
                self._sweep_at = loop.time() + min(_SWEEP_S * 2**self._failed_sweeps, _SLOWEST_SWEEP_S)
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._sweep_at):
                    await self._wake.wait()
        await self._relay_nudged()

    async def _relay_nudged(self) -> None:
        self._wake.clear()
        for name, nudged in self._nudged.items():
            ids = list(nudged)
            nudged.clear()
            for start in range(0, len(ids), _BATCH):
                some = {"_id": {"$in": ids[start : start + _BATCH]}}
                trouble = await self._relay(name, some)
                if trouble:
                    self._waits(name, trouble)
                elif name in self._troubled:
                    self._sweep_at = 0.0  # it works again: what waits need not wait for its turn

    async def _sweep(self) -> None:
        """Relay what should have been relayed by now, batch after batch, until one fails."""
        fine = True
        for name in self._nudged:
            overdue = {"outbox.at": {"$lte": now() - timedelta(seconds=_FOREIGN_S)}}
            trouble = await self._relay(name, overdue, everything=True)
            await self._measure(name, overdue if trouble else None)
            if trouble:
                fine = False
                self._waits(name, trouble)
            elif name in self._troubled:
                self._troubled.discard(name)
                log.info("events are published again", collection=name)
        self._failed_sweeps = 0 if fine else self._failed_sweeps + 1

    def _waits(self, name: str, trouble: Exception) -> None:
        if name not in self._troubled:
            self._troubled.add(name)
            kind = str(trouble) if isinstance(trouble, BusUnavailableError) else type(trouble).__name__
            log.warning("events wait in their documents", collection=name, error=kind)

    async def _relay(self, name: str, which: Document, *, everything: bool = False) -> Exception | None:
        """Publish and remove a batch of what matches, or all of it; what stopped it. The caller comes again for the rest."""
        collection = self._store.collection(name)
        try:
            while True:
                documents, more = await _waiting(collection, which, _SWEPT if everything else _BATCH + 1)
                results = await asyncio.gather(*(self._publish(name, document) for document in documents))
                await _remove(collection, documents, [published for published, _ in results])
                failures = [failure for _, failure in results if failure]
                if failures or not more or (everything and self._stopping):
                    return failures[0] if failures else None
                if everything:
                    await self._relay_nudged()  # what happens now does not wait for all that happened before
        except PyMongoError as error:
            return error
        except Exception as error:
            log.exception("relaying events failed", collection=name)  # ours: the rest is relayed all the same
            return error

    async def _publish(self, name: str, document: Document) -> tuple[list[str], Exception | None]:
        """Publish the entries of a document, in order; the ids of those that are kept, and what stopped it."""
        published: list[str] = []
        for waiting in document.get("outbox", ()):
            try:
                await self._events.publish_durably(
                    waiting["id"], waiting["subject"], waiting["data"].encode(), waiting["headers"]
                )
            except (BusUnavailableError, TooLargeError) as failure:
                OUTBOX_PUBLISHED.labels(name, "failed").inc()
                return published, failure
            OUTBOX_PUBLISHED.labels(name, "ok").inc()
            published.append(waiting["id"])
        return published, None

    async def _measure(self, name: str, overdue: Document | None) -> None:
        """Set the gauges; `overdue` is None when nothing waits."""
        waiting, age_s = 0, 0.0
        if overdue:
            collection = self._store.collection(name)
            try:
                waiting = await collection.count_documents(overdue)
                oldest = await collection.find(overdue, {"outbox.at": 1}).sort("outbox.at", 1).limit(1).to_list()
            except PyMongoError:
                return  # the store is away: the gauges stay as they were
            if oldest:
                age_s = (now() - oldest[0]["outbox"][0]["at"]).total_seconds()
        OUTBOX_WAITING.labels(name).set(waiting)
        OUTBOX_AGE.labels(name).set(age_s)


async def _waiting(collection: AsyncCollection[Document], which: Document, most: int) -> tuple[list[Document], bool]:
    """Some of the documents with their outboxes, and whether there may be more."""
    documents: list[Document] = []
    size_bytes = 0
    async with collection.find(which, {"outbox": 1, "deleted": 1}).limit(most) as cursor:
        async for document in cursor:
            documents.append(document)
            size_bytes += sum(len(waiting["data"]) for waiting in document.get("outbox", ()))
            if size_bytes > _BATCH_BYTES:
                return documents, True
    return documents, len(documents) == most


async def _remove(
    collection: AsyncCollection[Document], documents: Sequence[Document], published: Sequence[list[str]]
) -> None:
    """Remove the entries that are published, and the tombstones that have none left: nothing is added to those."""
    gone: list[str] = []
    told: list[str] = []
    event_ids: list[str] = []
    for document, ids in zip(documents, published, strict=True):
        if document.get("deleted") and len(ids) == len(document.get("outbox", ())):
            gone.append(document["_id"])
        elif ids:
            told.append(document["_id"])
            event_ids += ids
    if told:
        await collection.update_many({"_id": {"$in": told}}, {"$pull": {"outbox": {"id": {"$in": event_ids}}}})
    if gone:
        await collection.delete_many({"_id": {"$in": gone}, "deleted": True})
