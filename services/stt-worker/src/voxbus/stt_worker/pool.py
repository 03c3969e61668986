"""Threads for inference, with priorities, so that no inference blocks the event loop and no interim delays a final."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import threading
import time
from collections.abc import Callable
from enum import IntEnum
from functools import partial
from typing import Any, Final, Generic, TypeVar

from voxbus.stt_worker import metrics

T = TypeVar("T")

ShouldStop = Callable[[], bool]


class Kind(IntEnum):
    """What is inferred; the smaller, the more urgent."""

    FINAL = 0
    TURN = 1
    INTERIM = 2


_LABELS: Final = {kind: kind.name.lower() for kind in Kind}


class Job(Generic[T]):
    """One inference, queued or running. Made by the pool."""

    def __init__(self, kind: Kind, work: Callable[[ShouldStop], T], loop: asyncio.AbstractEventLoop) -> None:
        self.kind = kind
        self._work = work
        self._loop = loop
        self._queued_at = time.monotonic()
        self._stopped = False
        self._future: asyncio.Future[T | None] = loop.create_future()

    def stop(self) -> None:
        """Let the work end at its next chance; safe from any thread."""
        self._stopped = True

    def cancel(self) -> None:
        """Don't run it, or stop it at the next chance; its result is None, now."""
        self.stop()
        if not self._future.done():
            self._future.set_result(None)

    @property
    def stopped(self) -> bool:
        """Whether it was cancelled."""
        return self._stopped

    @property
    def done(self) -> bool:
        """Whether the result is there."""
        return self._future.done()

    async def wait(self) -> None:
        """Return once the result is there."""
        await asyncio.wait([self._future])

    def value(self) -> T | None:
        """What the work returned, None if it was cancelled; raises what the work raised. Only for a job that is done."""
        return self._future.result()

    def on_done(self, callback: Callable[[], None]) -> None:
        """Call `callback` on the event loop once the result is there."""
        self._future.add_done_callback(lambda _: callback())

    def run(self) -> None:
        """Do the work; called by a thread of the pool."""
        started = time.monotonic()
        metrics.QUEUE_SECONDS.labels(_LABELS[self.kind]).observe(started - self._queued_at)
        try:
            value = self._work(lambda: self._stopped)
        except Exception as error:  # whoever awaits the result decides
            resolve = partial(self._future.set_exception, error)
        else:
            resolve = partial(self._future.set_result, value)
        metrics.INFERENCE_SECONDS.labels(_LABELS[self.kind]).observe(time.monotonic() - started)
        with contextlib.suppress(RuntimeError):  # the loop closed while this ran
            self._loop.call_soon_threadsafe(self._resolve, resolve)

    def _resolve(self, resolve: Callable[[], None]) -> None:
        if not self._future.done():
            resolve()


class InferencePool:
    """Runs jobs, the most urgent first, in order within a kind. All methods belong to the event loop's thread."""

    def __init__(self, threads: int) -> None:
        self._queue: list[tuple[int, int, Job[Any]]] = []
        self._running: set[Job[Any]] = set()
        self._numbers = itertools.count()
        self._ready = threading.Condition()
        self._closing = False
        self._threads = [
            threading.Thread(target=self._work, name=f"inference-{n}", daemon=True) for n in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, kind: Kind, work: Callable[[ShouldStop], T]) -> Job[T]:
        """Queue `work`; when every thread is busy, a running interim is stopped to make room for it."""
        job = Job(kind, work, asyncio.get_running_loop())
        with self._ready:
            heapq.heappush(self._queue, (kind, next(self._numbers), job))
            self._ready.notify()
            victim = self._interim_in_the_way()
        if victim is not None:
            metrics.INTERIMS_SKIPPED.inc()
            victim.cancel()
        return job

    def submit_if_idle(self, work: Callable[[ShouldStop], T]) -> Job[T] | None:
        """Queue an interim, unless it would have to wait; None then."""
        with self._ready:
            busy = len(self._queue) + len(self._running) >= len(self._threads)
        if busy:
            metrics.INTERIMS_SKIPPED.inc()
            return None
        return self.submit(Kind.INTERIM, work)

    def close(self) -> None:
        """Drop what is queued, stop what is running and wait for the threads; call it off the event loop."""
        with self._ready:
            self._closing = True
            self._queue.clear()
            for job in self._running:
                job.stop()
            self._ready.notify_all()
        for thread in self._threads:
            thread.join()

    def _interim_in_the_way(self) -> Job[Any] | None:
        """A running interim to stop, when something more urgent has no thread."""
        waiting = sum(1 for kind, _, job in self._queue if kind < Kind.INTERIM and not job.stopped)
        leaving = sum(1 for job in self._running if job.stopped)
        if waiting <= len(self._threads) - len(self._running) + leaving:
            return None
        return next((job for job in self._running if job.kind is Kind.INTERIM and not job.stopped), None)

    def _work(self) -> None:
        while (job := self._take()) is not None:
            job.run()
            with self._ready:
                self._running.discard(job)

    def _take(self) -> Job[Any] | None:
        with self._ready:
            while True:
                self._ready.wait_for(lambda: self._queue or self._closing)
                if self._closing:
                    return None
                _, _, job = heapq.heappop(self._queue)
                if not job.stopped:
                    self._running.add(job)
                    return job
