"""Revisions as entity tags (RFC 9110): `"7"` is revision 7 of a record."""

from __future__ import annotations

import re
from typing import Annotated, Final, Protocol

from fastapi import Depends, Request

from voxbus.voice_gateway.rest.errors import ProblemError

_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_ANY: Final = "*"
_NEVER: Final = 0
"""A revision that no record has: they start at 1."""


class Revised(Protocol):
    """A record that counts its changes."""

    @property
    def revision(self) -> int: ...


def etag(record: Revised) -> str:
    """The strong entity tag of a record."""
    return f'"{record.revision}"'


def is_current(request: Request, tag: str) -> bool:
    """Whether the client has this state already: If-None-Match, in the weak comparison that the RFC asks for."""
    value = request.headers.get("if-none-match")
    if value is None:
        return False
    return value.strip() == _ANY or any(f'"{found[1]}"' == tag for found in _TAG.findall(value))


class IfMatch:
    """Dependency: the revision in `If-Match`, None for `*`; 428 without one where it is `required`."""

    def __init__(self, *, required: bool) -> None:
        self.required = required

    async def __call__(self, request: Request) -> int | None:
        value = request.headers.get("if-match")
        if value is not None:
            return _revision(value)
        if self.required:
            raise ProblemError(
                428, "send If-Match with the ETag of the state that you change, or * to change whatever is there"
            )
        return None


def _revision(value: str) -> int | None:
    if value.strip() == _ANY:
        return None
    found = _TAG.fullmatch(value.strip())
    if not found:
        raise ProblemError(
            422,
            'If-Match holds one entity tag such as "7", or *',
            problems=[("header", "/If-Match", 'must be one entity tag such as "7", or *')],
        )
    weak, tag = found.groups()
    # A weak tag never matches here, and a tag that is none of ours is of no state of the record: both are stale.
    return int(tag) if not weak and re.fullmatch(r"[1-9][0-9]{0,15}", tag) else _NEVER


ExpectedRevision = Annotated[int | None, Depends(IfMatch(required=True))]
"""The revision in `If-Match`, which must be there; None for `*`."""
OptionalRevision = Annotated[int | None, Depends(IfMatch(required=False))]
"""The revision in `If-Match`; None for `*` or when it is not sent."""
