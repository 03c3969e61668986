"""Sliding windows counted in this process."""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from voxbus.voice_gateway.rest.settings import Rate

_MOST_KEYS: Final = 20_000


class SlidingWindows:
    """Exact: at most `rate.limit` in any `rate.window_s`, per key. Beyond 20,000 keys the longest unused are forgotten."""

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._taken: OrderedDict[str, deque[float]] = OrderedDict()

    def take(self, key: str) -> int | None:
        """Count one; or, when there were too many, the whole seconds until the next is free."""
        now = self._clock()
        times = self._taken.setdefault(key, deque())
        self._taken.move_to_end(key)
        if len(self._taken) > _MOST_KEYS:
            self._taken.popitem(last=False)
        while times and times[0] <= now - self._rate.window_s:
            times.popleft()
        if len(times) >= self._rate.limit:
            return max(1, math.ceil(times[0] + self._rate.window_s - now))
        times.append(now)
        return None
