"""Event-loop lag: how late the loop runs what was due."""

from __future__ import annotations

import asyncio

from voxbus.runtime.metrics import LOOP_LAG

INTERVAL_S = 0.1


class LagMonitor:
    """Measures the loop's lag ten times a second, into the metric `voxbus_event_loop_lag_seconds`."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to measure."""
        self._task = asyncio.create_task(self._run(), name="lag-monitor")

    async def stop(self) -> None:
        """Stop measuring."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + INTERVAL_S
            await asyncio.sleep(INTERVAL_S)
            LOOP_LAG.observe(max(0.0, loop.time() - due))
