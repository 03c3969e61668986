"""Marks in the agent's audio that wait for the client to play them."""

from __future__ import annotations

from collections import deque
from typing import Final

_MAX_WAITING: Final = 256


class Marks:
    """Names in the order in which they were sent."""

    def __init__(self) -> None:
        self._waiting: deque[str] = deque()

    def add(self, name: str) -> list[str]:
        """A mark was sent. Returns marks that are given up on: the client does not seem to know what a mark is."""
        self._waiting.append(name)
        return [self._waiting.popleft()] if len(self._waiting) > _MAX_WAITING else []

    def played(self, name: str) -> list[str]:
        """The client played up to `name`. Returns it and those before it; none if it was not waited for (any more)."""
        if name not in self._waiting:
            return []
        done: list[str] = []
        while not done or done[-1] != name:
            done.append(self._waiting.popleft())
        return done

    def clear(self) -> list[str]:
        """No mark will be played any more. Returns those that waited."""
        waiting = list(self._waiting)
        self._waiting.clear()
        return waiting
