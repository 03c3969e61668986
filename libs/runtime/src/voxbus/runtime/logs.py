"""JSON logs on stdout: one object a line, with the same fields in every process."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

CONTEXT_FIELDS = ("call_id", "agent_id", "trace_id")
"""Bound per call with `structlog.contextvars`; null outside of one."""


def _context_fields(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for name in CONTEXT_FIELDS:
        event.setdefault(name, None)
    return event


def _ordered(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    first = ("timestamp", "level", "service", "message", *CONTEXT_FIELDS)
    return {**{name: event.pop(name) for name in first if name in event}, **event}


def configure_logging(service: str, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send structlog's and the standard library's records as JSON lines to `stream` (default: stdout)."""

    def add_service(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["service"] = service
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_service,
        _context_fields,
    ]
    renderers: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("message"),
        _ordered,
        structlog.processors.JSONRenderer(default=str),
    ]
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=renderers))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Their INFO is one line per request or reconnect attempt; ours says it once. pymongo's DEBUG quotes documents: hashes, keys.
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "nats", "faststream", "httpx", "openai", "pymongo"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
