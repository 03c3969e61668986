"""How far an utterance's audio is ahead of its play-out."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """Assumes that play-out starts with the first audio and never stops; seconds of the monotonic clock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._dry_at = 0.0
        self._wanted_at = clock()

    @property
    def deadline(self) -> float:
        """When the next audio is due: as the audio runs dry, or when the words came if it is dry already."""
        return max(self._dry_at, self._wanted_at)

    @property
    def lead_s(self) -> float:
        """Audio sent and not yet played."""
        return max(0.0, self._dry_at - self._clock())

    def words_came(self, at: float) -> None:
        """A sentence to speak next arrived at the worker at the time `at`."""
        self._wanted_at = at

    def audio_sent(self, duration_s: float) -> None:
        """More audio left."""
        self._dry_at = max(self._dry_at, self._clock()) + duration_s
