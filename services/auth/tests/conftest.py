"""What the tests of this package share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from auth_stand import AuthStand, auth_stand
from servers import MongoServer


@pytest.fixture(scope="session")
def mongo_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A store shared by the tests of the session."""
    server = MongoServer(tmp_path_factory.mktemp("mongo"))
    server.start()
    yield server.url
    server.stop()


@pytest_asyncio.fixture
async def auth(mongo_url: str) -> AsyncIterator[AuthStand]:
    """The use cases on a database of the test's own."""
    async with auth_stand(mongo_url) as stand:
        yield stand
