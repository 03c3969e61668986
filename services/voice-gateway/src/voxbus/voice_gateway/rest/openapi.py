"""The OpenAPI document. What a route depends on says what it needs and how it can fail: nothing is written down twice."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel

from voxbus.voice_gateway.rest.bodies import JsonBody, MergePatch
from voxbus.voice_gateway.rest.deps import Limited, Require
from voxbus.voice_gateway.rest.errors import MEDIA_TYPE, ProblemDetails
from voxbus.voice_gateway.rest.etag import IfMatch
from voxbus.voice_gateway.rest.examples import answer_examples
from voxbus.voice_gateway.rest.request_schemas import RequestSchemas
from voxbus.voice_gateway.rest.routing import dependants

DESCRIPTION: Final = """Accounts, agents and campaigns of Voxbus.

**Authentication**: `Authorization: Bearer …` with an access token (from `POST /auth/login`) or an API key (`vxk_…`), or an API
key in `X-API-Key`.

**Changes** of agents, campaigns and users need `If-Match` with the `ETag` that you read, so that nobody's change is lost; `*`
changes whatever is there.

**Creates** take an `Idempotency-Key`: sent again with the same content they answer what was made the first time, with
`Idempotency-Replayed: true`.

**Lists** are paged: ask for the next page with `cursor=<next_cursor>`, or follow the `Link` header.

**Errors** are `application/problem+json` (RFC 9457). Fields and parameters that are not known are refused.
"""
TAGS: Final = [
    {"name": "Authentication", "description": "Log in, stay logged in, and get tokens for calls."},
    {"name": "API keys", "description": "Keys for machines."},
    {"name": "Users", "description": "For administrators."},
    {"name": "Agents", "description": "Drafts, versions, and what calls use."},
    {"name": "Campaigns", "description": "Campaigns and whom they call."},
    {"name": "Platform", "description": "How the platform is."},
]
_DESCRIPTIONS: Final = {
    400: "The request cannot be read.",
    401: "No credentials, or not good ones.",
    403: "The permission is missing, or this is for administrators.",
    404: "There is no such record, or it is not yours.",
    408: "The body did not come in time.",
    409: "The state of things does not allow it; `detail` says why.",
    412: "It was changed since you read it.",
    413: "The body is too large.",
    415: "The content type is not supported.",
    422: "The request is not valid; `errors` says where.",
    428: "`If-Match` is missing.",
    429: "Too many requests; `Retry-After` says when to come again.",
    500: "Our fault.",
    503: "A service is not available; try again.",
}
_SECURITY: Final[list[dict[str, list[str]]]] = [{"bearer": []}, {"api_key": []}]
_SCHEMES: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An access token, or an API key."},
    "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_RETRY_AFTER: Final = {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
_ETAG: Final = {"description": "The state of the record, for If-Match.", "schema": {"type": "string"}}
_LOCATION: Final = {"description": "Where it is.", "schema": {"type": "string"}}
_REPLAYED: Final = {
    "description": "An earlier request with this Idempotency-Key made it.",
    "schema": {"type": "string", "enum": ["true"]},
}
_LINK: Final = {"description": 'The next page, `rel="next"`.', "schema": {"type": "string"}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For `responses` of a route: failures that do not follow from what it depends on."""
    return {status: _problem(status) for status in statuses}


def _problem(status: int) -> dict[str, Any]:
    content = {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{ProblemDetails.__name__}"}}}
    response: dict[str, Any] = {"description": _DESCRIPTIONS[status], "content": content}
    if status in (429, 503):
        response["headers"] = {"Retry-After": _RETRY_AFTER}
    return response


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the application."""
    result = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        tags=app.openapi_tags,
        routes=app.routes,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    schemas = result.setdefault("components", {}).setdefault("schemas", {})
    requests = RequestSchemas(schemas)
    for route in app.routes:
        if isinstance(route, APIRoute) and route.include_in_schema:
            for method in route.methods or ():
                _complete(result["paths"][route.path_format][method.lower()], route, method, requests)
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas[ProblemDetails.__name__] = _flat_schema(ProblemDetails, schemas)
    for name, example in answer_examples().items():
        if name in schemas:
            schemas[name]["examples"] = [example]
    result["components"]["schemas"] = dict(sorted(schemas.items()))
    result["components"]["securitySchemes"] = _SCHEMES
    return result


def _flat_schema(model: type[BaseModel], schemas: dict[str, Any]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}", mode="serialization")
    schemas.update(schema.pop("$defs", {}))
    return schema


def _complete(operation: dict[str, Any], route: APIRoute, method: str, requests: RequestSchemas) -> None:
    responses: dict[str, Any] = operation["responses"]
    responses.pop("422", None) if 422 not in route.responses else None
    failures: set[int] = {500}
    for needed in dependants(route.dependant):
        failures |= _needs(operation, needed.call, requests)
        if needed.query_params or needed.path_params or needed.header_params:
            failures.add(422)
    if "{" in route.path_format:
        failures.add(404)
    for status in sorted(failures - {int(status) for status in route.responses}):
        responses[str(status)] = _problem(status)
    _success(operation, route, method)
    operation["responses"] = dict(sorted(responses.items()))


def _needs(operation: dict[str, Any], call: Any, requests: RequestSchemas) -> set[int]:
    """Documents one dependency; returns how it can fail."""
    if isinstance(call, Require):
        operation["security"] = _SECURITY
        if call.permission is None:
            return {401, 429, 503}
        operation["description"] = (
            operation.get("description", "") + f"\n\nNeeds the permission `{call.permission.value}`."
        ).strip()
        return {401, 403, 429, 503}
    if isinstance(call, Limited):
        return {429, 503}
    if isinstance(call, JsonBody | MergePatch):
        operation["requestBody"] = _request_body(call, requests)
        return {408, 413, 415, 422}
    if isinstance(call, IfMatch):
        operation.setdefault("parameters", []).append(
            {
                "name": "If-Match",
                "in": "header",
                "required": call.required,
                "description": "The ETag of the state that you change; `*` for whatever is there.",
                "schema": {"type": "string", "pattern": r'^(\*|"[1-9][0-9]{0,14}")$'},
                "example": '"1"',
            }
        )
        return {412, 422, 428} if call.required else {412, 422}
    return set()


def _request_body(body: JsonBody[Any] | MergePatch[Any], requests: RequestSchemas) -> dict[str, Any]:
    schema = requests.patch_of(body.model) if isinstance(body, MergePatch) else requests.strict(body.model)
    examples = {name: {"value": value} for name, value in body.examples.items()}
    media: dict[str, Any] = {"schema": schema, **({"examples": examples} if examples else {})}
    return {"required": not body.optional, "content": dict.fromkeys(body.media_types, media)}


def _success(operation: dict[str, Any], route: APIRoute, method: str) -> None:
    responses = operation["responses"]
    status = str(route.status_code or 200)
    headers: dict[str, Any] = {}
    model = route.response_model
    fields = model.model_fields if isinstance(model, type) and issubclass(model, BaseModel) else {}
    if "revision" in fields:
        headers["ETag"] = _ETAG
        if method == "GET":
            responses["304"] = {"description": "You have it already: If-None-Match named its ETag."}
    if status == "201":
        headers["Location"] = _LOCATION
        if any(parameter["name"] == "Idempotency-Key" for parameter in operation.get("parameters", ())):
            headers["Idempotency-Replayed"] = _REPLAYED
    if "next_cursor" in fields:
        headers["Link"] = _LINK
    if headers and status in responses:
        responses[status].setdefault("headers", {}).update(headers)
