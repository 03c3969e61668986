"""A live call: when the agent speaks, when it gives way, and when it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, Literal

import structlog

from voxbus.contracts.agent import AgentConfig
from voxbus.contracts.base import new_id
from voxbus.contracts.call import EndReason, TurnKind
from voxbus.contracts.native import Ended, TranscriptMessage
from voxbus.contracts.stage import ErrorCode, Stage, StageError
from voxbus.contracts.stt import TurnEnded
from voxbus.runtime.streams import OwnedStream, StageFailure, Takeover
from voxbus.runtime.trace import new_traceparent, trace_id
from voxbus.voice_gateway.call_parts import CallParts
from voxbus.voice_gateway.dialogue import CallerWords, Dialogue
from voxbus.voice_gateway.ear import Ear, EarListener, stt_request
from voxbus.voice_gateway.edge.line import CallEnd, Line
from voxbus.voice_gateway.keys import Keys
from voxbus.voice_gateway.playout import Playout
from voxbus.voice_gateway.report import CallReport
from voxbus.voice_gateway.silence import Silence, Step
from voxbus.voice_gateway.speech import CHARS_PER_S
from voxbus.voice_gateway.timings import TurnClock
from voxbus.voice_gateway.turn import TurnContext, TurnResult

_PROVIDER_FAULTS = {
    ErrorCode.PROVIDER_FAILED,
    ErrorCode.PROVIDER_REJECTED,
    ErrorCode.UNKNOWN_PROVIDER,
    ErrorCode.BAD_REQUEST,
}


_GOODBYE_S = 15.0
"""Beside the time that it takes to say it."""
_END_STEP_S = 3.0


class Call(CallEnd, EarListener):
    """One call. Callbacks of the line and of the ear are synchronous; turns run as tasks of the dialogue."""

    def __init__(self, parts: CallParts, agent: AgentConfig, line: Line) -> None:
        self.id = new_id("call")
        self.agent = agent
        self.line = line
        self._parts = parts
        traceparent = new_traceparent()
        self.log: Any = structlog.get_logger(__name__).bind(
            call_id=self.id, agent_id=agent.id, trace_id=trace_id(traceparent)
        )
        self.report = CallReport(self.id, agent, parts.client.owner_id, line, parts.publish, traceparent)
        self._playout = Playout(line, parts.settings.playout_lead_ms)
        self._playout.on_sentence = self._on_sentence_played
        context = TurnContext(
            self.id, agent, parts.client, self._playout, traceparent, self.report.stream_taken_over,
            parts.settings.turn_stall_timeout_s,
        )  # fmt: skip
        self._dialogue = Dialogue(
            context,
            self.report,
            done=self._on_turn_done,
            broken=lambda: self.end(EndReason.INTERNAL_ERROR),
            log=self.log,
        )
        self._ear = Ear(parts.client, parts.pump, stt_request(self.id, agent, parts.client.owner_id, traceparent), self)
        self._keys = Keys()
        self._waiting: list[CallerWords] = []
        self._silence = Silence(agent.limits.silence_s)
        self._ending: EndReason | None = None
        self._goodbye_by = 0.0
        self._begun = False
        self._failed_early: StageError | None = None
        self._over = False
        self._finishing: asyncio.Task[None] | None = None
        self._started = time.monotonic()

    async def connect(self) -> None:
        """Open the ear. Raises StageFailure when no worker takes the call in time, or the one that did fails at once."""
        await self._ear.stream.connect(self._parts.settings.call_setup_timeout_s)
        if self._failed_early is not None:
            raise StageFailure.of(self._failed_early)

    async def abandon(self) -> None:
        """Free what `connect` has opened: the call will not begin, and nobody hears of it."""
        self._over = True
        await self._ear.stream.cancel()

    def begin(self) -> None:
        """Let the call run, from the greeting on. Once, after `connect`."""
        self._begun = True
        self._started = time.monotonic()
        self._silence.agent_spoke()
        self._parts.clock.add(self._tick, lambda: self.end(EndReason.INTERNAL_ERROR))
        self.report.started()
        self.log.info("call started", protocol=self.line.protocol, sample_rate=self.line.sample_rate)
        if self.agent.greeting:
            self._dialogue.speak(TurnKind.GREETING, self.agent.greeting)

    # The caller's line.

    def on_audio(self, pcm: bytes) -> None:
        """One 20 ms frame."""
        if not self._over:
            self._ear.hear(pcm)

    def on_mark(self, name: str) -> None:
        """The play-out clock is what counts here."""

    def on_dtmf(self, digit: str) -> None:
        """A key is as good as a word, and interrupts like one; several in a row are answered together."""
        if self._over or self._ending is not None:
            return
        self._silence.caller_acted()
        self._keys.press(digit, time.monotonic())
        if self.agent.turn_taking.interruptible:
            self._dialogue.barge_in()

    def on_hangup(self) -> None:
        """The caller is done."""
        self.end(EndReason.CALLER_HANGUP)

    def on_disconnected(self) -> None:
        """The socket is gone."""
        self.end(EndReason.CALLER_DISCONNECTED)

    # The ear.

    def on_speech_started(self) -> None:
        """Silence the agent, if a voice alone may do so."""
        turn, taking = self._dialogue.turn, self.agent.turn_taking
        if turn is None or self._ending is not None or not taking.interruptible:
            return
        if taking.min_words_to_interrupt == 0 or not turn.audible:
            self._dialogue.barge_in()

    def on_words(self, text: str) -> None:
        """Show them, and silence the agent once there are enough of them."""
        if self._over:
            return
        self._silence.caller_acted()
        self._send_transcript("caller", text, final=False)
        taking = self.agent.turn_taking
        enough = len(text.split()) >= taking.min_words_to_interrupt > 0
        if enough and taking.interruptible and self._ending is None:
            self._dialogue.barge_in()

    def on_turn_ended(self, turn: TurnEnded) -> None:
        """Answer it."""
        if self._over or self._ending is not None:
            return
        if not turn.text.strip():
            if not self._keys:
                self._dialogue.go_on()
            return
        self._silence.caller_acted()
        self._send_transcript("caller", turn.text, final=True)
        taking, agent_turn = self.agent.turn_taking, self._dialogue.turn
        speaking = agent_turn is not None and agent_turn.audible and not agent_turn.interrupted
        if speaking and taking.interruptible and len(turn.text.split()) < taking.min_words_to_interrupt:
            return  # a sound of agreement
        clock = TurnClock(speech_end=self._ear.moment(turn.speech_end_ms), stt_ms=turn.decide_ms + turn.transcribe_ms)
        clock.mark("turn_decided")
        keys = self._keys.take()
        self._answer(CallerWords(f"{keys} {turn.text}".strip(), clock, turn))

    def _answer(self, words: CallerWords) -> None:
        turn = self._dialogue.turn
        if turn is not None and not turn.interrupted:
            if not self.agent.turn_taking.interruptible:
                self._waiting.append(words)  # answered when the agent has finished
                return
            self._dialogue.barge_in()  # the agent began while the caller spoke
        self._dialogue.answer(words)

    def on_ear_failed(self, error: StageError) -> None:
        """The agent is deaf: say so and end, or don't begin."""
        if self._begun:
            self._fail(Stage.STT, error)
        else:
            self._failed_early = error

    def on_ear_taken_over(self, stream: OwnedStream, takeover: Takeover) -> None:
        """Recorded."""
        self.report.stream_taken_over(Stage.STT, stream, takeover)

    # The agent.

    def _on_turn_done(self, result: TurnResult) -> None:
        self._silence.agent_spoke()
        if self._over:
            return
        if self._ending is not None:
            if self._dialogue.turn is None:  # the goodbye was the last one
                self.end(self._ending)
        elif result.interrupted:
            return  # the caller has the word
        elif result.failure is not None:
            self._fail(*result.failure)
        else:
            self._after_turn(result)

    def _after_turn(self, result: TurnResult) -> None:
        if self._dialogue.ends_call and result.kind is TurnKind.REPLY:
            self.end(EndReason.AGENT_ENDED)
        elif self._waiting:
            waiting, self._waiting = self._waiting, []
            turns = [words.turn for words in waiting if words.turn is not None]
            text = " ".join(words.text for words in waiting)
            self._dialogue.answer(CallerWords(text, TurnClock.unprompted(), turns[-1] if turns else None))

    def _on_sentence_played(self, index: int) -> None:
        if self._dialogue.turn is not None:
            self._send_transcript("agent", self._dialogue.turn.utterance.text(index), final=True)

    def _send_transcript(self, role: Literal["caller", "agent"], text: str, *, final: bool) -> None:
        self.line.send_message(TranscriptMessage(role=role, text=text, final=final, turn=self.report.turns))

    # Time and the end.

    def _tick(self, now: float) -> None:
        self._playout.tick(now)
        if self._over:
            return
        self._ear.fill(now)
        self._dialogue.check(now)
        if self._ending is not None:
            if now > self._goodbye_by:
                self.end(self._ending)
            return
        if now - self._started > self.agent.limits.max_duration_s:
            self._say_goodbye(EndReason.MAX_DURATION, self.agent.phrases.goodbye_duration)
        elif self._keys.complete(now):
            self._answer(CallerWords(self._keys.take(), TurnClock.unprompted(), None))
        elif self._dialogue.turn is None and not self._keys and not self._ear.in_turn(now):
            self._watch_silence(now)

    def _watch_silence(self, now: float) -> None:
        step = self._silence.step(now)
        if step is Step.ASK:
            self._dialogue.speak(TurnKind.PROMPT, self.agent.phrases.still_there)
        elif step is Step.GIVE_UP:
            self._say_goodbye(EndReason.CALLER_SILENT, self.agent.phrases.goodbye_silence)

    def _say_goodbye(self, reason: EndReason, text: str) -> None:
        """End the call once the text has been heard; the caller cannot interrupt it."""
        self._dialogue.fall_silent()
        self._ending = reason
        self._goodbye_by = time.monotonic() + _GOODBYE_S + len(text) / CHARS_PER_S
        self._dialogue.speak(TurnKind.PROMPT, text)

    def _fail(self, stage: Stage, error: StageError) -> None:
        if self._over or self._ending is not None:
            return
        reason = EndReason.PROVIDER_FAILED if error.code in _PROVIDER_FAULTS else EndReason.STAGE_UNAVAILABLE
        self.log.warning("call cannot go on", stage=stage.value, code=error.code.value)
        self.report.detail = f"{stage.value}: {error.code.value}"
        if stage is Stage.TTS:
            self.end(reason)
        else:
            self._say_goodbye(reason, self.agent.phrases.unavailable)

    def end(self, reason: EndReason) -> None:
        """End the call now. Further calls do nothing."""
        if self._over:
            return
        self._over = True
        self._parts.clock.remove(self._tick)
        self._dialogue.fall_silent()
        self._finishing = asyncio.create_task(self._finish(reason))
        self._parts.ended(self)

    async def _finish(self, reason: EndReason) -> None:
        # Whatever goes wrong in one step, the others follow: the caller, the bus and the socket wait for them.
        await self._step("ear", self._ear.stream.cancel())
        await self._step("turns", self._dialogue.close())
        duration_s = round(time.monotonic() - self._started, 3)
        self.report.ended(reason, duration_s)
        self.log.info("call ended", reason=reason.value, duration_s=duration_s, turns=self.report.turns)
        await self._step("line", self.line.end(Ended(reason=reason, detail=self.report.detail, duration_s=duration_s)))
        await self._step("report", self.report.flush())

    async def _step(self, name: str, step: Coroutine[Any, Any, None]) -> None:
        try:
            async with asyncio.timeout(_END_STEP_S):
                await step
        except Exception:
            self.log.exception("a step of the end failed", step=name)

    async def finished(self) -> None:
        """Wait until the end has been told to everybody."""
        if self._finishing is not None:
            await asyncio.wait({self._finishing})
