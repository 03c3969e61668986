"""Steps that bring the database to what the code expects: each once, in order, whoever starts first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

import structlog
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from voxbus.contracts.base import new_id
from voxbus.runtime.store.connection import Document, DocumentStore
from voxbus.runtime.store.documents import now

log = structlog.get_logger(__name__)

COLLECTION = "migrations"
LEASE_S = 30.0
_WAIT_S = 0.2


@dataclass(frozen=True)
class Migration:
    """One step. `apply` must bear being repeated: a process may be killed before the step is marked as done."""

    version: int
    name: str
    apply: Callable[[AsyncDatabase[Document]], Awaitable[None]]


async def migrate(
    store: DocumentStore, service: str, migrations: Sequence[Migration], *, lease_s: float = LEASE_S
) -> list[Migration]:
    """Apply what was not applied yet and return it. Processes that start together take turns.

    A process that dies in the middle holds the others up for `lease_s` at most. Raises what a step raises.
    """
    versions = [step.version for step in migrations]
    if versions != sorted(set(versions)):
        raise ValueError(f"versions must grow: {versions}")
    collection = store.collection(COLLECTION)
    if not await _missing(collection, service, migrations):
        return []
    applied = []
    async with _lock(collection, service, lease_s):
        for step in await _missing(collection, service, migrations):
            await step.apply(store.database)
            mark = {"_id": f"{service}:{step.version}", "name": step.name, "applied_at": now()}
            with suppress(DuplicateKeyError):  # our lease ran out, and another process did it too
                await collection.insert_one(mark)
            log.info("migration applied", version=step.version, name=step.name)
            applied.append(step)
    return applied


async def _missing(
    collection: AsyncCollection[Document], service: str, migrations: Sequence[Migration]
) -> list[Migration]:
    names = [f"{service}:{step.version}" for step in migrations]
    done = {mark["_id"] async for mark in collection.find({"_id": {"$in": names}}, {"_id": 1})}
    return [step for step, name in zip(migrations, names, strict=True) if name not in done]


@asynccontextmanager
async def _lock(collection: AsyncCollection[Document], service: str, lease_s: float) -> AsyncIterator[None]:
    lock, holder = f"{service}:lock", new_id("m")
    while not await _take(collection, lock, holder, lease_s):  # noqa: ASYNC110  # another process holds it
        await asyncio.sleep(_WAIT_S)
    renewing = asyncio.create_task(_renew(collection, lock, holder, lease_s))
    try:
        yield
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
        await collection.delete_one({"_id": lock, "holder": holder})


async def _take(collection: AsyncCollection[Document], lock: str, holder: str, lease_s: float) -> bool:
    """Take the lock when it is free, ours, or its lease ran out."""
    time = now()
    with suppress(DuplicateKeyError):  # another holds it
        await collection.update_one(
            {"_id": lock, "$or": [{"holder": holder}, {"expires_at": {"$lt": time}}]},
            {"$set": {"holder": holder, "expires_at": time + timedelta(seconds=lease_s)}},
            upsert=True,
        )
        return True
    return False


async def _renew(collection: AsyncCollection[Document], lock: str, holder: str, lease_s: float) -> None:
    while True:
        await asyncio.sleep(lease_s / 3)
        try:
            await _take(collection, lock, holder, lease_s)
        except Exception as error:  # the next try may succeed, and the steps bear being repeated
            log.warning("lease of migrations not renewed", error=type(error).__name__)
