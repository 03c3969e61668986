"""Play-out: the agent's audio, sent to the caller at the pace of real time with a small lead."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

import structlog

from voxbus.contracts.audio import FRAME_BYTES, FRAME_MS, pcm_duration_ms
from voxbus.voice_gateway.edge.line import Line
from voxbus.voice_gateway.metrics import UNDERRUNS
from voxbus.voice_gateway.speech import Utterance

log = structlog.get_logger(__name__)


class Playout:
    """Holds what the agent has still to say in a call and sends it when it is due.

    The caller has heard what was sent, less what the lead says they still have in their buffer. Between two sentences'
    audio there is no gap unless the voice is late (an underrun).
    """

    def __init__(self, line: Line, lead_ms: int) -> None:
        self._line = line
        self._lead_s = lead_ms / 1000
        self._queue: deque[tuple[bytes, int]] = deque()
        self._utterance = Utterance()
        self._sent: deque[tuple[int, float]] = (
            deque()
        )  # (sentence, ms) sent, newest last, to take back what was not heard
        self._base = 0.0  # when the running stretch began to play
        self._sent_s = 0.0  # of the running stretch
        self._taking = False  # audio that is under way when a turn is cut off must not start it again
        self._flowing = False
        self._finishing = False
        self.on_first_audio: Callable[[], None] | None = None
        self.on_sentence: Callable[[int], None] | None = None
        self.on_drained: Callable[[], None] | None = None
        self._last_sentence = -1

    @property
    def speaking(self) -> bool:
        """Whether the caller hears the agent now (or is about to, within the lead)."""
        return self._flowing

    @property
    def buffered_ms(self) -> float:
        """Audio received and not yet sent."""
        return len(self._queue) * FRAME_MS

    def begin(self, utterance: Utterance) -> None:
        """A new turn of the agent; what was left of the last one is thrown away."""
        self._queue.clear()
        self._sent.clear()
        self._utterance = utterance
        self._taking = True
        self._finishing = False
        self._flowing = False
        self._last_sentence = -1

    def add(self, pcm: bytes, sentence: int) -> None:
        """Audio of a sentence: whole 20 ms frames. Nothing is taken between `clear` and the next `begin`."""
        if not self._taking:
            return
        for start in range(0, len(pcm), FRAME_BYTES):
            self._queue.append((pcm[start : start + FRAME_BYTES], sentence))
        if not self._flowing:
            self.tick(time.monotonic())  # the first audio does not wait for the clock

    def finish(self) -> None:
        """No more audio will come: `on_drained` is called when the rest has been heard."""
        self._finishing = self._taking

    def clear(self, now: float | None = None) -> None:
        """Fall silent at once; what the caller has not heard yet is taken back."""
        now = time.monotonic() if now is None else now
        if self._flowing:
            self._line.clear()
            unheard_ms = max(0.0, (self._base + self._sent_s - now) * 1000)
            self._take_back(unheard_ms)
        self._queue.clear()
        self._taking = False
        self._flowing = False
        self._finishing = False

    def tick(self, now: float) -> None:
        """Send what is due (called by the clock)."""
        if self._queue:
            if not self._flowing:
                self._start_stretch(now)
            self._send_due(now)
        elif self._flowing and now >= self._base + self._sent_s:
            self._flowing = False
            if not self._finishing:
                UNDERRUNS.inc()
        if self._finishing and not self._flowing and not self._queue:
            self._finishing = False
            if self.on_drained:
                self.on_drained()

    def _start_stretch(self, now: float) -> None:
        self._flowing = True
        self._base = now
        self._sent_s = 0.0
        self._sent.clear()

    def _send_due(self, now: float) -> None:
        if now > self._base + self._sent_s:  # we are late, and the caller heard nothing in the meantime
            self._base = now - self._sent_s
            UNDERRUNS.inc()
        due_s = now - self._base + self._lead_s
        pieces: list[bytes] = []
        while self._queue and self._sent_s < due_s:
            pcm, sentence = self._queue.popleft()
            if sentence != self._last_sentence:
                self._last_sentence = sentence
                if self.on_sentence:
                    self.on_sentence(sentence)
            pieces.append(pcm)
            duration_ms = pcm_duration_ms(len(pcm))
            self._sent_s += duration_ms / 1000
            self._sent.append((sentence, duration_ms))
            self._utterance.played(sentence, duration_ms)
        if pieces:
            self._line.send_audio(b"".join(pieces))
            if self.on_first_audio:
                callback, self.on_first_audio = self.on_first_audio, None
                callback()
        while len(self._sent) > self._lead_s * 1000 / FRAME_MS + 50:
            self._sent.popleft()

    def _take_back(self, unheard_ms: float) -> None:
        while unheard_ms > 0 and self._sent:
            sentence, duration_ms = self._sent.pop()
            taken = min(duration_ms, unheard_ms)
            self._utterance.played(sentence, -taken)
            unheard_ms -= taken


class Clock:
    """One timer for all calls of the process."""

    def __init__(self, tick_ms: int) -> None:
        self._tick_s = tick_ms / 1000
        self._members: dict[Callable[[float], None], Callable[[], None]] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, member: Callable[[float], None], failed: Callable[[], None]) -> None:
        """Call `member(now)` at each tick; if it raises, `failed()`, and neither of them any more."""
        self._members[member] = failed

    def remove(self, member: Callable[[float], None]) -> None:
        """Stop calling it."""
        self._members.pop(member, None)

    def start(self) -> None:
        """Begin to tick."""
        self._task = asyncio.create_task(self._run(), name="playout-clock")

    async def stop(self) -> None:
        """Stop ticking."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        due = time.monotonic()
        while True:
            due = max(due + self._tick_s, time.monotonic() - 5 * self._tick_s)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            now = time.monotonic()
            for member, failed in tuple(self._members.items()):
                try:
                    member(now)
                except Exception:
                    log.exception("clock member failed")  # the other calls go on
                    self.remove(member)
                    asyncio.get_running_loop().call_soon(failed)
