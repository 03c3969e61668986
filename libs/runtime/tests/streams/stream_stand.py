"""Workers and an owner of the echo stage on a real NATS server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import echo_stage as fakes

from voxbus.contracts.base import new_id
from voxbus.contracts.stage import Stage
from voxbus.contracts.tts import TtsSentence
from voxbus.runtime.bus import LiveBus
from voxbus.runtime.streams import OwnerSettings, StageClient, StageWorker

FAST = OwnerSettings(watchdog_s=0.3, heartbeat_s=0.1, keepalive_s=0.2, open_timeout_s=0.5, open_deadline_s=3.0)


class Stand:
    """Workers and an owner on one server."""

    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self._url, self._stack = url, stack
        self.client: StageClient = None  # type: ignore[assignment]

    async def bus(self) -> LiveBus:
        """One more connection."""
        live = await LiveBus.connect(self._url, "test")
        self._stack.push_async_callback(live.close)
        return live

    async def worker(self, *, capacity: int = 10, acknowledge: bool = True, orphan_timeout_s: float = 5.0) -> Any:
        """A running worker of the echo stage."""
        live = await self.bus()
        service = fakes.EchoService(acknowledge=acknowledge)
        worker = StageWorker(service, live, worker_id=new_id("w"), capacity=capacity, orphan_timeout_s=orphan_timeout_s)
        await worker.start()
        await live.flush()
        self._stack.push_async_callback(worker.stop)
        return worker

    async def owner(self) -> StageClient:
        """A running owner."""
        self.client = StageClient(await self.bus(), new_id("gw"), FAST)
        await self.client.start()
        self._stack.push_async_callback(self.client.stop)
        return self.client


async def until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    """Poll a condition of another task."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


async def opened(stand: Stand) -> tuple[Any, Any]:
    """A listener and its open stream."""
    listener = fakes.RecordingListener()
    stream = await stand.client.open(Stage.TTS, fakes.open_request(), listener)
    return listener, stream


def say(text: str, index: int = 0) -> TtsSentence:
    """A message."""
    return TtsSentence(index=index, text=text)
