"""Metrics of the REST process. Labels never hold an id: `route` is the template."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from voxbus.runtime.metrics import LATENCY_BUCKETS

REQUESTS = Counter("voxbus_rest_requests_total", "Requests answered", ["method", "route", "status"])
REQUEST_SECONDS = Histogram(
    "voxbus_rest_request_seconds", "Time to answer a request", ["method", "route"], buckets=LATENCY_BUCKETS
)
REQUESTS_RUNNING = Gauge("voxbus_rest_requests_running", "Requests being answered now")
RATE_LIMITED = Counter("voxbus_rest_rate_limited_total", "Requests refused because there were too many", ["limit"])
RATE_LIMIT_LOCAL = Counter(
    "voxbus_rest_rate_limit_local_total",
    "Requests counted by this process alone, because the shared count could not be reached",
    ["limit"],
)
API_KEY_CHECKS = Counter("voxbus_rest_api_key_checks_total", "API keys checked", ["outcome"])
