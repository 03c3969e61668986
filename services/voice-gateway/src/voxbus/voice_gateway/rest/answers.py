"""The answers of routes: bytes made once, with the headers that belong to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol
from urllib.parse import urlencode

from fastapi import Request
from pydantic import BaseModel
from starlette.responses import Response

from voxbus.voice_gateway.rest.etag import Revised, etag, is_current

_JSON = "application/json"
NO_STORE = {"Cache-Control": "no-store"}
"""For answers that hold a secret."""


class Record(Revised, Protocol):
    """A record that can be answered."""

    def model_dump_json(self) -> str: ...


class Page(Protocol):
    """A page of records."""

    @property
    def next_cursor(self) -> str | None: ...
    def model_dump_json(self) -> str: ...


def answer(content: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`content` as JSON."""
    return Response(content.model_dump_json().encode(), status, headers, _JSON)


def answer_record(record: Record, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A record with its ETag."""
    return Response(record.model_dump_json().encode(), status, {"ETag": etag(record), **(headers or {})}, _JSON)


def answer_read(request: Request, record: Record) -> Response:
    """A record that was asked for: 304 when the client has it already."""
    tag = etag(record)
    if is_current(request, tag):
        return Response(status_code=304, headers={"ETag": tag})
    return answer_record(record)


def answer_created(record: Record, location: str, *, replayed: bool = False) -> Response:
    """201, with where it is. `replayed`: an earlier request with the same Idempotency-Key made it."""
    headers = {"Location": location}
    if replayed:
        headers["Idempotency-Replayed"] = "true"
    return answer_record(record, 201, headers)


def answer_page(request: Request, page: Page) -> Response:
    """A page of a list, with the address of the next one."""
    headers = {}
    if page.next_cursor is not None:
        headers["Link"] = f'<{_next_address(request, page.next_cursor)}>; rel="next"'
    return Response(page.model_dump_json().encode(), 200, headers, _JSON)


def done() -> Response:
    """204: it was done, and there is nothing to tell."""
    return Response(status_code=204)


def _next_address(request: Request, cursor: str) -> str:
    """Path and query alone, so that it is right behind any proxy."""
    parameters: Sequence[tuple[str, str]] = [
        *((name, value) for name, value in request.query_params.multi_items() if name != "cursor"),
        ("cursor", cursor),
    ]
    return f"{request.url.path}?{urlencode(parameters)}"
