"""How routes are made."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from voxbus.voice_gateway.rest.deps import Require
from voxbus.voice_gateway.rest.errors import ProblemError, unknown_name


class StrictRoute(APIRoute):
    """A route that refuses query parameters it does not know: a filter with a typing error would find too much."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self._begins = path.partition("{")[0]

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether it is this route's request. The router asks all in turn: most say no by the beginning of the path."""
        if not scope["path"].startswith(self._begins) and not scope.get("root_path"):
            return Match.NONE, {}
        return super().matches(scope)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler with the check before it."""
        handle = super().get_route_handler()
        needed = list(dependants(self.dependant))
        known = frozenset(parameter.alias for dependant in needed for parameter in dependant.query_params)
        guards = [dependant.call for dependant in needed if isinstance(dependant.call, Require)]

        async def checked(request: Request) -> Response:
            problem = _query_problem(request, known) if request.scope["query_string"] else None
            if problem is not None:
                for guard in guards:
                    await guard(request)  # strangers are told that they are, not what parameters there are
                raise problem
            return await handle(request)

        return checked


def dependants(root: Dependant) -> Iterator[Dependant]:
    """A route's dependencies and theirs, the route first."""
    yield root
    for inner in root.dependencies:
        yield from dependants(inner)


def _query_problem(request: Request, known: frozenset[str]) -> ProblemError | None:
    for name, value in request.query_params.multi_items():
        if name not in known:
            detail = unknown_name(name, known).replace("field", "parameter", 1)
        elif "\0" in value:
            detail = "must not hold the character U+0000"
        else:
            continue
        return ProblemError(422, f"{name}: {detail}"[:300], problems=[("query", f"/{name}"[:100], detail)])
    return None


def api_router(prefix: str, tag: str) -> APIRouter:
    """A router for routes under `prefix`, shown together under `tag` in the documentation."""
    return APIRouter(prefix=prefix, tags=[tag], route_class=StrictRoute)
