"""Metrics of the gateway. Labels never hold an id."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from voxbus.contracts.call import TurnTimings
from voxbus.runtime.metrics import LATENCY_BUCKETS

CALLS_LIVE = Gauge("voxbus_calls_live", "Calls now")
CALLS_STARTED = Counter("voxbus_calls_started_total", "Calls started", ["protocol"])
CALLS_REFUSED = Counter("voxbus_calls_refused_total", "Calls refused", ["reason"])
AGENT_LOOKUPS = Counter(
    "voxbus_agent_lookups_total", "Agents looked up for calls: hit, miss, stale (service away), failed", ["outcome"]
)
CALLS_ENDED = Counter("voxbus_calls_ended_total", "Calls ended", ["reason", "party"])
CALL_SECONDS = Histogram(
    "voxbus_call_duration_seconds", "Duration of calls", buckets=(5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)
)
TURNS = Counter("voxbus_turns_total", "Turns of the agent", ["kind", "outcome"])
TURN_STEP_SECONDS = Histogram(
    "voxbus_turn_step_seconds",
    "From the end of the caller's speech to a step of the answer",
    ["step"],
    buckets=LATENCY_BUCKETS,
)
BARGE_INS = Counter("voxbus_barge_ins_total", "Times a caller stopped the agent")
UNDERRUNS = Counter("voxbus_playout_underruns_total", "Times the agent's audio ran dry within a turn")
FRAMES_IN = Counter("voxbus_caller_frames_total", "20 ms frames from callers")
FRAMES_DROPPED = Counter("voxbus_caller_frames_dropped_total", "20 ms frames dropped because the bus was too slow")

_STEPS = ("turn_decided", "first_token", "first_sentence", "first_audio", "first_played")


def observe_turn(timings: TurnTimings) -> None:
    """Record the steps that a turn reached, if it answers speech: only then is there an end of speech to count from."""
    if timings.turn_decided is None:
        return
    for step in _STEPS:
        value = getattr(timings, step)
        if value is not None:
            TURN_STEP_SECONDS.labels(step).observe(max(0.0, value / 1000))
