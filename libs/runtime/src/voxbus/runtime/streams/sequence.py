"""Numbering of one direction of a stream."""

from __future__ import annotations


class Sequence:
    """Sees gaps and repeats in a numbered series that starts at 0."""

    __slots__ = ("expected",)

    def __init__(self) -> None:
        self.expected = 0

    def accept(self, seq: int) -> int:
        """How many numbers are missing before `seq` (0: in order), or -1 when it is a repeat and must be dropped."""
        missing = seq - self.expected
        if missing < 0:
            return -1
        self.expected = seq + 1
        return missing
