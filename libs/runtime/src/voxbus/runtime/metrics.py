"""Metrics that every process has. Labels never hold an id."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2.5, 5, 10)

LOOP_LAG = Histogram(
    "voxbus_event_loop_lag_seconds",
    "How late the event loop ran a timer",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
BUS_CONNECTED = Gauge("voxbus_bus_connected", "1 while the connection is up", ["plane"])
BUS_RECONNECTS = Counter("voxbus_bus_reconnects_total", "Reconnects to the bus", ["plane"])
BUS_ERRORS = Counter("voxbus_bus_errors_total", "Errors reported by the bus client", ["plane", "kind"])
EVENTS_PUBLISHED = Counter("voxbus_events_published_total", "Events published", ["type", "outcome"])

STREAMS_ACTIVE = Gauge("voxbus_stage_streams_active", "Open streams of this worker", ["stage"])
STREAMS_CAPACITY = Gauge("voxbus_stage_streams_capacity", "Streams this worker takes at most", ["stage"])
STREAM_OPENS = Counter("voxbus_stage_opens_total", "Opens answered by this worker", ["stage", "outcome"])
STREAM_ENDS = Counter("voxbus_stage_ends_total", "Streams of this worker that ended", ["stage", "outcome"])
STREAM_GAPS = Counter("voxbus_stage_gaps_total", "Frames that never came", ["stage", "direction"])
STREAM_REPEATS = Counter("voxbus_stage_repeats_total", "Frames that came twice or too late", ["stage", "direction"])
STREAM_BAD_FRAMES = Counter("voxbus_stage_bad_frames_total", "Frames that could not be read", ["stage", "direction"])

OWNED_STREAMS = Gauge("voxbus_owned_streams", "Stage streams this process owns", ["stage"])
OWNER_OPENS = Counter("voxbus_owner_opens_total", "Open requests of this owner", ["stage", "outcome"])
OPEN_SECONDS = Histogram("voxbus_owner_open_seconds", "Time to open a stream", ["stage"], buckets=LATENCY_BUCKETS)
TAKEOVERS = Counter("voxbus_takeovers_total", "Streams that went on with another worker", ["stage", "reason"])
TAKEOVER_GAP = Histogram(
    "voxbus_takeover_gap_seconds",
    "Last sign of the old worker to the new one's yes",
    ["stage"],
    buckets=LATENCY_BUCKETS,
)

RPC_SERVED = Counter("voxbus_rpc_served_total", "Requests answered", ["service", "operation", "outcome"])
RPC_SERVED_SECONDS = Histogram(
    "voxbus_rpc_served_seconds", "Arrival of a request to its answer", ["service", "operation"], buckets=LATENCY_BUCKETS
)
RPC_ASKED = Counter("voxbus_rpc_asked_total", "Requests sent to services", ["service", "operation", "outcome"])
RPC_ASKED_SECONDS = Histogram(
    "voxbus_rpc_asked_seconds",
    "A request to its answer, tries included",
    ["service", "operation"],
    buckets=LATENCY_BUCKETS,
)

STORE_UP = Gauge("voxbus_store_up", "1 while the store answers", ["store"])
STORE_PING_SECONDS = Histogram("voxbus_store_ping_seconds", "Time of a ping", ["store"], buckets=LATENCY_BUCKETS)
OUTBOX_PUBLISHED = Counter("voxbus_outbox_published_total", "Events relayed", ["collection", "outcome"])
OUTBOX_WAITING = Gauge(
    "voxbus_outbox_waiting", "Documents whose events should have been published by now", ["collection"]
)
OUTBOX_AGE = Gauge("voxbus_outbox_oldest_seconds", "Age of the oldest of these events", ["collection"])
