"""One set of servers and processes for all tests of a directory: a store takes seconds to start."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from campaigns_stand import CampaignsStand, World, world


@pytest.fixture(scope="session")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CampaignsStand]:
    """Two processes of the service."""
    stand = CampaignsStand(tmp_path_factory.mktemp("campaigns"), processes=2)
    try:
        stand.start()
        yield stand
    finally:
        stand.stop()


@pytest.fixture
async def around(stand: CampaignsStand) -> AsyncIterator[World]:
    """The services around it."""
    async with world(stand.nats.url) as around:
        yield around
