"""What can go wrong on the bus."""

from __future__ import annotations


class BusUnavailableError(Exception):
    """The bus cannot be reached now; it is tried again without end."""


class NoWorkerError(Exception):
    """Nobody answers on the subject: no process is there, or all are at capacity."""


class TooLargeError(Exception):
    """The message is larger than the bus carries."""
