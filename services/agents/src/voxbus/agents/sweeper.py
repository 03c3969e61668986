"""Looks for versions whose agent is gone, now and then."""

from __future__ import annotations

import asyncio
import random

import structlog

from voxbus.agents.repository import AgentRepository

log = structlog.get_logger(__name__)


class Sweeper:
    """A task of each process; several at once do no harm."""

    def __init__(self, repository: AgentRepository, interval_s: float) -> None:
        self._repository = repository
        self._interval_s = interval_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; the first look comes within one interval, not at once in all processes."""
        self._task = asyncio.create_task(self._run(), name="version-sweeper")

    async def stop(self) -> None:
        """End."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(random.uniform(0.5, 1) * self._interval_s)  # noqa: S311  # to spread processes
            try:
                removed = await self._repository.sweep()
            except Exception as error:  # the store is away; there is a next time
                log.warning("sweep of versions failed", error=type(error).__name__)
            else:
                if removed:
                    log.info("versions of deleted agents removed", count=removed)
