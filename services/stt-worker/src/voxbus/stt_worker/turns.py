"""When a caller's turn starts and ends: a state machine without I/O, clocks or models.

It is told, window by window, how likely a voice is, and the turn model's answers; it says what follows. All times are
milliseconds of the call's caller audio, so it decides the same however fast the audio arrives.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from voxbus.contracts.stt import TurnEndReason
from voxbus.stt_worker.vad import WINDOW_MS

VOICE_ON: Final = 0.5
VOICE_OFF: Final = 0.35
START_WINDOWS: Final = 3
"""A voice must be heard in this many windows (96 ms) to be taken for one."""
DIP_WINDOWS: Final = 2
"""So many windows without a voice, and what was heard before is forgotten as a click."""
PAUSE_MS: Final = 192
"""Silence after which the turn model is asked: six windows."""
ASK_AGAIN_AT: Final = 2 / 3
"""The part of the silence ceiling after which it is asked once more. Any sooner would make the ceiling pointless: half a second
of silence makes nearly every sentence sound finished to it (docs/decisions/0004-turn-taking.md)."""
COMPLETE_FROM: Final = 0.5


@dataclass(frozen=True)
class Started:
    """A voice was heard, from `at_ms`: the turn's first words, or more of them after a pause."""

    at_ms: int
    resumed: bool


@dataclass(frozen=True)
class Paused:
    """The voice ended at `at_ms`."""

    at_ms: int


@dataclass(frozen=True)
class Ask:
    """Ask the turn model about the audio up to `until_ms`, and `answer` with this number."""

    question: int
    until_ms: int


@dataclass(frozen=True)
class Ended:
    """The turn is over."""

    start_ms: int
    speech_end_ms: int
    reason: TurnEndReason
    probability: float | None


Decision = Started | Paused | Ask | Ended


class _State(Enum):
    IDLE = auto()
    SPEAKING = auto()
    PAUSED = auto()


class TurnMachine:
    """The turns of one call, from `start_ms` on.

    `turn_start_ms`: the owner was told elsewhere that a turn started then, and must hear of its end. It goes on here with a
    pause, whether or not its voice is heard again.
    """

    def __init__(self, start_ms: int, silence_ms: int, *, turn_start_ms: int | None = None) -> None:
        self.now_ms = start_ms
        self._silence_ms = silence_ms
        self._ask_at_ms = (PAUSE_MS, max(2 * PAUSE_MS, int(silence_ms * ASK_AGAIN_AT)))
        self._turn_start_ms = start_ms
        self._speech_end_ms = start_ms
        self._state = _State.IDLE
        self._voiced = False
        self._onset_ms: int | None = None
        self._onset_windows = 0
        self._dip_windows = 0
        self._questions = 0
        self._asked_at_ms: int | None = None
        self._asks = 0
        self._probability: float | None = None
        if turn_start_ms is not None:
            self._state = _State.PAUSED
            self._turn_start_ms = turn_start_ms
            self._speech_end_ms = max(start_ms, turn_start_ms)
            self._asks = len(self._ask_at_ms)  # of silence alone the turn model knows nothing

    @property
    def in_turn(self) -> bool:
        """Whether a turn has started and not ended."""
        return self._state is not _State.IDLE

    @property
    def speaking(self) -> bool:
        """Whether a voice is heard now."""
        return self._state is _State.SPEAKING

    @property
    def unanswered_ms(self) -> int:
        """How much has been heard since a question that is still open."""
        return 0 if self._asked_at_ms is None else self.now_ms - self._asked_at_ms

    @property
    def needed_from_ms(self) -> int:
        """From when on the audio may yet belong to a turn: the running one's start, or a voice just beginning."""
        if self.in_turn:
            return self._turn_start_ms
        return self.now_ms if self._onset_ms is None else self._onset_ms

    def hear(self, probability: float) -> list[Decision]:
        """The next window of 32 ms, and how likely (0 to 1) a voice is in it."""
        self.now_ms += WINDOW_MS
        self._voiced = probability >= (VOICE_OFF if self._voiced else VOICE_ON)
        if self._state is _State.SPEAKING:
            return self._hear_speaking()
        self._track_onset()
        if self._onset_windows >= START_WINDOWS:
            return [self._start()]
        return self._hear_pause() if self._state is _State.PAUSED else []

    def answer(self, question: int, probability: float | None) -> list[Decision]:
        """The turn model's answer, 0 to 1, or None: it has none, and is not asked again in this pause.

        An answer to a question that no longer stands changes nothing.
        """
        if self._asked_at_ms is None or question != self._questions:
            return []
        self._asked_at_ms = None
        if probability is None:
            self._asks = len(self._ask_at_ms)
        self._probability = probability
        return self._end_if_complete()

    def close(self) -> list[Decision]:
        """There is no more audio."""
        return [self._end(TurnEndReason.CLOSED)] if self.in_turn else []

    def _hear_speaking(self) -> list[Decision]:
        if self._voiced:
            self._speech_end_ms = self.now_ms
            return []
        if self.now_ms - self._speech_end_ms < min(PAUSE_MS, self._silence_ms):
            return []
        self._state = _State.PAUSED
        self._asks = 0
        return [Paused(self._speech_end_ms), *self._hear_pause()]

    def _hear_pause(self) -> list[Decision]:
        """What to do in a pause, unless a voice may just be beginning: then the next windows tell."""
        if self._onset_ms is not None:
            return []
        decisions = self._end_if_complete()
        if decisions:
            return decisions
        pause_ms = self.now_ms - self._speech_end_ms
        if pause_ms >= self._silence_ms:
            return [self._end(TurnEndReason.SILENCE)]
        if self._asked_at_ms is None and self._asks < len(self._ask_at_ms) and pause_ms >= self._ask_at_ms[self._asks]:
            self._asks += 1
            self._questions += 1
            self._asked_at_ms = self.now_ms
            return [Ask(self._questions, self.now_ms)]
        return []

    def _end_if_complete(self) -> list[Decision]:
        is_complete = self._probability is not None and self._probability >= COMPLETE_FROM
        return [self._end(TurnEndReason.COMPLETE)] if is_complete and self._onset_ms is None else []

    def _track_onset(self) -> None:
        if self._voiced:
            if self._onset_ms is None:
                self._onset_ms = self.now_ms - WINDOW_MS
            self._onset_windows += 1
            self._dip_windows = 0
            return
        self._dip_windows += 1
        if self._dip_windows >= DIP_WINDOWS:
            self._forget_onset()

    def _forget_onset(self) -> None:
        self._onset_ms = None
        self._onset_windows = 0
        self._dip_windows = 0

    def _start(self) -> Started:
        at_ms = self.now_ms if self._onset_ms is None else self._onset_ms
        resumed = self.in_turn
        if not resumed:
            self._turn_start_ms = at_ms
        self._state = _State.SPEAKING
        self._speech_end_ms = self.now_ms
        self._asked_at_ms = None
        self._probability = None
        self._forget_onset()
        return Started(at_ms, resumed)

    def _end(self, reason: TurnEndReason) -> Ended:
        ended = Ended(self._turn_start_ms, self._speech_end_ms, reason, self._probability)
        self._state = _State.IDLE
        self._asked_at_ms = None
        self._probability = None
        self._forget_onset()
        return ended
