"""What one client may do to the edge."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class EdgeLimits:
    """Limits per connection, except `max_connections`."""

    max_connections: int = 1000
    """Sockets at a time; further upgrades are answered 503."""
    auth_timeout_s: float = 5.0
    """From the socket's opening to the client's authentication; the HTTP upgrade has as long before that."""
    ping_interval_s: float = 10.0
    """A client that sent nothing for this long is pinged; after twice this long its socket is dropped."""
    close_timeout_s: float = 2.0
    """How long the client has to answer a close, and to read what was sent before it."""
    max_message_bytes: int = 65_536
    max_backlog_bytes: int = 262_144
    """What the process holds for a client that does not read; the kernel's send buffer is set to half of it."""
    message_rate: float = 500.0
    """WebSocket frames a second, with a burst of two seconds' worth."""
    fault_rate: float = 1.0
    """Messages answered with an error a second, with a burst of `fault_burst`."""
    fault_burst: float = 20.0
    audio_burst_s: float = 2.0
    """How far the caller's audio may be ahead of real time; the rest is dropped."""
    max_dropped_s: float = 30.0
    """A client that had this much audio dropped is flooding."""


class TokenBucket:
    """`rate` tokens a second, at most `capacity` of them saved up."""

    __slots__ = ("_at", "_capacity", "_rate", "_tokens")

    def __init__(self, rate: float, capacity: float) -> None:
        self._rate = rate
        self._capacity = capacity
        self._tokens = capacity
        self._at = time.monotonic()

    def take(self, cost: float = 1.0) -> bool:
        """Take `cost` tokens; False, and none taken, when there are too few."""
        now = time.monotonic()
        tokens = min(self._capacity, self._tokens + (now - self._at) * self._rate)
        self._at = now
        enough = tokens >= cost
        self._tokens = tokens - cost if enough else tokens
        return enough
