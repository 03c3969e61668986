"""Every subject of the bus, in one place.

`canonical` maps a concrete subject back to its template, so that metric labels and span names never hold an id.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from voxbus.contracts.stage import Stage

_TOKEN = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Subject:
    """A subject template such as `voxbus.{stage}.in.v1.{worker_id}.{stream_id}`."""

    template: str
    _pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        pattern = _TOKEN.sub(lambda match: f"(?P<{match[1]}>[^.]+)", self.template.replace(".", r"\."))
        object.__setattr__(self, "_pattern", re.compile(pattern))

    def __call__(self, **tokens: str) -> str:
        """The concrete subject; raises KeyError when a token is missing, ValueError when one is no single token."""
        for name, value in tokens.items():
            if not value or any(char in value for char in ".*> \t\r\n"):
                raise ValueError(f"{name} = {value!r} cannot be one token of a subject")
        return self.template.format(**tokens)

    def wildcard(self, **tokens: str) -> str:
        """The subject to subscribe to: tokens that are not given become `*`."""
        return _TOKEN.sub(lambda match: tokens.get(match[1], "*"), self.template)

    def match(self, subject: str) -> dict[str, str] | None:
        """The tokens of `subject`, or None when it is not of this template."""
        found = self._pattern.fullmatch(subject)
        return found.groupdict() if found else None


OPEN: Final = Subject("voxbus.{stage}.open.v1")
"""Request/reply: open a stream on any worker of the stage (queue group = stage)."""
INPUT: Final = Subject("voxbus.{stage}.in.v1.{worker_id}.{stream_id}")
"""Frames from the owner of a stream to its worker."""
OUTPUT: Final = Subject("voxbus.{stage}.out.v1.{owner_id}.{stream_id}")
"""Frames from the worker of a stream to its owner."""
EVENT: Final = Subject("voxbus.event.{noun}.{verb}.v1")
"""Facts, with CloudEvents attributes in the headers."""
RPC: Final = Subject("voxbus.rpc.{service}.{operation}.v1")
"""Request/reply with a service (queue group = service). See `voxbus.contracts.rpc`."""
STATUS: Final = Subject("voxbus.control.status.v1")
"""Request to all: every process answers with its `ProcessStatus`."""
LIMIT: Final = Subject("voxbus.limit.{limit}.{key}")
"""One message for each request of a sender within a rate limit's window: scratch state of the REST processes."""

ALL: Final = (OPEN, INPUT, OUTPUT, EVENT, RPC, STATUS, LIMIT)


def queue_group(stage: Stage) -> str:
    """The queue group in which the workers of a stage share the opens."""
    return stage.value


_KEPT_TOKENS: Final = {"stage", "noun", "verb", "service", "operation", "limit"}


def _label(template: str, tokens: dict[str, str]) -> str:
    return _TOKEN.sub(lambda match: tokens[match[1]] if match[1] in _KEPT_TOKENS else match[0], template)


def canonical(subject: str) -> str:
    """The subject with every id replaced by its token's name; `_INBOX` for reply subjects, `other` for unknown ones."""
    if subject.startswith("_INBOX."):
        return "_INBOX"
    for known in ALL:
        tokens = known.match(subject)
        if tokens is not None:
            return _label(known.template, tokens)
    return "other"
