"""What goes wrong, as `application/problem+json` (RFC 9457), whoever found it: the router, a check of ours, or a service."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, Literal

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Match, Route

from voxbus.contracts.rpc import RequestErrorCode
from voxbus.runtime.rpc import RequestFailedError
from voxbus.voice_gateway.rest.context import request_context
from voxbus.voice_gateway.rest.wording import for_people

log = structlog.get_logger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 2
"""What a client waits when a service is away."""
MAX_PROBLEMS: Final = 50
"""Places that an answer tells; a body may be wrong in many thousands."""
_LONGEST_NAME: Final = 100
"""Of an unknown field for which a similar one is looked for."""
_STATUS: Final[dict[RequestErrorCode, int]] = {
    RequestErrorCode.INVALID: 422,
    RequestErrorCode.UNAUTHENTICATED: 401,
    RequestErrorCode.FORBIDDEN: 403,
    RequestErrorCode.NOT_FOUND: 404,
    RequestErrorCode.CONFLICT: 409,
    RequestErrorCode.STALE: 412,
    RequestErrorCode.KEY_REUSED: 422,
    RequestErrorCode.TOO_LARGE: 413,
    RequestErrorCode.UNAVAILABLE: 503,
    RequestErrorCode.INTERNAL: 500,
}
_TITLES: Final[dict[str, str]] = {
    "invalid": "The request is not valid",
    "unauthenticated": "Authentication is needed",
    "forbidden": "This is not allowed",
    "not_found": "Not found",
    "conflict": "The state of things does not allow it",
    "stale": "It was changed in the meantime",
    "key_reused": "The idempotency key was used for something else",
    "too_large": "The content is too large",
    "unavailable": "A service is not available",
    "internal": "Something went wrong here",
    "timeout": "The request took too long to come",
    "precondition_required": "If-Match is needed",
    "rate_limited": "Too many requests",
    "unsupported_media_type": "This content type is not supported",
    "method_not_allowed": "The method is not allowed here",
    "bad_request": "The request cannot be read",
}
_CODES: Final[dict[int, str]] = {
    400: "bad_request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    409: "conflict",
    412: "stale",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid",
    428: "precondition_required",
    429: "rate_limited",
    500: "internal",
    503: "unavailable",
}
_WRAPPER = re.compile(r"^/(spec|patch|change)(?=/|$)")
"""Where a request to a service holds what was the body here."""
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="voxbus"'}

Place = Literal["body", "query", "path", "header"]


class FieldError(BaseModel):
    """One thing that is wrong in the request."""

    pointer: str = Field(description="JSON pointer into the body, or `/name` of a parameter.", examples=["/name"])
    detail: str = Field(examples=["must have at least 1 character"])
    location: Place = Field(default="body", alias="in", description="What the pointer points into.")


class ProblemDetails(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = Field(description="URI reference that names the kind of problem.", examples=["/problems/invalid"])
    title: str = Field(examples=["The request is not valid"])
    status: int = Field(ge=400, le=599, examples=[422])
    detail: str = Field(description="What went wrong this time.")
    instance: str = Field(description="Path of the request.", examples=["/agents"])
    code: str = Field(description="The kind of problem, for programs.", examples=["invalid"])
    request_id: str = Field(description="Names this request in the logs.")
    errors: list[FieldError] | None = Field(default=None, description="Of a request that is not valid: where and why.")


class ProblemError(Exception):
    """A problem found in this process. `problems` are the `errors` of the answer."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        code: str | None = None,
        problems: Sequence[tuple[Place, str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.code = code or _CODES.get(status, "error")
        self.problems = tuple(problems)
        self.headers = dict(headers or {})


def invalid_body(pointer: str, detail: str) -> ProblemError:
    """422 with one place in the body."""
    return ProblemError(422, detail, problems=[("body", pointer, detail)])


def unauthenticated(detail: str) -> ProblemError:
    """401 with the challenge that it needs."""
    return ProblemError(401, detail, headers=_CHALLENGE)


def problem_body(error: ProblemError, instance: str, request_id: str) -> bytes:
    """The JSON of a problem."""
    content: dict[str, Any] = {
        "type": f"/problems/{error.code}",
        "title": _TITLES.get(error.code) or HTTPStatus(error.status).phrase,
        "status": error.status,
        "detail": error.detail,
        "instance": instance,
        "code": error.code,
        "request_id": request_id,
    }
    if error.problems:
        content["errors"] = [
            {"pointer": pointer, "detail": detail, "in": place} for place, pointer, detail in error.problems
        ]
    return json.dumps(content).encode()


def answer_problem(request: Request, error: ProblemError) -> Response:
    """The response that tells a problem."""
    body = problem_body(error, request.url.path, request_context(request.scope).request_id)
    return Response(body, error.status, error.headers, MEDIA_TYPE)


def from_service(error: RequestFailedError, method: str) -> ProblemError:
    """What a service's typed error is over HTTP."""
    content = error.error
    headers: dict[str, str] = {}
    if content.code is RequestErrorCode.UNAUTHENTICATED:
        headers = dict(_CHALLENGE)
    elif content.code is RequestErrorCode.UNAVAILABLE:
        headers = {"Retry-After": str(RETRY_AFTER_S)}
    place: Place = "query" if method == "GET" else "body"
    problems: list[tuple[Place, str, str]] = [
        (place, _WRAPPER.sub("", problem.path), problem.message) for problem in content.problems
    ]
    return ProblemError(
        _STATUS[content.code],
        _summary(problems) if problems else content.message,
        code=content.code.value,
        problems=problems,
        headers=headers,
    )


def from_validation(error: ValidationError, model: type[BaseModel]) -> ProblemError:
    """422 for a body that does not fit `model`."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    schema = model.model_json_schema() if any(item["type"] == "extra_forbidden" for item in details) else {}
    problems: list[tuple[Place, str, str]] = [
        ("body", pointer(item["loc"]), _explain(item["type"], item["msg"], item["loc"], schema))
        for item in details[:MAX_PROBLEMS]
    ]
    return ProblemError(422, _summary(problems, len(details)), problems=problems)


def pointer(path: Iterable[int | str]) -> str:
    """The JSON pointer (RFC 6901) of a place."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def _summary(problems: Sequence[tuple[Place, str, str]], count: int | None = None) -> str:
    """`count`: of all problems, when `problems` are not all."""
    place, where, detail = problems[0]
    first = f"{where or f'the {place}'}: {detail}"
    more = (count or len(problems)) - 1
    return f"{first} (and {more} more)" if more else first


def _explain(kind: str, message: str, path: tuple[int | str, ...], schema: dict[str, Any]) -> str:
    if kind == "extra_forbidden":
        return unknown_name(str(path[-1]), _names_at(schema, path[:-1]))
    return for_people(message)


def unknown_name(name: str, known: Iterable[str]) -> str:
    """That there is no such field, with the nearest one there is."""
    near = difflib.get_close_matches(name, list(known), n=1) if len(name) <= _LONGEST_NAME else []
    return f"unknown field; did you mean `{near[0]}`?" if near else "unknown field"


def _names_at(schema: dict[str, Any], path: tuple[int | str, ...]) -> Iterable[str]:
    """The fields that are known at a place, or none when it cannot be told."""
    definitions = schema.get("$defs", {})
    for part in path:
        schema = _resolved(schema, definitions)
        schema = schema.get("items", {}) if isinstance(part, int) else schema.get("properties", {}).get(part, {})
    names: Iterable[str] = _resolved(schema, definitions).get("properties", {})
    return names


def _resolved(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    for option in (schema, *schema.get("anyOf", ()), *schema.get("allOf", ())):
        if "$ref" in option:
            found: dict[str, Any] = definitions[option["$ref"].removeprefix("#/$defs/")]
            return found
    return schema


def _of_parameters(error: RequestValidationError) -> ProblemError:
    places: dict[Any, Place] = {"query": "query", "path": "path", "header": "header"}
    problems: list[tuple[Place, str, str]] = [
        (places.get(item["loc"][0], "body"), pointer(item["loc"][1:]), for_people(item["msg"]))
        for item in error.errors()
    ]
    return ProblemError(422, _summary(problems), problems=problems)


def _of_http(request: Request, error: HTTPException) -> ProblemError:
    headers = error.headers
    if error.status_code == 405:
        headers = {"Allow": ", ".join(_methods_at(request))}  # the router names those of the first route alone
    detail = {
        404: "there is nothing at this path",
        405: "this path does not know the method",
    }.get(error.status_code, str(error.detail))
    return ProblemError(error.status_code, detail, headers=headers)


def _methods_at(request: Request) -> list[str]:
    """What can be done at the path of a request: the methods of all routes with the template that it matches first."""
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    matching = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in matching if route.path == matching[0].path for method in route.methods or ()})


def install_handlers(app: FastAPI) -> None:
    """Answer every exception that can leave a route as a problem; what is none of these is the middleware's."""

    @app.exception_handler(ProblemError)
    async def ours(request: Request, error: ProblemError) -> Response:
        return answer_problem(request, error)

    @app.exception_handler(ClientDisconnect)
    async def of_client(request: Request, _: ClientDisconnect) -> Response:
        # Nobody reads it; but it is counted and logged, and as no failure of ours.
        return answer_problem(request, ProblemError(400, "the client went away before its body was whole"))

    @app.exception_handler(RequestFailedError)
    async def of_service(request: Request, error: RequestFailedError) -> Response:
        return answer_problem(request, from_service(error, request.method))

    @app.exception_handler(RequestValidationError)
    async def of_parameters(request: Request, error: RequestValidationError) -> Response:
        return answer_problem(request, _of_parameters(error))

    @app.exception_handler(HTTPException)
    async def of_http(request: Request, error: HTTPException) -> Response:
        return answer_problem(request, _of_http(request, error))
