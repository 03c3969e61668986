"""One call in this worker: its audio, its turns and its words, out as messages."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Coroutine
from typing import Any, ClassVar

from voxbus.contracts.stage import ErrorCode
from voxbus.contracts.stt import SpeechPaused, SpeechStarted, SttOpen, TurnEnded
from voxbus.runtime.streams import StageFailure, StreamHandler, WorkerStream
from voxbus.stt_worker import metrics
from voxbus.stt_worker.arrivals import Arrivals
from voxbus.stt_worker.audio import AudioBuffer, GapError, Timeline
from voxbus.stt_worker.engines import Engines
from voxbus.stt_worker.outbox import Outbox
from voxbus.stt_worker.providers.base import RecogniserSession, Words, WordsListener
from voxbus.stt_worker.questions import Questions
from voxbus.stt_worker.turns import Ask, Decision, Ended, Paused, Started, TurnMachine
from voxbus.stt_worker.vad import WINDOW_MS, vad_failure

ANSWER_WITHIN_MS = 160
"""Audio that may be heard past an open question. A live answer is there sooner; replayed audio must wait for it, or a turn
that ended in the replay would be seen to go on."""
REPLAY_MARGIN_MS = 500
"""What a taking-over worker is given of the time before a voice: the pre-roll, and for the voice to be noticed again."""
MODEL_WINDOW_MS = 8000
FINISH_WITHIN_S = 5.0
"""Many times what the last words take, even when a whole worker's calls have just been taken over; a call that waits longer
for them is better off with another worker."""


class SttSession(StreamHandler, WordsListener):
    """The handler of one stream.

    Audio goes to the recogniser and to the batched voice activity detection; its answers drive the turn machine, window by
    window. The machine waits while the last turn's final words are being recognised, so messages are in the order of the call.
    There is no task while nothing is to be sent.
    """

    gaps_are_fatal: ClassVar[bool] = False

    def __init__(self, request: SttOpen, stream: WorkerStream, engines: Engines, recogniser: RecogniserSession) -> None:
        self._request = request
        self._stream = stream
        self._engines = engines
        self._recogniser = recogniser
        self._vad_stream = engines.vad.open(self._on_probabilities, self._on_deaf)
        self._begun = False
        self._timeline: Timeline
        self._machine: TurnMachine
        self._audio: AudioBuffer
        self._probabilities: deque[float] = deque()
        self._arrivals = Arrivals()
        self._questions = Questions(
            engines.smart_turn, engines.pool, request.turn_taking.silence_ms, self._on_answer, stream.log
        )
        self._texts = [request.turn_text] if request.turn_text else []
        self._final_until_ms = 0
        self._finishing = False
        self._closing = False
        self._over = False
        self._outbox = Outbox(stream, self._spawn)
        self._tasks: set[asyncio.Task[None]] = set()
        recogniser.listen(self)

    # Input.

    async def on_audio(self, seq: int, timestamp_us: int, pcm: bytes) -> None:
        """Audio of the caller; late audio is preceded by silence, so that the time line stays true."""
        if self._over:
            return
        if not self._begun:
            self._begin(timestamp_us)
        start_ms = self._timeline.end_ms
        try:
            placed = self._timeline.place(timestamp_us, pcm)
        except GapError as error:
            raise StageFailure(ErrorCode.BAD_REQUEST, str(error), retryable=False) from None
        self._arrivals.add(seq, self._timeline.end_ms, time.monotonic())
        self._audio.append(placed)
        self._recogniser.hear(placed, start_ms)
        self._engines.vad.feed(self._vad_stream, placed)

    async def on_close(self) -> None:
        """Finish the running turn, then the stream."""
        if not self._begun:
            self._begin((self._request.turn_start_ms or 0) * 1000)
        self._closing = True
        self._advance()

    async def on_cancel(self) -> None:
        """Free everything."""
        self._free()

    def _begin(self, timestamp_us: int) -> None:
        self._begun = True
        request = self._request
        self._timeline = Timeline(timestamp_us)
        start_ms = self._timeline.origin_ms
        self._audio = AudioBuffer(start_ms)
        turn_start_ms = request.turn_start_ms
        if turn_start_ms is None and request.turn_text:
            turn_start_ms = start_ms
        self._machine = TurnMachine(start_ms, request.turn_taking.silence_ms, turn_start_ms=turn_start_ms)

    # Turns.

    def _on_probabilities(self, values: list[float]) -> None:
        self._probabilities.extend(values)
        self._advance()

    def _on_deaf(self) -> None:
        self.on_failure(vad_failure())

    def _advance(self) -> None:
        """Go on as far as possible; a fault ends the stream, for a call that is not heard any more must move."""
        try:
            self._hear_waiting()
        except Exception as error:
            self._spawn(self._crash(error))

    def _hear_waiting(self) -> None:
        """Hear the windows that wait, as far as nothing that was begun must be finished first."""
        while self._probabilities and not self._held:
            self._follow(self._machine.hear(self._probabilities.popleft()))
            if not self._finishing:
                self._tell_progress()
        if self._closing and not self._over and not self._finishing and self._all_heard:
            self._end_stream()

    @property
    def _held(self) -> bool:
        return self._finishing or self._over or self._machine.unanswered_ms >= ANSWER_WITHIN_MS

    @property
    def _all_heard(self) -> bool:
        return self._timeline.end_ms - self._machine.now_ms < WINDOW_MS

    def _tell_progress(self) -> None:
        machine = self._machine
        if machine.speaking:
            self._recogniser.speech_until(machine.now_ms)
        elif not machine.in_turn:
            self._recogniser.quiet_until(machine.needed_from_ms)
        keep_ms = max(machine.needed_from_ms, machine.now_ms - MODEL_WINDOW_MS) - REPLAY_MARGIN_MS
        self._audio.trim(keep_ms)
        self._acknowledge()

    def _follow(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            match decision:
                case Started():
                    self._questions.drop()
                    self._recogniser.speech_started(decision.at_ms)
                    self._outbox.emit(SpeechStarted(at_ms=decision.at_ms))
                case Paused():
                    self._recogniser.speech_paused(decision.at_ms)
                    self._outbox.emit(SpeechPaused(at_ms=decision.at_ms))
                case Ask():
                    self._ask(decision)
                case Ended():
                    self._questions.drop()
                    self._finishing = True
                    self._spawn(self._finish_turn(decision))

    def _ask(self, ask: Ask) -> None:
        start_ms = max(self._machine.needed_from_ms - REPLAY_MARGIN_MS, ask.until_ms - MODEL_WINDOW_MS)
        self._questions.ask(ask.question, self._audio.samples(start_ms, ask.until_ms))

    def _on_answer(self, question: int, probability: float | None) -> None:
        if not self._over:
            self._follow(self._machine.answer(question, probability))
            self._advance()

    async def _finish_turn(self, ended: Ended) -> None:
        """Collect the final words and send the end of the turn; then the machine goes on."""
        decided = time.monotonic()
        decide_s = max(0.0, decided - self._arrivals.heard_at(ended.speech_end_ms, decided))
        try:
            async with asyncio.timeout(FINISH_WITHIN_S):
                await self._recogniser.finish_turn(ended.speech_end_ms)
        except TimeoutError:
            message = f"the recogniser did not finish the turn within {FINISH_WITHIN_S:g} s"
            await self._fail(StageFailure(ErrorCode.TIMEOUT, message, retryable=True))
            return
        if self._over:
            return
        transcribe_s = time.monotonic() - decided
        text = " ".join(self._texts)
        self._texts = []
        metrics.TURNS.labels(ended.reason.value).inc()
        metrics.DECIDE_SECONDS.observe(decide_s)
        metrics.TRANSCRIBE_SECONDS.observe(transcribe_s)
        self._finishing = False
        self._outbox.emit(
            TurnEnded(
                text=text,
                start_ms=ended.start_ms,
                speech_end_ms=ended.speech_end_ms,
                reason=ended.reason,
                probability=ended.probability,
                decide_ms=round(decide_s * 1000, 1),
                transcribe_ms=round(transcribe_s * 1000, 1),
                provider=self._stream.provider,
                model=self._recogniser.model,
            ),
            ack=self._settled(),
        )
        self._advance()

    def _end_stream(self) -> None:
        self._follow(self._machine.close())
        if not self._finishing:
            self._over = True
            self._outbox.then(self._finish_stream)

    async def _finish_stream(self) -> None:
        await self._stream.finish()
        self._free()

    # Words.

    def on_interim(self, words: Words) -> None:
        """Interim words of the running turn."""
        self._outbox.emit(words.transcript(final=False))

    def on_final(self, words: Words) -> None:
        """Final words of the running turn."""
        self._final_until_ms = max(self._final_until_ms, words.end_ms)
        if not words.text:
            self._acknowledge()
            return
        self._texts.append(words.text)
        # The owner keeps the words and replays what is not acknowledged: apart, the words could come twice.
        self._outbox.emit(words.transcript(final=True), ack=self._settled())

    def on_failure(self, failure: StageFailure) -> None:
        """The recogniser is lost, and the stream with it; another worker may go on."""
        if not self._over:
            self._over = True
            self._spawn(self._fail(failure))

    async def _fail(self, failure: StageFailure) -> None:
        self._over = True
        try:
            await self._stream.fail(failure)
        finally:
            self._free()

    # Output.

    def _acknowledge(self) -> None:
        count = self._settled()
        if count is not None:
            self._outbox.ack(count)

    def _settled(self) -> int | None:
        """How many frames the owner need not replay, None if no more than before.

        That is all before the un-finalised speech of the running turn.
        """
        needed_ms = self._final_until_ms
        if not self._finishing:  # else the machine is past a turn some of whose words may still be missing
            needed_ms = max(needed_ms, self._machine.needed_from_ms - REPLAY_MARGIN_MS)
        return self._arrivals.drop_before(needed_ms)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._guard(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:
            await self._crash(error)

    async def _crash(self, error: Exception) -> None:
        self._stream.log.error("the speech stream failed", exc_info=error)
        await self._fail(StageFailure(ErrorCode.INTERNAL, "the speech worker failed", retryable=True))

    def _free(self) -> None:
        self._over = True
        self._engines.vad.close(self._vad_stream)
        self._questions.drop()
        self._recogniser.close()
        self._outbox.clear()
        current = asyncio.current_task()
        for task in self._tasks:
            if task is not current:
                task.cancel()
