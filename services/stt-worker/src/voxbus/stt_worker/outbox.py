"""What a session sends, in order, from code that does not wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from voxbus.contracts.base import Message
from voxbus.runtime.streams import WorkerStream

Step = Callable[[], Coroutine[Any, Any, None]]


class Outbox:
    """Sends to a stream one thing after the other; has a task only while there is something to send.

    `spawn` starts that task, so that its owner sees to failures and cancellation.
    """

    def __init__(self, stream: WorkerStream, spawn: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        self._stream = stream
        self._spawn = spawn
        self._steps: deque[Step] = deque()
        self._sending = False

    def emit(self, message: Message, ack: int | None = None) -> None:
        """Send a message; `ack`, in the same frame, acknowledges that many input frames, so both arrive or neither."""
        self.then(partial(self._emit, message, ack))

    def ack(self, count: int) -> None:
        """Acknowledge the first `count` input frames, not before what was emitted earlier is out."""
        if self._sending:
            self._steps.append(partial(self._ack, count))
        else:
            self._stream.ack(count)

    def then(self, step: Step) -> None:
        """Await `step` when everything before it has been sent."""
        self._steps.append(step)
        if not self._sending:
            self._sending = True
            self._spawn(self._send())

    def clear(self) -> None:
        """Drop what has not been sent."""
        self._steps.clear()

    async def _emit(self, message: Message, ack: int | None) -> None:
        if ack is not None:
            self._stream.ack(ack)
        await self._stream.emit(message)

    async def _ack(self, count: int) -> None:
        self._stream.ack(count)

    async def _send(self) -> None:
        try:
            while self._steps:
                await self._steps.popleft()()
        finally:
            self._sending = False
