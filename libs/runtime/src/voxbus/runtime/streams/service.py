"""What a stage implements: a service per worker process, a handler per open stream."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Generic, TypeVar

from voxbus.contracts.stage import Stage, StreamOpen
from voxbus.runtime.streams.worker_stream import WorkerStream

OpenT = TypeVar("OpenT", bound=StreamOpen)


class StreamHandler(ABC):
    """One open stream of a worker. Callbacks are awaited one after the other and must return fast.

    Input comes in order and without repeats. A stage whose `gaps_are_fatal` is False also sees the input after a gap
    (audio shows it in its timestamps); for the others the stream fails and the owner replays.
    """

    gaps_are_fatal: ClassVar[bool] = True

    async def on_audio(self, seq: int, timestamp_us: int, pcm: bytes) -> None:
        """1 to 50 whole frames of 640 bytes; `timestamp_us` is the media time of the first sample."""

    async def on_message(self, seq: int, body: bytes) -> None:
        """A JSON message of the stage."""

    async def on_close(self) -> None:
        """No more input: finish what is left, then `await stream.finish()` (from a task, if it takes time)."""

    @abstractmethod
    async def on_cancel(self) -> None:
        """Stop at once and free everything: barge-in, takeover elsewhere, orphan or shutdown. Sending is over."""


class StageService(ABC, Generic[OpenT]):
    """One per worker process."""

    stage: ClassVar[Stage]
    open_model: type[OpenT]

    async def start(self) -> None:
        """Load models; the worker takes no streams before this returns."""

    async def stop(self) -> None:
        """Free what `start` made."""

    def problem(self) -> str | None:
        """What keeps this worker from doing its work now, if anything; it then takes no streams and is not ready."""
        return None

    @abstractmethod
    def providers(self) -> tuple[str, ...]:
        """Names of the providers this worker can serve."""

    @abstractmethod
    async def open(self, request: OpenT, stream: WorkerStream) -> StreamHandler:
        """The handler of a new stream. Must be fast; raises StageFailure to refuse."""
