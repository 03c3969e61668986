"""What the tests of this package share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from agents_stand import AgentsStand, Neighbours, neighbours


@pytest.fixture(scope="session")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentsStand]:
    """Two processes of the service; each test makes users and agents of its own."""
    stand = AgentsStand(tmp_path_factory.mktemp("agents"), processes=2)
    try:
        stand.start()
        yield stand
    finally:
        stand.stop()


@pytest_asyncio.fixture
async def around(stand: AgentsStand) -> AsyncIterator[Neighbours]:
    """The services around, connected to the stand's bus."""
    async with neighbours(stand.nats.url) as around:
        yield around
