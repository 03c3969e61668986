"""The store as it goes away and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog.testing
from pymongo.errors import (
    AutoReconnect,
    DuplicateKeyError,
    NetworkTimeout,
    OperationFailure,
    ServerSelectionTimeoutError,
)
from servers import MongoServer, free_port

from voxbus.contracts.rpc import RequestErrorCode
from voxbus.runtime.store import DocumentStore, StoreSettings, store_failure

pytestmark = pytest.mark.integration


async def until(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    """Poll."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.02)


async def test_a_store_that_is_killed_is_found_again(tmp_path: Path) -> None:
    """Its status follows what happens, each change is logged once, and the same object works again."""
    server = MongoServer(tmp_path / "mongo")
    await asyncio.to_thread(server.start)
    store = DocumentStore(StoreSettings(mongo_url=server.url), "tests")
    with structlog.testing.capture_logs() as logs:
        await store.start()
        await store.reachable()
        await store.collection("agents").insert_one({"_id": "agent_1"})
        assert store.problem() is None
        assert store.status().latency_ms is not None
        server.stop()
        await until(lambda: store.problem() is not None)
        assert store.status().latency_ms is None
        with pytest.raises(Exception) as raised:  # noqa: PT011  # which one is the driver's choice
            await store.collection("agents").find_one({})
        failure = store_failure(raised.value)
        assert failure
        assert (failure.code, failure.error.retryable) == (RequestErrorCode.UNAVAILABLE, True)
        await asyncio.to_thread(server.start)
        await asyncio.wait_for(store.reachable(), 60)
        assert store.problem() is None
        assert await store.collection("agents").find_one({}) == {"_id": "agent_1"}
    await store.stop()
    server.stop()
    assert [line["event"] for line in logs] == ["store answers", "store does not answer, trying again", "store answers"]


async def test_a_store_that_was_never_there_holds_nothing_up() -> None:
    """`start` returns at once, `reachable` waits, and what is logged does not show the password of the URL."""
    url = f"mongodb://ann:hunter2@127.0.0.1:{free_port()}"
    settings = StoreSettings(mongo_url=url)
    assert "hunter2" not in repr(settings)
    store = DocumentStore(settings, "tests")
    with structlog.testing.capture_logs() as logs:
        await store.start()
        waiting = asyncio.create_task(store.reachable())
        await until(lambda: bool(logs))
        assert not waiting.done()
        waiting.cancel()
    await store.stop()
    assert "hunter2" not in f"{logs} {store.problem()}"
    assert store.problem()


@pytest.mark.parametrize(
    ("error", "known"),
    [
        (ServerSelectionTimeoutError("away"), True),
        (AutoReconnect("away"), True),
        (NetworkTimeout("slow"), True),
        (OperationFailure("slow", code=50), True),
        (OperationFailure("wrong", code=2), False),
        (DuplicateKeyError("taken"), False),
        (ValueError("ours"), False),
    ],
)
def test_only_what_may_pass_is_unavailable(error: Exception, known: bool) -> None:
    """Failures that another try may not meet are UNAVAILABLE; mistakes are not."""
    assert (store_failure(error) is not None) is known
