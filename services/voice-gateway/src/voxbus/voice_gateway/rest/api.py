"""The application: routes, errors and what is around them. Needs no server, so that documents and tests can have it."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from voxbus.voice_gateway.rest.backend import Backend
from voxbus.voice_gateway.rest.errors import install_handlers
from voxbus.voice_gateway.rest.middleware import RequestMiddleware
from voxbus.voice_gateway.rest.openapi import DESCRIPTION, TAGS, document

VERSION: Final = "0.1.0"
_ROUTES: Final = ("auth", "api_keys", "users", "agents", "campaigns", "platform")
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
    app = FastAPI(
        title="Voxbus", version=VERSION, description=DESCRIPTION, openapi_tags=TAGS,
        openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False,
    )  # fmt: skip
    app.state.backend = backend
    install_handlers(app)
    for name in _ROUTES:
        router = import_module(f"voxbus.voice_gateway.rest.routes.{name}").router
        # Flat, not included: an included router is matched anew for each request.
        app.router.routes.extend(router.routes)
    cached: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not cached:
            cached.update(document(app))
        return cached

    app.openapi = openapi  # type: ignore[method-assign]  # the way that FastAPI documents
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
