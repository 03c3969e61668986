"""A store for the tests, with a database for each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from servers import MongoServer

from voxbus.contracts.base import new_id
from voxbus.runtime.store import DocumentStore, StoreSettings


@pytest.fixture(scope="session")
def mongo_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server shared by the tests of the session."""
    server = MongoServer(tmp_path_factory.mktemp("mongo"))
    server.start()
    yield server.url
    server.stop()


@pytest_asyncio.fixture
async def store(mongo_url: str) -> AsyncIterator[DocumentStore]:
    """A store with a database of its own."""
    async with opened(mongo_url) as made:
        await made.reachable()
        yield made
        await made.database.client.drop_database(made.database.name)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[DocumentStore]:
    """A connection to a fresh database."""
    store = DocumentStore(StoreSettings(mongo_url=url, mongo_database=new_id("test")), "tests")
    await store.start()
    try:
        yield store
    finally:
        await store.stop()
