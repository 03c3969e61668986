"""How long a provider may take for the next audio before it has failed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from voxbus.tts_worker.pace import Pace


class Patience:
    """The time limit of one utterance's next audio.

    A provider that works has `timeout_s`. One whose work waits in a queue of this worker has as long as the audio that was sent
    lasts, and then `timeout_s`: who is far ahead waits because others are more urgent, and a failure would only add work.
    """

    def __init__(self, pace: Pace, timeout_s: float) -> None:
        self._pace = pace
        self._timeout_s = timeout_s
        self._limit: asyncio.Timeout | None = None

    @asynccontextmanager
    async def next_audio(self) -> AsyncIterator[None]:
        """The wait for one piece of audio; raises TimeoutError when it takes too long."""
        try:
            async with asyncio.timeout(self._timeout_s) as self._limit:
                yield
        finally:
            self._limit = None

    def queued(self) -> None:
        """From now on the work waits for its turn."""
        self._allow(self._timeout_s + self._pace.lead_s)

    def running(self) -> None:
        """The work began."""
        self._allow(self._timeout_s)

    def _allow(self, seconds: float) -> None:
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time() + seconds)
