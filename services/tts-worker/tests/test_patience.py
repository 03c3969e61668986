"""What counts as a provider's failure to give audio in time, and what is only a queue."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from fake_speech import FakeEngine, Listener, choice

from voxbus.contracts.audio import SAMPLE_RATE
from voxbus.contracts.stage import ErrorCode
from voxbus.tts_worker.deadline_pool import DeadlinePool
from voxbus.tts_worker.providers.local import LocalProvider
from voxbus.tts_worker.service import TtsService
from voxbus.tts_worker.settings import Settings

pytestmark = pytest.mark.unit

TIMEOUT_S = 0.2


class Stand:
    """A worker with one thread whose engine makes twenty blocks of a second for each sentence."""

    def __init__(self) -> None:
        self.engine = FakeEngine(blocks=20)
        self.pool = DeadlinePool(1, "test", lambda _: None)
        provider = LocalProvider(1)
        provider._engine, provider._pool = self.engine, self.pool  # type: ignore[assignment]
        settings = Settings(tts_provider_timeout_s=TIMEOUT_S, tts_synthesis_threads=1)
        self.service = TtsService(settings, {"local": provider})

    async def open(self) -> Listener:
        listener = Listener(choice("local"))
        listener.handler = await self.service.open(listener.request, listener.stream)
        return listener


@pytest_asyncio.fixture
async def stand() -> AsyncIterator[Stand]:
    """A worker that was not started, for its engine is there already."""
    stand = Stand()
    yield stand
    stand.engine.hold.set()
    await asyncio.to_thread(stand.pool.close)


async def occupy(pool: DeadlinePool, until: threading.Event) -> asyncio.Task[bool]:
    """Give the only thread the most urgent work there is, until the event."""
    began = threading.Event()
    task = asyncio.create_task(pool.run(0, lambda: began.set() or until.wait(10)))
    await asyncio.to_thread(began.wait, 10)
    return task


async def test_waiting_behind_the_more_urgent_is_no_failure(stand: Stand) -> None:
    """An utterance seconds ahead of its play-out outlasts a wait for the thread that is longer than the time limit."""
    listener = await stand.open()
    await listener.say("a")
    await listener.until(lambda: len(listener.pcm) >= 5 * SAMPLE_RATE * 2)
    free = threading.Event()
    others = await occupy(stand.pool, free)
    with pytest.raises(TimeoutError):
        await listener.until(lambda: listener.outcome is not None, timeout_s=2 * TIMEOUT_S)
    free.set()
    await listener.handler.on_close()
    await listener.ended()
    assert (await others, listener.outcome) == (True, "finished")
    assert listener.done[0].duration_ms == 20_000


async def test_work_that_hangs_is_a_failure_however_far_ahead(stand: Stand) -> None:
    """A lead does not excuse work that runs and gives nothing: it fails in time for the lead to hide the takeover."""
    listener = await stand.open()
    await listener.say("a")
    await listener.until(lambda: len(listener.pcm) >= 5 * SAMPLE_RATE * 2)
    stand.engine.hold.clear()
    await listener.until(lambda: listener.outcome is not None, timeout_s=3)
    assert listener.error is not None
    assert listener.error.code is ErrorCode.TIMEOUT


async def test_a_caller_who_waits_in_silence_is_a_failure(stand: Stand) -> None:
    """Without a lead the time limit holds in the queue as well: another worker may be free."""
    free = threading.Event()
    others = await occupy(stand.pool, free)
    listener = await stand.open()
    await listener.say("a")
    await listener.until(lambda: listener.outcome is not None, timeout_s=3)
    free.set()
    await others
    assert listener.error is not None
    assert listener.error.code is ErrorCode.TIMEOUT
