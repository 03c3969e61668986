"""Migrations of several processes and of processes that die."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from voxbus.runtime.store import DocumentStore
from voxbus.runtime.store.connection import Document
from voxbus.runtime.store.migrations import COLLECTION, Migration, migrate

pytestmark = pytest.mark.integration


def steps(calls: list[int], count: int, takes_s: float = 0.0) -> list[Migration]:
    """Steps that note their version."""

    def step(version: int) -> Callable[[object], Awaitable[None]]:
        async def apply(_database: object) -> None:
            await asyncio.sleep(takes_s)
            calls.append(version)

        return apply

    return [Migration(version, f"step {version}", step(version)) for version in range(1, count + 1)]


async def marks(store: DocumentStore) -> list[Document]:
    """What is kept about migrations, in order."""
    return await store.collection(COLLECTION).find({}).sort("_id").to_list()


async def test_each_step_runs_once_and_in_order(store: DocumentStore) -> None:
    """A later start applies only what is new."""
    calls: list[int] = []
    assert [step.version for step in await migrate(store, "agents", steps(calls, 2))] == [1, 2]
    assert await migrate(store, "agents", steps(calls, 2)) == []
    assert [step.version for step in await migrate(store, "agents", steps(calls, 3))] == [3]
    assert calls == [1, 2, 3]
    assert [mark["_id"] for mark in await marks(store)] == ["agents:1", "agents:2", "agents:3"]


async def test_services_have_versions_of_their_own(store: DocumentStore) -> None:
    """Step 1 of one service is not step 1 of another."""
    calls: list[int] = []
    await migrate(store, "agents", steps(calls, 1))
    await migrate(store, "auth", steps(calls, 1))
    assert calls == [1, 1]


async def test_processes_that_start_together_apply_each_step_once(store: DocumentStore) -> None:
    """Of five that begin at the same time one works, and all go on when it is done."""
    calls: list[int] = []
    applied = await asyncio.gather(*(migrate(store, "agents", steps(calls, 3, takes_s=0.05)) for _ in range(5)))
    assert calls == [1, 2, 3]
    assert sorted(len(done) for done in applied) == [0, 0, 0, 0, 3]


async def test_a_long_step_keeps_its_lock(store: DocumentStore) -> None:
    """The lease is renewed while a step takes longer than it."""
    calls: list[int] = []
    await asyncio.gather(*(migrate(store, "agents", steps(calls, 1, takes_s=1.5), lease_s=0.5) for _ in range(2)))
    assert calls == [1]


async def test_a_killed_process_does_not_block_the_others(store: DocumentStore) -> None:
    """The lock of one that died in the middle of a step is taken over when its lease ran out."""
    begun = asyncio.Event()

    async def hang(_database: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    dying = asyncio.create_task(migrate(store, "agents", [Migration(1, "hangs", hang)], lease_s=0.3))
    await begun.wait()
    lock = await store.collection(COLLECTION).find_one({"_id": "agents:lock"})
    assert lock
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    await store.collection(COLLECTION).replace_one({"_id": "agents:lock"}, lock, upsert=True)  # it could not clean up
    calls: list[int] = []
    await migrate(store, "agents", steps(calls, 1))
    assert calls == [1]


async def test_a_step_that_fails_is_tried_again_at_the_next_start(store: DocumentStore) -> None:
    """What a step raises goes through, later steps do not run, and the lock is free."""
    calls: list[int] = []

    async def fail(_database: object) -> None:
        raise ZeroDivisionError

    good = steps(calls, 3)
    with pytest.raises(ZeroDivisionError):
        await migrate(store, "agents", [good[0], Migration(2, "fails", fail), good[2]])
    assert calls == [1]
    await migrate(store, "agents", good)
    assert calls == [1, 2, 3]


async def test_versions_that_do_not_grow_are_refused(store: DocumentStore) -> None:
    """Two steps with one version are a mistake of the author's."""
    one, two = steps([], 2)
    for wrong in ([two, one], [one, one]):
        with pytest.raises(ValueError, match="versions must grow"):
            await migrate(store, "agents", wrong)
