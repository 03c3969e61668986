"""What the routes work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Protocol, cast

from fastapi import Depends, Request

from voxbus.contracts import auth
from voxbus.contracts.access import Actor
from voxbus.contracts.rpc import Operation, RequestT, ResultT
from voxbus.voice_gateway.rest.context import request_context
from voxbus.voice_gateway.rest.settings import RestSettings

_WITHOUT_ACTOR: Final = frozenset(
    operation.subject for operation in (auth.SIGN_UP, auth.LOG_IN, auth.REFRESH, auth.GET_JWKS)
)
"""What anybody may ask. To services a request without an actor comes from the platform itself, which may do everything."""


class Asks(Protocol):
    """Asks a service and waits for its answer, as `RpcClient` does."""

    async def request(
        self, operation: Operation[RequestT, ResultT], request: RequestT, *, timeout_s: float = 3.0
    ) -> ResultT:
        """Raises RequestFailedError: the service's typed error, or UNAVAILABLE."""
        ...


class Identifies(Protocol):
    """Tells who sends a request."""

    async def identify(self, credential: str) -> Actor:
        """Whom an access token or API key stands for. Raises ProblemError 401, RequestFailedError."""
        ...


class Limits(Protocol):
    """Counts requests against a limit."""

    async def take(self, name: str, key: str) -> None:
        """Count one. Raises ProblemError 429 when `key` has had what limit `name` allows."""
        ...


class ReportsHealth(Protocol):
    """Knows how the platform is."""

    async def report(self) -> tuple[int, bytes]:
        """The status and the JSON of `/health`."""
        ...

    def ready(self) -> tuple[int, bytes]:
        """The status and the JSON of `/ready`."""
        ...


@dataclass(frozen=True)
class Backend:
    """All of it. In tests the parts are fakes."""

    settings: RestSettings
    client: Asks
    callers: Identifies
    limits: Limits
    health: ReportsHealth


def backend_of(request: Request) -> Backend:
    """The backend of the application that got a request."""
    return cast(Backend, request.app.state.backend)


class Services:
    """Asks the services on behalf of one request: with its trace, and the time the settings give."""

    def __init__(self, request: Request) -> None:
        backend = backend_of(request)
        self._client = backend.client
        self._timeout_s = backend.settings.request_timeout_s
        self._traceparent = request_context(request.scope).traceparent

    async def request(
        self, operation: Operation[RequestT, ResultT], request: RequestT, *, timeout_s: float | None = None
    ) -> ResultT:
        """The answer. Raises RequestFailedError, which becomes the problem that the client gets.

        A route that forgets who asks would ask with the platform's rights: that is refused here, as PermissionError.
        """
        if request.actor is None and operation.subject not in _WITHOUT_ACTOR:
            raise PermissionError(f"{operation.subject} was asked without an actor")
        traced = request.model_copy(update={"traceparent": self._traceparent}) if self._traceparent else request
        return await self._client.request(operation, traced, timeout_s=timeout_s or self._timeout_s)


async def _services(request: Request) -> Services:
    return Services(request)


AskServices = Annotated[Services, Depends(_services)]
"""Parameter of a route that asks services."""
