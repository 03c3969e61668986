"""What is known of a request while it is answered."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final

from voxbus.contracts.access import Actor

_KEY: Final = "voxbus.request"


@dataclass
class RequestContext:
    """Made by the middleware for each request."""

    request_id: str
    address: str = ""
    """Of the client, as far as proxies are believed."""
    traceparent: str | None = None
    actor: Actor | None = None
    """Set once the request is authenticated."""
    headers: dict[str, str] = field(default_factory=dict)
    """To be added to the answer, whatever it is."""


def put_context(scope: MutableMapping[str, Any], context: RequestContext) -> None:
    """Attach it to the request."""
    scope[_KEY] = context


def request_context(scope: MutableMapping[str, Any]) -> RequestContext:
    """The context of a request."""
    context: RequestContext = scope[_KEY]
    return context
