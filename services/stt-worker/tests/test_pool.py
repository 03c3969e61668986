"""Inference runs on threads of its own, the urgent first, and what is not needed is not run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest

from voxbus.stt_worker.pool import InferencePool, Job, Kind, ShouldStop

pytestmark = pytest.mark.unit


class Gate:
    """Work that holds its thread until it is released or told to stop."""

    def __init__(self) -> None:
        self.running = threading.Event()
        self.released = threading.Event()

    def __call__(self, should_stop: ShouldStop) -> str:
        self.running.set()
        while not self.released.wait(0.005):
            if should_stop():
                return "stopped"
        return "released"


def _append(order: list[str], name: str, _: ShouldStop) -> None:
    order.append(name)


async def running(gate: Gate) -> None:
    """Wait until the gate's thread runs it."""
    assert await asyncio.to_thread(gate.running.wait, 5)


async def finished(job: Job[Any]) -> Any:
    async with asyncio.timeout(5):
        await job.wait()
    return job.value()


@pytest.fixture
async def make_pool() -> AsyncIterator[Callable[[int], InferencePool]]:
    """Makes pools that are closed after the test."""
    pools: list[InferencePool] = []

    def make(threads: int) -> InferencePool:
        pools.append(InferencePool(threads))
        return pools[-1]

    yield make
    for pool in pools:
        await asyncio.to_thread(pool.close)


async def test_work_runs_off_the_event_loop(make_pool: Callable[[int], InferencePool]) -> None:
    """A job runs on another thread than the loop's, and its result comes back."""
    job = make_pool(1).submit(Kind.FINAL, lambda _: threading.get_ident())
    assert await finished(job) != threading.get_ident()


async def test_the_most_urgent_goes_first(make_pool: Callable[[int], InferencePool]) -> None:
    """Queued jobs run by kind, finals before turn questions before interims, and in order within a kind."""
    pool, gate, order = make_pool(1), Gate(), list[str]()
    holding = pool.submit(Kind.FINAL, gate)
    await running(gate)
    kinds = [(Kind.INTERIM, "i"), (Kind.TURN, "t1"), (Kind.FINAL, "f1"), (Kind.TURN, "t2"), (Kind.FINAL, "f2")]
    jobs = [pool.submit(kind, partial(_append, order, name)) for kind, name in kinds]
    gate.released.set()
    await finished(holding)
    for job in jobs:
        await finished(job)
    assert order == ["f1", "f2", "t1", "t2", "i"]


async def test_cancelled_work_is_not_run(make_pool: Callable[[int], InferencePool]) -> None:
    """A job cancelled in the queue has no result and its work is never called."""
    pool, gate, ran = make_pool(1), Gate(), list[int]()
    pool.submit(Kind.FINAL, gate)
    await running(gate)
    dropped = pool.submit(Kind.FINAL, lambda _: ran.append(1))
    after = pool.submit(Kind.FINAL, lambda _: ran.append(2))
    dropped.cancel()
    assert await finished(dropped) is None
    gate.released.set()
    await finished(after)
    assert ran == [2]


async def test_running_work_learns_that_it_was_cancelled(make_pool: Callable[[int], InferencePool]) -> None:
    """A running job that is cancelled gives its result (None) up at once and frees its thread."""
    pool, gate = make_pool(1), Gate()
    job = pool.submit(Kind.FINAL, gate)
    await running(gate)
    job.cancel()
    assert await finished(job) is None
    assert await finished(pool.submit(Kind.FINAL, lambda _: "next")) == "next"


async def test_an_interim_makes_room(make_pool: Callable[[int], InferencePool]) -> None:
    """With every thread busy, a final stops a running interim instead of waiting for it."""
    pool, gate = make_pool(1), Gate()
    interim = pool.submit_if_idle(gate)
    assert interim is not None
    await running(gate)
    assert await finished(pool.submit(Kind.FINAL, lambda _: "final")) == "final"
    assert await finished(interim) is None


async def test_an_interim_is_left_alone_while_there_is_a_thread(make_pool: Callable[[int], InferencePool]) -> None:
    """A final that finds a free thread stops nothing."""
    pool, gate = make_pool(2), Gate()
    interim = pool.submit_if_idle(gate)
    assert interim is not None
    await running(gate)
    await finished(pool.submit(Kind.FINAL, lambda _: None))
    gate.released.set()
    assert await finished(interim) == "released"


async def test_interims_are_skipped_when_behind(make_pool: Callable[[int], InferencePool]) -> None:
    """An interim that would have to wait is not queued."""
    pool, gate = make_pool(1), Gate()
    pool.submit(Kind.FINAL, gate)
    await running(gate)
    assert pool.submit_if_idle(lambda _: None) is None
    gate.released.set()


async def test_a_failure_reaches_who_asked(make_pool: Callable[[int], InferencePool]) -> None:
    """What the work raises comes out of the job, and the thread goes on."""
    pool = make_pool(1)

    def fail(_: ShouldStop) -> None:
        raise ArithmeticError("no")

    with pytest.raises(ArithmeticError, match="no"):
        await finished(pool.submit(Kind.FINAL, fail))
    assert await finished(pool.submit(Kind.FINAL, lambda _: 1)) == 1


async def test_closing_does_not_wait_for_long_work(make_pool: Callable[[int], InferencePool]) -> None:
    """Closing stops running work at its next chance instead of waiting for its end."""
    pool, gate = make_pool(1), Gate()
    pool.submit(Kind.FINAL, gate)
    await running(gate)
    async with asyncio.timeout(5):
        await asyncio.to_thread(pool.close)
    assert not gate.released.is_set()
