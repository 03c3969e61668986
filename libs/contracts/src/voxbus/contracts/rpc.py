"""Requests between services: who asks, what is answered, what can go wrong.

Each operation has a subject `voxbus.rpc.{service}.{operation}.v1`, a request and a result. The answer is always a `Reply`: a
result or a typed error, never silence. Processes of a service share the requests in the queue group of the service's name.
The header `Voxbus-Timeout-Ms` says how long the sender waits; what has not been begun by then is not done.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Generic, TypeVar

from pydantic import Field, StringConstraints

from voxbus.contracts import subjects
from voxbus.contracts.access import Actor
from voxbus.contracts.base import Message

IdempotencyKey = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,128}$")]
"""A client's name for one create: 1 to 128 printable ASCII characters without spaces."""
MAX_PAGE: int = 100


class Request(Message):
    """Base of requests. `actor` is None when the platform itself asks, which sees everything."""

    actor: Actor | None = None
    traceparent: str | None = None


class CreateRequest(Request):
    """Base of creates: repeated with the same key and the same content, it answers the record made the first time."""

    idempotency_key: IdempotencyKey | None = None


class PageRequest(Request):
    """Base of lists. `sort` is a field, with `-` before it for descending; `cursor` is `next_cursor` of the page before."""

    limit: int = Field(default=50, ge=1, le=MAX_PAGE)
    cursor: str | None = Field(default=None, max_length=1024)
    sort: str | None = Field(default=None, max_length=64)


class RequestErrorCode(StrEnum):
    """Why a request failed."""

    INVALID = "invalid"
    """The content is wrong; `problems` says where."""
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    """There is no such record, or it is not visible to the actor: the answer is the same."""
    CONFLICT = "conflict"
    """The state of things does not allow it."""
    STALE = "stale"
    """The record was changed since `expected_revision`."""
    KEY_REUSED = "key_reused"
    """The idempotency key was used with other content."""
    TOO_LARGE = "too_large"
    UNAVAILABLE = "unavailable"
    """A store or service it needs cannot be reached now."""
    INTERNAL = "internal"


class FieldProblem(Message):
    """What is wrong with one field. `path` is a JSON pointer into the content, `""` for the whole."""

    path: str
    message: str


class RequestError(Message):
    """A typed failure. `message` is a sentence for the client; `retryable`: the same request may succeed later."""

    code: RequestErrorCode
    message: str
    retryable: bool = False
    problems: tuple[FieldProblem, ...] = ()


RequestT = TypeVar("RequestT", bound=Request)
ResultT = TypeVar("ResultT", bound=Message)


class Reply(Message, Generic[ResultT]):
    """The answer to a request: exactly one of the two is set."""

    result: ResultT | None = None
    error: RequestError | None = None


class Done(Message):
    """It was done, and there is nothing to tell."""


@dataclass(frozen=True)
class Operation(Generic[RequestT, ResultT]):
    """A request that a service answers."""

    service: str
    name: str
    request: type[RequestT]
    result: type[ResultT]
    safe: bool = False
    """Reads only: it may be sent again when no answer came."""

    @property
    def subject(self) -> str:
        """Where it is sent, such as `voxbus.rpc.agents.get.v1`."""
        return subjects.RPC(service=self.service, operation=self.name)
