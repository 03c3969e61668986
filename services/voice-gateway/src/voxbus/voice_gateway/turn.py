"""One turn of the agent: from the decision to speak until the last word was heard, or the caller cut in."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from voxbus.contracts.agent import AgentConfig
from voxbus.contracts.base import Message, new_id
from voxbus.contracts.call import TurnKind, TurnTimings
from voxbus.contracts.llm import ChatMessage, LlmFinished, LlmOpen, LlmSentence, LlmToolCalled
from voxbus.contracts.stage import ErrorCode, Stage, StageError
from voxbus.contracts.tts import TtsOpen, TtsSentence
from voxbus.runtime.streams import OwnedStream, StageClient, Takeover
from voxbus.voice_gateway.playout import Playout
from voxbus.voice_gateway.speech import Utterance
from voxbus.voice_gateway.thought import Thought
from voxbus.voice_gateway.timings import TurnClock
from voxbus.voice_gateway.voice import Voice

TakenOver = Callable[[Stage, OwnedStream, Takeover], None]


@dataclass(frozen=True)
class TurnContext:
    """What every turn of a call needs."""

    call_id: str
    agent: AgentConfig
    client: StageClient
    playout: Playout
    traceparent: str
    taken_over: TakenOver
    stall_timeout_s: float

    def patience_s(self, stage: Stage) -> float:
        """How long a stage may bring nothing: the model may wait for a tool."""
        tools = self.agent.tools if stage is Stage.LLM else ()
        return self.stall_timeout_s + max((tool.http.timeout_s for tool in tools if tool.http), default=0.0)


@dataclass(frozen=True)
class TurnResult:
    """How a turn went."""

    kind: TurnKind
    heard: str
    rest: str
    """What was meant to be said and was not heard."""
    generated: str
    interrupted: bool
    timings: TurnTimings
    tool_calls: tuple[LlmToolCalled, ...]
    finished: LlmFinished | None
    unfinished: LlmOpen | None
    """What to ask of the model for the rest of a reply that it had not written to the end."""
    providers: dict[str, str]
    failure: tuple[Stage, StageError] | None


class AgentTurn:
    """Runs the language and voice streams of one turn and waits until the caller has heard all of it."""

    def __init__(self, context: TurnContext, kind: TurnKind, clock: TurnClock) -> None:
        self.kind = kind
        self.clock = clock
        self.utterance = Utterance()
        self._context = context
        self._voice_stream: OwnedStream | None = None
        self._thought_stream: OwnedStream | None = None
        self._thought: Thought | None = None
        self._to_say: deque[Message | None] = deque()  # None: no more
        self._wake = asyncio.Event()
        self._over = asyncio.Event()
        self._begun = False
        self._progress_at = 0.0
        self._all_written = False
        self.interrupted = False
        self._failure: tuple[Stage, StageError] | None = None

    @property
    def audible(self) -> bool:
        """Whether the caller has begun to hear it."""
        return self.clock.first_played is not None

    async def say(self, text: str) -> TurnResult:
        """Speak a given text."""
        self._add_sentence(0, text)
        self._add_end()
        return await self._run()

    async def reply(self, messages: tuple[ChatMessage, ...]) -> TurnResult:
        """Let the model answer the conversation, and speak it."""
        agent = self._context.agent
        request = LlmOpen(
            **self._identity(), providers=agent.llm.providers, system_prompt=agent.system_prompt,
            messages=messages, tools=agent.tools,
        )  # fmt: skip
        return await self._think(request)

    async def resume(self, unfinished: LlmOpen, rest: str) -> TurnResult:
        """Speak the rest of a reply that was cut off before it was all written, and let the model write on."""
        if rest:
            self._add_sentence(len(unfinished.spoken) - 1, rest)
        return await self._think(unfinished.model_copy(update=self._identity()))

    def interrupt(self) -> None:
        """The caller cuts in: silence at once, and both streams are cancelled. A turn that has not begun never does."""
        if not self._over.is_set():
            self.interrupted = True
            if self._begun:  # until then play-out is another turn's
                self._context.playout.clear()
            self._over.set()
            self._wake.set()

    def check(self, now: float) -> None:
        """Fail when the stages live but nothing has come of it for too long (called by the clock)."""
        playout, bus = self._context.playout, self._context.client.live
        if not self._begun or self._over.is_set():
            return
        if playout.speaking or playout.buffered_ms or not bus.connected:  # the bus' absence is not the stages' fault
            self._progress_at = now
            return
        stage = Stage.TTS if self.utterance.awaited or self._all_written else Stage.LLM
        patience_s = self._context.patience_s(stage)
        if now - self._progress_at > patience_s:
            message = f"the {stage.value} stage brought nothing for {patience_s:g} s"
            self._fail(stage, StageError(code=ErrorCode.TIMEOUT, message=message, retryable=True))

    # What happens.

    def _begin(self) -> None:
        self._begun = True
        self._progress()
        self._context.playout.begin(self.utterance)

    def _progress(self) -> None:
        self._progress_at = time.monotonic()

    def _on_sentence(self, sentence: LlmSentence) -> None:
        self._add_sentence(sentence.index, sentence.text)

    def _add_sentence(self, index: int, text: str) -> None:
        self.utterance.add(index, text)
        self._to_say.append(TtsSentence(index=index, text=text))
        self._wake.set()

    def _add_end(self) -> None:
        self._all_written = True
        self._to_say.append(None)
        self._wake.set()

    def _on_first_played(self) -> None:
        self.clock.mark("first_played")

    def _fail(self, stage: Stage, error: StageError) -> None:
        if self._over.is_set():
            return  # nobody waits for it any more
        if self._failure is None:
            self._failure = (stage, error)
        # What is already there is still played: half an answer is better than a cut word.
        self._context.playout.finish()
        if not self._context.playout.speaking:
            self._over.set()
        self._wake.set()

    def _taken_over(self, stage: Stage, stream: OwnedStream | None, takeover: Takeover) -> None:
        self._progress()  # the next worker gets its time
        if stream is not None:
            self._context.taken_over(stage, stream, takeover)

    # The course of it.

    async def _think(self, request: LlmOpen) -> TurnResult:
        self._thought = Thought(
            request,
            self.clock,
            sentence=self._on_sentence,
            finished=self._add_end,
            failed=lambda error: self._fail(Stage.LLM, error),
            taken_over=lambda takeover: self._taken_over(Stage.LLM, self._thought_stream, takeover),
            progress=self._progress,
        )
        return await self._run()

    async def _run(self) -> TurnResult:
        if self.interrupted:
            return self._result()  # before it began: no stream is opened
        self._begin()
        context = self._context
        playout = context.playout
        playout.on_first_audio = self._on_first_played
        playout.on_drained = self._over.set
        voice_stream = self._open_voice()
        feeding = asyncio.create_task(self._feed(voice_stream))
        if self._thought is not None:
            self._thought_stream = context.client.stream(Stage.LLM, self._thought.request, self._thought)
            self._thought_stream.start()
        try:
            await self._over.wait()
        finally:
            playout.on_first_audio = playout.on_drained = None
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            for stream in (self._thought_stream, voice_stream):
                if stream is not None:
                    await stream.cancel()
        return self._result()

    def _open_voice(self) -> OwnedStream:
        context = self._context
        request = TtsOpen(**self._identity(), providers=context.agent.tts.providers)
        voice = Voice(
            request,
            self.utterance,
            context.playout,
            self.clock,
            failed=lambda error: self._fail(Stage.TTS, error),
            taken_over=lambda takeover: self._taken_over(Stage.TTS, self._voice_stream, takeover),
            progress=self._progress,
        )
        self._voice_stream = context.client.stream(Stage.TTS, request, voice)
        self._voice_stream.start()
        return self._voice_stream

    async def _feed(self, voice_stream: OwnedStream) -> None:
        """Hand the sentences to the voice, in order."""
        while True:
            while self._to_say:
                message = self._to_say.popleft()
                if message is None:
                    await voice_stream.close()
                    return
                await voice_stream.send(message)
            self._wake.clear()
            await self._wake.wait()

    def _identity(self) -> dict[str, object]:
        context = self._context
        return {
            "call_id": context.call_id,
            "stream_id": new_id("s"),
            "attempt": 1,
            "owner_id": context.client.owner_id,
            "agent_id": context.agent.id,
            "language": context.agent.language,
            "traceparent": context.traceparent,
        }

    def _result(self) -> TurnResult:
        heard, rest = self.utterance.split()
        thought = self._thought
        return TurnResult(
            kind=self.kind,
            heard=heard,
            rest=rest,
            generated=self.utterance.generated,
            interrupted=self.interrupted,
            timings=self.clock.timings(),
            tool_calls=tuple(thought.tool_calls) if thought else (),
            finished=thought.result if thought else None,
            unfinished=thought.reopen() if thought and not (thought.result or self._all_written) else None,
            providers={
                stream.stage.value: stream.provider
                for stream in (self._thought_stream, self._voice_stream)
                if stream is not None and stream.provider
            },
            failure=self._failure,
        )
