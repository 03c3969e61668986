"""How long nobody has said or done anything, and what the agent does about it."""

from __future__ import annotations

import time
from enum import Enum, auto


class Step(Enum):
    """What a silence leads to."""

    ASK = auto()
    """Ask whether the caller is still there."""
    GIVE_UP = auto()
    """They were asked, and said nothing."""


class Silence:
    """A silence of a call. No I/O."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._since = time.monotonic()
        self._asked = False

    def caller_acted(self) -> None:
        """The caller said words or pressed a key. A mere noise is neither."""
        self._since = time.monotonic()
        self._asked = False

    def agent_spoke(self) -> None:
        """The agent has just finished."""
        self._since = time.monotonic()

    def step(self, now: float) -> Step | None:
        """What is to be done now; called while neither party speaks."""
        if now - self._since <= self._limit_s:
            return None
        self._since = now
        if self._asked:
            return Step.GIVE_UP
        self._asked = True
        return Step.ASK
