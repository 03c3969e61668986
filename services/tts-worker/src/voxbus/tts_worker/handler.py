"""One utterance on the bus: sentences in, their audio out."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

from pydantic import ValidationError

from voxbus.contracts.stage import ErrorCode
from voxbus.contracts.tts import TtsSentence, TtsSentenceDone, TtsSentenceStarted
from voxbus.runtime.streams import StageFailure, StreamHandler, WorkerStream
from voxbus.tts_worker import metrics
from voxbus.tts_worker.audio_out import AudioOut
from voxbus.tts_worker.markup import plain_parts
from voxbus.tts_worker.pace import Pace
from voxbus.tts_worker.patience import Patience
from voxbus.tts_worker.voices import Voices


@dataclass(frozen=True)
class _Received:
    """A sentence that waits to be spoken; `seq` is its input frame's, `at` its arrival (monotonic)."""

    sentence: TtsSentence
    seq: int
    at: float


class UtteranceHandler(StreamHandler):
    """Speaks the sentences of one stream in order, in one task."""

    def __init__(self, stream: WorkerStream, voices: Voices, pace: Pace, patience: Patience) -> None:
        self._stream = stream
        self._voices = voices
        self._pace = pace
        self._patience = patience
        self._out = AudioOut(stream, pace)
        self._sentences: asyncio.Queue[_Received | None] = asyncio.Queue()
        self._last_index = -1
        self._task = asyncio.create_task(self._run())

    async def on_message(self, seq: int, body: bytes) -> None:
        """A sentence; one whose index is known is ignored. Raises StageFailure when it is none."""
        try:
            sentence = TtsSentence.model_validate_json(body)
        except ValidationError:
            message = "a sentence has an index (0, 1, 2…) and a text"
            raise StageFailure(ErrorCode.BAD_REQUEST, message, retryable=False) from None
        if sentence.index > self._last_index:
            self._last_index = sentence.index
            self._sentences.put_nowait(_Received(sentence, seq, time.monotonic()))

    async def on_close(self) -> None:
        """No more sentences: end after the last one."""
        self._sentences.put_nowait(None)

    async def on_cancel(self) -> None:
        """Drop what is queued and abandon what runs."""
        self._task.cancel()
        await asyncio.wait([self._task])
        await self._voices.close()  # a task that never began to run could not do it

    async def _run(self) -> None:
        try:
            while (received := await self._sentences.get()) is not None:
                await self._speak(received)
            await self._stream.finish()
        except StageFailure as failure:
            await self._stream.fail(failure)
        except Exception:
            self._stream.log.exception("utterance failed")
            message = "the worker failed to speak a sentence"
            await self._stream.fail(StageFailure(ErrorCode.INTERNAL, message, retryable=True))
        finally:
            await self._voices.close()

    async def _speak(self, received: _Received) -> None:
        self._pace.words_came(received.at)
        self._begin(received)
        parts = await _plain(received.sentence.text)
        if parts:
            await self._speak_with_fallbacks(parts, received)
        duration_ms = self._out.sentence_ms
        if not duration_ms:
            await self._started(received)
        # The acknowledgement leaves with the next frame, which is the message that says the sentence is done.
        self._stream.ack(received.seq + 1)
        await self._stream.emit(TtsSentenceDone(index=received.sentence.index, duration_ms=duration_ms))

    async def _speak_with_fallbacks(self, parts: list[str], received: _Received) -> None:
        while True:
            provider = self._voices.provider
            try:
                await self._synthesise(parts)
            except Exception as error:
                failure = _as_failure(error, provider)
                metrics.SENTENCES.labels(provider, failure.code.value).inc()
                self._log_failure(error, provider, failure)
                # Audio that left cannot be taken back: only an unheard sentence may change its voice.
                if self._out.sentence_ms or not await self._voices.next():
                    raise failure from error
                metrics.FALLBACKS.labels(self._voices.provider).inc()
                self._begin(received)
            else:
                metrics.SENTENCES.labels(provider, "ok").inc()
                return

    async def _synthesise(self, parts: list[str]) -> None:
        began = time.monotonic()
        provider = self._voices.provider
        try:
            for part in parts:
                await self._synthesise_part(part)
            await self._out.end_sentence()
        finally:  # also what was sent before a failure or a barge-in
            metrics.AUDIO_SECONDS.labels(provider).inc(self._out.sentence_ms / 1000)
        metrics.SYNTHESIS_SECONDS.labels(provider).observe(time.monotonic() - began)

    async def _synthesise_part(self, text: str) -> None:
        async with aclosing(self._voices.speak(text)) as chunks:
            while True:
                async with self._patience.next_audio():
                    pcm = await anext(chunks, None)
                if pcm is None:
                    return
                await self._out.write(pcm)

    def _begin(self, received: _Received) -> None:
        self._out.begin_sentence(partial(self._started, received))

    async def _started(self, received: _Received) -> None:
        elapsed_s = time.monotonic() - received.at
        if not self._out.sent_frames:
            metrics.FIRST_AUDIO_SECONDS.labels(self._voices.provider).observe(elapsed_s)
        await self._stream.emit(TtsSentenceStarted(index=received.sentence.index, elapsed_ms=elapsed_s * 1000))

    def _log_failure(self, error: Exception, provider: str, failure: StageFailure) -> None:
        """Type only: a provider's message may quote the text. The traceback is for whoever debugs."""
        details = {"provider": provider, "code": failure.code.value, "error": type(error).__name__}
        self._stream.log.warning("synthesis failed", **details)
        self._stream.log.debug("synthesis failed, traceback", exc_info=error, **details)


async def _plain(text: str) -> list[str]:
    """What can be spoken of a sentence, in parts; other streams have their turn between two of them."""
    parts = []
    for part in plain_parts(text):
        parts.append(part)
        await asyncio.sleep(0)
    return parts


def _as_failure(error: Exception, provider: str) -> StageFailure:
    if isinstance(error, StageFailure):
        return error
    if isinstance(error, TimeoutError):
        return StageFailure(ErrorCode.TIMEOUT, f"the provider {provider} gave no audio in time", retryable=True)
    message = f"the provider {provider} failed to speak a sentence"
    return StageFailure(ErrorCode.PROVIDER_FAILED, message, retryable=True)
