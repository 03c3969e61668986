"""Fixtures for the tests of calls."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from call_stand import Stand


@pytest_asyncio.fixture
async def stand(nats_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stand]:
    """Everything started."""
    monkeypatch.chdir(tmp_path)
    async with AsyncExitStack() as stack:
        made = Stand(nats_url, stack)
        await made.start()
        yield made
