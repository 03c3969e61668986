"""How patient an owner of stage streams is, and what it is told of a takeover."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OwnerSettings:
    """Times in seconds."""

    watchdog_s: float = 0.75
    """A stream that is silent for this long is taken over."""
    heartbeat_s: float = 0.25
    """Asked of the workers."""
    keepalive_s: float = 1.0
    """A sign of life to the worker at least this often."""
    open_timeout_s: float = 1.0
    """For one open request."""
    open_deadline_s: float = 10.0
    """For opening, all tries together, and for a takeover. Time in which the bus is away does not count."""
    bus_patience_s: float = 60.0
    """How long a stream that needs a worker waits for the bus to come back."""
    max_failures: int = 5
    """Failures in a row, without output in between, after which a stream is given up."""
    healthy_s: float = 5.0
    """A stream that lives for this long on a worker has no failures behind it any more."""
    replay_frames: int = 3000
    """Inputs kept for a replay: a minute of audio."""


@dataclass(frozen=True)
class Takeover:
    """A stream went on with another worker."""

    attempt: int
    reason: str
    from_worker: str
    to_worker: str
    gap_s: float
    """From the last sign of life of the old worker to the acceptance by the new one."""
