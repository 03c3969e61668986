"""The application: routes, errors and what is around them. Needs no server, so that documents and tests can have it."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from voxbus.voice_gateway.rest.backend import Backend
from voxbus.voice_gateway.rest.documentation import DocumentedApi
from voxbus.voice_gateway.rest.errors import install_handlers
from voxbus.voice_gateway.rest.middleware import RequestMiddleware
from voxbus.voice_gateway.rest.openapi import DESCRIPTION, TAGS
from voxbus.voice_gateway.rest.routes import agents, api_keys, auth, campaigns, contacts, platform, users

VERSION: Final = "0.1.0"
_EXPOSED: Final = ("ETag", "Idempotency-Replayed", "Link", "Location", "Retry-After", "X-Request-Id")
_ALLOWED: Final = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "X-API-Key",
    "X-Request-Id",
)


def make_api(backend: Backend) -> FastAPI:
    """The REST API on `backend`."""
    app = _with_routes()
    app.state.backend = backend
    install_handlers(app)
    if backend.settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=backend.settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=_ALLOWED,
            expose_headers=_EXPOSED,
            max_age=600,
        )
    app.add_middleware(RequestMiddleware, settings=backend.settings)
    return app


def openapi_document() -> dict[str, Any]:
    """The OpenAPI document, as it is committed in `docs/openapi.json`."""
    return _with_routes().openapi()


def _with_routes() -> DocumentedApi:
    app = DocumentedApi(
        title="Voxbus",
        version=VERSION,
        description=DESCRIPTION,
        openapi_tags=TAGS,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    for noun in (auth, api_keys, users, agents, campaigns, contacts, platform):
        # Flat, not included: an included router is matched anew for each request.
        app.router.routes.extend(noun.router.routes)
    return app
