"""Voice activity of many calls in one inference: Silero VAD, batched.

A batch of 32 costs half as much per window as single inferences do, and one ticker serves the whole worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
import structlog
from numpy.typing import NDArray

from voxbus.contracts.audio import SAMPLE_RATE
from voxbus.contracts.stage import ErrorCode
from voxbus.runtime.streams import StageFailure
from voxbus.stt_worker import metrics
from voxbus.stt_worker.onnx_session import open_session

WINDOW_SAMPLES: Final = 512
WINDOW_MS: Final = WINDOW_SAMPLES * 1000 // SAMPLE_RATE
_CONTEXT_SAMPLES: Final = 64
_STATE_SHAPE: Final = (2, 128)
_MUTED_WINDOWS: Final = 16
_WINDOWS_PER_BATCH: Final = 8
_LONGEST_WAIT_S: Final = 0.010
_WAIT_PER_STREAM_S: Final = 0.001
FAILURES_TO_GIVE_UP: Final = 5
"""Failed batches in a row after which the streams are better off with another worker."""
PROBE_EVERY_S: Final = 1.0

log = structlog.get_logger(__name__)


def vad_failure() -> StageFailure:
    """Why a deaf worker gives streams up and takes none; another worker may hear them."""
    message = "voice activity detection is out of order in this worker"
    return StageFailure(ErrorCode.INTERNAL, message, retryable=True)


class VadStream:
    """The voice activity of one call: windows that wait, and the model's memory of those before.

    Not for use while `SileroVad.advance` works on it, except `feed`.
    """

    def __init__(self, on_probabilities: Callable[[list[float]], None], on_deaf: Callable[[], None]) -> None:
        self.deliver = on_probabilities
        self.give_up = on_deaf
        self.state = np.zeros(_STATE_SHAPE, dtype=np.float32)
        self.context = np.zeros(_CONTEXT_SAMPLES, dtype=np.float32)
        self.closed = False
        self._pending = bytearray()
        self._muted = 0

    @property
    def has_window(self) -> bool:
        """Whether a whole window waits."""
        return len(self._pending) >= WINDOW_SAMPLES * 2

    def feed(self, pcm: bytes) -> None:
        """Add PCM16 of any whole number of samples."""
        self._pending += pcm

    def take(self, most: int) -> NDArray[np.int16]:
        """The next windows, `most` at most, shape (windows, 512)."""
        windows = min(most, len(self._pending) // (WINDOW_SAMPLES * 2))
        size = windows * WINDOW_SAMPLES * 2
        taken = np.frombuffer(bytes(self._pending[:size]), dtype="<i2").reshape(windows, WINDOW_SAMPLES)
        del self._pending[:size]
        return taken

    def skip_if_muted(self, window: NDArray[np.int16]) -> bool:
        """Whether `window` needs no inference because the call has been digitally silent for half a second.

        A muted microphone sends zeros. After half a second of them nothing of what was heard before matters, and the
        voice that follows is met as a call's first one is: by a model with an empty memory.
        """
        if window.any():
            self._muted = 0
            return False
        self._muted += 1
        if self._muted <= _MUTED_WINDOWS:
            return False
        self.state = np.zeros(_STATE_SHAPE, dtype=np.float32)
        self.context = np.zeros(_CONTEXT_SAMPLES, dtype=np.float32)
        return True


class SileroVad:
    """The model. `advance` is blocking and for one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._session = open_session(path)
        self._rate = np.array(SAMPLE_RATE, dtype=np.int64)

    def advance(self, batch: Sequence[tuple[VadStream, NDArray[np.int16]]]) -> list[list[float]]:
        """The probability (0 to 1) of a voice in each window, shape (windows, 512), of each stream."""
        probabilities: list[list[float]] = [[] for _ in batch]
        for index in range(max(len(windows) for _, windows in batch)):
            heard = []
            for number, (stream, windows) in enumerate(batch):
                if index >= len(windows):
                    continue
                if stream.skip_if_muted(windows[index]):
                    probabilities[number].append(0.0)
                else:
                    heard.append((number, stream, windows[index]))
            if heard:
                values = self._infer([stream for _, stream, _ in heard], [window for _, _, window in heard])
                for (number, _, _), value in zip(heard, values, strict=True):
                    probabilities[number].append(value)
        return probabilities

    def _infer(self, streams: list[VadStream], windows: list[NDArray[np.int16]]) -> list[float]:
        """One window of each stream, in one run; moves the streams' memories on."""
        started = time.monotonic()
        audio = np.empty((len(streams), _CONTEXT_SAMPLES + WINDOW_SAMPLES), dtype=np.float32)
        audio[:, :_CONTEXT_SAMPLES] = [stream.context for stream in streams]
        np.divide(windows, 32768.0, out=audio[:, _CONTEXT_SAMPLES:], casting="unsafe")
        state = np.stack([stream.state for stream in streams], axis=1)
        output, after = self._session.run(None, {"input": audio, "state": state, "sr": self._rate})
        for number, stream in enumerate(streams):
            stream.state = after[:, number].copy()
            stream.context = audio[number, -_CONTEXT_SAMPLES:].copy()
        metrics.VAD_BATCH.observe(len(streams))
        metrics.VAD_SECONDS.observe(time.monotonic() - started)
        values: list[float] = output[:, 0].tolist()
        return values


