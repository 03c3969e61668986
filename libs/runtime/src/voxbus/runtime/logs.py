"""JSON logs on stdout: one object a line, with the same fields in every process."""

from __future__ import annotations

import json
import logging
import sys
from contextlib import suppress
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

CONTEXT_FIELDS = ("call_id", "agent_id", "trace_id")
"""Bound per call with `structlog.contextvars`; null outside of one."""
_ENCODER = json.JSONEncoder(default=str)


def _context_fields(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for name in CONTEXT_FIELDS:
        event.setdefault(name, None)
    return event


def _ordered(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    first = ("timestamp", "level", "service", "message", *CONTEXT_FIELDS)
    return {**{name: event.pop(name) for name in first if name in event}, **event}


def _as_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    try:
        return _ENCODER.encode(event)
    except (TypeError, ValueError):  # such as an object whose keys are no strings
        return _ENCODER.encode({name: str(value) for name, value in event.items()})


class _Lines:
    """Where structlog's lines go. A line that cannot be written is nobody's failure."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, line: str) -> None:
        with suppress(OSError, ValueError):  # its reader is gone, or it is closed
            self._out.write(line + "\n")
            self._out.flush()

    debug = info = warning = error = critical = write


def configure_logging(service: str, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send structlog's and the standard library's records as JSON lines to `stream` (default: stdout)."""

    def add_service(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["service"] = service
        return event

    fields: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_service,
        _context_fields,
    ]
    line: list[Processor] = [
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("message"),
        _ordered,
        _as_json,
    ]
    out = stream or sys.stdout
    least = logging.getLevelNamesMapping()[level.upper()]
    _configure_libraries(logging.StreamHandler(out), fields, line, least)
    # Not by way of the standard library: a record of it costs as much as all the rest of a line.
    structlog.configure(
        processors=[*fields, *line],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=lambda *_: _Lines(out),
        cache_logger_on_first_use=True,
    )


def _configure_libraries(
    handler: logging.StreamHandler[TextIO], fields: list[Processor], line: list[Processor], least: int
) -> None:
    """Give the standard library's records the form of ours."""
    processors = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *line]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=fields, processors=processors))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(least)
    # Their INFO is one line per request or reconnect attempt; ours says it once. pymongo's DEBUG quotes documents: hashes, keys.
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "nats", "faststream", "httpx", "openai", "pymongo"):
        logging.getLogger(name).setLevel(max(logging.WARNING, least))
