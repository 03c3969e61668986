"""Metrics of the edge. Labels never hold an id."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

CONNECTIONS = Gauge("voxbus_edge_connections", "Voice sockets that are open", ["protocol"])
CONNECTIONS_OPENED = Counter("voxbus_edge_connections_opened_total", "Voice sockets opened", ["protocol"])
CONNECTIONS_REFUSED = Counter("voxbus_edge_connections_refused_total", "Upgrades refused", ["reason"])
CONNECTIONS_LOST = Counter(
    "voxbus_edge_connections_lost_total", "Voice sockets the edge gave up", ["protocol", "reason"]
)
AUTH_FAILURES = Counter("voxbus_edge_auth_failures_total", "Clients that did not get a call", ["protocol", "code"])
CLIENT_FAULTS = Counter("voxbus_edge_client_faults_total", "Messages answered with an error", ["protocol", "code"])
MESSAGES = Counter("voxbus_edge_messages_total", "WebSocket messages", ["protocol", "direction"])
BYTES = Counter("voxbus_edge_bytes_total", "Payload of WebSocket messages in bytes", ["protocol", "direction"])
SLOW_READERS = Counter("voxbus_edge_slow_readers_total", "Clients dropped because they read too slowly", ["protocol"])
AUDIO_DROPPED = Counter(
    "voxbus_edge_audio_dropped_seconds_total",
    "Caller audio dropped because it came faster than real time",
    ["protocol"],
)
