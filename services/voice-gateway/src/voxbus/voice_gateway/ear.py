"""The agent's ear: the speech-to-text stream of a call."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod

from voxbus.contracts.agent import AgentConfig
from voxbus.contracts.audio import FRAME_BYTES, FRAME_MS, FRAME_US
from voxbus.contracts.base import new_id
from voxbus.contracts.stage import ErrorCode, Stage, StageError
from voxbus.contracts.stt import STT_EVENT, SpeechPaused, SpeechStarted, SttOpen, Transcript, TurnEnded
from voxbus.runtime.streams import OwnedStream, StageClient, StreamListener, Takeover
from voxbus.voice_gateway.pump import AudioPump

_SILENT_FRAME = bytes(FRAME_BYTES)
_STALL_S = 0.2
_KEEP_BEHIND_S = 0.1


def stt_request(call_id: str, agent: AgentConfig, owner_id: str, traceparent: str) -> SttOpen:
    """What a call asks of a speech-to-text worker."""
    return SttOpen(
        call_id=call_id,
        stream_id=new_id("s"),
        attempt=1,
        owner_id=owner_id,
        agent_id=agent.id,
        providers=agent.stt.providers,
        language=agent.language,
        turn_taking=agent.turn_taking,
        traceparent=traceparent,
    )


class EarListener(ABC):
    """What the call does with what is heard."""

    @abstractmethod
    def on_speech_started(self) -> None:
        """The caller's voice was heard."""

    @abstractmethod
    def on_words(self, text: str) -> None:
        """The words of the running turn so far."""

    @abstractmethod
    def on_turn_ended(self, turn: TurnEnded) -> None:
        """The caller's turn is over."""

    @abstractmethod
    def on_ear_failed(self, error: StageError) -> None:
        """No worker can go on."""

    @abstractmethod
    def on_ear_taken_over(self, stream: OwnedStream, takeover: Takeover) -> None:
        """Another worker goes on."""


class Ear(StreamListener):
    """Keeps the caller's timeline: 0 is the first frame, and silence stands where the client sent nothing."""

    def __init__(self, client: StageClient, pump: AudioPump, request: SttOpen, listener: EarListener) -> None:
        self._pump = pump
        self._request = request
        self._listener = listener
        self._position_us = 0
        self._last_frame = time.monotonic()
        self._finals: list[str] = []
        self._turn_start_ms: int | None = None
        self._last_event = time.monotonic()
        self._forget_turn_s = 2 * request.turn_taking.silence_ms / 1000
        self.speaking = False
        self.stream = client.stream(Stage.STT, request, self)

    @property
    def position_ms(self) -> int:
        """How much audio of the caller there has been."""
        return self._position_us // 1000

    def in_turn(self, now: float) -> bool:
        """Whether the caller has begun a turn that is not over. One that a worker says nothing more of is forgotten."""
        if self.speaking:
            return True
        return self._turn_start_ms is not None and now - self._last_event < self._forget_turn_s

    def hear(self, pcm: bytes) -> None:
        """One 20 ms frame of the caller."""
        self._pump.push(self.stream, pcm, self._position_us)
        self._position_us += FRAME_US
        self._last_frame = time.monotonic()

    def fill(self, now: float) -> None:
        """Put silence where a client stalls or sends nothing, so that turns end by the clock of the call."""
        silent_s = now - self._last_frame
        if silent_s < _STALL_S:
            return
        frames = int((silent_s - _KEEP_BEHIND_S) * 1000 / FRAME_MS)
        for _ in range(frames):
            self._pump.push(self.stream, _SILENT_FRAME, self._position_us)
            self._position_us += FRAME_US
        self._last_frame += frames * FRAME_MS / 1000

    def moment(self, at_ms: int) -> float:
        """The monotonic time at which the caller's audio at `at_ms` arrived."""
        return self._last_frame - (self.position_ms - at_ms) / 1000

    def on_message(self, body: bytes) -> None:
        """Speech, words, turns."""
        event = STT_EVENT.validate_json(body)
        self._last_event = time.monotonic()
        if isinstance(event, SpeechStarted):
            self.speaking = True
            if self._turn_start_ms is None:
                self._turn_start_ms = event.at_ms
            self._listener.on_speech_started()
        elif isinstance(event, SpeechPaused):
            self.speaking = False
        elif isinstance(event, Transcript):
            self._on_transcript(event)
        else:
            self._on_turn_ended(event)

    def reopen(self) -> SttOpen:
        """The next worker gets the final words of the running turn; the runtime replays the rest as audio."""
        self.speaking = False  # the next one says so again, if it hears a voice
        text = " ".join(self._finals)
        return self._request.model_copy(update={"turn_text": text, "turn_start_ms": self._turn_start_ms})

    def on_takeover(self, takeover: Takeover) -> None:
        """Told to the call."""
        self._listener.on_ear_taken_over(self.stream, takeover)

    def on_closed(self) -> None:
        """The call never closes it, so this worker took its leave by itself; the agent would stay deaf."""
        message = "the speech-to-text worker closed the stream"
        self._listener.on_ear_failed(StageError(code=ErrorCode.INTERNAL, message=message, retryable=True))

    def on_failed(self, error: StageError) -> None:
        """Told to the call."""
        self._listener.on_ear_failed(error)

    def _on_transcript(self, event: Transcript) -> None:
        if event.final:
            self._finals.append(event.text)
            self._listener.on_words(" ".join(self._finals))
        else:
            self._listener.on_words(" ".join([*self._finals, event.text]))

    def _on_turn_ended(self, event: TurnEnded) -> None:
        self.speaking = False
        self._finals = []
        self._turn_start_ms = None
        self._listener.on_turn_ended(event)
