"""Threads for synthesis, earliest deadline first: whose audio runs dry soonest is served next."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(order=True)
class _Job:
    deadline: float
    number: int
    future: asyncio.Future[Any] = field(compare=False)
    work: Callable[[], Any] = field(compare=False)
    queued_at: float = field(compare=False)
    on_start: Callable[[], None] = field(compare=False)


class DeadlinePool:
    """Runs short pieces of work on threads. All methods belong to the event loop's thread.

    Work is as short as the caller cuts it (tens of milliseconds), for running work is never interrupted: cancelling whoever waits
    drops queued work and abandons the result of running work.
    """

    def __init__(self, threads: int, name: str, on_wait: Callable[[float], None]) -> None:
        """`on_wait` is told how many seconds each piece of work waited for a thread."""
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._on_wait = on_wait
        self._idle = threads
        self._queue: list[_Job] = []
        self._numbers = itertools.count()

    async def run(self, deadline: float, work: Callable[[], T], on_start: Callable[[], None] = lambda: None) -> T:
        """The result of `work`; `deadline` is a time of the monotonic clock. Equal deadlines keep their order.

        `on_start` is called as a thread takes the work.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._queue, _Job(deadline, next(self._numbers), future, work, time.monotonic(), on_start))
        self._dispatch()
        return await future

    def close(self) -> None:
        """Drop what is queued and wait for what runs; call it off the event loop."""
        self._queue.clear()
        self._executor.shutdown(wait=True)

    def _dispatch(self) -> None:
        while self._idle and self._queue:
            job = heapq.heappop(self._queue)
            if job.future.done():  # cancelled while it was queued
                continue
            self._idle -= 1
            self._on_wait(time.monotonic() - job.queued_at)
            job.on_start()
            running = asyncio.get_running_loop().run_in_executor(self._executor, job.work)
            running.add_done_callback(lambda done, job=job: self._finished(job, done))  # type: ignore[misc]

    def _finished(self, job: _Job, done: asyncio.Future[Any]) -> None:
        self._idle += 1
        error = done.exception()  # also marks it as seen when nobody waits any more
        if not job.future.done():
            if error is None:
                job.future.set_result(done.result())
            else:
                job.future.set_exception(error)
        self._dispatch()
