"""The stand of the stream tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest_asyncio
from stream_stand import Stand


@pytest_asyncio.fixture
async def stand(nats_url: str) -> AsyncIterator[Stand]:
    """An owner; the test adds workers."""
    async with AsyncExitStack() as stack:
        made = Stand(nats_url, stack)
        await made.owner()
        yield made
