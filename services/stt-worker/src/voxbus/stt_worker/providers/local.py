"""Provider `local`: Moonshine on this machine, offline.

Moonshine is no streaming model. While the caller speaks, the growing segment is decoded again and again for interim words;
when they pause, it is decoded for good while the turn model still thinks, so that the final words are mostly there when the
turn is over. Long speech is cut into pieces, since the model begins to invent words after about 20 s.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import structlog
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from voxbus.contracts.stage import ErrorCode
from voxbus.runtime.streams import StageFailure
from voxbus.stt_worker import models
from voxbus.stt_worker.audio import AudioBuffer, quietest_ms, to_float
from voxbus.stt_worker.moonshine import MODEL_NAME, Moonshine, Recognition
from voxbus.stt_worker.pool import InferencePool, Job, Kind, ShouldStop
from voxbus.stt_worker.prepare import prepare
from voxbus.stt_worker.providers.base import RecogniserSession, SttProvider, Words

PRE_ROLL_MS: Final = 300
"""What the recogniser gets of the time before the voice was noticed: soft first sounds."""
TRAIL_MS: Final = 160
"""What it gets of the pause after it; less than the shortest pause."""
KEEP_MS: Final = 1000
"""How long quiet audio is kept for a voice that has begun in it and was not noticed yet."""
INTERIM_EVERY_MS: Final = 700
CUT_AT_PAUSE_FROM_MS: Final = 8_000
CUT_AT_DIP_FROM_MS: Final = 15_000
_DIP_MARGIN_MS: Final = 200

log = structlog.get_logger(__name__)


class LocalSettings(BaseModel):
    """Settings of the provider `local`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    interim: bool = True
    """Send interim transcripts; without them a call costs a fifth of the CPU."""


class LocalProvider(SttProvider):
    """Moonshine base.en, shared by all calls."""

    name: ClassVar[str] = "local"

    def __init__(self, pool: InferencePool, cache: Path) -> None:
        self._pool = pool
        self._cache = cache
        self._moonshine: Moonshine | None = None

    async def start(self) -> None:
        """Prepare the weights if need be, load and warm them up; raises ModelError or OSError."""
        self._moonshine = await asyncio.to_thread(self._load)

    def _load(self) -> Moonshine:
        prepared = prepare(self._cache, _log_progress)
        moonshine = Moonshine.load(prepared.directory, models.moonshine_source())
        moonshine.transcribe(np.zeros(16_000, dtype=np.float32))
        return moonshine

    async def open(self, language: str, settings: Mapping[str, JsonValue]) -> RecogniserSession:
        """A session; raises StageFailure (bad_request) for unknown settings and languages other than English."""
        if self._moonshine is None:
            raise RuntimeError("the provider was not started")
        if language.split("-", maxsplit=1)[0] != "en":
            message = f"the local recogniser understands English (en) only, not {language!r}"
            raise StageFailure(ErrorCode.BAD_REQUEST, message, retryable=False)
        return LocalSession(self._moonshine, self._pool, parse_settings(settings))


def parse_settings(settings: Mapping[str, JsonValue]) -> LocalSettings:
    """The typed settings; raises StageFailure (bad_request) that says what is allowed."""
    try:
        return LocalSettings.model_validate(settings, strict=True)
    except ValidationError as error:
        wrong = ", ".join(sorted({str(problem["loc"][0]) for problem in error.errors()}))
        message = f"stt provider local: wrong setting {wrong}; allowed: interim (true or false)"
        raise StageFailure(ErrorCode.BAD_REQUEST, message, retryable=False) from None


def _log_progress(step: int, steps: int, text: str) -> None:
    log.info("preparing the speech recogniser, once", step=step, steps=steps, doing=text)


@dataclass(frozen=True)
class _Piece:
    """Part of a turn that is being decoded for good."""

    start_ms: int
    end_ms: int
    job: Job[Recognition | None]


