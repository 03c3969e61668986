"""FastStream's metrics, with labels that hold no id."""

from __future__ import annotations

from typing import Any, Final

from faststream.nats.prometheus.provider import NatsMetricsSettingsProvider
from faststream.prometheus import ConsumeAttrs
from faststream.prometheus.middleware import PrometheusMiddleware
from prometheus_client import REGISTRY

from voxbus.contracts.subjects import canonical


class _CanonicalLabels(NatsMetricsSettingsProvider):
    """Labels are subject templates; the concrete subject holds ids, and FastStream would make a series of each."""

    def get_consume_attrs_from_message(self, msg: Any) -> ConsumeAttrs:
        attrs = super().get_consume_attrs_from_message(msg)
        return {**attrs, "destination_name": canonical(attrs["destination_name"])}

    def get_publish_destination_name_from_cmd(self, cmd: Any) -> str:
        return canonical(cmd.destination)


# One per process: its metrics register themselves once.
BROKER_METRICS: Final[PrometheusMiddleware[Any, Any]] = PrometheusMiddleware(
    settings_provider_factory=lambda _message: _CanonicalLabels(), registry=REGISTRY, app_name="voxbus"
)