class VadTicker:
    """Feeds every stream's windows to the model, in batches, from one task and one thread.

    A stream that has fallen behind (audio replayed after a takeover) gets several windows into a batch, so it catches
    up at many times real time without holding up the others.

    A model that fails again and again makes the ticker `deaf`: every stream is told, and the model is tried on silence until
    it works.
    """

    def __init__(self, model: SileroVad) -> None:
        self._model = model
        self._streams: set[VadStream] = set()
        self._waiting: dict[VadStream, None] = {}
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="vad")
        self._task: asyncio.Task[None] | None = None
        self._failures = 0

    @property
    def deaf(self) -> bool:
        """Whether the model has failed so often in a row that no stream should be here."""
        return self._failures >= FAILURES_TO_GIVE_UP

    def start(self) -> None:
        """Start ticking."""
        self._task = asyncio.create_task(self._run(), name="vad-ticker")

    async def stop(self) -> None:
        """Stop ticking; what waits is dropped."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await asyncio.to_thread(self._thread.shutdown)

    def open(self, on_probabilities: Callable[[list[float]], None], on_deaf: Callable[[], None]) -> VadStream:
        """A stream whose windows' probabilities go, in order, to `on_probabilities`.

        `on_deaf` is called, perhaps more than once, while the ticker is deaf. Both are called on the event loop.
        """
        stream = VadStream(on_probabilities, on_deaf)
        self._streams.add(stream)
        return stream

    def feed(self, stream: VadStream, pcm: bytes) -> None:
        """Add audio to a stream."""
        stream.feed(pcm)
        if stream.has_window and not stream.closed:
            self._waiting[stream] = None
            self._wake.set()

    def close(self, stream: VadStream) -> None:
        """Forget a stream; nothing more is delivered to it."""
        stream.closed = True
        self._streams.discard(stream)
        self._waiting.pop(stream, None)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            # The more calls there are, the more windows come in the next milliseconds: wait to batch them.
            await asyncio.sleep(min(_LONGEST_WAIT_S, _WAIT_PER_STREAM_S * (len(self._streams) - 1)))
            while self._waiting:
                await self._tick()
                if self.deaf:
                    await self._recover()
            self._wake.clear()

    async def _tick(self) -> None:
        batch = [(stream, stream.take(_WINDOWS_PER_BATCH)) for stream in self._waiting]
        probabilities = await self._advance(batch)
        if probabilities is None:  # deaf for these windows, but every call's clock stays right
            probabilities = [[0.0] * len(windows) for _, windows in batch]
        for (stream, _), values in zip(batch, probabilities, strict=True):
            if not stream.has_window:
                self._waiting.pop(stream, None)
            if stream.closed:
                continue
            try:
                stream.deliver(values)
            except Exception:  # one call's fault must not silence the others
                log.exception("a stream failed on its voice activity")

    async def _advance(self, batch: Sequence[tuple[VadStream, NDArray[np.int16]]]) -> list[list[float]] | None:
        """The model's answer, off the event loop; None when it fails, which is counted."""
        try:
            probabilities = await asyncio.get_running_loop().run_in_executor(self._thread, self._model.advance, batch)
        except Exception:
            self._failures += 1
            log.exception("voice activity detection failed", failures=self._failures)
            return None
        self._failures = 0
        return probabilities

    async def _recover(self) -> None:
        """Give all streams up, and return once the model works again."""
        log.error("voice activity detection is out of order; giving up all streams", streams=len(self._streams))
        silence = np.zeros((1, WINDOW_SAMPLES), dtype=np.int16)
        while self.deaf:
            for stream in list(self._streams):
                stream.give_up()
            await asyncio.sleep(PROBE_EVERY_S)
            await self._advance([(VadStream(lambda _: None, lambda: None), silence)])
        log.info("voice activity detection works again")
