"""W3C trace context: the ids that tie logs, events and, where one is exported, spans of a call together."""

from __future__ import annotations

import re
import secrets

_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


def new_traceparent() -> str:
    """A fresh root, sampled (https://www.w3.org/TR/trace-context/#traceparent-header)."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def trace_id(traceparent: str | None) -> str | None:
    """The trace id in a traceparent header, or None when it is missing or malformed."""
    found = _TRACEPARENT.fullmatch(traceparent or "")
    return found[1] if found else None
