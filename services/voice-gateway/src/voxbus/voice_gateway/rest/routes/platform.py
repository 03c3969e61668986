"""How the platform is, its public keys, and the documentation of this API."""

from __future__ import annotations

from typing import Any, Final, Literal

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from starlette.responses import Response

from voxbus.contracts import auth
from voxbus.voice_gateway.rest.answers import answer
from voxbus.voice_gateway.rest.backend import AskServices, backend_of
from voxbus.voice_gateway.rest.deps import API_LIMIT, limited
from voxbus.voice_gateway.rest.documentation import ASSETS, CONTENT_SECURITY_POLICY, PAGE, START, asset
from voxbus.voice_gateway.rest.health import PlatformHealth
from voxbus.voice_gateway.rest.routing import StrictRoute

router = APIRouter(tags=["Platform"], route_class=StrictRoute)

_JSON: Final = "application/json"
_NO_STORE: Final = {"Cache-Control": "no-store"}
_DOWN: Final[dict[int | str, dict[str, Any]]] = {503: {"model": PlatformHealth, "description": "No call can be begun."}}


@router.get("/health", response_model=PlatformHealth, responses=_DOWN)
async def health(request: Request) -> Response:
    """Every service, provider and store, with its latency. At most two seconds old."""
    status, body = await backend_of(request).health.report()
    return Response(body, status, _NO_STORE, _JSON)


@router.get("/ready", include_in_schema=False)
async def ready(request: Request) -> Response:
    """Whether this process can answer requests: 200 or 503, for load balancers."""
    status, body = backend_of(request).health.ready()
    return Response(body, status, _NO_STORE, _JSON)


@router.get("/metrics", include_in_schema=False)
async def metrics() -> Response:
    """The metrics of this process, for Prometheus."""
    return Response(generate_latest(REGISTRY), headers=_NO_STORE, media_type=CONTENT_TYPE_LATEST)


@router.get("/.well-known/jwks.json", response_model=auth.JwkSet, dependencies=[limited(API_LIMIT)])
async def jwks(services: AskServices) -> Response:
    """The public keys that verify tokens (RFC 7517)."""
    keys = await services.request(auth.GET_JWKS, auth.GetJwks())
    return answer(keys, headers={"Cache-Control": "public, max-age=60"})


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> Response:
    """This API, for programs."""
    return Response(request.app.openapi_json, headers={"Cache-Control": "no-cache"}, media_type=_JSON)


@router.get("/", include_in_schema=False)
async def root() -> Response:
    """Show people who open the address in a browser what there is."""
    return Response(status_code=307, headers={"Location": "docs"})


@router.get("/docs", include_in_schema=False)
async def docs() -> Response:
    """This API, for people: read it and try it."""
    headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY, "Cache-Control": "no-cache"}
    return Response(PAGE, headers=headers, media_type="text/html; charset=utf-8")


@router.get("/docs/start.js", include_in_schema=False)
async def docs_start() -> Response:
    """What starts Swagger UI; a file of its own, since no script stands in the page."""
    return Response(START, headers={"Cache-Control": "no-cache"}, media_type="text/javascript; charset=utf-8")


@router.get("/docs/{name}", include_in_schema=False)
async def docs_asset(name: Literal["swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"]) -> Response:
    """A file of Swagger UI."""
    return Response(asset(name), headers={"Cache-Control": "public, max-age=86400"}, media_type=ASSETS[name])
