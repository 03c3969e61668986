"""What the agent has to say: the language-model stream of one turn."""

from __future__ import annotations

from collections.abc import Callable

from voxbus.contracts.llm import (
    LLM_EVENT,
    LlmFinished,
    LlmFirstToken,
    LlmOpen,
    LlmSentence,
    LlmToolCalled,
)
from voxbus.contracts.stage import StageError
from voxbus.runtime.streams import StreamListener, Takeover
from voxbus.voice_gateway.conversation import tool_messages
from voxbus.voice_gateway.timings import TurnClock


class Thought(StreamListener):
    """Hands the model's sentences on as they come, each once."""

    def __init__(
        self,
        request: LlmOpen,
        clock: TurnClock,
        *,
        sentence: Callable[[LlmSentence], None],
        finished: Callable[[], None],
        failed: Callable[[StageError], None],
        taken_over: Callable[[Takeover], None],
        progress: Callable[[], None],
    ) -> None:
        self.request = request
        self._clock = clock
        self._sentence = sentence
        self._finished = finished
        self._failed = failed
        self._taken_over = taken_over
        self._progress = progress
        self._said = list(request.spoken)
        self.tool_calls: list[LlmToolCalled] = []
        self.result: LlmFinished | None = None

    def on_message(self, body: bytes) -> None:
        """First token, sentences, tool calls, the end."""
        event = LLM_EVENT.validate_json(body)
        self._progress()
        if isinstance(event, LlmFirstToken):
            self._clock.mark("first_token")
            if self._clock.llm_ms is None:
                self._clock.llm_ms = event.elapsed_ms
        elif isinstance(event, LlmSentence):
            if event.index == len(self._said):  # a new worker may repeat one
                self._said.append(event.text)
                self._clock.mark("first_sentence")
                self._sentence(event)
        elif isinstance(event, LlmToolCalled):
            if all(known.call.id != event.call.id for known in self.tool_calls):
                self.tool_calls.append(event)
        else:
            self.result = event

    def reopen(self) -> LlmOpen:
        """The turn again, told what has already been said and done."""
        done = (*self.request.turn, *tool_messages(self.tool_calls))
        return self.request.model_copy(update={"spoken": tuple(self._said), "turn": done})

    def on_takeover(self, takeover: Takeover) -> None:
        """Told to the call."""
        self._taken_over(takeover)

    def on_closed(self) -> None:
        """The reply is complete."""
        self._finished()

    def on_failed(self, error: StageError) -> None:
        """Told to the turn."""
        self._failed(error)
