"""Searches with regular expressions of agents. One that explodes must not hold up the other calls of the process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Final

import regex  # type: ignore[import-untyped]
import structlog

BUDGET_S: Final = 0.02
"""CPU time for all the searches of one piece of work; those that come too late find nothing."""
HOPELESS_S: Final = 0.01
"""A pattern that did not come to an end in this time is not tried again."""
_MAX_HOPELESS: Final = 1024

log = structlog.get_logger(__name__)
_left_s: ContextVar[list[float] | None] = ContextVar("regex_budget", default=None)
_hopeless: dict[str, None] = {}


@contextmanager
def limited(budget_s: float = BUDGET_S) -> Iterator[None]:
    """The searches inside share the budget."""
    token = _left_s.set([budget_s])
    try:
        yield
    finally:
        _left_s.reset(token)


def problem(pattern: str) -> str:
    """Why the pattern does not compile; empty when it does."""
    try:
        _compiled(pattern, 0)
    except regex.error as error:
        return str(error)
    return ""


def found(pattern: str, text: str, *, ignore_case: bool = False) -> bool:
    """Whether the pattern matches anywhere in the text; no, if that takes too long to find out."""
    budget = _left_s.get() or [BUDGET_S]
    allowed_s = budget[0]
    if allowed_s <= 0 or pattern in _hopeless:
        return False
    began = time.thread_time()
    try:
        match = _compiled(pattern, regex.IGNORECASE if ignore_case else 0).search(text, timeout=allowed_s)
    except TimeoutError:
        if allowed_s >= HOPELESS_S:
            _give_up(pattern)
        return False
    finally:
        budget[0] -= time.thread_time() - began
    return match is not None


def _give_up(pattern: str) -> None:
    log.warning("a regular expression of an agent takes too long and is not tried again", limit_s=BUDGET_S)
    if len(_hopeless) >= _MAX_HOPELESS:
        del _hopeless[next(iter(_hopeless))]
    _hopeless[pattern] = None


@lru_cache(maxsize=1024)
def _compiled(pattern: str, flags: int) -> Any:
    return regex.compile(pattern, flags)
