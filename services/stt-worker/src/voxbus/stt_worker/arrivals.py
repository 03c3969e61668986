"""Which input frame brought which part of the call, and when it came."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple


class _Arrival(NamedTuple):
    end_ms: int
    seq: int
    at_s: float


class Arrivals:
    """The frames that are not acknowledged yet, in order."""

    def __init__(self) -> None:
        self._arrivals: deque[_Arrival] = deque()

    def add(self, seq: int, end_ms: int, at_s: float) -> None:
        """Frame `seq`, which came at `at_s` (monotonic), ends at `end_ms` of the call."""
        self._arrivals.append(_Arrival(end_ms, seq, at_s))

    def heard_at(self, time_ms: int, otherwise_s: float) -> float:
        """When the audio at `time_ms` of the call came, in monotonic seconds; `otherwise_s` if it has not."""
        return next((arrival.at_s for arrival in self._arrivals if arrival.end_ms >= time_ms), otherwise_s)

    def drop_before(self, time_ms: int) -> int | None:
        """Forget the frames that end before `time_ms`; how many of the stream are done with, None if nothing changed."""
        count = None
        while self._arrivals and self._arrivals[0].end_ms <= time_ms:
            count = self._arrivals.popleft().seq + 1
        return count
