"""The documents of an API, made once: for programs, and for people as Swagger UI from a package, since they may be offline."""

from __future__ import annotations

import json
from functools import cache, cached_property
from importlib import resources
from typing import Any, Final

from fastapi import FastAPI

from voxbus.voice_gateway.rest.openapi import document

ASSETS: Final = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "favicon-32x32.png": "image/png",
}
"""File of the package to media type."""
# Swagger UI sets styles of elements; scripts come from this server alone.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Addresses are relative, so that the page works below a path of a proxy.
PAGE: Final = b"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Voxbus API</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="icon" type="image/png" href="docs/favicon-32x32.png">
<body>
<div id="api"><noscript>This page needs JavaScript. For programs: <a href="openapi.json">openapi.json</a></noscript></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
"""
START: Final = b"""SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#api",
  deepLinking: true,
  displayRequestDuration: true,
  docExpansion: "list",
  filter: true,
  persistAuthorization: false,
  tryItOutEnabled: true,
  validatorUrl: null,
});
"""


@cache
def asset(name: str) -> bytes:
    """A file of Swagger UI. `name` is one of `ASSETS`."""
    return resources.files("fastapi_swagger.resources").joinpath(name).read_bytes()


class DocumentedApi(FastAPI):
    """An application that tells what it does."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        if self.openapi_schema is None:
            self.openapi_schema = document(self)
        return self.openapi_schema

    @cached_property
    def openapi_json(self) -> bytes:
        """The same as it is served."""
        return json.dumps(self.openapi(), ensure_ascii=False).encode()