class LocalSession(RecogniserSession):
    """One call. A segment is the running turn's speech that has no final words yet."""

    model: ClassVar[str] = MODEL_NAME

    def __init__(self, moonshine: Moonshine, pool: InferencePool, settings: LocalSettings) -> None:
        self._moonshine = moonshine
        self._pool = pool
        self._settings = settings
        self._audio: AudioBuffer | None = None
        self._segment_ms: int | None = None
        self._done_until_ms = 0
        self._next_interim_ms = 0
        self._interim: Job[Recognition | None] | None = None
        self._speculative: _Piece | None = None
        self._pieces: deque[_Piece] = deque()
        self._closed = False

    def hear(self, pcm: bytes, at_ms: int) -> None:
        if self._audio is None:
            self._audio = AudioBuffer(at_ms)
        self._audio.append(pcm)

    def quiet_until(self, now_ms: int) -> None:
        self._buffer.trim(now_ms - KEEP_MS)

    def speech_started(self, at_ms: int) -> None:
        if self._segment_ms is None:
            self._segment_ms = max(at_ms - PRE_ROLL_MS, self._done_until_ms, self._buffer.start_ms)
            self._next_interim_ms = at_ms + INTERIM_EVERY_MS
        paused, self._speculative = self._speculative, None
        if paused is None:
            return
        if paused.end_ms - paused.start_ms < CUT_AT_PAUSE_FROM_MS:
            paused.job.cancel()
        else:
            self._settle(paused)

    def speech_until(self, now_ms: int) -> None:
        if self._segment_ms is None:
            return
        if now_ms - self._segment_ms >= CUT_AT_DIP_FROM_MS:
            self._settle(self._decode(self._segment_ms, self._find_dip(self._segment_ms, now_ms)))
        elif now_ms >= self._next_interim_ms:
            self._start_interim(self._segment_ms, now_ms)

    def speech_paused(self, at_ms: int) -> None:
        self._drop_interim()
        if self._segment_ms is not None:
            self._speculative = self._decode(self._segment_ms, at_ms + TRAIL_MS)

    async def finish_turn(self, speech_end_ms: int) -> None:
        self._drop_interim()
        last, self._speculative = self._speculative, None
        if last is None and self._segment_ms is not None:
            last = self._decode(self._segment_ms, min(speech_end_ms + TRAIL_MS, self._buffer.end_ms))
        if last is not None:
            self._settle(last)
        for piece in list(self._pieces):
            await piece.job.wait()
        self._deliver()
        self._segment_ms = None

    def close(self) -> None:
        self._closed = True
        self._drop_interim()
        for piece in (*self._pieces, *([self._speculative] if self._speculative else [])):
            piece.job.cancel()

    @property
    def _buffer(self) -> AudioBuffer:
        if self._audio is None:
            raise RuntimeError("there is no speech before there is audio")
        return self._audio

    def _transcription(self, from_ms: int, to_ms: int) -> partial[Recognition | None]:
        return partial(_transcribe, self._moonshine, self._buffer.samples(from_ms, to_ms))

    def _decode(self, start_ms: int, end_ms: int) -> _Piece:
        return _Piece(start_ms, end_ms, self._pool.submit(Kind.FINAL, self._transcription(start_ms, end_ms)))

    def _settle(self, piece: _Piece) -> None:
        """The turn goes on, or ends, after `piece`, whose words are final."""
        self._drop_interim()
        self._pieces.append(piece)
        self._segment_ms = self._done_until_ms = piece.end_ms
        self._next_interim_ms = piece.end_ms + INTERIM_EVERY_MS
        piece.job.on_done(self._deliver)

    def _deliver(self) -> None:
        """Hand over the pieces that are done, in order."""
        while self._pieces and self._pieces[0].job.done and not self._closed:
            piece = self._pieces.popleft()
            try:
                recognition = piece.job.value() or Recognition("")
            except Exception:
                log.exception("decoding failed")
                message = "the local recogniser failed"
                self.listener.on_failure(StageFailure(ErrorCode.PROVIDER_FAILED, message, retryable=True))
                return
            self._buffer.trim(piece.end_ms)
            self.listener.on_final(Words(recognition.text, piece.start_ms, piece.end_ms, recognition.confidence))

    def _find_dip(self, start_ms: int, now_ms: int) -> int:
        """Where to cut a long segment: its quietest moment between the shortest good length and just now."""
        from_ms = start_ms + CUT_AT_PAUSE_FROM_MS
        return from_ms + quietest_ms(self._buffer.samples(from_ms, now_ms - _DIP_MARGIN_MS))

    def _start_interim(self, start_ms: int, now_ms: int) -> None:
        """Decode what there is of the segment, unless that would delay more important work."""
        # Decoding takes longer the longer the segment: ask less often then, so the cost per second stays the same.
        self._next_interim_ms = now_ms + max(INTERIM_EVERY_MS, (now_ms - start_ms) // 8)
        busy = self._pieces or (self._interim is not None and not self._interim.done)
        if not self._settings.interim or busy:
            return
        job = self._pool.submit_if_idle(self._transcription(start_ms, now_ms))
        if job is not None:
            self._interim = job
            job.on_done(lambda: self._deliver_interim(job, start_ms, now_ms))

    def _deliver_interim(self, job: Job[Recognition | None], start_ms: int, end_ms: int) -> None:
        if job.stopped or self._closed:
            return
        try:
            recognition = job.value()
        except Exception:  # the final words may yet come
            log.exception("decoding interim words failed")
            return
        if recognition is not None and recognition.text:
            self.listener.on_interim(Words(recognition.text, start_ms, end_ms, recognition.confidence))

    def _drop_interim(self) -> None:
        if self._interim is not None:
            self._interim.cancel()
            self._interim = None


def _transcribe(moonshine: Moonshine, samples: NDArray[np.int16], should_stop: ShouldStop) -> Recognition | None:
    return moonshine.transcribe(to_float(samples), should_stop)
