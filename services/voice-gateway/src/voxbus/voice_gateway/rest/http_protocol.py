"""Uvicorn's HTTP/1.1, with a limit to the size and the time of what comes before a request can be answered.

Uvicorn takes heads without end, for ever: a few clients could hold all memory or all file descriptors of the process.
"""

from __future__ import annotations

import asyncio
import secrets
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from voxbus.voice_gateway.rest.errors import MEDIA_TYPE, ProblemError, problem_body

MAX_HEAD_BYTES: Final = 64 * 1024
"""Of a request line with its headers, of trailers, and of what is sent beside the content of a chunk."""
HEAD_TIMEOUT_S: Final = 20.0
"""For the first request of a connection to come, and for any head to be whole once it has begun."""


MAX_PIPELINED: Final = 32
"""Requests of a connection that wait for the answer to an earlier one; in memory they are far larger than on the wire."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._between = True
        """Whether what comes next belongs to a head: no message has begun, or its head is not whole."""
        self._unused_bytes = 0
        """Received since the parser last had something whole."""
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client came, and has some time to ask for something."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Hand it to the parser, and see whether that is any further for it."""
        self._unused_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._unused_bytes > MAX_HEAD_BYTES:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"a head may have at most {MAX_HEAD_BYTES} bytes")
        elif self._between and not self._answering:
            self._await_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; trailers, which would join the headers of a request that is being answered, are dropped."""
        if self._between:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """A request has come. Raises ValueError, at which the parser stops and the connection ends, when too many wait."""
        if len(self.pipeline) >= MAX_PIPELINED:
            raise ValueError("too many pipelined requests")
        self._between = False
        self._unused_bytes = 0
        self._stop_waiting()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unused_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._between = True
        self._unused_bytes = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP as every other problem is answered."""
        self._refuse(HTTPStatus.BAD_REQUEST, "this is not a valid HTTP request")

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _await_head(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_TIMEOUT_S, self._too_late)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._deadline = None
        if self._unused_bytes:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "the request did not come in time")
        else:
            self.transport.close()

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        """Answer, unless an earlier request of the connection is being answered, and close."""
        self._stop_waiting()
        if not self._answering:
            request_id = f"req_{secrets.token_hex(10)}"
            body = problem_body(ProblemError(status, detail), "", request_id)
            head = (
                f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\n"
                f"X-Request-Id: {request_id}\r\nConnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
        self.transport.close()
