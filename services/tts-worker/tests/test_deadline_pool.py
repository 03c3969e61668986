"""The threads of the local engine: the most urgent first, nobody starved, cancelled work not run."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from functools import partial

import pytest
import pytest_asyncio
from fake_speech import FakeEngine

from voxbus.tts_worker.deadline_pool import DeadlinePool
from voxbus.tts_worker.pace import Pace
from voxbus.tts_worker.patience import Patience
from voxbus.tts_worker.providers.local import LocalUtterance, VoiceSettings

pytestmark = pytest.mark.unit


class Held:
    """Work that runs until it is released."""

    def __init__(self) -> None:
        self.running = threading.Event()
        self.release = threading.Event()

    def __call__(self) -> str:
        self.running.set()
        assert self.release.wait(10)
        return "held"


@pytest_asyncio.fixture
async def pool() -> AsyncIterator[DeadlinePool]:
    """A pool with one thread."""
    pool = DeadlinePool(1, "test", lambda _: None)
    yield pool
    await asyncio.to_thread(pool.close)


async def hold(pool: DeadlinePool) -> tuple[Held, asyncio.Task[str]]:
    """Occupy the only thread."""
    held = Held()
    task = asyncio.create_task(pool.run(0, held))
    await asyncio.to_thread(held.running.wait, 10)
    return held, task


async def test_the_earliest_deadline_goes_first(pool: DeadlinePool) -> None:
    """Queued work runs in the order of its deadlines, equal ones in the order of their coming."""
    held, first = await hold(pool)
    order: list[str] = []
    tasks = [
        asyncio.create_task(pool.run(deadline, partial(order.append, name)))
        for deadline, name in ((3.0, "c"), (1.0, "a"), (2.0, "b1"), (2.0, "b2"))
    ]
    await asyncio.sleep(0)
    held.release.set()
    await asyncio.gather(first, *tasks)
    assert order == ["a", "b1", "b2", "c"]


async def test_cancelled_work_never_runs(pool: DeadlinePool) -> None:
    """Work whose waiter was cancelled while it was queued is dropped, and what is behind it runs."""
    held, first = await hold(pool)
    order: list[str] = []
    dropped = asyncio.create_task(pool.run(1, partial(order.append, "dropped")))
    kept = asyncio.create_task(pool.run(2, partial(order.append, "kept")))
    await asyncio.sleep(0)
    dropped.cancel()
    held.release.set()
    await asyncio.gather(first, kept)
    assert order == ["kept"]


async def test_running_work_is_abandoned(pool: DeadlinePool) -> None:
    """Cancelling whoever waits for running work returns at once; the thread goes on to the next piece when it is free."""
    held, first = await hold(pool)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    following = asyncio.create_task(pool.run(1, lambda: "next"))
    held.release.set()
    assert await following == "next"


async def test_an_error_reaches_the_waiter_and_only_it(pool: DeadlinePool) -> None:
    """What the work raises is raised where it is awaited, and the thread stays usable."""
    with pytest.raises(ZeroDivisionError):
        await pool.run(0, lambda: 1 // 0)
    assert await pool.run(0, lambda: 7) == 7


async def test_no_more_threads_than_asked_for() -> None:
    """Two threads run two pieces at a time, the third waits, and its wait is reported."""
    waits: list[float] = []
    pool = DeadlinePool(2, "test", waits.append)
    works = [Held(), Held(), Held()]
    tasks = [asyncio.create_task(pool.run(0, work)) for work in works]
    await asyncio.to_thread(works[0].running.wait, 10)
    await asyncio.to_thread(works[1].running.wait, 10)
    assert not works[2].running.is_set()
    assert len(waits) == 2
    for work in works:
        work.release.set()
    await asyncio.gather(*tasks)
    assert len(waits) == 3
    await asyncio.to_thread(pool.close)


async def speak(engine: FakeEngine, pool: DeadlinePool, name: str, sentences: int) -> None:
    """An utterance as its handler speaks it: one sentence after the other, audio counted as it leaves."""
    pace = Pace()
    utterance = LocalUtterance(engine, pool, VoiceSettings(), pace, Patience(pace, 10))  # type: ignore[arg-type]
    for sentence in range(sentences):
        pace.words_came(time.monotonic())
        async for pcm in utterance.speak(f"{name}{sentence}"):
            pace.audio_sent(len(pcm) / 32_000)


async def test_utterances_share_the_thread_fairly(pool: DeadlinePool) -> None:
    """Four long utterances on one thread: each has its n-th second of audio before any has more than one second beyond it."""
    engine = FakeEngine(blocks=4)
    held, first = await hold(pool)
    tasks = [asyncio.create_task(speak(engine, pool, name, 2)) for name in "abcd"]
    await asyncio.sleep(0)
    held.release.set()
    await asyncio.gather(first, *tasks)
    made = dict.fromkeys("abcd", 0)
    for block in engine.made:
        made[block[0]] += 1
        assert max(made.values()) - min(made.values()) <= 1
    assert set(made.values()) == {8}


async def test_a_first_sentence_overtakes_later_ones(pool: DeadlinePool) -> None:
    """An utterance that opens while another is ahead of its play-out gets the next piece of work, whoever queued first."""
    engine = FakeEngine(blocks=2)
    engine.hold.clear()
    early = asyncio.create_task(speak(engine, pool, "a", 5))
    while not engine.begun:
        await asyncio.sleep(0)
    held = Held()
    blocked = asyncio.create_task(pool.run(0, held))
    await asyncio.sleep(0)
    engine.hold.set()
    await asyncio.to_thread(held.running.wait, 10)
    late = asyncio.create_task(speak(engine, pool, "b", 1))
    await asyncio.sleep(0)
    held.release.set()
    await asyncio.gather(early, late, blocked)
    assert engine.made[:2] == ["a0", "b0"]


async def test_a_cancelled_utterance_does_no_more_work(pool: DeadlinePool) -> None:
    """Of an utterance that is cancelled in the middle of a block, nothing more is computed than that block."""
    engine = FakeEngine()
    engine.hold.clear()
    task = asyncio.create_task(speak(engine, pool, "a", 3))
    while not engine.begun:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    engine.hold.set()
    assert await pool.run(0, lambda: "free") == "free"
    assert engine.begun == engine.made == ["a0"]
