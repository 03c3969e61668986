"""The agent's voice: the text-to-speech stream of one turn."""

from __future__ import annotations

from collections.abc import Callable

from voxbus.contracts.audio import SAMPLE_BYTES, SAMPLE_RATE, pcm_duration_ms
from voxbus.contracts.stage import StageError
from voxbus.contracts.tts import TTS_EVENT, TtsOpen, TtsSentenceDone, TtsSentenceStarted
from voxbus.runtime.streams import StreamListener, Takeover
from voxbus.voice_gateway.playout import Playout
from voxbus.voice_gateway.speech import Utterance
from voxbus.voice_gateway.timings import TurnClock


class Voice(StreamListener):
    """Puts the audio of a turn's sentences into play-out, each part once, also when another worker says it again."""

    def __init__(
        self,
        request: TtsOpen,
        utterance: Utterance,
        playout: Playout,
        clock: TurnClock,
        failed: Callable[[StageError], None],
        taken_over: Callable[[Takeover], None],
        progress: Callable[[], None],
    ) -> None:
        self._request = request
        self._utterance = utterance
        self._playout = playout
        self._clock = clock
        self._failed = failed
        self._taken_over = taken_over
        self._progress = progress
        self._sentence = 0
        self._skip_ms = 0.0

    def on_audio(self, timestamp_us: int, pcm: bytes) -> None:
        """Audio of the running sentence; what is already here from an earlier attempt is skipped."""
        self._progress()
        if self._utterance.is_complete(self._sentence):
            return
        if self._skip_ms > 0:
            pcm = self._without_known(pcm)
            if not pcm:
                return
        self._clock.mark("first_audio")
        self._utterance.received(self._sentence, pcm_duration_ms(len(pcm)))
        self._playout.add(pcm, self._sentence)

    def on_message(self, body: bytes) -> None:
        """Sentence by sentence."""
        event = TTS_EVENT.validate_json(body)
        if isinstance(event, TtsSentenceStarted):
            self._sentence = event.index
            self._skip_ms = self._utterance.received_ms(event.index)
            if self._clock.tts_ms is None:
                self._clock.tts_ms = event.elapsed_ms
        elif isinstance(event, TtsSentenceDone):
            self._utterance.complete(event.index)

    def reopen(self) -> TtsOpen:
        """The same again: the runtime replays the sentences that were not acknowledged."""
        return self._request

    def on_takeover(self, takeover: Takeover) -> None:
        """Told to the call."""
        self._taken_over(takeover)

    def on_closed(self) -> None:
        """The rest only has to be heard."""
        self._playout.finish()

    def on_failed(self, error: StageError) -> None:
        """Told to the turn."""
        self._failed(error)

    def _without_known(self, pcm: bytes) -> bytes:
        known = min(len(pcm), int(self._skip_ms * SAMPLE_RATE / 1000) * SAMPLE_BYTES)
        self._skip_ms -= pcm_duration_ms(known) if known else self._skip_ms
        return pcm[known:]
