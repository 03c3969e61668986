"""Log lines."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from voxbus.runtime.logs import configure_logging

pytestmark = pytest.mark.unit


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Where the lines go; the configuration of the process is put back."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    out = io.StringIO()
    configure_logging("test-service", "INFO", out)
    yield out
    root.handlers[:], root.level = before
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def read(out: io.StringIO) -> list[dict[str, object]]:
    """The lines as objects."""
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_has_the_agreed_fields_in_order(lines: io.StringIO) -> None:
    """Timestamp, level, service, message, call, agent and trace, then the rest."""
    structlog.get_logger("x").info("hello", answer=42)
    (line,) = read(lines)
    assert list(line) == ["timestamp", "level", "service", "message", "call_id", "agent_id", "trace_id", "answer"]
    assert (line["service"], line["level"], line["message"], line["answer"]) == ("test-service", "info", "hello", 42)
    assert line["call_id"] is None


def test_a_call_is_bound_to_the_lines_of_its_task(lines: io.StringIO) -> None:
    """What is bound once is in every line after it."""
    structlog.contextvars.bind_contextvars(call_id="call_1", agent_id="a", trace_id="t")
    structlog.get_logger("x").warning("late")
    (line,) = read(lines)
    assert (line["call_id"], line["agent_id"], line["trace_id"]) == ("call_1", "a", "t")


def test_the_standard_library_logs_in_the_same_form(lines: io.StringIO) -> None:
    """Lines of libraries are JSON too, with the exception in one field."""
    try:
        int("broken")
    except ValueError:
        logging.getLogger("some.library").exception("it failed")
    (line,) = read(lines)
    assert line["message"] == "it failed"
    assert "ValueError: invalid literal" in str(line["exception"])


def test_lines_below_the_level_are_left_out(lines: io.StringIO) -> None:
    """DEBUG is off at INFO, also the chatter of the libraries at INFO."""
    structlog.get_logger("x").debug("secret words")
    logging.getLogger("httpx").info("GET http://…")
    assert read(lines) == []


def test_every_level_and_traceback_is_written(lines: io.StringIO) -> None:
    """Each method names its level, and an exception is told with its traceback."""
    log = structlog.get_logger("x")
    for method in (log.info, log.warning, log.error, log.critical):
        method("said")
    try:
        int("broken")
    except ValueError:
        log.exception("it failed")
    found = read(lines)
    assert [line["level"] for line in found] == ["info", "warning", "error", "critical", "error"]
    assert "ValueError: invalid literal" in str(found[-1]["exception"])


def test_what_json_cannot_hold_is_written_as_text(lines: io.StringIO) -> None:
    """A line never fails for what is in it."""
    structlog.get_logger("x").info("odd", kind=ValueError, keys={(1, 2): 3})
    (line,) = read(lines)
    assert line["keys"] == "{(1, 2): 3}"


def test_a_line_that_cannot_be_written_harms_nobody(lines: io.StringIO) -> None:
    """When the reader of the log is gone, work goes on."""
    log = structlog.get_logger("x")
    log.info("heard")
    lines.close()
    log.info("not heard")
