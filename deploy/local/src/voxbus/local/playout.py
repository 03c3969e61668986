"""What a caller hears: a clock that plays the agent's audio as a telephone would.

Audio plays from the moment it arrives, or after what is still waiting to be played. All times are seconds of the call.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from voxbus.contracts.audio import SAMPLE_BYTES

_SAME_S: Final = 1e-6


@dataclass
class Segment:
    """Audio that was heard without a gap."""

    start_s: float
    pcm: bytearray = field(default_factory=bytearray)


class PlayoutClock:
    """Play-out of PCM16 mono at `sample_rate`."""

    def __init__(self, sample_rate: int) -> None:
        self._bytes_per_s = sample_rate * SAMPLE_BYTES
        self._marks: deque[tuple[float, str]] = deque()
        self.segments: list[Segment] = []

    @property
    def ends_s(self) -> float:
        """When what was received so far has been played; 0 before the first audio."""
        return self._end(self.segments[-1]) if self.segments else 0.0

    def playing(self, now_s: float) -> bool:
        """Whether audio is left to be played."""
        return self.ends_s > now_s + _SAME_S

    @property
    def heard_s(self) -> float:
        """How much audio was played or waits to be."""
        return sum(len(segment.pcm) for segment in self.segments) / self._bytes_per_s

    def add(self, pcm: bytes, now_s: float) -> float:
        """Queue audio that arrived at `now_s`; returns when it starts to be heard."""
        end = self.ends_s
        if not self.segments or end < now_s:
            self.segments.append(Segment(now_s))
            end = now_s
        self.segments[-1].pcm += pcm
        return end

    def clear(self, now_s: float) -> float:
        """Throw away what is not yet played and return its duration in seconds; marks in it are due now."""
        if not self.playing(now_s):
            return 0.0
        last = self.segments[-1]
        heard = max(0, round((now_s - last.start_s) * self._bytes_per_s / SAMPLE_BYTES)) * SAMPLE_BYTES
        dropped = len(last.pcm) - heard
        del last.pcm[heard:]
        self._marks = deque((min(at_s, now_s), name) for at_s, name in self._marks)
        return dropped / self._bytes_per_s

    def mark(self, name: str, now_s: float) -> None:
        """Remember a mark behind what was received so far."""
        self._marks.append((max(self.ends_s, now_s), name))

    def due_marks(self, now_s: float) -> list[str]:
        """The marks that were reached since the last time, in order."""
        due = []
        while self._marks and self._marks[0][0] <= now_s + _SAME_S:
            due.append(self._marks.popleft()[1])
        return due

    def heard(self, duration_s: float) -> bytes:
        """What was heard from the start of the call until `duration_s`, silence between the segments included."""
        total = round(duration_s * self._bytes_per_s / SAMPLE_BYTES) * SAMPLE_BYTES
        track = bytearray(total)
        for segment in self.segments:
            start = round(segment.start_s * self._bytes_per_s / SAMPLE_BYTES) * SAMPLE_BYTES
            part = segment.pcm[: max(0, total - start)]
            track[start : start + len(part)] = part
        return bytes(track)

    def _end(self, segment: Segment) -> float:
        return segment.start_s + len(segment.pcm) / self._bytes_per_s
